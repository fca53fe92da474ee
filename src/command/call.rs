//! `trunkline call`: call records listed, shown and exported.

mod canvas;
mod capture;
mod export;
mod glance;
mod ladder;
mod list;
mod show;
mod trace;
mod words;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::canvas::Screen;
use crate::call::disposition::SessionDisposition;
use crate::call::record::UtcMicros;
use crate::config::Config;
use crate::store::{CallFilter, Cursor, SqliteStore, Store, StoreConfig, StoreError, StoreUrl};
use crate::units::CampaignId;

/// Which database a command uses; without any of these, `data/trunkline.db`.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// The data directory; the database in it is trunkline.db
    #[arg(long, value_name = "DIR", global = true, conflicts_with_all = ["store", "config"])]
    pub data: Option<PathBuf>,
    /// The database, as sqlite:PATH
    #[arg(long, value_name = "URL", global = true, conflicts_with = "config")]
    pub store: Option<StoreUrl>,
    /// The configuration file that names the database
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

impl StoreArgs {
    /// The store that these arguments name.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is wrong.
    pub fn config(&self) -> anyhow::Result<StoreConfig> {
        if let Some(directory) = &self.data {
            return Ok(StoreConfig {
                url: StoreUrl::sqlite(directory.join("trunkline.db")),
            });
        }
        if let Some(url) = &self.store {
            return Ok(StoreConfig { url: url.clone() });
        }
        match &self.config {
            Some(file) => Ok(Config::load(file)?.store),
            None => Ok(StoreConfig::default()),
        }
    }
}

/// Call records: list them, show what happened in one call, write them all to a file
#[derive(Debug, Args)]
pub struct CallArgs {
    #[command(subcommand)]
    pub command: CallCommand,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub enum CallCommand {
    /// List calls, newest first
    List(ListArgs),
    /// Show what happened in one call
    Show(ShowArgs),
    /// Write all calls with their legs as CSV, or with everything as JSON, one call a line
    Export(ExportArgs),
}

#[derive(Debug, Default, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub wanted: Wanted,
    /// Calls to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on after this place, as an earlier list named it
    #[arg(long, value_name = "PLACE")]
    pub after: Option<Cursor>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Which calls are wanted.
#[derive(Debug, Default, Args)]
pub struct Wanted {
    /// Calls that began at or after this: 2026-11-25, "2026-11-25 14:00", RFC 3339, or an age as 2h or 7d
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<UtcMicros>,
    /// Calls that began before this
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<UtcMicros>,
    /// Calls of this campaign
    #[arg(long, value_name = "ID")]
    pub campaign: Option<String>,
    /// Calls that ended this way, as completed_all
    #[arg(long, value_name = "CODE")]
    pub disposition: Option<SessionDisposition>,
}

impl Wanted {
    fn filter(&self) -> CallFilter {
        CallFilter {
            since: self.since,
            until: self.until,
            campaign: self.campaign.as_ref().map(CampaignId::new),
            disposition: self.disposition,
            ..CallFilter::default()
        }
    }
}

#[derive(Debug, Default, Args)]
pub struct ShowArgs {
    /// The call's id or the beginning of it, or "last" for the newest
    pub id: String,
    /// One JSON object; with --ladder or --pcap, of the SIP messages
    #[arg(long)]
    pub json: bool,
    /// Draw the SIP messages between the parties
    #[arg(long)]
    pub ladder: bool,
    /// Print the text of every message behind the ladder; draws it too
    #[arg(long, conflicts_with = "json")]
    pub full: bool,
    /// Draw with ASCII only, as happens where the locale is not UTF-8
    #[arg(long, requires = "ladder")]
    pub ascii: bool,
    /// Columns to draw in; the terminal's if left out
    #[arg(long, value_name = "COLUMNS", requires = "ladder", value_parser = clap::value_parser!(u16).range(80..=1000))]
    pub width: Option<u16>,
    /// Write the SIP messages to a capture file, for Wireshark
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// One line per dialled office, with a heading line
    #[arg(long, required_unless_present = "json", conflicts_with = "json")]
    pub csv: bool,
    /// One JSON object per call and line, with legs and events
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub wanted: Wanted,
}

/// Runs the command on standard output.
///
/// # Errors
/// When the store cannot be opened or read.
pub fn run(args: &CallArgs) -> anyhow::Result<ExitCode> {
    let StoreConfig { url } = args.store.config()?;
    let store = match SqliteStore::open_existing(&url) {
        Err(StoreError::Missing(path)) if !matches!(args.command, CallCommand::Show(_)) => {
            eprintln!("No calls yet: there is no database at {}.", path.display());
            return Ok(ExitCode::SUCCESS);
        }
        opened => opened?,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let screen = Screen::of_stdout();
    let done = run_on(&store, &args.command, &TimeZone::system(), &screen, &mut out);
    done.and_then(|code| out.flush().map(|()| code).map_err(Into::into))
}

/// Runs the command on an open store, for whatever shows 100 columns of Unicode without colours; times for people are
/// in `zone`.
///
/// # Errors
/// When the store cannot be read or `out` not be written.
pub fn run_with(
    store: &dyn Store,
    command: &CallCommand,
    zone: &TimeZone,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    run_on(store, command, zone, &Screen::default(), out)
}

fn run_on(
    store: &dyn Store,
    command: &CallCommand,
    zone: &TimeZone,
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        CallCommand::List(args) => list::run(store, args, zone, out),
        CallCommand::Show(args) => show::run(store, args, zone, screen, out),
        CallCommand::Export(args) => export::run(store, args, out),
    }
}

/// Reads a moment as people write it, against this machine's clock and time zone.
fn moment(text: &str) -> Result<UtcMicros, String> {
    moment_at(text, Timestamp::now(), &TimeZone::system())
}

fn moment_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<UtcMicros, String> {
    let text = text.trim();
    let civil = |moment: jiff::civil::DateTime| moment.to_zoned(zone.clone()).ok().map(|at| at.timestamp());
    let date = || {
        text.parse::<jiff::civil::Date>()
            .ok()
            .map(|date| date.at(0, 0, 0, 0))
            .and_then(civil)
    };
    let local = || text.parse::<jiff::civil::DateTime>().ok().and_then(civil);
    let ago = || {
        let age = text.parse::<jiff::Span>().ok().filter(|age| age.is_positive())?;
        now.to_zoned(zone.clone())
            .checked_sub(age)
            .ok()
            .map(|at| at.timestamp())
    };
    let read = if text.contains('-') {
        text.parse::<Timestamp>()
            .ok()
            .or_else(|| if text.len() <= 10 { date() } else { local() })
    } else {
        ago()
    };
    read.map(UtcMicros::from).ok_or_else(|| {
        "write a date as 2026-11-25, a time as \"2026-11-25 14:00\" or 2026-11-25T14:00:00Z, or an age as 2h or 7d"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        call: CallArgs,
    }

    fn parse(words: &str) -> Result<CallArgs, String> {
        let words = std::iter::once("call").chain(words.split_whitespace());
        Program::try_parse_from(words)
            .map(|program| program.call)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn moments_read_as_people_write_them() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let now: Timestamp = "2026-11-25T20:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-25", "2026-11-25T05:00:00Z"),
            ("2026-07-01", "2026-07-01T04:00:00Z"),
            ("2026-11-25 14:30", "2026-11-25T19:30:00Z"),
            ("2026-11-25T14:30:05", "2026-11-25T19:30:05Z"),
            ("2026-11-25T14:30:05Z", "2026-11-25T14:30:05Z"),
            ("2026-11-25T14:30:05-08:00", "2026-11-25T22:30:05Z"),
            ("2h", "2026-11-25T18:00:00Z"),
            ("7d", "2026-11-18T20:00:00Z"),
            ("90m", "2026-11-25T18:30:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(moment_at(text, now, &zone), Ok(expected.into()), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "-2h", "14:30", "2026-11-25 99:00"] {
            assert!(
                moment_at(text, now, &zone).unwrap_err().contains("write a date"),
                "{text}"
            );
        }
    }

    #[test]
    fn store_is_named_by_directory_url_or_configuration() {
        let url = |words: &str| parse(words).unwrap().store.config().unwrap().url;
        assert_eq!(url("list"), StoreUrl::sqlite("data/trunkline.db"));
        assert_eq!(url("list --data /x"), StoreUrl::sqlite("/x/trunkline.db"));
        assert_eq!(url("--data /x list"), StoreUrl::sqlite("/x/trunkline.db"));
        assert_eq!(url("list --store sqlite:y.db"), StoreUrl::sqlite("y.db"));
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("server.toml");
        std::fs::write(&file, "[store]\nurl = \"sqlite:/z.db\"\n").unwrap();
        assert_eq!(
            url(&format!("list --config {}", file.display())),
            StoreUrl::sqlite("/z.db")
        );
        std::fs::write(&file, "[store]\npath = \"/z.db\"\n").unwrap();
        let error = parse(&format!("list --config {}", file.display()))
            .unwrap()
            .store
            .config()
            .unwrap_err();
        assert!(format!("{error:#}").contains("unknown field"), "{error:#}");
    }

    #[test]
    fn wrong_arguments_are_refused_with_the_fix() {
        assert!(
            parse("list --since soon")
                .unwrap_err()
                .contains("write a date as")
        );
        assert!(parse("list --limit 0").unwrap_err().contains("1..=1000"));
        assert!(parse("list --store mysql:x").unwrap_err().contains("sqlite:PATH"));
        assert!(
            parse("list --after here")
                .unwrap_err()
                .contains("not a place in a list")
        );
        assert!(
            parse("list --disposition lost")
                .unwrap_err()
                .contains("not a disposition")
        );
        assert!(parse("export").unwrap_err().contains("--csv"));
        assert!(parse("export --csv --json").is_err());
        assert!(parse("list --data x --store sqlite:y").is_err());
    }
}
