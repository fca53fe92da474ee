//! The `trunkline` program: flags, then one command of `trunkline::command`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use trunkline::command::{Command, output};

/// A self-hosted telephony switch for civic hotlines.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            let message = output::plain(&format!("{error:#}"));
            // Without standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "trunkline: {message}");
            ExitCode::FAILURE
        }
    }
}
