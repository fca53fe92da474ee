//! Standard output of all commands: whoever reads it may have seen enough, and the disk behind it may be full.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;

/// Prints a line as `println!` does, and gives back what stands against it instead of ending the program.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::command::output::line(format_args!($($text)*))
    };
}
pub(super) use say;

/// # Errors
/// When standard output cannot be written.
pub(super) fn line(text: Arguments<'_>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_fmt(text).and_then(|()| out.write_all(b"\n"));
    written.context("standard output")
}

/// Prints a text that has its line ends.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.context("standard output")
}

/// A reader that went away is no failure, and nothing to tell.
pub(super) fn settled(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match done {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let pipe = |io: &std::io::Error| io.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(pipe))
}

/// A message without what only programmers read: the system's error number behind its words.
pub fn plain(message: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut told = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(NUMBER) {
        told.push_str(before);
        match after.split_once(')') {
            Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest = after,
            _ => {
                told.push_str(NUMBER);
                rest = after;
            }
        }
    }
    told + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_are_left_out_of_messages() {
        let message = "x.toml: No such file or directory (os error 2); y: Is a directory (os error 21)";
        assert_eq!(
            plain(message),
            "x.toml: No such file or directory; y: Is a directory"
        );
        assert_eq!(plain("a (os error in it)"), "a (os error in it)");
    }
}
