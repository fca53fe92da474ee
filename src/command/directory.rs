//! `trunkline directory`: import files, tell what is loaded, show what an import would change.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::call::StoreArgs;
use super::output::say;
use crate::call::record::UtcMicros;
use crate::directory::import::{Import, Imported, InputFile};
use crate::directory::{Counts, Dataset, Directory, Source, SourceKind, changes};
use crate::store::{DirectoryStore, SqliteStore};
use crate::units::State;

/// A file larger than this is not a file of the directory.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// Import files into the directory, tell what is loaded, show what an import would change.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Replace what the directory knows of one kind by what files say: all of it, or nothing if a file has problems
    Import(ImportArgs),
    /// Show what an import would change, and change nothing
    Diff(ImportArgs),
    /// Tell what is loaded: counts, vacant seats, sources and their dates
    Status(StatusArgs),
    /// Write the compact table that is built into the program, from a directory of published files
    Bundle(BundleArgs),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// congress, offices, zips, zip-districts, census-zcta or holidays
    kind: SourceKind,
    /// Files as published: JSON, YAML or CSV, told by their names
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The day the facts are from; the newest file's date, if not given
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Under which licence, for the record
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    licence: String,
    /// Take files that hold far fewer records than are loaded
    #[arg(long)]
    allow_fewer: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct BundleArgs {
    /// Where the published files lie: congress/, zip/ and calendar/
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Where the table is written
    #[arg(long, value_name = "DIR", default_value = "config/directory")]
    out: PathBuf,
    /// The day the lists of members and offices are from
    #[arg(long, value_name = "DATE")]
    as_of: Date,
}

/// # Errors
/// When a file cannot be read or written, or has problems.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Import(import_args) => import(&import_args, &args.store),
        Action::Diff(diff_args) => diff(&diff_args, &args.store),
        Action::Status(status_args) => status(&status_args, &args.store),
        Action::Bundle(bundle_args) => bundle(&bundle_args),
    }
}

/// The directory that a command without a store of its own looks at: the imported one where any is named, else the
/// built-in one.
pub(super) fn named_or_built_in(store: &StoreArgs) -> anyhow::Result<Arc<Directory>> {
    let named = store.data.is_some() || store.store.is_some() || store.config.is_some();
    match named {
        true => Ok(Arc::new(Directory::from_dataset(loaded(store)?.dataset))),
        false => Ok(Directory::bundled()?),
    }
}

/// The imported directory with its edition; the built-in one before the first import.
fn loaded(store: &StoreArgs) -> anyhow::Result<Loaded> {
    let url = store.config()?.url;
    let stored = match url.path().exists() {
        true => SqliteStore::open_existing(&url)?.directory()?,
        false => None,
    };
    match stored {
        Some(stored) => Ok(Loaded {
            dataset: stored.dataset,
            edition: stored.edition,
        }),
        None => Ok(Loaded {
            dataset: Dataset::bundled()?,
            edition: 0,
        }),
    }
}

struct Loaded {
    dataset: Dataset,
    /// 0: built into the program.
    edition: i64,
}

fn import(args: &ImportArgs, store: &StoreArgs) -> anyhow::Result<ExitCode> {
    let url = store.config()?.url;
    let store = SqliteStore::open(&url)?;
    let (before, edition) = match store.directory()? {
        Some(stored) => (stored.dataset, stored.edition),
        None => (Dataset::bundled()?, 0),
    };
    let imported = read_and_import(args, &before)?;
    let changed = changes(&before, &imported.dataset).len();
    let edition = store.put_directory(
        &imported.dataset,
        edition,
        UtcMicros(Timestamp::now().as_microsecond()),
    )?;
    say!(
        "imported {} records of {} into {}: {changed} changes, edition {edition} of the directory",
        imported.rows,
        args.kind,
        url.path().display()
    )?;
    say!("a running server uses it after `systemctl reload trunkline` (SIGHUP)")?;
    Ok(ExitCode::SUCCESS)
}

fn diff(args: &ImportArgs, store: &StoreArgs) -> anyhow::Result<ExitCode> {
    let before = loaded(store)?.dataset;
    let imported = read_and_import(args, &before)?;
    let changes = changes(&before, &imported.dataset);
    let mut out = std::io::stdout().lock();
    for change in &changes {
        writeln!(out, "{change}")?;
    }
    writeln!(out, "{} changes", changes.len())?;
    Ok(ExitCode::SUCCESS)
}

fn read_and_import(args: &ImportArgs, base: &Dataset) -> anyhow::Result<Imported> {
    let as_of = match args.as_of {
        Some(date) => date,
        None => newest(&args.files)?,
    };
    import_files(
        &About {
            kind: args.kind,
            as_of,
            licence: &args.licence,
            allow_fewer: args.allow_fewer,
        },
        &args.files,
        base,
    )
}

/// The day on which the newest of the files was written.
fn newest(files: &[PathBuf]) -> anyhow::Result<Date> {
    let mut newest = Timestamp::UNIX_EPOCH;
    for path in files {
        let shown = path.display();
        let written = std::fs::metadata(path).and_then(|facts| facts.modified());
        let written = written.with_context(|| format!("{shown} cannot be read"))?;
        newest = newest.max(Timestamp::try_from(written)?);
    }
    Ok(newest.to_zoned(TimeZone::UTC).date())
}

/// What `directory status --json` prints.
#[derive(Serialize)]
struct Status<'a> {
    /// 0: built into the program.
    edition: i64,
    version: String,
    counts: Counts,
    /// Seats of the House.
    vacancies: Vec<String>,
    /// A state for each empty seat.
    senate_vacancies: Vec<State>,
    /// Members whose expected end has passed: still listed, because only a newer list removes them.
    past_expected_end: Vec<&'a str>,
    sources: &'a [Source],
}

fn status(args: &StatusArgs, store: &StoreArgs) -> anyhow::Result<ExitCode> {
    let Loaded { dataset, edition } = loaded(store)?;
    let directory = Directory::from_dataset(dataset);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let past = directory
        .targets()
        .iter()
        .filter(|target| target.expected_end.is_some_and(|end| end < today));
    let status = Status {
        edition,
        version: directory.version(),
        counts: directory.counts(),
        vacancies: directory.vacancies().iter().map(ToString::to_string).collect(),
        senate_vacancies: directory.senate_vacancies(),
        past_expected_end: past.map(|target| target.name.as_str()).collect(),
        sources: directory.sources(),
    };
    let text = if args.json {
        serde_json::to_string(&status)?
    } else {
        status.text()
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

impl Status<'_> {
    fn text(&self) -> String {
        let Counts {
            representatives,
            delegates,
            senators,
            capitol_offices,
            district_offices,
            ..
        } = self.counts;
        let from = match self.edition {
            0 => "built into the program".to_owned(),
            edition => format!("imported, edition {edition}"),
        };
        let listed = |names: &[&str]| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let mut vacant: Vec<_> = self.vacancies.iter().map(String::as_str).collect();
        vacant.extend(self.senate_vacancies.iter().map(State::as_str));
        let mut lines = vec![
            format!("directory of {} ({from})", self.version),
            format!(
                "members      {senators} senators, {representatives} representatives, {delegates} delegates"
            ),
            format!("vacant       {}", listed(&vacant)),
            format!(
                "term over    {} (expected date has passed; still listed)",
                listed(&self.past_expected_end)
            ),
            format!(
                "offices      {capitol_offices} in Washington, {district_offices} at home; {} without a number",
                self.counts.offices_without_phone
            ),
            format!(
                "hours        {} state theirs, {} state some that are not clear; the others have the usual ones",
                self.counts.offices_with_stated_hours, self.counts.offices_with_unclear_hours
            ),
            format!(
                "ZIP codes    {}, with {} rows of districts",
                self.counts.zips, self.counts.shares
            ),
            "sources".to_owned(),
        ];
        lines.extend(self.sources.iter().map(|source| {
            let Source {
                kind,
                name,
                as_of,
                licence,
                rows,
            } = source;
            format!(
                "  {:<14} {as_of}  {rows:>6} records  {name}  ({licence})",
                kind.as_str()
            )
        }));
        lines.join("\n")
    }
}

/// The files of a bundle, in the order they build on each other. Members and offices are from the day the caller
/// names; the others change with a Congress or a census.
struct Published {
    kind: SourceKind,
    path: &'static str,
    as_of: Option<&'static str>,
    licence: &'static str,
}

const PUBLISHED: [Published; 5] = [
    Published {
        kind: SourceKind::Zips,
        path: "zip/zips.csv",
        as_of: Some("2026-05-01"),
        licence: "US Government work (Census gazetteer points); ZIP codes and states are facts",
    },
    Published {
        kind: SourceKind::ZipDistricts,
        path: "zip/zcta_cd119_population.csv",
        as_of: Some("2025-01-03"),
        licence: "US Government work (Census blocks, 119th Congress)",
    },
    Published {
        kind: SourceKind::Congress,
        path: "congress/legislators-current.json",
        as_of: None,
        licence: "CC0 1.0 (unitedstates/congress-legislators)",
    },
    Published {
        kind: SourceKind::Offices,
        path: "congress/legislators-district-offices.json",
        as_of: None,
        licence: "CC0 1.0 (unitedstates/congress-legislators)",
    },
    Published {
        kind: SourceKind::Holidays,
        path: "calendar/federal_holidays_2026_2028.csv",
        as_of: Some("2026-01-01"),
        licence: "facts (5 USC 6103)",
    },
];

fn bundle(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let mut dataset = Dataset::default();
    for published in PUBLISHED {
        let as_of = match published.as_of {
            Some(date) => date.parse()?,
            None => args.as_of,
        };
        let files = [args.from.join(published.path)];
        let about = About {
            kind: published.kind,
            as_of,
            licence: published.licence,
            allow_fewer: true,
        };
        dataset = import_files(&about, &files, &dataset)?.dataset;
    }
    std::fs::create_dir_all(&args.out)?;
    for file in dataset.to_bundle()? {
        let path = args.out.join(file.name);
        std::fs::write(&path, &file.text).with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("wrote {} ({} bytes)", path.display(), file.text.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// What an operator says about the files of an import.
struct About<'a> {
    kind: SourceKind,
    as_of: Date,
    licence: &'a str,
    allow_fewer: bool,
}

/// Reads the files and imports them into `base`, with a progress bar where a person watches. Notices go to standard
/// error.
fn import_files(about: &About<'_>, paths: &[PathBuf], base: &Dataset) -> anyhow::Result<Imported> {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        contents.push((file_name(path), read(path)?));
    }
    let files: Vec<_> = contents
        .iter()
        .map(|(name, bytes)| InputFile { name, bytes })
        .collect();
    let total = files.iter().map(|file| file.bytes.len() as u64).sum();
    let bar = progress_bar(total, about.kind);
    let import = Import {
        kind: about.kind,
        files: &files,
        as_of: about.as_of,
        licence: about.licence,
        allow_fewer: about.allow_fewer,
    };
    let imported = import.run(base, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let imported = imported?; // after the bar is gone
    for notice in &imported.notices {
        eprintln!("note: {notice}");
    }
    Ok(imported)
}

fn progress_bar(bytes: u64, kind: SourceKind) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes).with_message(kind.as_str());
    match ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let size = std::fs::metadata(path)
        .with_context(|| format!("{shown} cannot be read"))?
        .len();
    anyhow::ensure!(
        size <= LARGEST_FILE,
        "{shown} has {size} bytes: more than {LARGEST_FILE} is no directory file"
    );
    std::fs::read(path).with_context(|| format!("{shown} cannot be read"))
}
