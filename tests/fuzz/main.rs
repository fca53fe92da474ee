//! The corpora of the fuzz targets, run through the targets on stable. `scripts/fuzz` looks for more with cargo-fuzz;
//! an input that broke something is minimised and stays in the corpus.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target says by a panic that what must hold does not"
)]

mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// Runs every file of a target's corpus, and every beginning of the small ones: cut off input is what networks make.
fn run(name: &str, least: usize, target: fn(&[u8])) {
    let mut files = files(name);
    files.sort();
    assert!(files.len() >= least, "only {} files for {name}", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let step = bytes.len() / 48 + 1;
        for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
            let result = std::panic::catch_unwind(|| target(&bytes[..end]));
            assert!(result.is_ok(), "{} cut at {end}", file.display());
        }
    }
}

fn files(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_corpus_of_messages_holds() {
    run("message", 30, targets::message::run);
}

#[test]
fn the_corpus_of_streams_holds() {
    run("framing", 8, targets::framing::run);
}

#[test]
fn the_corpus_of_conversations_holds() {
    run("endpoint", 10, targets::endpoint::run);
}

#[test]
fn the_corpus_of_session_descriptions_holds() {
    run("sdp", 15, targets::sdp::run);
}

#[test]
fn the_corpus_of_digest_headers_holds() {
    run("digest", 12, targets::digest::run);
}

#[test]
fn the_corpus_of_audio_packets_holds() {
    run("rtp", 8, targets::rtp::run);
}

#[test]
fn the_corpus_of_payloads_holds() {
    run("codec", 8, targets::codec::run);
}

#[test]
fn the_corpus_of_control_packets_holds() {
    run("rtcp", 6, targets::rtcp::run);
}
