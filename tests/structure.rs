//! The walls of the house: which room may name which, what a pure room may never touch, how long a file may be.
//!
//! Reads the sources as text. Comments, string literals and `#[cfg(test)]` items do not count.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may name, in the order a call travels. `main.rs` and `lib.rs` stand outside.
const MAY_USE: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("sip", &[]),
    ("media", &[]),
    ("directory", &["units"]),
    ("campaign", &["units", "directory"]),
    ("call", &["units", "sip", "media"]),
    ("flow", &["units", "directory", "campaign", "call"]),
    ("store", &["units", "directory", "campaign", "call", "flow"]),
    ("config", &["units", "call", "store", "sip", "media"]),
    (
        "config",
        &["units", "directory", "campaign", "call", "flow", "store"],
    ),
    (
        "switch",
        &[
            "units",
            "directory",
            "campaign",
            "call",
            "flow",
            "store",
            "config",
            "sip",
            "media",
        ],
    ),
    (
        "web",
        &[
            "units",
            "directory",
            "campaign",
            "call",
            "flow",
            "store",
            "config",
            "switch",
        ],
    ),
    (
        "command",
        &[
            "units",
            "directory",
            "campaign",
            "call",
            "flow",
            "store",
            "switch",
            "web",
            "config",
            "sip",
            "media",
        ],
    ),
];

/// Rooms, and parts of rooms, that decide without sockets, clock, disk or ambient randomness.
const PURE: &[&str] = &[
    "units",
    "sip",
    "media",
    "directory",
    "campaign",
    "call",
    "flow",
    "switch/engine",
    "switch/simulator.rs",
];

/// What a pure room may not name. Addresses (`std::net::SocketAddr`) and instants as values are fine.
const IMPURE: &[&str] = &[
    "tokio",
    "mio::",
    "socket2",
    "rustix",
    "libc::",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    ".elapsed()",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "thread::sleep",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "getrandom",
    "thread_rng",
    "rand::rng",
    "rand::random",
    "OsRng",
    "from_os_rng",
    "from_entropy",
    "RandomState",
    "rusqlite",
    "println!",
    "eprintln!",
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common", "core", "utils", "util", "helpers", "types", "misc"];

/// Packages that would bring a runtime, sockets or a database into `sip` or `media`.
const RUNTIME_PACKAGES: &[&str] = &[
    "tokio",
    "mio",
    "async-std",
    "smol",
    "futures",
    "socket2",
    "rustix",
    "libc",
    "rusqlite",
    "axum",
    "getrandom",
    "rand",
    "trunkline",
    "sip",
    "media",
    "serde_json",
    "clap",
    "rsip",
];

const LONGEST_FILE: usize = 600;

#[test]
fn every_room_names_only_the_rooms_of_its_row() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(room) = file.room() else { continue };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{}: no room of this name is in the table", file.shown));
            continue;
        };
        for (line, named) in rooms_named(&file) {
            if named != room && !allowed.contains(&named.as_str()) {
                broken.push(format!("{}:{line}: `{room}` may not name `{named}`", file.shown));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn pure_rooms_touch_no_clock_socket_disk_or_ambient_randomness() {
    let mut broken = Vec::new();
    for file in sources().into_iter().filter(Source::is_pure) {
        for (line, found) in impure_words(&file.code) {
            broken.push(format!("{}:{line}: `{found}` in a pure room", file.shown));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_file_is_longer_than_the_limit_without_its_tests() {
    let long: Vec<String> = sources()
        .iter()
        .map(|file| (&file.shown, lines_of(&file.code_with_comments)))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(shown, lines)| format!("{shown}: {lines} lines; is there a second idea in it?"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn no_file_or_folder_has_an_empty_name() {
    let empty: Vec<String> = sources()
        .iter()
        .filter(|file| {
            let stem = file.shown.trim_end_matches(".rs");
            stem.split('/').any(|part| EMPTY_NAMES.contains(&part))
        })
        .map(|file| file.shown.clone())
        .collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn sip_and_media_bring_no_runtime_and_know_nothing_of_this_project() {
    for package in ["sip", "media"] {
        let path = root().join("src").join(package).join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            forbidden_packages(&text),
            Vec::<String>::new(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn main_stays_a_doorway() {
    let text = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(lines_of(&without_tests(&text, &blank_comments_and_strings(&text))) <= 80);
}

/// One source file under `src/`.
struct Source {
    /// Path from `src/`, for messages.
    shown: String,
    /// The text without comments, string contents and tests; lines keep their numbers.
    code: String,
    /// The text without its tests.
    code_with_comments: String,
}

impl Source {
    fn new(shown: String, text: &str) -> Self {
        let blank = blank_comments_and_strings(text);
        let code = without_tests(&blank, &blank);
        let code_with_comments = without_tests(text, &blank);
        Self {
            shown,
            code,
            code_with_comments,
        }
    }

    /// The room the file belongs to, or nothing for `main.rs`, `lib.rs` and files of `bin/`.
    fn room(&self) -> Option<&str> {
        let first = self.shown.split('/').next().unwrap_or_default();
        match first.trim_end_matches(".rs") {
            "main" | "lib" | "bin" => None,
            room => Some(room),
        }
    }

    fn is_pure(&self) -> bool {
        let path = self.shown.trim_end_matches(".rs");
        PURE.iter()
            .any(|pure| path == *pure || path.starts_with(&format!("{pure}/")))
    }

    /// How many modules lie between the file's own module and the crate root, itself included.
    fn depth(&self) -> usize {
        let parts = self.shown.split('/').count();
        if self.shown.ends_with("/mod.rs") || self.shown.ends_with("/lib.rs") {
            parts - 1
        } else {
            parts
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources of the workspace; files that hold nothing but tests, examples or benchmarks are left out.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    files.sort();
    assert!(
        files.len() >= 10,
        "only {} files were found: the scan looks in the wrong place",
        files.len()
    );
    files
        .iter()
        .map(|path| {
            let shown = path
                .strip_prefix(&src)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            Source::new(shown, &fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !["tests", "examples", "benches", "target"].contains(&name.as_str()) {
                collect(&path, files);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            files.push(path);
        }
    }
}

/// Every room that the file names, with the line: by `crate::room`, `crate::{room, …}`, the packages' own
/// names, or by a chain of `super` that leaves the room.
fn rooms_named(file: &Source) -> Vec<(usize, String)> {
    let code = &file.code;
    let mut named = Vec::new();
    let own_package = matches!(file.room(), Some("sip" | "media"));
    if !own_package {
        for (at, _) in code.match_indices("crate::") {
            for name in heads(&code[at + "crate::".len()..]) {
                named.push((line_at(code, at), name));
            }
        }
    }
    for package in ["sip", "media"] {
        if Some(package) == file.room() {
            continue;
        }
        for (at, _) in code.match_indices(&format!("{package}::")) {
            if !code[..at].ends_with(is_word) && !code[..at].ends_with("::") {
                named.push((line_at(code, at), package.to_owned()));
            }
        }
    }
    for (at, _) in code.match_indices("super::super::") {
        let supers = code[at..].split("::").take_while(|part| *part == "super").count();
        if supers >= file.depth() {
            let path = code[at..].trim_start_matches("super::");
            named.extend(heads(path).into_iter().map(|name| (line_at(code, at), name)));
        }
    }
    named
}

/// The first names of a path or of a braced list of paths: `a::b` gives a, `{a::{b, c}, d}` gives a and d.
fn heads(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(list) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|letter| is_word(*letter)).collect()];
    };
    let mut names = Vec::new();
    let (mut depth, mut name, mut done) = (1, String::new(), false);
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth > 1 || letter.is_whitespace() => {}
            ',' => {
                names.push(std::mem::take(&mut name));
                done = false;
            }
            _ if is_word(letter) && !done => name.push(letter),
            _ => done = true,
        }
        if depth == 0 {
            break;
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

fn impure_words(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for word in IMPURE {
        for (at, _) in code.match_indices(word) {
            let glued_before = word.starts_with(is_word) && code[..at].ends_with(is_word);
            let glued_after = word.ends_with(is_word) && code[at + word.len()..].starts_with(is_word);
            if !glued_before && !glued_after {
                found.push((line_at(code, at), *word));
            }
        }
    }
    found
}

fn forbidden_packages(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = toml::from_str(manifest).unwrap();
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let mut found = Vec::new();
    for table in tables {
        for section in ["dependencies", "build-dependencies"] {
            let packages = table.get(section).and_then(toml::Value::as_table);
            found.extend(
                packages
                    .into_iter()
                    .flat_map(toml::Table::keys)
                    .filter(|name| RUNTIME_PACKAGES.contains(&name.as_str()))
                    .cloned(),
            );
        }
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn lines_of(text: &str) -> usize {
    text.lines().filter(|line| *line != CUT).count()
}

/// Stands for a line that was cut out, so that the others keep their numbers.
const CUT: &str = "\u{0}";

/// The text with comments and the insides of string and character literals made blank.
fn blank_comments_and_strings(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at).unwrap_or(at);
        if end > at {
            out.extend(
                letters[at..end]
                    .iter()
                    .map(|letter| if *letter == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else {
            out.push(letters[at]);
            at += 1;
        }
    }
    out
}

/// The end of the comment or literal that begins at `at`, if one does.
fn literal_end(letters: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| letters.get(at + offset).copied();
    let before = at.checked_sub(1).map(|i| letters[i]);
    match letters[at] {
        '/' if next(1) == Some('/') => Some(
            letters[at..]
                .iter()
                .position(|letter| *letter == '\n')
                .map_or(letters.len(), |n| at + n),
        ),
        '/' if next(1) == Some('*') => (at + 3..letters.len())
            .find(|i| letters[i - 1] == '*' && letters[*i] == '/')
            .map(|i| i + 1),
        'r' if matches!(next(1), Some('"' | '#')) && !before.is_some_and(|l| is_word(l) && l != 'b') => {
            let hashes = letters[at + 1..]
                .iter()
                .take_while(|letter| **letter == '#')
                .count();
            if next(1 + hashes) != Some('"') {
                return None;
            }
            (at + 2 + hashes..letters.len())
                .find(|i| {
                    letters[*i] == '"'
                        && letters
                            .get(i + 1..i + 1 + hashes)
                            .is_some_and(|end| end.iter().all(|l| *l == '#'))
                })
                .map(|i| i + 1 + hashes)
        }
        '"' => {
            let mut i = at + 1;
            while i < letters.len() && letters[i] != '"' {
                i += if letters[i] == '\\' { 2 } else { 1 };
            }
            Some((i + 1).min(letters.len()))
        }
        '\'' if next(1) == Some('\\') => (at + 3..letters.len().min(at + 14))
            .find(|i| letters[*i] == '\'')
            .map(|i| i + 1),
        '\'' if next(2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

/// `text` without the items under `#[cfg(test)]`; `blank` is the same text with its literals made blank.
fn without_tests(text: &str, blank: &str) -> String {
    let blank_lines: Vec<&str> = blank.lines().collect();
    let mut cut = vec![false; blank_lines.len()];
    let mut line = 0;
    while line < blank_lines.len() {
        if !blank_lines[line].trim_start().starts_with("#[cfg(test)]") {
            line += 1;
            continue;
        }
        let (mut depth, mut opened, mut end) = (0_i32, false, line);
        'item: for (number, body) in blank_lines.iter().enumerate().skip(line) {
            end = number;
            for letter in body.chars() {
                match letter {
                    '{' => (depth, opened) = (depth + 1, true),
                    '}' => depth -= 1,
                    ';' if !opened => break 'item,
                    _ => {}
                }
                if opened && depth == 0 {
                    break 'item;
                }
            }
        }
        cut[line..=end].fill(true);
        line = end + 1;
    }
    let kept: Vec<&str> = text
        .lines()
        .zip(cut)
        .map(|(line, cut)| if cut { CUT } else { line })
        .collect();
    kept.join("\n")
}

mod scanner {
    use super::*;

    fn named(shown: &str, text: &str) -> Vec<String> {
        rooms_named(&Source::new(shown.to_owned(), text))
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    }

    #[test]
    fn finds_rooms_however_they_are_imported() {
        assert_eq!(named("flow/run.rs", "use crate::store::Store;"), ["store"]);
        assert_eq!(
            named("flow/run.rs", "use crate::{call::{Leg, Id}, web};"),
            ["call", "web"]
        );
        assert_eq!(named("flow/run.rs", "fn f(e: sip::Event) {}"), ["sip"]);
        assert_eq!(
            named("flow/step/menu.rs", "use super::super::super::web::Page;"),
            ["web"]
        );
    }

    #[test]
    fn passes_over_words_that_only_look_like_rooms() {
        assert_eq!(
            named(
                "flow/run.rs",
                "// crate::web::X\nlet s = \"sip::x\"; gossip::y();"
            ),
            [""; 0]
        );
        assert_eq!(named("flow/step/menu.rs", "use super::super::Run;"), [""; 0]);
        assert_eq!(
            named("sip/dialog/mod.rs", "use crate::message::Request;"),
            [""; 0]
        );
    }

    #[test]
    fn finds_a_clock_or_a_runtime_but_not_in_tests_or_comments() {
        let words = |text: &str| {
            let source = Source::new("call/leg.rs".to_owned(), text);
            impure_words(&source.code)
                .into_iter()
                .map(|(line, word)| format!("{line} {word}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words("fn f() {\n  let now = Instant::now();\n}"),
            ["2 Instant::now"]
        );
        assert_eq!(words("use tokio::net::UdpSocket;"), ["1 tokio", "1 UdpSocket"]);
        assert_eq!(words("/// Never tokio.\nlet a: std::net::SocketAddr;"), [""; 0]);
        assert_eq!(
            words("fn f() {}\n#[cfg(test)]\nmod tests {\n  fn g() { Instant::now(); }\n}\n"),
            [""; 0]
        );
        assert_eq!(words("#[cfg(test)]\nmod tests;\nuse std::fs;"), ["3 std::fs"]);
    }

    #[test]
    fn is_not_led_astray_by_braces_and_quotes_in_literals() {
        let text = "#[cfg(test)]\nmod tests {\n  const A: &str = r#\"}\"}\"#;\n  const B: char = '}';\n  \
                    const C: char = '\\'';\n}\nfn after() { Zoned::now(); }\n";
        let source = Source::new("call/leg.rs".to_owned(), text);
        assert_eq!(impure_words(&source.code), [(7, "Zoned::now")]);
        assert_eq!(lines_of(&source.code_with_comments), 1);
    }

    #[test]
    fn finds_a_runtime_in_a_manifest() {
        assert_eq!(
            forbidden_packages("[dependencies]\ntokio = \"1\"\nmemchr = \"2\""),
            ["tokio"]
        );
        assert_eq!(forbidden_packages("[dev-dependencies]\ntokio = \"1\""), [""; 0]);
    }
}
