//! `trunkline demo` as a newcomer runs it.

use std::process::{Command, Stdio};

use super::place::Place;

#[test]
fn demo_ends_well_and_leaves_what_the_caller_heard() {
    let place = Place::new();
    let folder = place.file("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["demo", "--out"])
        .arg(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("All of it happened."), "{told}");
    let heard = hound::WavReader::open(folder.join("caller-heard.wav")).unwrap();
    assert!(heard.duration() > 8000 * 30, "{} samples", heard.duration());
}
