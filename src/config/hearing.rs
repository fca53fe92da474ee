//! `[hearing]` and `[[tone]]`: what is listened for in the audio.

use std::time::Duration;

use media::hearing::{MOST_TONES, Progress, ToneDefinition, ToneError};
use serde::Deserialize;

/// `[hearing]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct HearingConfig {
    pub offices: OfficeHearing,
    /// `seconds` of an answered office's audio that are listened to, 5 to 600. All before the answer is.
    pub seconds: u32,
}

impl Default for HearingConfig {
    fn default() -> Self {
        Self {
            offices: OfficeHearing::Act,
            seconds: 60,
        }
    }
}

/// What becomes of tones on the lines that we dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfficeHearing {
    /// Nobody listens.
    Off,
    /// They are evidence in the record.
    Note,
    /// Busy and information tones end the leg as well, where nobody spoke.
    Act,
}

/// `[[tone]]`: a call progress tone. Any of them replaces those of the North American plan.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ToneConfig {
    pub says: ToneName,
    /// In Hz: one, or two that sound together.
    pub frequencies: Vec<f32>,
    /// Milliseconds of sound, silence, …; empty for a tone without end.
    #[serde(default)]
    pub cadence: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToneName {
    Busy,
    Reorder,
    Ringback,
    Dial,
    FaxCalling,
    FaxAnswer,
}

impl ToneConfig {
    pub fn definition(&self) -> ToneDefinition {
        let milliseconds = |length: &u32| Duration::from_millis(u64::from(*length));
        ToneDefinition {
            says: match self.says {
                ToneName::Busy => Progress::Busy,
                ToneName::Reorder => Progress::Reorder,
                ToneName::Ringback => Progress::Ringback,
                ToneName::Dial => Progress::Dial,
                ToneName::FaxCalling => Progress::FaxCalling,
                ToneName::FaxAnswer => Progress::FaxAnswer,
            },
            frequencies: self.frequencies.clone(),
            cadence: self.cadence.iter().map(milliseconds).collect(),
        }
    }
}

/// Everything that the shape alone cannot tell.
pub(super) fn problems(hearing: &HearingConfig, tones: &[ToneConfig], problems: &mut Vec<String>) {
    if !(5..=600).contains(&hearing.seconds) {
        problems.push("[hearing] seconds must be 5 to 600".to_owned());
    }
    if tones.len() > MOST_TONES {
        problems.push(format!("[[tone]]: {}", ToneError::TooMany(MOST_TONES)));
    }
    for tone in tones {
        if let Err(problem) = tone.definition().check() {
            problems.push(format!("[[tone]] {:?}: {problem}", tone.says));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn problems(text: &str) -> String {
        match Config::parse(text, "t.toml".as_ref()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tones_are_data_and_what_cannot_be_heard_is_told() {
        let tone = |rest: &str| problems(&format!("[[tone]]\nsays = \"busy\"\n{rest}\n"));
        assert_eq!(tone("frequencies = [425]\ncadence = [480, 480]"), "");
        assert!(tone("frequencies = []").contains("[[tone]] Busy: a tone has one or two"));
        assert!(tone("frequencies = [50.0]").contains("50 Hz is not between"));
        assert!(tone("frequencies = [425]\ncadence = [480]").contains("cadence"));
        assert!(problems("[hearing]\nseconds = 4").contains("[hearing] seconds"));
        assert!(problems("[hearing]\noffices = \"maybe\"").contains("offices"));
    }
}
