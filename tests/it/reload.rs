//! Another configuration while a call is up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trunkline::call::disposition::SessionDisposition;
use trunkline::call::record::RecordChange;
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::switch::engine::{Input, Now, Routes};
use trunkline::switch::simulator::{CallerPlan, Happening, Network, Simulator};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::TrunkName;

use crate::support::{ANSWERS, HOTLINE, Story, WEDNESDAY, library, seconds};

fn plan(keys: &[&str]) -> CallerPlan {
    CallerPlan {
        called: HOTLINE.to_owned(),
        number: "+12025550123".to_owned(),
        keys: keys.iter().map(|&keys| keys.to_owned()).collect(),
        thinks: Duration::from_millis(2500),
        timed_keys: VecDeque::new(),
        by_info: false,
        hangs_up_after: None,
    }
}

fn ends(simulator: &Simulator) -> Vec<SessionDisposition> {
    let told = simulator.happenings.iter();
    told.filter_map(|(_, happening)| match happening {
        Happening::Record(RecordChange::CallClosed(closed)) => Some(closed.disposition),
        _ => None,
    })
    .collect()
}

#[test]
fn call_in_progress_survives_a_reload_that_removes_its_trunk_and_number() {
    let config = Config::parse(&Story::default().config, "story.toml".as_ref()).unwrap();
    let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
    let trunk = TrunkName::new("trunk");
    let directory = Directory::bundled().unwrap();
    let settings = simulation_settings(&config, routes, directory, library(), &trunk);
    let begun = Instant::now();
    let wall = WEDNESDAY.parse().unwrap();
    let mut simulator = Simulator::new(settings, trunk, begun, wall, Network::default(), 7);
    // Three offices: the later two are dialled after the reload, over the trunk that is no longer there.
    simulator.dial(plan(&["94110", "1"]), VecDeque::from([ANSWERS]));
    while simulator.elapsed() < seconds(20) {
        simulator.step();
    }
    assert_eq!(simulator.engine.calls(), 1);
    let now = Now {
        monotonic: begun + simulator.elapsed(),
        wall,
    };
    let nothing = Input::Configure {
        trunks: Vec::new(),
        routes: Routes::default(),
    };
    simulator.engine.handle_input(now, nothing);
    assert!(simulator.engine.trunks().is_empty());
    assert!(simulator.run(seconds(3600)), "the call ends");
    assert_eq!(ends(&simulator), [SessionDisposition::CompletedAll]);
    let dialled = simulator.happenings.iter().filter(|(_, happening)| {
        matches!(happening, Happening::Record(RecordChange::LegOpened(leg)) if leg.leg.0 > 0)
    });
    assert_eq!(dialled.count(), 3);
    // A call that begins now is not taken, and not recorded: the number is nobody's.
    let before = simulator.happenings.len();
    simulator.dial(plan(&[]), VecDeque::from([ANSWERS]));
    assert!(simulator.run(seconds(120)));
    let records = |told: &[(Duration, Happening)]| {
        told.iter()
            .filter(|(_, happening)| matches!(happening, Happening::Record(_)))
            .count()
    };
    assert_eq!(records(&simulator.happenings[before..]), 0);
}
