//! Plain routes: numbers that lead to a far end, a prompt, an echo.

use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::switch::simulator::Conduct;

use crate::support::{ANSWERS, Story, seconds};

const ROUTES: &str = "
[[number]]
pattern = \"XXXXXXX\"
flow = \"route\"
[[number]]
pattern = \"3XXXXXXX\"
flow = \"prompt\"
[[number]]
pattern = \"6XXXXXXX\"
flow = \"collect\"
[[number]]
pattern = \"7XXXXXXX\"
flow = \"echo\"
";

fn route(called: &str, offices: &[Conduct]) -> Story {
    Story {
        config: ROUTES.to_owned(),
        called: called.to_owned(),
        offices: offices.to_vec(),
        ..Story::default()
    }
}

#[test]
fn routed_call_is_joined_and_ends_with_the_far_end() {
    let told = route("0000123", &[ANSWERS]).tell();
    assert!(told.ended);
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    assert_eq!(told.leg_dispositions(), [LegDisposition::AnsweredConversation]);
    let leg = told.legs()[0];
    assert!(
        leg.media.packets_received > 1900 && leg.media.packets_sent > 1900,
        "{:?}",
        leg.media
    );
}

#[test]
fn busy_far_end_makes_the_caller_busy() {
    let told = route("0000123", &[Conduct::Refuses(486)]).tell();
    assert_eq!(told.leg_dispositions(), [LegDisposition::Busy]);
    assert_eq!(told.disposition(), SessionDisposition::NoTargetReached);
}

#[test]
fn far_end_that_rings_for_ever_is_given_up_at_the_ring_limit() {
    let told = route("0000123", &[Conduct::Rings]).tell();
    assert!(told.ended);
    assert_eq!(told.leg_dispositions(), [LegDisposition::NoAnswer]);
}

#[test]
fn early_media_reaches_a_caller_who_was_not_answered() {
    let told = route(
        "0000123",
        &[Conduct::EarlyMedia {
            ring: seconds(5),
            talk: seconds(40),
        }],
    )
    .tell();
    assert_eq!(told.leg_dispositions(), [LegDisposition::AnsweredConversation]);
}

#[test]
fn digits_are_gathered_before_the_far_end_is_dialled() {
    let told = Story {
        keys: vec!["12345".into()],
        ..route("60000001", &[ANSWERS])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn endless_prompt_and_echo_last_until_the_caller_hangs_up() {
    for called in ["30000001", "70000001"] {
        let told = Story {
            hangs_up_after: Some(seconds(60)),
            ..route(called, &[])
        }
        .tell();
        assert!(told.ended, "{called}");
        assert!(told.legs().is_empty());
    }
}

#[test]
fn number_that_no_trunk_lists_is_not_dialled() {
    let config = "[[number]]\npattern = \"+1XXXXXXXXXX\"\nflow = \"route\"\n".to_owned();
    for called in ["+19005550100", "+18765550100"] {
        let told = Story {
            config: config.clone(),
            called: called.to_owned(),
            ..Story::default()
        }
        .tell();
        assert!(told.ended);
        assert_eq!(told.leg_dispositions(), [LegDisposition::NoNumber], "{called}");
    }
}
