//! Audits the built-in recordings: every prompt in both languages, its level, its silence, its length, its words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media::audio_file::{self, TELEPHONE_RATE};
use trunkline::flow::catalogue::{Catalogue, Piece};
use trunkline::switch::prompt_library::PromptLibrary;
use trunkline::units::Language;

/// The prompts of the hotline's specification. Those that vary are spelled with their slots' parts by the catalogue.
const KEYS: &str = "
    msg_intro msg_intro_confirm lang_offer msg_location help_zip msg_unparsed_location msg_invalid_location
    zip_confirm zip_unknown_state_only zip_fallback_offer zip_military state_choose split_intro split_option
    split_unsure split_plus4 split_senators_only no_senate_dc no_senate_territory seat_vacant no_target_here
    msg_call_block_intro talking_offer talking_points msg_target_intro keys_hint connecting callerid_notice
    office_wait msg_target_busy target_no_answer target_unreachable mailbox_full failover_try failover_none
    retry_offer voicemail_guidance outcome_ask reaction_ask msg_between_calls msg_final_thanks msg_goodbye
    after_hours_intro after_hours_menu callback_consent callback_set callback_number sms_optin_offer
    msg_prompt_schedule msg_alter_schedule msg_schedule_start msg_schedule_stop dnc_confirm limit_warning
    sys_busy_wait sys_busy_bye msg_campaign_complete campaign_paused campaign_not_started anon_callerid rate_limited
";

fn folder(language: Language) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("prompts")
        .join(language.as_str())
}

/// Every recording that the catalogues ask for: language, id, words.
fn wanted() -> Vec<(Language, String, String)> {
    Catalogue::languages()
        .into_iter()
        .flat_map(|language| {
            let recordings = Catalogue::bundled(language).recordings();
            recordings.map(move |(id, words)| (language, id.to_owned(), words.to_owned()))
        })
        .collect()
}

fn recordings_in(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            recordings_in(&path, &format!("{prefix}{stem}/"), found)?;
        } else if path.extension().is_some_and(|ending| ending == "ogg") {
            found.insert(format!("{prefix}{stem}"));
        }
    }
    Ok(())
}

/// Runs a check over all recordings and names every one that fails, not only the first.
fn audit(check: impl Fn(Language, &str, &str) -> Result<(), String>) {
    let faults: Vec<String> = wanted()
        .into_iter()
        .filter_map(|(language, id, words)| {
            check(language, &id, &words)
                .err()
                .map(|fault| format!("{language}/{id}: {fault}"))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} recordings fail:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn every_prompt_of_the_specification_has_words_in_both_languages() {
    for language in Catalogue::languages() {
        let catalogue = Catalogue::bundled(language);
        let missing: Vec<&str> = KEYS
            .split_whitespace()
            .filter(|key| catalogue.words(key).is_none())
            .collect();
        assert!(missing.is_empty(), "{language}: {missing:?}");
    }
}

#[test]
fn every_recording_that_is_asked_for_exists_with_its_words_beside_it() {
    audit(|language, id, words| {
        let text = folder(language).join(format!("{id}.txt"));
        let written = fs::read_to_string(&text).map_err(|error| format!("{}: {error}", text.display()))?;
        if written.trim_end() != words {
            return Err(format!(
                "says {words:?}, its text file {written:?}; run scripts/render-prompts"
            ));
        }
        match folder(language).join(format!("{id}.ogg")).is_file() {
            true => Ok(()),
            false => Err("there is no recording; run scripts/render-prompts".to_owned()),
        }
    });
}

#[test]
fn no_recording_lies_about_that_nothing_asks_for() {
    for language in Catalogue::languages() {
        let mut found = BTreeSet::new();
        recordings_in(&folder(language), "", &mut found).unwrap();
        let catalogue = Catalogue::bundled(language);
        let strangers: Vec<&String> = found
            .iter()
            .filter(|id| catalogue.recording_words(id).is_none())
            .collect();
        assert!(strangers.is_empty(), "{language}: {strangers:?}");
    }
}

#[test]
fn every_recording_has_the_level_of_the_telephone_and_no_dead_air() {
    audit(|language, id, words| {
        let bytes =
            fs::read(folder(language).join(format!("{id}.ogg"))).map_err(|error| error.to_string())?;
        let sound = audio_file::decode(&bytes).map_err(|error| error.to_string())?;
        for (samples, rate) in [
            (audio_file::to_linear(sound.samples()), sound.rate()),
            (sound.telephone(), TELEPHONE_RATE),
        ] {
            let level = audio_file::level(&samples, rate);
            let silence = level.leading_silence.max(level.trailing_silence).as_millis();
            if !(-20.0..=-16.0).contains(&level.rms_dbfs) {
                return Err(format!("{:.1} dBFS RMS at {rate} Hz", level.rms_dbfs));
            }
            if level.peak_dbfs > -1.0 {
                return Err(format!("peaks at {:.1} dBFS at {rate} Hz", level.peak_dbfs));
            }
            if silence > 250 {
                return Err(format!("{silence} ms of silence at one end"));
            }
        }
        plausible_length(words, sound.duration().as_secs_f64())
    });
}

/// Speech takes 40 to 140 ms a letter, digits and abbreviations more, and a moment to begin and end.
fn plausible_length(words: &str, seconds: f64) -> Result<(), String> {
    let letters: f64 = words
        .chars()
        .map(|letter| match letter {
            '0'..='9' => 5.0,
            '.' | ',' | ';' | ':' | '?' => 4.0,
            letter if letter.is_alphabetic() => 1.0,
            _ => 0.2,
        })
        .sum();
    let (least, most) = (0.1 + letters * 0.036, 0.55 + letters * 0.14);
    match (least..=most).contains(&seconds) {
        true => Ok(()),
        false => Err(format!(
            "{seconds:.2} s for {words:?}; {least:.2} to {most:.2} s are plausible"
        )),
    }
}

#[test]
fn every_prompt_can_be_played_in_both_languages_whatever_fills_its_slots() {
    let library = PromptLibrary::open(None, Language::ENGLISH).unwrap();
    for language in Catalogue::languages() {
        let catalogue = Catalogue::bundled(language);
        for key in catalogue.keys() {
            for filled in [true, false] {
                let slot = |_: &str| if filled { catalogue.number(7) } else { Vec::new() };
                for piece in catalogue.pieces(key, &slot) {
                    let Piece::Recording(id) = piece else { continue };
                    assert!(library.clip(language, &id).is_some(), "{language} {key}: {id}");
                }
            }
        }
        let missing: Vec<String> = library.missing(language);
        assert!(missing.is_empty(), "{language}: {missing:?}");
    }
    assert!(library.problems().is_empty(), "{:?}", library.problems());
}

#[test]
fn preloading_leaves_nothing_to_decode_for_prompts_and_fragments() {
    let library = Arc::new(PromptLibrary::open(None, Language::ENGLISH).unwrap());
    for thread in library.preload(&Catalogue::languages()) {
        thread.join().unwrap();
    }
    assert!(library.problems().is_empty());
    for language in Catalogue::languages() {
        let seldom = |id: &str| id.starts_with("names/") || id.starts_with("places/");
        let often = Catalogue::bundled(language)
            .recordings()
            .filter(|(id, _)| !seldom(id));
        let left: Vec<&str> = often
            .map(|(id, _)| id)
            .filter(|id| !library.is_decoded(language, id))
            .collect();
        assert!(left.is_empty(), "{language}: {left:?}");
    }
}
