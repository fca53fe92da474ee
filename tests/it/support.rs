//! A hotline on a simulated network, and questions about what happened.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::{CallClosed, EventKind, LegClosed, LegOpened, Party, RecordChange};
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::flow::run::Catalogues;
use trunkline::switch::prompt_library::PromptLibrary;
use trunkline::switch::simulator::{CallerPlan, Conduct, Happening, Network, Simulator};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::{Language, TrunkName};

/// A Wednesday, 11:00 in Washington: every office that keeps usual hours is open, from New York to Denver.
pub const WEDNESDAY: &str = "2026-09-16T17:00:00Z";
pub const HOTLINE: &str = "+12025550100";

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An office that answers after 4 s and talks for 40 s.
pub const ANSWERS: Conduct = Conduct::Answers {
    ring: Duration::from_secs(4),
    talk: Duration::from_secs(40),
};

/// One simulated call and what is asked of it.
pub struct Story {
    pub config: String,
    pub at: String,
    pub called: String,
    pub keys: Vec<String>,
    /// Keys pressed at times since the call was dialled, in milliseconds.
    pub timed_keys: Vec<(u64, String)>,
    pub by_info: bool,
    pub inband: bool,
    pub offices: Vec<Conduct>,
    pub network: Network,
    pub hangs_up_after: Option<Duration>,
    pub seed: u64,
    pub directory: Option<Arc<Directory>>,
    /// Calls that the trunk carries at one time.
    pub channels: u32,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            config: format!(
                "[[number]]\npattern = \"{HOTLINE}\"\ncampaign = \"congress\"\n[prompts]\nlanguages = [\"en\"]\n"
            ),
            at: WEDNESDAY.to_owned(),
            called: HOTLINE.to_owned(),
            keys: Vec::new(),
            timed_keys: Vec::new(),
            by_info: false,
            inband: false,
            offices: vec![ANSWERS],
            network: Network::default(),
            hangs_up_after: None,
            seed: 1,
            directory: None,
            channels: 100,
        }
    }
}

/// What happened.
pub struct Told {
    pub happenings: Vec<(Duration, Happening)>,
    pub ended: bool,
}

impl Story {
    pub fn keying(keys: &[&str]) -> Self {
        Self {
            keys: keys.iter().map(|&keys| keys.to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The network of this story, with nobody calling yet.
    pub fn simulator(&self, begun: Instant) -> Simulator {
        let config = Config::parse(&self.config, "story.toml".as_ref()).unwrap();
        let campaigns = campaigns_of(&config, None).unwrap();
        let routes = plan_of(&config, &campaigns).unwrap();
        let trunk = TrunkName::new("trunk");
        let directory = self
            .directory
            .clone()
            .unwrap_or_else(|| Directory::bundled().unwrap());
        let mut settings = simulation_settings(&config, routes, directory, library(), &trunk);
        settings.trunks[0].channels = self.channels;
        let at: Timestamp = self.at.parse().unwrap();
        Simulator::new(settings, trunk, begun, at, self.network, self.seed)
    }

    pub fn tell(&self) -> Told {
        let mut simulator = self.simulator(Instant::now());
        let plan = CallerPlan {
            called: self.called.clone(),
            number: "+12025550123".to_owned(),
            keys: self.keys.iter().cloned().collect(),
            // Longer than the time in which digits count as the ZIP code's "+4".
            thinks: Duration::from_millis(2500),
            timed_keys: self
                .timed_keys
                .iter()
                .map(|(at, keys)| (Duration::from_millis(*at), keys.clone()))
                .collect(),
            by_info: self.by_info,
            inband: self.inband,
            hangs_up_after: self.hangs_up_after,
        };
        simulator.dial(plan, self.offices.iter().copied().collect::<VecDeque<_>>());
        let ended = simulator.run(seconds(3 * 3600));
        Told {
            happenings: simulator.happenings,
            ended,
        }
    }
}

/// The built-in recordings, decoded once for all tests.
pub fn library() -> Arc<PromptLibrary> {
    static LIBRARY: OnceLock<Arc<PromptLibrary>> = OnceLock::new();
    let open = || Arc::new(PromptLibrary::open(None, Language::ENGLISH).unwrap());
    Arc::clone(LIBRARY.get_or_init(open))
}

impl Told {
    fn changes(&self) -> impl Iterator<Item = &RecordChange> {
        self.happenings
            .iter()
            .filter_map(|(_, happening)| match happening {
                Happening::Record(change) => Some(change),
                _ => None,
            })
    }

    pub fn events(&self) -> Vec<&EventKind> {
        let batches = self.changes().filter_map(|change| match change {
            RecordChange::Events { events, .. } => Some(events),
            _ => None,
        });
        batches.flatten().map(|event| &event.kind).collect()
    }

    /// The end of the only call; fails if it was not closed exactly once.
    pub fn closed(&self) -> &CallClosed {
        let closed: Vec<_> = self
            .changes()
            .filter_map(|change| match change {
                RecordChange::CallClosed(closed) => Some(closed),
                _ => None,
            })
            .collect();
        assert_eq!(closed.len(), 1, "a call is closed exactly once");
        closed[0]
    }

    pub fn disposition(&self) -> SessionDisposition {
        self.closed().disposition
    }

    /// Ends of the legs, in the order of their numbers, without the caller's.
    pub fn legs(&self) -> Vec<&LegClosed> {
        let mut legs: Vec<_> = self
            .changes()
            .filter_map(|change| match change {
                RecordChange::LegClosed(closed) if closed.leg.0 > 0 => Some(&**closed),
                _ => None,
            })
            .collect();
        legs.sort_by_key(|leg| leg.leg);
        let opened = self
            .changes()
            .filter(|change| matches!(change, RecordChange::LegOpened(_)))
            .count();
        let all = self
            .changes()
            .filter(|change| matches!(change, RecordChange::LegClosed(_)))
            .count();
        assert_eq!(opened, all, "every leg that was opened is closed once");
        legs
    }

    pub fn leg_dispositions(&self) -> Vec<LegDisposition> {
        self.legs().iter().map(|leg| leg.disposition).collect()
    }

    /// Targets of the legs by their keys (bioguide ids), in order.
    pub fn targets(&self) -> Vec<String> {
        let opened = self.changes().filter_map(|change| match change {
            RecordChange::LegOpened(opened) => Some(&**opened),
            _ => None,
        });
        opened.filter_map(target_of).collect()
    }

    /// Everything that the caller heard, as words.
    pub fn heard(&self) -> String {
        let mut text = String::new();
        for (_, happening) in &self.happenings {
            if let Happening::Said { language, pieces } = happening {
                text.push_str(&Catalogues.of(*language).text(pieces));
                text.push('\n');
            }
        }
        text
    }

    pub fn office_heard(&self) -> String {
        self.happenings
            .iter()
            .filter_map(|(_, happening)| match happening {
                Happening::OfficeHeard { digit } => Some(*digit),
                _ => None,
            })
            .collect()
    }

    pub fn has_event(&self, wanted: impl Fn(&EventKind) -> bool) -> bool {
        self.events().into_iter().any(wanted)
    }
}

fn target_of(opened: &LegOpened) -> Option<String> {
    match &opened.party {
        Party::Office { target, .. } => target.as_str().rsplit(':').next().map(str::to_owned),
        _ => None,
    }
}
