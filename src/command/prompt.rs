//! `trunkline prompt`: what is recorded, adding recordings, and making speech from words.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use media::Law;
use media::audio_file::{self, Level};
use serde::Serialize;

use super::output::say;
use crate::config::Config;
use crate::flow::catalogue::{Catalogue, Piece};
use crate::switch::prompt_library::{ENDINGS, PromptLibrary, Source, is_id};
use crate::units::Language;

/// The rate at which added recordings are kept, in Hz: twice the telephone's, for wide-band codecs.
const KEPT_RATE: u32 = 16_000;

/// Prompts: what is recorded and what is missing, adding recordings, making speech from the words
#[derive(Debug, Args)]
pub struct PromptArgs {
    /// Directory of your own recordings: LANGUAGE/KEY.wav; they go before the built-in ones
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "config")]
    pub directory: Option<PathBuf>,
    /// The configuration file that names the directory; data/prompts without either
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    command: PromptCommand,
}

#[derive(Debug, Subcommand)]
enum PromptCommand {
    /// Lists every prompt with its recording in each language, and what is missing
    List {
        /// One JSON document per recording and line
        #[arg(long)]
        json: bool,
        /// Fragments, names and places too
        #[arg(long)]
        all: bool,
        /// Only this language
        #[arg(long)]
        language: Option<Language>,
    },
    /// Adds a recording: reads WAV, MP3, Ogg Vorbis or FLAC, trims silence, brings it to the level of prompts
    Add {
        /// What it says: the key or id that `prompt list` shows
        key: String,
        file: PathBuf,
        #[arg(long, default_value = "en")]
        language: Language,
    },
    /// Writes what the telephone hears of a prompt, with examples in its slots, as a WAV file
    Preview {
        key: String,
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[arg(long, default_value = "en")]
        language: Language,
    },
    /// Makes the built-in recordings from their words again, where these changed (needs a source tree)
    Render {
        /// Passed on to scripts/render-prompts, for example: --language es --only prompts
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

impl PromptArgs {
    /// Where own recordings are; none when the configuration names no directory: then the built-in ones are all.
    ///
    /// # Errors
    /// The configuration cannot be read.
    fn directory(&self) -> anyhow::Result<Option<PathBuf>> {
        match (&self.config, &self.directory) {
            (Some(file), _) => Ok(Config::load(file)?.prompts.directory),
            (None, Some(directory)) => Ok(Some(directory.clone())),
            (None, None) => Ok(Some(PathBuf::from("data/prompts"))),
        }
    }

    /// # Errors
    /// The configuration cannot be read, or names no directory for a new recording.
    fn named(&self) -> anyhow::Result<PathBuf> {
        let file = self.config.as_deref().unwrap_or(Path::new(""));
        self.directory()?
            .with_context(|| format!("{}: [prompts] directory is not set", file.display()))
    }
}

/// Runs the command; exit code 1 when something is missing or broken.
pub fn run(arguments: &PromptArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        PromptCommand::List { json, all, language } => {
            list(arguments.directory()?.as_deref(), *json, *all, *language)
        }
        PromptCommand::Add { key, file, language } => add(&arguments.named()?, key, file, *language),
        PromptCommand::Preview { key, to, language } => {
            preview(arguments.directory()?.as_deref(), key, to, *language)
        }
        PromptCommand::Render { arguments } => render(arguments),
    }
}

/// One recording as `prompt list --json` shows it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    language: Language,
    words: Option<&'a str>,
    /// `built_in`, `own` or `missing`.
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rms_dbfs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_dbfs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl<'a> Row<'a> {
    fn new(library: &PromptLibrary, language: Language, id: &'a str, words: Option<&'a str>) -> Self {
        let source = library.source(language, id);
        let mut row = Self {
            id,
            language,
            words,
            source: "missing",
            file: None,
            seconds: None,
            rms_dbfs: None,
            peak_dbfs: None,
            fault: None,
        };
        let Some(source) = source else { return row };
        match library.read(language, id, &source) {
            Ok(sound) => {
                let level = audio_file::level(&sound.telephone(), audio_file::TELEPHONE_RATE);
                row.seconds = Some(rounded(sound.duration().as_secs_f64()));
                (row.rms_dbfs, row.peak_dbfs) =
                    (Some(rounded(level.rms_dbfs)), Some(rounded(level.peak_dbfs)));
            }
            Err(error) => row.fault = Some(error.to_string()),
        }
        match source {
            Source::BuiltIn => row.source = "built_in",
            Source::Own(path) => (row.source, row.file) = ("own", Some(path)),
        }
        row
    }

    fn is_bad(&self) -> bool {
        self.source == "missing" || self.fault.is_some()
    }
}

fn rounded(value: f64) -> f64 {
    if value.is_finite() {
        (value * 100.0).round() / 100.0
    } else {
        -120.0
    }
}

fn list(directory: Option<&Path>, json: bool, all: bool, only: Option<Language>) -> anyhow::Result<ExitCode> {
    let library = open(directory)?;
    let languages: Vec<Language> = match only {
        Some(language) => vec![language],
        None => Catalogue::languages().to_vec(),
    };
    let unknown = library.unknown();
    let (mut shown, mut bad) = (0_u32, 0_u32);
    let mut out = io::stdout().lock();
    for language in languages {
        let catalogue = Catalogue::bundled(language);
        let own = unknown
            .iter()
            .filter(|(own, _)| *own == language)
            .map(|(_, id)| (id.as_str(), None));
        let known = catalogue.recordings().map(|(id, words)| (id, Some(words)));
        for (id, words) in known
            .chain(own)
            .filter(|(id, words)| all || words.is_none() || !id.contains('/'))
        {
            let row = Row::new(&library, language, id, words);
            shown += 1;
            bad += u32::from(row.is_bad());
            match json {
                true => writeln!(out, "{}", serde_json::to_string(&row)?)?,
                false => writeln!(out, "{}", line(&row))?,
            }
        }
    }
    if !json {
        writeln!(out, "\n{shown} recordings, {bad} missing or broken.")?;
    }
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(row: &Row<'_>) -> String {
    let state = match (&row.fault, row.source) {
        (Some(fault), _) => format!("BROKEN {fault}"),
        (None, "missing") => "MISSING".to_owned(),
        (None, source) => {
            format!(
                "{:>5.1} s {:>6.1} dBFS {}",
                row.seconds.unwrap_or(0.0),
                row.rms_dbfs.unwrap_or(0.0),
                source
            )
        }
    };
    format!(
        "{}  {:<30} {state:<28} {}",
        row.language,
        row.id,
        row.words.unwrap_or("(no words known)")
    )
}

fn open(directory: Option<&Path>) -> anyhow::Result<PromptLibrary> {
    PromptLibrary::open(directory, Language::ENGLISH).with_context(|| {
        let shown = directory.unwrap_or(Path::new("the program")).display();
        format!("the recordings in {shown} cannot be listed")
    })
}

fn add(directory: &Path, key: &str, file: &Path, language: Language) -> anyhow::Result<ExitCode> {
    if !is_id(key) {
        bail!("{key:?} is not a prompt's key: letters, digits, _ and -, folders separated by /");
    }
    refuse_key_in_parts(key, language)?;
    let bytes = read(file)?;
    let sound = audio_file::decode(&bytes).with_context(|| file.display().to_string())?;
    let sound = sound
        .normalised()
        .with_context(|| file.display().to_string())?
        .at_rate(KEPT_RATE);
    let samples = audio_file::to_linear(sound.samples());
    let level = audio_file::level(&sound.telephone(), audio_file::TELEPHONE_RATE);
    let target = directory.join(language.as_str()).join(format!("{key}.wav"));
    write_atomically(&target, &audio_file::encode_wav(&samples, KEPT_RATE)?)
        .with_context(|| format!("{} cannot be written", target.display()))?;
    let replaced = remove_others(&target)?;
    report_added(&target, &replaced, sound.duration().as_secs_f64(), &level)?;
    if Catalogue::bundled(language).recording_words(key).is_none() {
        say!("Note: no built-in flow asks for {key:?}; `prompt list` shows the ones that are asked for.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A prompt with slots is recorded in parts, which have ids of their own.
fn refuse_key_in_parts(key: &str, language: Language) -> anyhow::Result<()> {
    let catalogue = Catalogue::bundled(language);
    if catalogue.words(key).is_none() || catalogue.recording_words(key).is_some() {
        return Ok(());
    }
    let parts: Vec<String> = catalogue
        .recordings()
        .filter(|(id, _)| id.strip_prefix(key).is_some_and(|rest| rest.starts_with('-')))
        .map(|(id, words)| format!("  {id}: {words}"))
        .collect();
    bail!(
        "{key} is recorded in parts, because what it says varies. Add these:\n{}",
        parts.join("\n")
    )
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(file)
        .with_context(|| format!("{} cannot be read", file.display()))?
        .len();
    if size > audio_file::MAX_BYTES as u64 {
        bail!(
            "{}: {size} bytes; at most {} are read",
            file.display(),
            audio_file::MAX_BYTES
        );
    }
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Writes beside the target and renames, so that a reader sees the old file or the new one, never half of it.
fn write_atomically(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, target)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Removes recordings of the same id in other formats: two of one id would leave it open which one is heard.
fn remove_others(target: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for ending in ENDINGS {
        let other = target.with_extension(ending);
        if other != target && other.exists() {
            fs::remove_file(&other)?;
            removed.push(other);
        }
    }
    Ok(removed)
}

fn report_added(target: &Path, replaced: &[PathBuf], seconds: f64, level: &Level) -> anyhow::Result<()> {
    say!(
        "{}: {seconds:.1} s, {:.1} dBFS, peak {:.1} dBFS",
        target.display(),
        level.rms_dbfs,
        level.peak_dbfs
    )?;
    for path in replaced {
        say!("{}: removed, replaced by the above", path.display())?;
    }
    Ok(())
}

fn preview(directory: Option<&Path>, key: &str, to: &Path, language: Language) -> anyhow::Result<ExitCode> {
    let library = open(directory)?;
    let catalogue = Catalogue::bundled(language);
    let pieces = catalogue.pieces(key, &|slot| example(catalogue, slot));
    let clips = library.clips(language, &pieces);
    if clips.is_empty() {
        bail!("{key} has no recording in {language} nor in English");
    }
    let heard = clips
        .iter()
        .flat_map(|clip| clip.bytes(Law::Mu))
        .map(|byte| Law::Mu.decode(*byte));
    let samples: Vec<i16> = heard.collect();
    let wav = audio_file::encode_wav(&samples, audio_file::TELEPHONE_RATE)?;
    write_atomically(to, &wav).with_context(|| format!("{} cannot be written", to.display()))?;
    let seconds = samples.len() as f64 / f64::from(audio_file::TELEPHONE_RATE);
    say!("{}: {seconds:.1} s: {}", to.display(), catalogue.text(&pieces))?;
    Ok(ExitCode::SUCCESS)
}

/// What stands in a slot when nobody calls.
fn example(words: &Catalogue, slot: &str) -> Vec<Piece> {
    let state = |code: &str| code.parse().map(|state| words.state(state)).unwrap_or_default();
    match slot {
        "zip" => words.digits("94110"),
        "last4" => words.digits("0142"),
        "state" => state("CA"),
        "territory" => state("PR"),
        "district" => "CA"
            .parse()
            .map(|state| words.district(state, Some(14)))
            .unwrap_or_default(),
        "delegate" => vec![Piece::recording("fragments/a-resident-commissioner")],
        "title" => words.title("representative", Some("P000197")),
        "name" | "fallback" => words.name("P000197"),
        "office" => vec![Piece::recording("fragments/office-washington")],
        "city" => words.place("Phoenix"),
        "n" => words.number(2),
        "offices" => words.offices(3),
        "calls_left" => words.calls_left(2),
        "day" => words.weekday(1),
        "time" => words.time(9, 30),
        "zone" => words.zone("America/New_York"),
        "url" => vec![Piece::recording("fragments/url-house")],
        _ => Vec::new(),
    }
}

fn render(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let script = script().context(
        "scripts/render-prompts is not here. Run this in a source tree of Trunkline; the script says what else it needs.",
    )?;
    let status = Command::new(&script).args(arguments).status().with_context(|| {
        format!(
            "{} cannot be run; it needs python3 (apt-get install python3-venv)",
            script.display()
        )
    })?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The script in the working directory or above the program (`target/release/trunkline`).
fn script() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|program| program.ancestors().skip(1));
    let folders = std::iter::once(Path::new(".")).chain(above);
    folders
        .map(|folder| folder.join("scripts/render-prompts"))
        .find(|script| script.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(milliseconds: usize) -> Vec<u8> {
        let sound = (0..milliseconds * 44).map(|at| ((at as f64 * 0.05).sin() * 900.0) as i16);
        let silence = std::iter::repeat_n(0, 44_100);
        let samples: Vec<i16> = silence.clone().chain(sound).chain(silence).collect();
        audio_file::encode_wav(&samples, 44_100).unwrap()
    }

    #[test]
    fn added_recording_is_trimmed_levelled_and_heard_instead_of_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("take 7.wav");
        fs::write(&file, recording(800)).unwrap();
        let directory = folder.path().join("own");
        add(&directory, "msg_goodbye", &file, Language::SPANISH).unwrap();
        let library = open(Some(&directory)).unwrap();
        let source = library.source(Language::SPANISH, "msg_goodbye").unwrap();
        assert_eq!(source, Source::Own(directory.join("es/msg_goodbye.wav")));
        let sound = library.read(Language::SPANISH, "msg_goodbye", &source).unwrap();
        let level = audio_file::level(&sound.telephone(), 8000);
        assert!(
            (-20.0..=-16.0).contains(&level.rms_dbfs) && level.peak_dbfs < -1.0,
            "{level:?}"
        );
        assert!(
            (0.8..1.0).contains(&sound.duration().as_secs_f64()),
            "{:?}",
            sound.duration()
        );
        let left: Vec<_> = fs::read_dir(directory.join("es")).unwrap().collect();
        assert_eq!(left.len(), 1, "no half-written file stays");
    }

    #[test]
    fn added_recording_replaces_one_in_another_format() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("take.wav");
        fs::write(&file, recording(300)).unwrap();
        fs::create_dir_all(folder.path().join("own/en")).unwrap();
        fs::write(folder.path().join("own/en/custom.mp3"), b"old").unwrap();
        add(&folder.path().join("own"), "custom", &file, Language::ENGLISH).unwrap();
        assert!(!folder.path().join("own/en/custom.mp3").exists());
        assert!(folder.path().join("own/en/custom.wav").exists());
    }

    #[test]
    fn preview_is_what_the_telephone_hears() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heard.wav");
        preview(
            Some(Path::new("/nonexistent")),
            "callback_consent",
            &file,
            Language::SPANISH,
        )
        .unwrap();
        let sound = audio_file::decode(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(sound.rate(), 8000);
        assert!(
            (9.0..25.0).contains(&sound.duration().as_secs_f64()),
            "{:?}",
            sound.duration()
        );
        assert!(
            preview(
                Some(Path::new("/nonexistent")),
                "no_such_prompt",
                &file,
                Language::ENGLISH
            )
            .is_err()
        );
    }

    #[test]
    fn every_slot_of_the_catalogue_has_an_example_or_plain_words() {
        let catalogue = Catalogue::bundled(Language::ENGLISH);
        for key in catalogue.keys() {
            let plain = catalogue.recording_words(&format!("{key}-plain")).is_some();
            for slot in catalogue.slots(key).filter(|_| !plain) {
                assert!(!example(catalogue, slot).is_empty(), "{key} {slot}");
            }
        }
    }

    #[test]
    fn prompt_with_slots_is_refused_naming_its_parts() {
        let error = add(
            Path::new("own"),
            "msg_target_intro",
            Path::new("x.wav"),
            Language::ENGLISH,
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("msg_target_intro-1: Next is"),
            "{error}"
        );
    }

    #[test]
    fn bad_keys_and_files_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.wav");
        fs::write(&file, b"these are notes, not sound").unwrap();
        let said = |key: &str, file: &Path| {
            let error = add(folder.path(), key, file, Language::ENGLISH).unwrap_err();
            format!("{error:#}")
        };
        assert!(said("../up", &file).contains("not a prompt's key"));
        assert!(
            said("msg_goodbye", &file).contains("notes.wav: this is not a WAV, MP3, Ogg Vorbis or FLAC file")
        );
        assert!(said("msg_goodbye", Path::new("/nonexistent.wav")).contains("cannot be read"));
    }
}
