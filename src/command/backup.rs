//! `trunkline backup` and `trunkline restore`: the whole database as one file, and back.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::call::StoreArgs;
use super::output::say;
use crate::store::{BackupFacts, SqliteStore, restore};

/// `trunkline backup FILE`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to write the copy; an earlier file of that name is replaced once the copy is complete
    pub file: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `trunkline restore FILE`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The copy that `trunkline backup` wrote
    pub file: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Copies the database while the server goes on.
///
/// # Errors
/// When there is no database, or the copy cannot be written; then an earlier copy of that name is still there.
pub fn run_backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let config = args.store.config()?;
    let facts = SqliteStore::open_existing(&config.url)?.backup(&args.file)?;
    if args.json {
        say!("{}", serde_json::to_string(&facts)?)?;
    } else {
        say!("{} holds {}.", args.file.display(), contents(&facts))?;
        say!("It holds the key of the callers' pseudonyms too: keep it as safe as the database.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a copy in the place of the database. The server must be stopped.
///
/// # Errors
/// When the server is running, or the copy is damaged, not ours or from a newer version: then nothing is changed.
pub fn run_restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let config = args.store.config()?;
    let restored = restore(&config.url, &args.file)?;
    if args.json {
        say!("{}", serde_json::to_string(&restored)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} now holds {}.",
        config.url.path().display(),
        contents(&restored.facts)
    )?;
    if let Some(earlier) = restored.earlier {
        say!("What was there before is kept as {}.", earlier.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn contents(facts: &BackupFacts) -> String {
    let calls = if facts.calls == 1 {
        "1 call".to_owned()
    } else {
        format!("{} calls", facts.calls)
    };
    format!("{calls} ({} KiB)", facts.bytes.div_ceil(1024))
}
