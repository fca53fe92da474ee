//! `trunkline directory`: import files, tell what is loaded, show what an import would change.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;

use crate::directory::import::{Import, Imported, InputFile};
use crate::directory::{Dataset, SourceKind};

/// A file larger than this is not a file of the directory.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// Import files into the directory, tell what is loaded, show what an import would change.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write the compact table that is built into the program, from a directory of published files
    Bundle(BundleArgs),
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
        Action::Bundle(args) => bundle(&args),
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
    };
    let imported = import.run(base, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let imported = imported?;
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
