//! The prompt catalogue: which recordings, in which order, say a prompt in a language.
//!
//! A prompt is named by its key (`msg_target_intro`). Its words may have slots, whose place differs between
//! languages; each run of words between slots is a recording of its own (`msg_target_intro-1`). What fills a
//! slot are recordings too: `fragments/state-CA`, `names/P000197`, `places/phoenix`. The files
//! under `prompts/` hold the words; prompts/README.md explains their form. Pure: the words are compiled in.

mod spoken;
mod template;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;

use crate::units::Language;
use template::{Part, Template};

/// One thing to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A recording by its id, as files under `prompts/<language>/` are named without their ending.
    Recording(String),
    /// Nothing, for this long.
    Silence(Duration),
}

impl Piece {
    pub fn recording(id: impl Into<String>) -> Self {
        Self::Recording(id.into())
    }
}

/// Why the words of a language could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("{file}: {error}")]
    Form {
        file: &'static str,
        error: toml::de::Error,
    },
    #[error("prompt {key}: {fault}")]
    Words { key: String, fault: &'static str },
}

/// The words of every prompt, fragment, name and place in one language.
#[derive(Debug, Default)]
pub struct Catalogue {
    language: Option<Language>,
    prompts: BTreeMap<String, Prompt>,
    /// Words by recording id, for all recordings of this language.
    recordings: BTreeMap<String, String>,
    feminine: std::collections::BTreeSet<String>,
}

#[derive(Debug)]
struct Prompt {
    words: String,
    template: Template,
    plain: bool,
    interruptible: bool,
}

/// The text of the files that make up a language, in the form of prompts/README.md.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatalogueText<'a> {
    pub prompts: &'a str,
    pub fragments: &'a str,
    pub names: &'a str,
    pub places: &'a str,
}

impl Catalogue {
    /// The catalogue that is compiled in; English for a language without one.
    pub fn bundled(language: Language) -> &'static Catalogue {
        static ENGLISH: OnceLock<Catalogue> = OnceLock::new();
        static SPANISH: OnceLock<Catalogue> = OnceLock::new();
        let (cell, text, language) = match language {
            Language::SPANISH => (&SPANISH, SPANISH_TEXT, Language::SPANISH),
            _ => (&ENGLISH, ENGLISH_TEXT, Language::ENGLISH),
        };
        // A fault in compiled-in text is caught by the tests of this file; the line then still works, wordless.
        cell.get_or_init(|| Catalogue::parse(language, text).unwrap_or_default())
    }

    /// The languages that have a compiled-in catalogue, the default first.
    pub fn languages() -> [Language; 2] {
        [Language::ENGLISH, Language::SPANISH]
    }

    /// Reads the words of a language.
    pub fn parse(language: Language, text: CatalogueText<'_>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self {
            language: Some(language),
            ..Self::default()
        };
        let prompts: BTreeMap<String, PromptEntry> = read("catalogue.toml", text.prompts)?;
        for (key, entry) in prompts {
            catalogue.insert_prompt(key, entry)?;
        }
        for (folder, file, text) in [
            ("fragments", "fragments.toml", text.fragments),
            ("names", "names.toml", text.names),
            ("places", "places.toml", text.places),
        ] {
            let entries: BTreeMap<String, RecordingEntry> = read(file, text)?;
            for (name, entry) in entries {
                let id = format!("{folder}/{name}");
                if entry.feminine() {
                    catalogue.feminine.insert(id.clone());
                }
                catalogue.recordings.insert(id, entry.into_words());
            }
        }
        Ok(catalogue)
    }

    fn insert_prompt(&mut self, key: String, entry: PromptEntry) -> Result<(), CatalogueError> {
        let template = Template::parse(&key, &entry.words).map_err(|fault| CatalogueError::Words {
            key: key.clone(),
            fault,
        })?;
        for (id, words) in template.literals() {
            self.recordings.insert(id.to_owned(), words.to_owned());
        }
        if let Some(plain) = &entry.plain {
            if plain.contains(['{', '}']) {
                return Err(CatalogueError::Words {
                    key,
                    fault: "its plain words may not have slots",
                });
            }
            self.recordings.insert(format!("{key}-plain"), plain.clone());
        }
        let prompt = Prompt {
            words: entry.words,
            template,
            plain: entry.plain.is_some(),
            interruptible: entry.interruptible,
        };
        self.prompts.insert(key, prompt);
        Ok(())
    }

    pub fn language(&self) -> Language {
        self.language.unwrap_or(Language::ENGLISH)
    }

    /// Every prompt's key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }

    /// The id of every recording this language is made of, with its words.
    pub fn recordings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.recordings
            .iter()
            .map(|(id, words)| (id.as_str(), words.as_str()))
    }

    /// A prompt's words as written, slots in braces.
    pub fn words(&self, key: &str) -> Option<&str> {
        self.prompts.get(key).map(|prompt| prompt.words.as_str())
    }

    /// What one recording says.
    pub fn recording_words(&self, id: &str) -> Option<&str> {
        self.recordings.get(id).map(String::as_str)
    }

    /// Whether a key press cuts the prompt short. True for keys that are not in the catalogue.
    pub fn interruptible(&self, key: &str) -> bool {
        self.prompts.get(key).is_none_or(|prompt| prompt.interruptible)
    }

    /// The names of a prompt's slots, in the order they are spoken.
    pub fn slots(&self, key: &str) -> impl Iterator<Item = &str> {
        self.prompts
            .get(key)
            .into_iter()
            .flat_map(|prompt| prompt.template.slots())
    }

    /// What to play for a prompt. `slots` gives the recordings that fill a slot; when one has none, the prompt's
    /// plain form is used if there is one, and the slot is passed over otherwise. A key that is not in the
    /// catalogue is a recording of its own: campaigns may have prompts nobody foresaw.
    pub fn pieces(&self, key: &str, slots: &dyn Fn(&str) -> Vec<Piece>) -> Vec<Piece> {
        let Some(prompt) = self.prompts.get(key) else {
            return vec![Piece::recording(key)];
        };
        let fillings: Vec<Vec<Piece>> = prompt.template.slots().map(slots).collect();
        if prompt.plain && fillings.iter().any(Vec::is_empty) {
            return vec![Piece::recording(format!("{key}-plain"))];
        }
        let mut fillings = fillings.into_iter();
        let mut pieces = Vec::new();
        for part in prompt.template.parts() {
            match part {
                Part::Literal { id, .. } => pieces.push(Piece::recording(id)),
                Part::Pause(pause) => pieces.push(Piece::Silence(*pause)),
                Part::Slot(_) => pieces.extend(fillings.next().unwrap_or_default()),
            }
        }
        pieces
    }

    /// The words of pieces, for traces and logs: recordings without known words show as their id in brackets.
    pub fn text(&self, pieces: &[Piece]) -> String {
        let mut text = String::new();
        for piece in pieces {
            let Piece::Recording(id) = piece else { continue };
            let english = || Catalogue::bundled(Language::ENGLISH).recording_words(id);
            let words = self.recording_words(id).or_else(english);
            if !text.is_empty()
                && !words.is_some_and(|words| words.starts_with([',', '.', ';', ':', '?', '!']))
            {
                text.push(' ');
            }
            match words {
                Some(words) => text.push_str(words),
                None => text.extend(["[", id, "]"]),
            }
        }
        text
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptEntry {
    words: String,
    plain: Option<String>,
    #[serde(default = "yes")]
    interruptible: bool,
    #[serde(rename = "say", default)]
    _say: serde::de::IgnoredAny,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RecordingEntry {
    Words(String),
    Detailed(DetailedEntry),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetailedEntry {
    words: String,
    #[serde(default)]
    feminine: bool,
    #[serde(rename = "say", default)]
    _say: serde::de::IgnoredAny,
}

impl RecordingEntry {
    fn feminine(&self) -> bool {
        matches!(self, Self::Detailed(entry) if entry.feminine)
    }

    fn into_words(self) -> String {
        match self {
            Self::Words(words) => words,
            Self::Detailed(entry) => entry.words,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(file: &'static str, text: &'a str) -> Result<T, CatalogueError> {
    toml::from_str(text).map_err(|error| CatalogueError::Form { file, error })
}

const ENGLISH_TEXT: CatalogueText<'static> = CatalogueText {
    prompts: include_str!("../../prompts/en/catalogue.toml"),
    fragments: include_str!("../../prompts/en/fragments.toml"),
    names: include_str!("../../prompts/en/names.toml"),
    places: include_str!("../../prompts/en/places.toml"),
};

const SPANISH_TEXT: CatalogueText<'static> = CatalogueText {
    prompts: include_str!("../../prompts/es/catalogue.toml"),
    fragments: include_str!("../../prompts/es/fragments.toml"),
    names: "",
    places: "",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> &'static Catalogue {
        Catalogue::bundled(Language::ENGLISH)
    }

    fn ids(pieces: &[Piece]) -> Vec<&str> {
        pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Recording(id) => Some(id.as_str()),
                Piece::Silence(_) => None,
            })
            .collect()
    }

    #[test]
    fn bundled_words_of_both_languages_are_well_formed() {
        Catalogue::parse(Language::ENGLISH, ENGLISH_TEXT).unwrap();
        Catalogue::parse(Language::SPANISH, SPANISH_TEXT).unwrap();
    }

    #[test]
    fn both_languages_have_the_same_prompts_with_the_same_slots() {
        let spanish = Catalogue::bundled(Language::SPANISH);
        assert!(english().keys().count() > 60);
        assert_eq!(
            english().keys().collect::<Vec<_>>(),
            spanish.keys().collect::<Vec<_>>()
        );
        for key in english().keys() {
            let sorted = |catalogue: &Catalogue| {
                let mut slots: Vec<String> = catalogue.slots(key).map(str::to_owned).collect();
                slots.sort();
                slots
            };
            assert_eq!(sorted(english()), sorted(spanish), "{key}");
            assert_eq!(english().interruptible(key), spanish.interruptible(key), "{key}");
        }
    }

    #[test]
    fn both_languages_have_the_same_fragments() {
        let fragments = |language| -> Vec<&str> {
            Catalogue::bundled(language)
                .recordings()
                .map(|(id, _)| id)
                .filter(|id| id.starts_with("fragments/"))
                .collect()
        };
        assert!(fragments(Language::ENGLISH).len() > 250);
        assert_eq!(fragments(Language::ENGLISH), fragments(Language::SPANISH));
    }

    #[test]
    fn prompt_without_slots_is_one_recording() {
        assert_eq!(
            english().pieces("msg_location", &|_| vec![]),
            [Piece::recording("msg_location")]
        );
    }

    #[test]
    fn slots_are_filled_between_the_runs_of_words() {
        let pieces = english().pieces("msg_target_intro", &|slot| {
            vec![Piece::recording(format!("x/{slot}"))]
        });
        assert_eq!(
            ids(&pieces),
            [
                "msg_target_intro-1",
                "x/title",
                "x/name",
                "msg_target_intro-2",
                "x/office",
                "msg_target_intro-3"
            ]
        );
        assert_eq!(
            pieces[3],
            Piece::Silence(Duration::from_millis(120)),
            "the comma after the name is heard"
        );
    }

    #[test]
    fn empty_slot_selects_the_plain_words() {
        assert_eq!(
            english().pieces("msg_intro", &|_| vec![]),
            [Piece::recording("msg_intro-plain")]
        );
    }

    #[test]
    fn key_that_nobody_foresaw_is_a_recording_of_its_own() {
        assert_eq!(
            english().pieces("campaign/welcome", &|_| vec![]),
            [Piece::recording("campaign/welcome")]
        );
    }

    #[test]
    fn text_of_pieces_reads_as_a_sentence() {
        let pieces = english().pieces("seat_vacant", &|_| {
            english().district("CA".parse().unwrap(), Some(14))
        });
        assert_eq!(
            english().text(&pieces),
            "The seat for California district fourteen is vacant right now, so we'll go on to the next office."
        );
    }

    #[test]
    fn fault_in_the_words_names_the_prompt() {
        let text = CatalogueText {
            prompts: "[greeting]\nwords = \"Hello {name\"",
            ..CatalogueText::default()
        };
        let error = Catalogue::parse(Language::ENGLISH, text).unwrap_err();
        assert_eq!(error.to_string(), "prompt greeting: a brace is not closed");
    }
}
