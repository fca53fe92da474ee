//! The commands of the `trunkline` program, one file each. Nothing else may use this room: it may use all others.

pub mod backup;
pub mod call;
pub mod check;
pub mod demo;
pub mod directory;
pub mod lookup;
pub mod output;
pub mod prompt;
pub mod serve;
pub mod simulate;
pub mod status;

use std::process::ExitCode;

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the switch
    Serve(serve::Args),
    /// Check the configuration, flows, prompts and directory; tell every problem
    Check(check::Args),
    Demo(demo::Args),
    Lookup(lookup::Args),
    Simulate(simulate::Args),
    Directory(directory::Args),
    Call(call::CallArgs),
    Prompt(prompt::PromptArgs),
    /// Write the whole state to a file
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the state
    Restore(backup::RestoreArgs),
    /// Tell how the running switch is
    Status(status::Args),
}

impl Command {
    /// # Errors
    /// What the command could not do, for standard error; the exit code is 1 then.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        output::settled(match self {
            Self::Serve(args) => serve::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Demo(args) => demo::run(&args),
            Self::Lookup(args) => lookup::run(args),
            Self::Simulate(args) => simulate::run(&args),
            Self::Directory(args) => directory::run(args),
            Self::Call(args) => call::run(&args),
            Self::Prompt(args) => prompt::run(&args),
            Self::Backup(args) => backup::run_backup(&args),
            Self::Restore(args) => backup::run_restore(&args),
            Self::Status(args) => status::run(&args),
        })
    }
}
