//! A prompt's words cut into runs of words, pauses and slots.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A run of words with a recording of its own.
    Literal {
        id: String,
        words: String,
    },
    /// Punctuation beside a slot, which no recording contains.
    Pause(Duration),
    Slot(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads words with `{slots}`. Runs of words are numbered from 1; a prompt without slots is one recording
    /// named as its key.
    pub(super) fn parse(key: &str, words: &str) -> Result<Self, &'static str> {
        if !words.contains(['{', '}']) {
            let part = Part::Literal {
                id: key.to_owned(),
                words: words.to_owned(),
            };
            return if has_words(words) {
                Ok(Self(vec![part]))
            } else {
                Err("it has no words")
            };
        }
        let mut parts = Vec::new();
        let mut runs = 0;
        let mut rest = words;
        while let Some((run, after)) = rest.split_once('{') {
            push_run(&mut parts, key, run, &mut runs)?;
            let (slot, after) = after.split_once('}').ok_or("a brace is not closed")?;
            if slot.is_empty()
                || !slot
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            {
                return Err("a slot's name needs lower-case letters, digits and underscores");
            }
            parts.push(Part::Slot(slot.to_owned()));
            rest = after;
        }
        push_run(&mut parts, key, rest, &mut runs)?;
        if matches!(parts.last(), Some(Part::Pause(_))) {
            parts.pop(); // what follows the prompt decides how long the silence after it is
        }
        Ok(Self(parts))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(super) fn literals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal { id, words } => Some((id.as_str(), words.as_str())),
            _ => None,
        })
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Slot(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// Adds the words between two slots: the pause before them, their recording, the pause after them.
fn push_run(parts: &mut Vec<Part>, key: &str, run: &str, runs: &mut u32) -> Result<(), &'static str> {
    if run.contains('}') {
        return Err("a brace is closed that was not opened");
    }
    let after_slot = matches!(parts.last(), Some(Part::Slot(_)));
    let words = run
        .trim_start_matches(|letter: char| !starts_words(letter))
        .trim_end();
    let lead = &run[..run.len() - run.trim_start_matches(|letter: char| !starts_words(letter)).len()];
    if after_slot && let Some(pause) = pause_of(lead) {
        parts.push(Part::Pause(pause));
    }
    if !has_words(words) {
        return Ok(());
    }
    *runs += 1;
    parts.push(Part::Literal {
        id: format!("{key}-{runs}"),
        words: words.to_owned(),
    });
    if let Some(pause) = words
        .chars()
        .last()
        .and_then(|last| pause_of(last.encode_utf8(&mut [0; 4])))
    {
        parts.push(Part::Pause(pause));
    }
    Ok(())
}

fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

fn starts_words(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '¿' | '¡' | '"' | '\'')
}

/// The silence that punctuation asks for, longest mark first.
fn pause_of(text: &str) -> Option<Duration> {
    let milliseconds = if text.contains(['.', '?', '!']) {
        350
    } else if text.contains([';', ':']) {
        220
    } else if text.contains(',') {
        120
    } else {
        return None;
    };
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(id: &str, words: &str) -> Part {
        Part::Literal {
            id: id.to_owned(),
            words: words.to_owned(),
        }
    }

    fn slot(name: &str) -> Part {
        Part::Slot(name.to_owned())
    }

    fn pause(milliseconds: u64) -> Part {
        Part::Pause(Duration::from_millis(milliseconds))
    }

    #[test]
    fn runs_are_numbered_and_punctuation_beside_slots_becomes_silence() {
        let template = Template::parse("k", "{zip}, {state}. If that's wrong, press star.").unwrap();
        assert_eq!(
            template.parts(),
            [
                slot("zip"),
                pause(120),
                slot("state"),
                pause(350),
                literal("k-1", "If that's wrong, press star."),
                pause(350)
            ][..5]
                .to_vec()
        );
    }

    #[test]
    fn full_stop_after_the_last_slot_adds_nothing() {
        let template = Template::parse("k", "It opens {day} at {time} {zone}.").unwrap();
        assert_eq!(
            template.parts(),
            [
                literal("k-1", "It opens"),
                slot("day"),
                literal("k-2", "at"),
                slot("time"),
                slot("zone")
            ]
        );
    }

    #[test]
    fn sentence_before_a_slot_is_followed_by_silence() {
        let template = Template::parse("k", "Thank you. {calls_left}").unwrap();
        assert_eq!(
            template.parts(),
            [literal("k-1", "Thank you."), pause(350), slot("calls_left")]
        );
    }

    #[test]
    fn opening_question_mark_belongs_to_the_words() {
        let template = Template::parse("k", "{n} ¿Permite que {x}?").unwrap();
        assert_eq!(
            template.parts(),
            [slot("n"), literal("k-1", "¿Permite que"), slot("x")]
        );
    }

    #[test]
    fn broken_braces_and_empty_words_are_refused() {
        for words in ["{a", "a}", "{}", "{A}", "", "...", "{a}}"] {
            assert!(Template::parse("k", words).is_err(), "{words}");
        }
    }
}
