//! The recordings of the hotline, ready to send.
//!
//! Built in: every file under `prompts/` is part of the program. A directory of the operator's own recordings, laid
//! out the same way (`es/msg_intro.wav`), goes before them; there WAV, MP3, Ogg Vorbis and FLAC files count.
//! Order of look-up (hotline: no prompt may be missing): own recording in the language asked for, built-in one in
//! that language, then the same two in the default language, then the built-in English one.
//!
//! Every file is decoded once. [`PromptLibrary::preload`] decodes prompts and fragments on threads of its own
//! at start, [`PromptLibrary::preload_names`] names and places behind it, so that no call's thread has to.
//! A file that cannot be decoded is named in [`PromptLibrary::problems`] and passed over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use media::Clip;
use media::audio_file::{self, AudioError};
use rust_embed::RustEmbed;

use crate::flow::catalogue::{Catalogue, Piece};
use crate::units::Language;

/// Endings of files that are looked for in the operator's directory, the first that exists wins.
pub const ENDINGS: [&str; 4] = ["wav", "ogg", "flac", "mp3"];
/// Files in the operator's directory beyond this number are not looked at.
const MAX_OWN_FILES: usize = 50_000;
/// Problems beyond this number are counted in the log only.
const MAX_PROBLEMS: usize = 1000;
/// Recordings beyond this number that are lacking are looked for again.
const MAX_LACKING: usize = 20_000;
/// Threads that decode at start.
const PRELOAD_THREADS: usize = 2;

#[derive(RustEmbed)]
#[folder = "prompts/"]
#[include = "*.ogg"]
struct BuiltIn;

/// Where a recording comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    BuiltIn,
    /// A file in the operator's directory.
    Own(PathBuf),
}

/// A recording that exists, and is not fit to be played.
#[derive(Debug, Clone)]
pub struct Problem {
    pub language: Language,
    pub id: String,
    pub source: Source,
    pub fault: String,
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{path}: {error}", path = .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: {error}", path = .path.display())]
    Audio { path: PathBuf, error: AudioError },
    #[error("{id} in {language} is not built in")]
    Missing { language: Language, id: String },
}

/// All recordings, shared by every call. See the module for the order of look-up.
pub struct PromptLibrary {
    own: BTreeMap<(Language, String), PathBuf>,
    default_language: Language,
    clips: RwLock<HashMap<Language, HashMap<String, Clip>>>,
    /// Recordings that are not there or cannot be decoded: looked for once.
    lacking: RwLock<HashSet<(Language, String)>>,
    problems: Mutex<Vec<Problem>>,
}

impl PromptLibrary {
    /// A library of the built-in recordings, and those of `directory` if there is one. Decodes nothing yet.
    ///
    /// Errors: the directory exists and cannot be listed. One that does not exist has no recordings.
    pub fn open(directory: Option<&Path>, default_language: Language) -> io::Result<Self> {
        let own = directory.map(own_files).transpose()?.unwrap_or_default();
        let library = Self {
            own,
            default_language,
            clips: RwLock::default(),
            lacking: RwLock::default(),
            problems: Mutex::default(),
        };
        Ok(library)
    }

    /// Decodes what calls in these languages may need, on threads of its own; join to wait for it. Until a
    /// recording had its turn, [`Self::clip`] decodes it on the spot.
    pub fn preload(self: &Arc<Self>, languages: &[Language]) -> Vec<JoinHandle<()>> {
        let ids = |language: &Language| {
            let language = *language;
            self.spoken_often(language)
                .into_iter()
                .map(move |id| (language, id))
        };
        self.decode_ahead(languages.iter().flat_map(ids).collect(), PRELOAD_THREADS)
    }

    /// Decodes names and places on one thread more, while calls may already come in. Nobody need wait for it.
    pub fn preload_names(self: &Arc<Self>, languages: &[Language]) -> Vec<JoinHandle<()>> {
        let of = |id: &String| {
            languages
                .iter()
                .map(|language| (*language, id.clone()))
                .collect::<Vec<_>>()
        };
        self.decode_ahead(spoken_seldom().iter().flat_map(of).collect(), 1)
    }

    fn decode_ahead(self: &Arc<Self>, work: Vec<(Language, String)>, threads: usize) -> Vec<JoinHandle<()>> {
        let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
        (0..threads)
            .filter_map(|_| {
                let (library, work, next) = (Arc::clone(self), Arc::clone(&work), Arc::clone(&next));
                let body = move || {
                    while let Some((language, id)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let _ = library.clip(*language, id);
                    }
                };
                std::thread::Builder::new()
                    .name("prompts".to_owned())
                    .spawn(body)
                    .ok()
            })
            .collect()
    }

    /// The recording of an id, in the language asked for or the next best. `None` when no language has one.
    pub fn clip(&self, language: Language, id: &str) -> Option<Clip> {
        if let Some(clip) = self.kept(language, id) {
            return Some(clip);
        }
        let clip = self.languages_from(language).find_map(|language| {
            self.kept(language, id).or_else(|| {
                let clip = self.decode_once(language, id)?;
                self.keep(language, id, &clip);
                Some(clip)
            })
        })?;
        self.keep(language, id, &clip);
        Some(clip)
    }

    /// Whether [`Self::clip`] would answer without decoding.
    pub fn is_decoded(&self, language: Language, id: &str) -> bool {
        self.kept(language, id).is_some()
    }

    /// The recordings and silences of a prompt, in order; what has no recording in any language is left out.
    pub fn clips(&self, language: Language, pieces: &[Piece]) -> Vec<Clip> {
        let clip = |piece: &Piece| match piece {
            Piece::Recording(id) => self.clip(language, id),
            Piece::Silence(duration) => Some(Clip::silence((*duration).min(Duration::from_secs(60)))),
        };
        pieces.iter().filter_map(clip).collect()
    }

    /// The words of a prompt or of one recording, in the language asked for or in English.
    pub fn words(&self, language: Language, key: &str) -> Option<&'static str> {
        [language, Language::ENGLISH]
            .into_iter()
            .map(Catalogue::bundled)
            .find_map(|catalogue| catalogue.words(key).or_else(|| catalogue.recording_words(key)))
    }

    /// Where the recording of this very language is, without any falling back.
    pub fn source(&self, language: Language, id: &str) -> Option<Source> {
        self.sources(language, id).next()
    }

    /// Ids that the catalogue of a language asks for and that have no recording in that language.
    pub fn missing(&self, language: Language) -> Vec<String> {
        Catalogue::bundled(language)
            .recordings()
            .map(|(id, _)| id)
            .filter(|id| self.source(language, id).is_none())
            .map(str::to_owned)
            .collect()
    }

    /// Recordings of the operator's that the catalogue of no language knows: perhaps misspelt.
    pub fn unknown(&self) -> Vec<(Language, String)> {
        let known = |id: &str| {
            Catalogue::languages()
                .into_iter()
                .any(|language| Catalogue::bundled(language).recording_words(id).is_some())
        };
        self.own.keys().filter(|(_, id)| !known(id)).cloned().collect()
    }

    /// What was found broken so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Decodes one recording anew, keeping nothing: for lists and checks.
    pub fn read(
        &self,
        language: Language,
        id: &str,
        source: &Source,
    ) -> Result<audio_file::Pcm, RecordingError> {
        let missing = || RecordingError::Missing {
            language,
            id: id.to_owned(),
        };
        match source {
            Source::BuiltIn => {
                let path = built_in_path(language, id);
                let file = is_id(id)
                    .then(|| BuiltIn::get(&path))
                    .flatten()
                    .ok_or_else(missing)?;
                audio_file::decode(&file.data).map_err(|error| RecordingError::Audio {
                    path: path.into(),
                    error,
                })
            }
            Source::Own(path) => {
                let bytes = read_bounded(path).map_err(|error| RecordingError::Unreadable {
                    path: path.clone(),
                    error,
                })?;
                audio_file::decode(&bytes).map_err(|error| RecordingError::Audio {
                    path: path.clone(),
                    error,
                })
            }
        }
    }

    fn languages_from(&self, language: Language) -> impl Iterator<Item = Language> {
        let order = [language, self.default_language, Language::ENGLISH];
        (0..order.len())
            .filter(move |at| !order[..*at].contains(&order[*at]))
            .map(move |at| order[at])
    }

    fn sources(&self, language: Language, id: &str) -> impl Iterator<Item = Source> {
        let own = self.own.get(&(language, id.to_owned())).cloned().map(Source::Own);
        let built_in = is_id(id) && BuiltIn::get(&built_in_path(language, id)).is_some();
        own.into_iter().chain(built_in.then_some(Source::BuiltIn))
    }

    /// Decodes a recording, unless that failed before. A call's thread must not try the same broken file again.
    fn decode_once(&self, language: Language, id: &str) -> Option<Clip> {
        let key = (language, id.to_owned());
        let lacking = self.lacking.read().unwrap_or_else(PoisonError::into_inner);
        if lacking.contains(&key) {
            return None;
        }
        drop(lacking);
        let clip = self.decode_first(language, id);
        if clip.is_none() {
            let mut lacking = self.lacking.write().unwrap_or_else(PoisonError::into_inner);
            if lacking.len() < MAX_LACKING {
                lacking.insert(key);
            }
        }
        clip
    }

    fn decode_first(&self, language: Language, id: &str) -> Option<Clip> {
        let own = self.own.get(&(language, id.to_owned())).cloned().map(Source::Own);
        own.into_iter().chain([Source::BuiltIn]).find_map(|source| {
            match self.read(language, id, &source) {
                Ok(sound) => return Some(Clip::from_samples(&sound.telephone())),
                Err(RecordingError::Missing { .. }) => {}
                Err(error) => {
                    self.report(Problem {
                        language,
                        id: id.to_owned(),
                        source,
                        fault: error.to_string(),
                    });
                }
            }
            None
        })
    }

    fn report(&self, problem: Problem) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let told = problems
            .iter()
            .any(|other| other.id == problem.id && other.source == problem.source);
        if told {
            return;
        }
        tracing::warn!(id = problem.id, language = %problem.language, "recording passed over: {}", problem.fault);
        if problems.len() < MAX_PROBLEMS {
            problems.push(problem);
        }
    }

    fn kept(&self, language: Language, id: &str) -> Option<Clip> {
        let clips = self.clips.read().unwrap_or_else(PoisonError::into_inner);
        clips.get(&language)?.get(id).cloned()
    }

    fn keep(&self, language: Language, id: &str, clip: &Clip) {
        let mut clips = self.clips.write().unwrap_or_else(PoisonError::into_inner);
        clips
            .entry(language)
            .or_default()
            .entry(id.to_owned())
            .or_insert_with(|| clip.clone());
    }

    /// Everything but names and places: the operator's recordings, prompts, fragments.
    fn spoken_often(&self, language: Language) -> Vec<String> {
        let own = self
            .own
            .keys()
            .filter(|(own, _)| *own == language)
            .map(|(_, id)| id.as_str());
        let (fragments, prompts): (Vec<&str>, Vec<&str>) = Catalogue::bundled(language)
            .recordings()
            .map(|(id, _)| id)
            .filter(|id| !is_name(id))
            .partition(|id| id.starts_with("fragments/"));
        let mut ids: Vec<String> = prompts
            .into_iter()
            .chain(own)
            .chain(fragments)
            .map(str::to_owned)
            .collect();
        ids.dedup();
        ids
    }
}

fn is_name(id: &str) -> bool {
    id.starts_with("names/") || id.starts_with("places/")
}

/// Names and places: they are recorded in English, whatever the language around them.
fn spoken_seldom() -> Vec<String> {
    let all = Catalogue::bundled(Language::ENGLISH);
    let ids = all.recordings().map(|(id, _)| id);
    ids.filter(|id| is_name(id)).map(str::to_owned).collect()
}

/// Whether text can be the id of a recording: words of letters, digits, `_` and `-`, joined by single slashes.
pub fn is_id(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    text.len() <= 200 && text.split('/').all(word)
}

fn built_in_path(language: Language, id: &str) -> String {
    format!("{language}/{id}.ogg")
}

/// At most one byte more than what decoding accepts, so that it can refuse the rest unseen.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = audio_file::MAX_BYTES as u64 + 1;
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, limit), &mut bytes)?;
    Ok(bytes)
}

/// The operator's recordings by language and id.
fn own_files(directory: &Path) -> io::Result<BTreeMap<(Language, String), PathBuf>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let language = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse().ok());
        if let Some(language) = language.filter(|_| path.is_dir()) {
            collect(&path, language, "", &mut found)?;
        }
    }
    Ok(found)
}

fn collect(
    folder: &Path,
    language: Language,
    prefix: &str,
    found: &mut BTreeMap<(Language, String), PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let id = format!("{prefix}{stem}");
        if !is_id(&id) || found.len() >= MAX_OWN_FILES {
            continue;
        }
        if path.is_dir() {
            if prefix.matches('/').count() < 3 {
                collect(&path, language, &format!("{id}/"), found)?;
            }
            continue;
        }
        let rank = |path: &Path| {
            let ending = path.extension()?.to_str()?.to_ascii_lowercase();
            ENDINGS.iter().position(|known| *known == ending)
        };
        let Some(new) = rank(&path) else { continue };
        let key = (language, id);
        if found
            .get(&key)
            .and_then(|old: &PathBuf| rank(old))
            .is_none_or(|old| new < old)
        {
            found.insert(key, path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(milliseconds: usize) -> Vec<u8> {
        let samples: Vec<i16> = (0..milliseconds * 8)
            .map(|at| if at % 20 < 10 { 4000 } else { -4000 })
            .collect();
        audio_file::encode_wav(&samples, 8000).unwrap()
    }

    fn library(files: &[(&str, &[u8])], default_language: Language) -> (tempfile::TempDir, PromptLibrary) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let library = PromptLibrary::open(Some(folder.path()), default_language).unwrap();
        (folder, library)
    }

    fn milliseconds(library: &PromptLibrary, language: Language, id: &str) -> Option<u128> {
        library.clip(language, id).map(|clip| clip.duration().as_millis())
    }

    #[test]
    fn a_recording_that_cannot_be_decoded_is_read_once() {
        let broken = "en/names/nobody.wav";
        let (folder, library) = library(&[(broken, b"RIFF, but nothing else")], Language::ENGLISH);
        assert_eq!(milliseconds(&library, Language::ENGLISH, "names/nobody"), None);
        // Repaired behind our back: what was read is remembered.
        fs::write(folder.path().join(broken), wav(300)).unwrap();
        assert_eq!(milliseconds(&library, Language::ENGLISH, "names/nobody"), None);
        assert_eq!(library.problems().len(), 1);
    }

    #[test]
    fn built_in_prompt_is_there_without_any_directory() {
        let library = PromptLibrary::open(None, Language::ENGLISH).unwrap();
        let clip = library.clip(Language::ENGLISH, "msg_location").unwrap();
        assert!(clip.duration() > Duration::from_secs(1));
        assert!(PromptLibrary::open(Some(Path::new("/nonexistent/prompts")), Language::ENGLISH).is_ok());
    }

    #[test]
    fn own_recording_goes_before_the_built_in_one_of_its_language_only() {
        let (_folder, library) = library(&[("en/msg_goodbye.wav", &wav(100))], Language::ENGLISH);
        assert_eq!(
            milliseconds(&library, Language::ENGLISH, "msg_goodbye"),
            Some(100)
        );
        assert_ne!(
            milliseconds(&library, Language::SPANISH, "msg_goodbye"),
            Some(100)
        );
    }

    #[test]
    fn language_without_a_recording_falls_back_to_the_default_one_then_to_english() {
        let french: Language = "fr".parse().unwrap();
        let files: [(&str, &[u8]); 2] = [("es/campaign/ask.wav", &wav(150)), ("fr/x.wav", &wav(50))];
        let (_folder, library) = library(&files, Language::SPANISH);
        assert_eq!(milliseconds(&library, french, "campaign/ask"), Some(150));
        assert_eq!(milliseconds(&library, french, "x"), Some(50));
        let goodbye = library.clip(french, "msg_goodbye");
        assert!(goodbye.is_some() && goodbye == library.clip(Language::SPANISH, "msg_goodbye"));
        assert!(
            library.clip(french, "names/P000197").is_some(),
            "names are recorded in English only"
        );
        assert_eq!(library.clip(french, "nothing/of/that/name"), None);
    }

    #[test]
    fn broken_own_recording_is_named_and_the_built_in_one_played() {
        let (folder, library) = library(&[("en/msg_goodbye.mp3", b"this is not music")], Language::ENGLISH);
        let built_in = PromptLibrary::open(None, Language::ENGLISH).unwrap();
        assert_eq!(
            library.clip(Language::ENGLISH, "msg_goodbye"),
            built_in.clip(Language::ENGLISH, "msg_goodbye")
        );
        let problems = library.problems();
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].source,
            Source::Own(folder.path().join("en/msg_goodbye.mp3"))
        );
        assert!(
            problems[0].fault.contains("msg_goodbye.mp3"),
            "{}",
            problems[0].fault
        );
    }

    #[test]
    fn names_and_places_are_decoded_ahead_for_every_language_and_all_else_at_start() {
        let library = Arc::new(PromptLibrary::open(None, Language::ENGLISH).unwrap());
        let (often, seldom) = (library.spoken_often(Language::ENGLISH), spoken_seldom());
        let all = Catalogue::bundled(Language::ENGLISH).recordings().count();
        assert_eq!(often.len() + seldom.len(), all);
        assert!(seldom.len() > 600 && seldom.iter().any(|id| id.starts_with("places/")));
        let name = "names/P000197".to_owned();
        assert!(seldom.contains(&name));
        let languages = [Language::ENGLISH, Language::SPANISH];
        assert!(
            !languages
                .iter()
                .any(|language| library.is_decoded(*language, &name))
        );
        let work = languages.map(|language| (language, name.clone())).to_vec();
        for worker in library.decode_ahead(work, 1) {
            worker.join().unwrap();
        }
        assert!(
            languages
                .iter()
                .all(|language| library.is_decoded(*language, &name))
        );
    }

    #[test]
    fn strange_files_and_folders_are_left_alone() {
        let files: [(&str, &[u8]); 4] = [
            ("en/a b.wav", b""),
            ("english/x.wav", b""),
            ("en/notes.pdf", b""),
            ("en/deep/1/2/3/4/5.wav", b""),
        ];
        let (_folder, library) = library(&files, Language::ENGLISH);
        assert!(library.unknown().is_empty(), "{:?}", library.unknown());
        assert_eq!(library.clip(Language::ENGLISH, "../../etc/passwd"), None);
        assert_eq!(library.clip(Language::ENGLISH, "notes"), None);
    }

    #[test]
    fn wav_goes_before_mp3_of_the_same_id() {
        let (folder, library) = library(&[("en/x.mp3", b"?"), ("en/x.wav", &wav(30))], Language::ENGLISH);
        let source = library.source(Language::ENGLISH, "x");
        assert_eq!(source, Some(Source::Own(folder.path().join("en/x.wav"))));
        assert_eq!(library.unknown(), [(Language::ENGLISH, "x".to_owned())]);
    }

    #[test]
    fn pieces_become_clips_and_silences() {
        let (_folder, library) = library(&[("en/x.wav", &wav(30))], Language::ENGLISH);
        let pieces = [
            Piece::recording("x"),
            Piece::Silence(Duration::from_millis(120)),
            Piece::recording("not there"),
        ];
        let lengths: Vec<u128> = library
            .clips(Language::ENGLISH, &pieces)
            .iter()
            .map(|clip| clip.duration().as_millis())
            .collect();
        assert_eq!(lengths, [30, 120]);
    }

    #[test]
    fn ids_cannot_leave_the_directory() {
        for text in ["", "/", "a//b", "../x", "a/..", "a b", "a.b", "/etc/passwd"] {
            assert!(!is_id(text), "{text}");
        }
        assert!(is_id("names/P000197") && is_id("msg_target_intro-1"));
    }
}
