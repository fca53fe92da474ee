//! Lines of letters with colours, for a terminal as it is: its width, its letters, whether it has colours.

use std::io::IsTerminal;

/// What is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns, at least 80.
    pub width: usize,
    /// It shows more than ASCII.
    pub unicode: bool,
    pub colour: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            width: USUAL,
            unicode: true,
            colour: false,
        }
    }
}

/// Wider than this helps nobody.
const WIDEST: usize = 240;
const NARROWEST: usize = 80;
/// Where the output is no terminal.
const USUAL: usize = 100;

impl Screen {
    /// The screen behind standard output.
    pub(super) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let window = rustix::termios::tcgetwinsize(&stdout)
            .ok()
            .filter(|_| is_terminal);
        let columns = std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok());
        let width = window
            .map(|window| usize::from(window.ws_col))
            .filter(|width| *width > 0);
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
        Self {
            width: width.or(columns).unwrap_or(USUAL).clamp(NARROWEST, WIDEST),
            unicode: is_utf8(&locale),
            colour: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// Whether the first of these that is set names UTF-8 (POSIX base definitions §8.2).
fn is_utf8(locale: &[String]) -> bool {
    let set = locale.iter().find(|value| !value.is_empty());
    set.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

/// What a letter is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Faint,
    Strong,
    Request,
    Provisional,
    Success,
    Failure,
    Copies,
}

impl Paint {
    /// Select Graphic Rendition (ECMA-48 §8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
            Self::Request => "\x1b[36m",
            Self::Provisional => "\x1b[33m",
            Self::Success => "\x1b[32m",
            Self::Failure => "\x1b[31m",
            Self::Copies => "\x1b[35m",
        }
    }
}

/// One line; letters are put where they belong.
#[derive(Debug, Clone)]
pub(super) struct Line {
    cells: Vec<(char, Paint)>,
}

impl Line {
    /// Puts a text; what would stand beyond the end of the line is left out.
    pub(super) fn put(&mut self, at: usize, text: &str, paint: Paint) {
        for (cell, letter) in self.cells.iter_mut().skip(at).zip(text.chars()) {
            *cell = (letter, paint);
        }
    }
}

/// The lines so far.
pub(super) struct Canvas<'a> {
    screen: &'a Screen,
    out: String,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            out: String::new(),
        }
    }

    pub(super) fn line(&self) -> Line {
        Line {
            cells: vec![(' ', Paint::Plain); self.screen.width],
        }
    }

    pub(super) fn push(&mut self, line: Line) {
        let used = line
            .cells
            .iter()
            .rposition(|(letter, _)| *letter != ' ')
            .map_or(0, |last| last + 1);
        let mut paint = Paint::Plain;
        for (letter, wanted) in &line.cells[..used] {
            if self.screen.colour && *wanted != paint {
                if paint != Paint::Plain {
                    self.out.push_str("\x1b[0m");
                }
                self.out.push_str(wanted.code());
                paint = *wanted;
            }
            self.letter(*letter);
        }
        if paint != Paint::Plain {
            self.out.push_str("\x1b[0m");
        }
        self.out.push('\n');
    }

    /// A line of text as long as it is.
    pub(super) fn text(&mut self, text: &str, paint: Paint) {
        let cells = text.chars().map(|letter| (letter, paint)).collect();
        self.push(Line { cells });
    }

    /// A line that may hold any letter that the screen shows.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn letter(&mut self, letter: char) {
        let plain = match letter {
            _ if self.screen.unicode || letter.is_ascii() => letter,
            '─' => '-',
            '│' => '|',
            '┆' => ':',
            '▶' => '>',
            '◀' => '<',
            '×' => 'x',
            '…' => '~',
            _ => '?',
        };
        self.out.push(plain);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locale_that_comes_first_says_which_letters_there_are() {
        let is = |values: [&str; 3]| is_utf8(&values.map(str::to_owned));
        assert!(is(["", "", "en_US.UTF-8"]) && is(["C.utf8", "C", "C"]));
        assert!(!is(["C", "", "en_US.UTF-8"]) && !is(["", "", ""]));
    }

    #[test]
    fn colours_are_for_terminals_only_and_end_with_their_words() {
        let render = |colour| {
            let screen = Screen {
                width: 80,
                unicode: true,
                colour,
            };
            let mut canvas = Canvas::new(&screen);
            let mut line = canvas.line();
            line.put(0, "a", Paint::Plain);
            line.put(2, "BYE", Paint::Request);
            line.put(79, "over", Paint::Failure);
            canvas.push(line);
            canvas.finish()
        };
        let spaces = " ".repeat(74);
        assert_eq!(render(false), format!("a BYE{spaces}o\n"));
        assert_eq!(
            render(true),
            format!("a \x1b[36mBYE\x1b[0m{spaces}\x1b[31mo\x1b[0m\n")
        );
    }
}
