//! `trunkline simulate`: a call as text, through the real engine under a simulated clock. Nothing is dialled.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::say;
use crate::call::number::Pattern;
use crate::call::record::{EventKind, RecordChange};
use crate::campaign::Campaign;
use crate::config::Config;
use crate::directory::Directory;
use crate::flow::run::Catalogues;
use crate::store::{CampaignStore, DirectoryStore, SqliteStore};
use crate::switch::engine::Settings;
use crate::switch::prompt_library::PromptLibrary;
use crate::switch::simulator::{CallerPlan, Conduct, Happening, Network, Simulator};
use crate::switch::{campaigns_of, plan_of, simulation_settings};
use crate::units::{CampaignId, TrunkName};

/// A simulated call that is not over by then is cut.
const LIMIT: Duration = Duration::from_secs(3 * 60 * 60);
/// A simulated caller presses keys this long after the flow began to wait for them: longer than the time in which
/// digits count as the ZIP code's "+4".
const THINKS: Duration = Duration::from_millis(2500);

/// Runs a call as text, without a telephone: every prompt, key, decision, dial and disposition
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The number that is called, as in [[number]]; without a configuration, the built-in hotline answers any
    #[arg(long, default_value = "+12025550100")]
    number: String,
    /// Keys that the caller presses, in groups: each group once the flow waits for keys, as in "94110 1 **"
    #[arg(long, default_value = "")]
    keys: String,
    /// The moment of the call, as 2026-11-25T14:30:00Z; now, if not given
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
    /// What the offices do, in turn, the last again and again: answer, early-media, busy, no-answer, not-in-service,
    /// declined, congestion or silent
    #[arg(long, value_delimiter = ',', default_value = "answer")]
    offices: Vec<Office>,
    /// Seconds after which the caller hangs up
    #[arg(long, value_name = "SECONDS")]
    hang_up_after: Option<u64>,
    /// The configuration file; without it, the built-in campaign, flow and directory are used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Office {
    Answer,
    EarlyMedia,
    Busy,
    NoAnswer,
    NotInService,
    Declined,
    Congestion,
    Silent,
}

impl Office {
    fn conduct(self) -> Conduct {
        let (ring, talk) = (Duration::from_secs(6), Duration::from_secs(40));
        match self {
            Self::Answer => Conduct::Answers { ring, talk },
            Self::EarlyMedia => Conduct::EarlyMedia { ring, talk },
            Self::Busy => Conduct::Refuses(486),
            Self::NoAnswer => Conduct::Rings,
            Self::NotInService => Conduct::Refuses(404),
            Self::Declined => Conduct::Refuses(603),
            Self::Congestion => Conduct::Refuses(503),
            Self::Silent => Conduct::Vanishes,
        }
    }
}

/// # Errors
/// When the configuration does not fit, or the call did not come to its end.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let trunk = TrunkName::new("trunk");
    let settings = settings(args, &trunk)?;
    let at = args.at.unwrap_or_else(Timestamp::now);
    let mut simulator = Simulator::new(settings, trunk, Instant::now(), at, Network::default(), 1);
    simulator.dial(
        CallerPlan {
            called: args.number.clone(),
            number: "+12025550123".to_owned(),
            keys: args.keys.split_whitespace().map(str::to_owned).collect(),
            thinks: THINKS,
            timed_keys: VecDeque::new(),
            by_info: false,
            inband: false,
            hangs_up_after: args.hang_up_after.map(Duration::from_secs),
        },
        args.offices
            .iter()
            .map(|office| office.conduct())
            .collect::<VecDeque<_>>(),
    );
    let ended = simulator.run(LIMIT);
    for line in lines(&simulator.happenings, args.json) {
        say!("{line}")?;
    }
    if !simulator
        .happenings
        .iter()
        .any(|(_, happening)| matches!(happening, Happening::Record(_)))
    {
        bail!("nothing answers {}: no [[number]] matches it", args.number);
    }
    if !ended {
        bail!(
            "the call was not over after {} hours and was cut",
            LIMIT.as_secs() / 3600
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args, trunk: &TrunkName) -> anyhow::Result<Settings> {
    let (config, store) = match &args.config {
        Some(path) => {
            let config = Config::load(path)?;
            let exists = config.store.url.path().exists();
            let store = exists
                .then(|| SqliteStore::open_existing(&config.store.url))
                .transpose()?;
            (config, store)
        }
        None => (built_in(&args.number)?, None),
    };
    let directory = match &store {
        Some(store) => store.current_directory()?,
        None => Directory::bundled()?,
    };
    let campaigns = campaigns_of(&config, store.as_ref().map(|store| store as &dyn CampaignStore))?;
    let routes = plan_of(&config, &campaigns).map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
    let languages = config.prompts.languages();
    let first = languages
        .first()
        .copied()
        .context("[prompts] languages is empty")?;
    let library = PromptLibrary::open(config.prompts.directory.as_deref(), first)?;
    Ok(simulation_settings(
        &config,
        routes,
        directory,
        Arc::new(library),
        trunk,
    ))
}

/// A configuration in which the built-in hotline answers one number.
fn built_in(number: &str) -> anyhow::Result<Config> {
    let pattern: Pattern = number.parse().context("--number")?;
    let campaign = Campaign::congress(Vec::new()).id;
    let text = format!(
        "[[number]]\npattern = \"{pattern}\"\ncampaign = {:?}\n",
        CampaignId::as_str(&campaign)
    );
    Ok(Config::parse(&text, "the built-in configuration".as_ref())?)
}

/// What happened, by the time at which it did: events reach the record in batches.
fn lines(happenings: &[(Duration, Happening)], json: bool) -> Vec<String> {
    let opened = happenings.iter().find_map(|(since, happening)| match happening {
        Happening::Record(RecordChange::CallOpened(opened)) => Some((*since, opened.at)),
        _ => None,
    });
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for (since, happening) in happenings {
        match (happening, opened) {
            _ if json => lines.push((*since, as_json(*since, happening))),
            (Happening::Record(RecordChange::Events { events, .. }), Some((opened_since, opened_at))) => {
                for event in events {
                    let micros = u64::try_from(event.at.since(opened_at)).unwrap_or(0);
                    let at = opened_since + Duration::from_micros(micros);
                    lines.extend(event_as_text(&event.kind).map(|text| (at, text)));
                }
            }
            _ => lines.extend(as_text(happening).map(|text| (*since, text))),
        }
    }
    if json {
        return lines.into_iter().map(|(_, line)| line).collect();
    }
    lines.sort_by_key(|(at, _)| *at);
    lines
        .into_iter()
        .map(|(at, text)| format!("{}  {text}", clock(at)))
        .collect()
}

fn clock(since: Duration) -> String {
    let seconds = since.as_secs();
    format!(
        "{:2}:{:02}.{}",
        seconds / 60,
        seconds % 60,
        since.subsec_millis() / 100
    )
}

fn as_text(happening: &Happening) -> Option<String> {
    match happening {
        Happening::Said { language, pieces } => {
            let words = Catalogues.of(*language).text(pieces);
            (!words.is_empty()).then(|| format!("hears     “{words}”"))
        }
        Happening::Keys(keys) => Some(format!("keys      {keys}")),
        Happening::OfficeHeard { digit } => Some(format!("office    hears the key {digit}")),
        Happening::CallerHeardEnd => Some("call      the caller hears the end of the call".to_owned()),
        Happening::Record(RecordChange::CallOpened(opened)) => {
            let flow = opened.route.flow.as_deref().unwrap_or("?");
            let number = opened.route.number.as_deref().unwrap_or("?");
            Some(format!("call      {number} is answered by the flow {flow}"))
        }
        Happening::Record(RecordChange::LegClosed(closed)) if closed.leg.0 > 0 => {
            let words = closed.disposition.words();
            Some(format!(
                "leg {:<5} {} ({words})",
                closed.leg.0, closed.disposition
            ))
        }
        Happening::Record(RecordChange::CallClosed(closed)) => {
            let words = closed.disposition.words();
            Some(format!("outcome   {} ({words})", closed.disposition))
        }
        Happening::Record(_) => None,
    }
}

fn event_as_text(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::StepEntered { step } => format!("flow      step {step}"),
        EventKind::Decision { reason } => format!("decides   {reason}"),
        EventKind::Chosen { choice } => format!("chooses   {choice}"),
        EventKind::NoInput { attempt } => format!("waits     no key came (attempt {attempt})"),
        EventKind::InvalidInput { attempt } => format!("waits     the keys were no use (attempt {attempt})"),
        EventKind::LanguageChosen { language } => format!("chooses   the language {language}"),
        EventKind::Located {
            states,
            districts,
            rule,
            confidence,
            ..
        } => {
            let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            let districts: Vec<String> = districts
                .iter()
                .map(|name| format!("{}-{}", name.state, name.district))
                .collect();
            let (states, districts) = (states.join(" "), districts.join(" "));
            format!("locates   states: {states}; districts: {districts}; rule {rule}, {confidence} % sure")
        }
        EventKind::TargetsChosen { targets } => {
            let targets: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
            format!("lists     {}", targets.join(" "))
        }
        EventKind::OfficeClosed { office, .. } => format!("hours     {office} is closed"),
        EventKind::FailedOver { office } => format!("hours     {office} is open instead"),
        EventKind::Dialled {
            office: Some(office), ..
        } => format!("dials     {office}"),
        EventKind::Dialled { .. } => "dials     the far end".to_owned(),
        EventKind::Ringing => "office    rings".to_owned(),
        EventKind::Bridged { .. } => "bridge    caller and office hear each other".to_owned(),
        EventKind::PromptMissing { prompt } => format!("prompt    {prompt} has no recording"),
        EventKind::LimitReached { limit } => format!("limit     {limit}"),
        _ => return None,
    })
}

fn as_json(since: Duration, happening: &Happening) -> String {
    let seconds = since.as_secs_f64();
    let value: Value = match happening {
        Happening::Said { language, pieces } => {
            json!({ "seconds": seconds, "hears": Catalogues.of(*language).text(pieces), "language": language })
        }
        Happening::Keys(keys) => json!({ "seconds": seconds, "keys": keys }),
        Happening::OfficeHeard { digit } => json!({ "seconds": seconds, "office_hears_key": digit }),
        Happening::CallerHeardEnd => json!({ "seconds": seconds, "caller_hears": "end" }),
        Happening::Record(change) => json!({ "seconds": seconds, "record": change }),
    };
    value.to_string()
}
