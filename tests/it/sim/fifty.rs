//! Every race of `sip.md` §6.6 is a test by its number, here or beside the SIP core.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn all_fifty_races_are_tests_by_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["src/sip/tests/it", "tests/it/sim"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                found.extend(races_of(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    let lacking: Vec<u32> = (1..=50).filter(|number| !found.contains(number)).collect();
    assert_eq!(lacking, [0; 0], "races without a test");
}

/// Numbers in the names of tests: `race_12_…`, `race_42_and_50_…`.
fn races_of(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("fn race_").filter(|_| is_test) {
            let words: Vec<&str> = name.split('_').collect();
            numbers.extend(words[0].parse::<u32>());
            for pair in words.windows(2).filter(|pair| pair[0] == "and") {
                numbers.extend(pair[1].parse::<u32>());
            }
        }
        is_test = line == "#[test]";
    }
    numbers
}

#[test]
fn only_tests_count_as_races() {
    let text = "#[test]\nfn race_3_and_4_x() {}\nfn race_5_x() {}\n// fn race_6_x\n#[test]\nfn other() {}\n";
    assert_eq!(races_of(text), [3, 4]);
}
