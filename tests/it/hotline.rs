//! The hotline as its callers meet it.

use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::{EndedBy, EventKind};
use trunkline::switch::simulator::Conduct;

use crate::support::{ANSWERS, Story, seconds};

#[test]
fn caller_reaches_representative_and_both_senators_one_after_the_other() {
    let told = Story::keying(&["94110"]).tell();
    assert!(told.ended);
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    assert_eq!(told.leg_dispositions(), [LegDisposition::AnsweredConversation; 3]);
    assert_eq!(told.targets().len(), 3);
    let heard = told.heard();
    for words in [
        "five-digit ZIP code",
        "three offices",
        "Nancy Pelosi",
        "Padilla",
        "Thank you for speaking up",
    ] {
        assert!(heard.contains(words), "{words}: {heard}");
    }
}

#[test]
fn keys_typed_during_the_greeting_count() {
    // Two keys while the greeting is spoken cut it short; the others follow during the next prompt.
    let timed_keys = vec![(1500, "94".to_owned()), (2200, "110".to_owned())];
    let told = Story {
        timed_keys,
        ..Story::default()
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    assert!(
        !told.heard().contains("Please enter your five-digit"),
        "{}",
        told.heard()
    );
}

#[test]
fn impatient_keys_do_not_act_on_an_office_that_was_not_named_yet() {
    // The second "1" is pressed while the first office rings, long before the second is introduced.
    let timed_keys = vec![(1500, "94110".to_owned()), (9000, "11".to_owned())];
    let told = Story {
        timed_keys,
        ..Story::default()
    }
    .tell();
    assert_eq!(told.leg_dispositions(), [LegDisposition::AnsweredConversation; 3]);
}

#[test]
fn keys_sent_by_info_count_once_and_reach_the_office() {
    let told = Story {
        by_info: true,
        offices: vec![Conduct::Stays { ring: seconds(1) }],
        keys: ["94110", "1", "42", "##"].map(str::to_owned).to_vec(),
        ..Story::default()
    }
    .tell();
    assert_eq!(told.targets().len(), 1);
    assert!(told.office_heard().starts_with("42"), "{}", told.office_heard());
}

#[test]
fn announced_early_media_without_sound_leaves_our_ringback() {
    let told = Story {
        offices: vec![Conduct::MuteEarlyMedia {
            ring: seconds(8),
            talk: seconds(40),
        }],
        ..Story::keying(&["94110", "1"])
    }
    .tell();
    assert!(!told.has_event(|kind| *kind == EventKind::EarlyMedia));
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn office_that_answers_and_never_sends_sound_is_given_up() {
    let told = Story {
        offices: vec![Conduct::Mute { ring: seconds(1) }, ANSWERS],
        ..Story::keying(&["94110", "1"])
    };
    let told = told.tell();
    assert_eq!(told.leg_dispositions()[0], LegDisposition::MediaFailed);
    assert_eq!(told.leg_dispositions()[1], LegDisposition::AnsweredConversation);
}

#[test]
fn caller_who_leaves_during_the_first_talk_reached_some_not_all() {
    let told = Story {
        hangs_up_after: Some(seconds(30)),
        ..Story::keying(&["94110", "1"])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::CompletedSome);
}

#[test]
fn busy_unreachable_and_unanswered_offices_are_told_and_passed_over() {
    let told = Story {
        offices: vec![Conduct::Refuses(486), Conduct::Refuses(404), Conduct::Rings],
        ..Story::keying(&["94110"])
    }
    .tell();
    use LegDisposition::{Busy, NoAnswer, NotInService};
    assert_eq!(told.leg_dispositions(), [Busy, NotInService, NoAnswer]);
    assert_eq!(told.disposition(), SessionDisposition::NoTargetReached);
    let heard = told.heard();
    for words in [
        "That line is busy",
        "That number isn't working",
        "Nobody picked up",
    ] {
        assert!(heard.contains(words), "{words}: {heard}");
    }
}

#[test]
fn office_put_off_after_a_trunk_failure_is_tried_again_at_the_end() {
    let told = Story {
        offices: vec![Conduct::Refuses(503), ANSWERS],
        // The first "1" dials, the second puts the office off to the end.
        keys: vec!["94110".into(), "1".into(), "1".into()],
        ..Story::default()
    }
    .tell();
    let dispositions = told.leg_dispositions();
    assert_eq!(dispositions.len(), 4, "{dispositions:?}");
    assert_eq!(dispositions[0], LegDisposition::Congestion);
    assert_eq!(dispositions[3], LegDisposition::AnsweredConversation);
    assert_eq!(told.targets()[0], told.targets()[3]);
    assert_eq!(
        told.disposition(),
        SessionDisposition::CompletedAll,
        "reached at the second try"
    );
}

#[test]
fn two_stars_end_an_office_and_two_pounds_end_the_call() {
    let told = Story {
        offices: vec![Conduct::Stays { ring: seconds(2) }],
        keys: ["94110", "1", "**", "1", "##"].map(str::to_owned).to_vec(),
        ..Story::default()
    }
    .tell();
    assert!(told.ended);
    assert_eq!(told.leg_dispositions(), [LegDisposition::CallerEndedTalk; 2]);
    assert_eq!(told.disposition(), SessionDisposition::CompletedSome);
    assert!(told.has_event(|kind| *kind == EventKind::NextRequested));
}

#[test]
fn office_gets_the_callers_keys_with_a_single_star_in_its_place() {
    let told = Story {
        offices: vec![Conduct::Stays { ring: seconds(1) }],
        keys: ["94110", "1", "42", "*7", "#", "##"].map(str::to_owned).to_vec(),
        ..Story::default()
    }
    .tell();
    let heard = told.office_heard();
    assert!(heard.starts_with("42*7#"), "{heard}");
}

#[test]
fn caller_who_keys_nothing_is_asked_twice_more_and_released() {
    let told = Story::keying(&[]).tell();
    assert_eq!(told.disposition(), SessionDisposition::NoInputExhausted);
    assert_eq!(told.heard().matches("I didn't get five numbers").count(), 2);
    assert!(told.heard().contains("Goodbye"));
    assert!(told.legs().is_empty());
}

#[test]
fn too_few_digits_are_told_and_star_starts_over() {
    let told = Story::keying(&["941#", "12*94110"]).tell();
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    assert!(told.has_event(|kind| matches!(kind, EventKind::InvalidInput { attempt: 1 })));
    assert!(told.has_event(|kind| matches!(kind, EventKind::Chosen { choice } if choice == "start_over")));
    assert!(
        told.heard().contains("If that's wrong, press star"),
        "a retried ZIP code is read back"
    );
}

#[test]
fn pound_as_first_key_gives_help() {
    let told = Story::keying(&["#", "94110"]).tell();
    assert!(
        told.heard()
            .contains("We use your ZIP code only to find your lawmakers")
    );
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn caller_who_hangs_up_at_any_second_leaves_no_office_ringing() {
    // The call is over when the engine holds none and no phone has a line left.
    for second in 1..80 {
        let told = Story {
            hangs_up_after: Some(seconds(second)),
            ..Story::keying(&["94110", "1"])
        }
        .tell();
        assert!(told.ended, "second {second}");
        assert_eq!(told.closed().ended_by, EndedBy::Caller, "second {second}");
        for leg in told.legs() {
            assert!(
                matches!(
                    leg.disposition,
                    LegDisposition::CallerEndedRinging
                        | LegDisposition::AnsweredShort
                        | LegDisposition::AnsweredConversation
                ),
                "second {second}: {:?}",
                leg.disposition
            );
        }
    }
}

#[test]
fn call_abandoned_early_is_named_for_where_it_was() {
    let told = Story {
        hangs_up_after: Some(seconds(3)),
        ..Story::keying(&[])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::AbandonedGreeting);
    let told = Story {
        hangs_up_after: Some(seconds(18)),
        ..Story::keying(&[])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::AbandonedZip);
}

#[test]
fn spanish_is_spoken_after_its_key() {
    let mut story = Story::keying(&["2", "94110"]);
    story.config = story.config.replace("[\"en\"]", "[\"en\", \"es\"]");
    let told = story.tell();
    assert!(
        told.heard().contains("Nancy Pelosi") && told.heard().contains("código postal"),
        "{}",
        told.heard()
    );
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn zip_that_starts_with_a_language_key_is_a_zip() {
    let mut story = Story::keying(&["20001"]);
    story.config = story.config.replace("[\"en\"]", "[\"en\", \"es\"]");
    let told = story.tell();
    assert!(told.heard().contains("delegate"), "{}", told.heard());
}

#[test]
fn talk_ends_at_its_limit_with_a_warning_before() {
    let told = Story {
        offices: vec![Conduct::Stays { ring: seconds(1) }],
        hangs_up_after: Some(seconds(2200)),
        ..Story::keying(&["94110", "1"])
    }
    .tell();
    assert_eq!(told.leg_dispositions()[0], LegDisposition::LimitReached);
    assert!(told.heard().contains("One minute left"));
}

#[test]
fn early_media_is_passed_on_before_the_answer() {
    let told = Story {
        offices: vec![Conduct::EarlyMedia {
            ring: seconds(8),
            talk: seconds(40),
        }],
        ..Story::keying(&["94110", "1"])
    }
    .tell();
    assert!(told.has_event(|kind| *kind == EventKind::EarlyMedia));
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn office_that_the_network_swallows_is_a_trunk_fault() {
    let told = Story {
        offices: vec![Conduct::Vanishes, ANSWERS],
        ..Story::keying(&["94110", "1"])
    }
    .tell();
    let first = told.leg_dispositions()[0];
    assert!(
        matches!(first, LegDisposition::TrunkError | LegDisposition::NoAnswer),
        "{first:?}"
    );
    assert_eq!(told.disposition(), SessionDisposition::CompletedSome);
}

#[test]
fn caller_whose_office_would_find_no_line_is_refused_at_once() {
    let told = Story {
        channels: 1,
        ..Story::keying(&["94110"])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::CapacityRefused);
    assert!(told.has_event(|kind| matches!(kind, EventKind::Refused { status: 503, .. })));
    let told = Story {
        channels: 2,
        ..Story::keying(&["94110"])
    }
    .tell();
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn caller_hears_what_to_say_before_an_office_is_dialled() {
    let told = Story::keying(&["94110", "3", "1"]).tell();
    assert!(
        told.heard().contains("Give your name, your city and ZIP code"),
        "{}",
        told.heard()
    );
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn zip_corrected_with_star_is_asked_for_again_and_read_back() {
    let timed_keys = vec![
        (1500, "60062".to_owned()),
        (3300, "*".to_owned()),
        (6000, "94110".to_owned()),
    ];
    let told = Story {
        timed_keys,
        ..Story::default()
    }
    .tell();
    assert!(told.has_event(|kind| matches!(kind, EventKind::Chosen { choice } if choice == "correct_zip")));
    assert!(
        told.heard().contains("nine four one one zero California"),
        "{}",
        told.heard()
    );
    assert!(told.heard().contains("Nancy Pelosi"));
}
