//! Calls over networks that lose, double, delay and reorder.

use std::time::Duration;

use trunkline::call::disposition::SessionDisposition;
use trunkline::switch::simulator::Network;

use crate::support::Story;

#[test]
fn call_over_a_lossy_network_ends_with_one_complete_record() {
    let mut completed = 0;
    for seed in 0..40 {
        let network = Network {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(60),
            lost: 100,
            doubled: 50,
        };
        let told = Story {
            network,
            seed,
            ..Story::keying(&["94110"])
        }
        .tell();
        assert!(told.ended, "seed {seed}");
        // A key whose every packet is lost is a key that was not pressed: such a caller is asked again.
        completed += usize::from(told.disposition() == SessionDisposition::CompletedAll);
        told.legs();
    }
    assert!(completed >= 36, "{completed} of 40");
}

#[test]
fn same_seed_gives_the_same_call() {
    let network = Network {
        lost: 50,
        doubled: 20,
        jitter: Duration::from_millis(30),
        ..Network::default()
    };
    let story = Story {
        network,
        seed: 7,
        ..Story::keying(&["94110"])
    };
    let (first, second) = (story.tell(), story.tell());
    assert_eq!(first.heard(), second.heard());
    assert_eq!(first.leg_dispositions(), second.leg_dispositions());
}
