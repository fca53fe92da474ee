//! A flow as data: named steps with typed fields (`config/flows/*.toml`).
//!
//! A file holds `name`, `version`, `start` and one table per step, `[step.NAME.KIND]`. Unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The name of a step within its flow.
pub type StepName = String;

/// One flow, parsed. `validate` tells whether it can run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub name: String,
    /// Goes up with every change; every call record names the version that ran.
    pub version: u32,
    pub start: StepName,
    #[serde(rename = "step")]
    pub steps: BTreeMap<StepName, Step>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Play(Play),
    Language(LanguageChoice),
    Zip(ZipEntry),
    Whom(Whom),
    CallTargets(CallTargets),
    Gather(Gather),
    Dial(Dial),
    Echo(Echo),
    Wait(Wait),
    Hangup(Hangup),
}

/// Plays prompts, then goes on. A digit stops them (barge-in) and is kept for the next step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    pub prompts: Vec<String>,
    #[serde(default = "yes")]
    pub barge_in: bool,
    /// Plays again and again, until the caller hangs up.
    #[serde(default)]
    pub repeat: bool,
    #[serde(default)]
    pub next: StepName,
}

/// Offers the campaign's languages, if there are several: one key, then 1.2 s of silence, chooses; two keys
/// within that time are the start of a ZIP code.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageChoice {
    pub prompt: String,
    pub next: StepName,
}

/// Asks for a ZIP code.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZipEntry {
    pub prompt: String,
    /// The same from the second time on, with the way to help.
    pub prompt_again: String,
    pub help: String,
    pub unparsed: String,
    #[serde(default = "two")]
    pub no_input_retries: u8,
    #[serde(default = "three")]
    pub invalid_retries: u8,
    pub next: StepName,
    /// Where a caller goes who keyed nothing usable.
    pub exhausted: StepName,
}

/// Finds the caller's targets from the ZIP code, asking where it leaves a choice.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// Where another ZIP code is asked for: after an unknown or military one, or `*`.
    pub again: StepName,
    pub next: StepName,
    /// Where a caller goes for whom the campaign has nobody.
    pub nobody: StepName,
    pub exhausted: StepName,
}

/// Calls the targets one after the other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTargets {
    #[serde(default = "forty_five")]
    pub ring_seconds: u32,
    #[serde(default = "half_an_hour")]
    pub talk_seconds: u32,
    /// Seconds after a target's introduction until it is dialled without a key.
    #[serde(default = "three_seconds")]
    pub auto_seconds: u32,
    pub next: StepName,
}

/// Collects digits into the variable `digits`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gather {
    #[serde(default)]
    pub prompts: Vec<String>,
    pub digits: u8,
    #[serde(default = "eight_seconds")]
    pub first_seconds: u32,
    #[serde(default = "four_seconds")]
    pub inter_digit_seconds: u32,
    pub next: StepName,
    /// Where to go when too few digits came.
    pub otherwise: StepName,
}

/// Dials a number and joins both legs. A caller who was not answered before hears what the far end sends and is
/// answered when it answers, or gets its failure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// The number; `{called}` stands for the number that was called, `{digits}` for what was gathered.
    pub number: String,
    #[serde(default)]
    pub trunk: Option<String>,
    #[serde(default = "forty_five")]
    pub ring_seconds: u32,
    #[serde(default = "half_an_hour")]
    pub talk_seconds: u32,
    /// Where to go when the far end hung up or was not reached; ends the call when left out.
    #[serde(default)]
    pub next: Option<StepName>,
}

/// Sends the caller's own sound back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {}

/// Answers and sends nothing for a time, then goes on; for ever without `seconds`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    #[serde(default)]
    pub seconds: Option<u32>,
    #[serde(default)]
    pub next: Option<StepName>,
}

/// Ends the call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hangup {}

fn yes() -> bool {
    true
}
fn two() -> u8 {
    2
}
fn three() -> u8 {
    3
}
fn three_seconds() -> u32 {
    3
}
fn four_seconds() -> u32 {
    4
}
fn eight_seconds() -> u32 {
    8
}
fn forty_five() -> u32 {
    45
}
fn half_an_hour() -> u32 {
    1800
}

/// Why text is not a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    #[error("{name}: {message}")]
    Malformed { name: String, message: String },
    #[error("{}", problems.join("\n"))]
    Invalid { problems: Vec<String> },
}

impl Flow {
    /// Reads and validates a flow; `name` is only for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self, FlowError> {
        let flow: Self = toml::from_str(text).map_err(|error| FlowError::Malformed {
            name: name.to_owned(),
            message: error.to_string(),
        })?;
        let problems = super::validate::problems(&flow);
        if problems.is_empty() {
            Ok(flow)
        } else {
            let problems = problems
                .iter()
                .map(|problem| format!("{name}: {problem}"))
                .collect();
            Err(FlowError::Invalid { problems })
        }
    }

    /// Whether the flow may dial somebody.
    pub fn dials(&self) -> bool {
        self.steps
            .values()
            .any(|step| matches!(step, Step::Dial(_) | Step::CallTargets(_)))
    }

    /// Whether the flow makes no sense without a campaign.
    pub fn needs_campaign(&self) -> bool {
        self.steps
            .values()
            .any(|step| matches!(step, Step::Whom(_) | Step::CallTargets(_)))
    }

    /// The flows that the program carries: the hotline and those of the load tests.
    pub fn bundled(name: &str) -> Option<&'static str> {
        match name {
            "hotline" => Some(include_str!("../../config/flows/hotline.toml")),
            "route" => Some(include_str!("../../config/flows/route.toml")),
            "prompt" => Some(include_str!("../../config/flows/prompt.toml")),
            "hold" => Some(include_str!("../../config/flows/hold.toml")),
            "collect" => Some(include_str!("../../config/flows/collect.toml")),
            "echo" => Some(include_str!("../../config/flows/echo.toml")),
            _ => None,
        }
    }
}
