//! The `trunkline` program: flags, then one command of `trunkline::command`.

use std::process::ExitCode;

use clap::Parser;
use trunkline::command::Command;

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
            eprintln!("trunkline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
