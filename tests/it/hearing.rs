//! What is heard in the audio: keys as tones, and what an office's line tells.

use std::time::Duration;

use media::hearing::{Heard, Sound};
use media::{Digit, StreamId};
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::{EventKind, EvidenceSource};
use trunkline::switch::engine::Input;
use trunkline::switch::simulator::{Conduct, LineSound, Network};

use crate::lines::{Lines, trunk};
use crate::support::{ANSWERS, Story, Told, seconds};

fn sounds(sound: LineSound, early: bool, talk: u64) -> Conduct {
    Conduct::Sounds {
        ring: seconds(2),
        sound,
        early,
        talk: seconds(talk),
    }
}

/// The first office sounds so, the others answer.
fn story(sound: LineSound, early: bool, talk: u64) -> Story {
    Story {
        offices: vec![sounds(sound, early, talk), ANSWERS],
        ..Story::keying(&["94110", "1"])
    }
}

fn heard_as(told: &Told, name: &str) -> bool {
    told.has_event(|kind| matches!(kind, EventKind::Heard { sound, confidence, .. } if sound == name && *confidence >= 60))
}

/// How many keys were pressed.
fn keys(events: &[&EventKind]) -> u16 {
    let count = |kind: &&EventKind| match kind {
        EventKind::Digits { count } => Some(*count),
        _ => None,
    };
    events.iter().filter_map(count).sum()
}

#[test]
fn an_office_that_is_busy_by_tone_is_told_as_busy_before_and_after_the_answer() {
    for early in [true, false] {
        let told = story(LineSound::Busy, early, 50).tell();
        assert!(told.ended && heard_as(&told, "busy_tone"), "{:?}", told.events());
        let first = told.legs()[0];
        assert_eq!(first.disposition, LegDisposition::BusyInband, "early {early}");
        assert!(first.evidence == EvidenceSource::Media && first.confidence >= 90);
        assert!(told.heard().contains("That line is busy"), "{}", told.heard());
        assert_eq!(
            told.leg_dispositions()[1..],
            [LegDisposition::AnsweredConversation; 2]
        );
        assert_eq!(told.disposition(), SessionDisposition::CompletedSome);
    }
}

#[test]
fn information_tones_say_that_a_number_is_not_in_service_and_reorder_that_the_network_failed() {
    let told = story(LineSound::Vacant, true, 50).tell();
    assert!(heard_as(&told, "information_tone_vacant"));
    assert_eq!(told.leg_dispositions()[0], LegDisposition::NotInService);
    assert!(
        told.heard().contains("That number isn't working"),
        "{}",
        told.heard()
    );
    let told = story(LineSound::Reorder, false, 50).tell();
    assert_eq!(told.leg_dispositions()[0], LegDisposition::Congestion);
}

#[test]
fn a_greeting_with_a_beep_is_a_suspected_voicemail_and_the_caller_stays_connected() {
    let told = story(LineSound::Voicemail, false, 45).tell();
    assert!(heard_as(&told, "greeting_and_beep"), "{:?}", told.events());
    let first = told.legs()[0];
    assert_eq!(first.disposition, LegDisposition::VoicemailSuspected);
    assert!(first.evidence == EvidenceSource::Media && (60..100).contains(&first.confidence));
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    // Greeting 8 s, pause and beep 0.7 s; the line goes dead right after.
    let told = story(LineSound::Voicemail, false, 11).tell();
    assert!(heard_as(&told, "beep_then_hang_up"), "{:?}", told.events());
    assert_eq!(told.leg_dispositions()[0], LegDisposition::MailboxFullSuspected);
}

#[test]
fn tones_are_only_noted_or_not_heard_at_all_where_the_configuration_says_so() {
    for (offices, noted) in [("note", true), ("off", false)] {
        let mut story = story(LineSound::Busy, false, 20);
        story
            .config
            .push_str(&format!("[hearing]\noffices = \"{offices}\"\n"));
        let told = story.tell();
        assert_eq!(heard_as(&told, "busy_tone"), noted, "{offices}");
        let first = told.legs()[0];
        assert_eq!(first.disposition, LegDisposition::OfficeEnded, "{offices}");
        assert_eq!(first.evidence, EvidenceSource::Signal);
    }
}

#[test]
fn offices_that_answer_are_never_taken_for_a_tone() {
    let told = Story::keying(&["94110", "1"]).tell();
    assert!(!told.has_event(|kind| matches!(kind, EventKind::Heard { .. })));
}

#[test]
fn a_caller_without_telephone_event_keys_a_zip_code_by_tones_through_a_network_that_loses_packets() {
    for lost in [0, 20] {
        let told = Story {
            inband: true,
            network: Network {
                lost,
                ..Network::default()
            },
            // Keys that are the same follow each other: each counts.
            offices: vec![Conduct::Stays { ring: seconds(1) }],
            keys: ["94110", "1", "42", "##"].map(str::to_owned).to_vec(),
            ..Story::default()
        }
        .tell();
        assert!(told.ended);
        assert_eq!(told.targets().len(), 1, "lost {lost}");
        assert!(told.office_heard().starts_with("42"), "{}", told.office_heard());
        assert_eq!(keys(&told.events()), 10, "lost {lost}");
    }
}

#[test]
fn race_35_a_press_told_by_event_and_by_tone_in_either_order_is_one_key_and_the_next_one_counts() {
    let digit = Digit::try_from('5').unwrap();
    let stream = StreamId(1);
    let tone = media::Event::Heard {
        stream,
        heard: Heard {
            sound: Sound::Digit(digit),
            confidence: 100,
            speech_before: Duration::ZERO,
        },
    };
    let event = media::Event::DigitPressed { stream, digit: '5' };
    for pair in [[&tone, &event], [&event, &tone]] {
        let mut lines = Lines::new("[[trunk]]\nname = \"t\"\nhost = \"t.invalid\"\ndigits = \"inband\"\n");
        lines.call(trunk(0));
        for _ in 0..2 {
            for told in pair {
                lines.input(Input::Media((*told).clone()));
                lines.pass(Duration::from_millis(100));
            }
        }
        lines.input(Input::EndAll);
        assert_eq!(keys(&lines.events()), 2);
    }
}
