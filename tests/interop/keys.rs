//! Keys: however the network spoils them, each press counts once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use trunkline::command::demo::peer::{DigitStyle, Law, melody};
use trunkline::command::demo::{Conduct, Office, Sighting, Timeline, Trunk, TrunkPlan};

use super::installed;
use super::place::Place;
use super::server::{ASKING, Server};
use super::sipp::{Scenario, Sipp};

const PATIENCE: Duration = Duration::from_secs(60);

/// A recording of the server's own, as 8 kHz audio.
pub fn recording(id: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("prompts/en/{id}.ogg"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    media::audio_file::decode(&bytes).unwrap().telephone()
}

/// An office with these last digits that answers after half a second and plays the tune of its number.
pub fn office(place: &Place, number: &str) -> Office {
    Office {
        name: number.to_owned(),
        number: number.to_owned(),
        conduct: Conduct::Answers {
            ring: Duration::from_millis(500),
            speech: tune(number).into(),
            talk: None,
        },
        media: place.offices().ip(),
        laws: vec![Law::Mu, Law::A],
        hasty: false,
    }
}

/// The tune of an office.
pub fn tune(number: &str) -> Vec<i16> {
    melody(number.parse().unwrap(), 3)
}

/// A trunk that needs no registration.
pub async fn trunk(address: SocketAddr, offices: Vec<Office>) -> Trunk {
    let plan = TrunkPlan {
        address,
        media: address.ip(),
        account: None,
        algorithms: Vec::new(),
        longest: Duration::from_secs(600),
        offices,
    };
    Trunk::open(plan, Timeline::quiet()).await.unwrap()
}

/// Five keys with a repeated one, how they are pressed, and the network that carries them.
fn presses() -> Vec<(&'static str, DigitStyle)> {
    let plain = DigitStyle::default();
    let milliseconds = Duration::from_millis;
    vec![
        ("50111", plain),
        ("50122", DigitStyle { ends: 1, ..plain }),
        ("50133", DigitStyle { ends: 0, ..plain }),
        ("50144", DigitStyle { copies: 2, ..plain }),
        (
            "50155",
            DigitStyle {
                marker: false,
                lose_first: 2,
                ..plain
            },
        ),
        (
            "50166",
            DigitStyle {
                press: milliseconds(600),
                pause: milliseconds(60),
                ..plain
            },
        ),
        (
            "50177",
            DigitStyle {
                press: milliseconds(60),
                pause: milliseconds(60),
                ends: 1,
                copies: 3,
                ..plain
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_press_counts_once_whatever_the_network_does_to_it() {
    let place = Place::new();
    let offices: Vec<Office> = presses()
        .iter()
        .map(|(keys, _)| office(&place, &format!("20255{keys}")))
        .collect();
    let mut network = trunk(place.offices(), offices).await;
    let mut server = Server::start(&place);
    let callers = trunk(place.callers(), Vec::new()).await;
    let question = recording("msg_location");
    let mut talks = tokio::task::JoinSet::new();
    for (keys, style) in presses() {
        let mut caller = callers
            .caller(place.server(), "4155550123", ASKING)
            .await
            .unwrap();
        let question = question.clone();
        talks.spawn(async move {
            assert!(caller.answered(PATIENCE).await, "{keys}: no answer");
            assert!(
                caller.hears(&question, PATIENCE).await.is_some(),
                "{keys}: the question was not heard"
            );
            caller.press(keys, style).await;
            let tune = tune(&format!("20255{keys}"));
            let heard = caller.hears(&tune, PATIENCE).await;
            caller.hangs_up().await;
            assert!(
                heard.is_some(),
                "{keys} with {style:?}: the office's tune was not heard"
            );
        });
    }
    while let Some(talk) = talks.join_next().await {
        talk.unwrap();
    }
    let mut rung = Vec::new();
    while let Some(sighting) = network.sighting(Duration::from_secs(2)).await {
        if let Sighting::Rung { number, .. } = sighting {
            rung.push(number.replacen("20255", "", 1));
        }
    }
    rung.sort();
    let expected: Vec<&str> = presses().into_iter().map(|(keys, _)| keys).collect();
    assert_eq!(rung, expected);
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_a_talk_reach_the_office_once_and_sound_goes_both_ways() {
    let place = Place::new();
    let number = "2025550104";
    let mut network = trunk(place.offices(), vec![office(&place, number)]).await;
    let mut server = Server::start(&place);
    let callers = trunk(place.callers(), Vec::new()).await;
    let mut caller = callers
        .caller(place.server(), "4155550123", number)
        .await
        .unwrap();
    assert!(caller.answered(PATIENCE).await);
    let speech = melody(77, 3);
    caller.says(&speech).await;
    let heard = caller.hears(&tune(number), PATIENCE).await;
    assert!(heard.is_some(), "the office was not heard");
    caller
        .press(
            "1550",
            DigitStyle {
                copies: 2,
                ends: 2,
                ..DigitStyle::default()
            },
        )
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    caller.hangs_up().await;
    let talk = loop {
        match network.sighting(PATIENCE).await.expect("the talk ends") {
            Sighting::Ended {
                heard,
                by_office: false,
                ..
            } => break heard,
            Sighting::Ended { .. } | Sighting::NoAck { .. } => panic!("the talk ended another way"),
            _ => {}
        }
    };
    assert_eq!(talk.digits, "1550");
    let found = trunkline::command::demo::peer::find(&talk.samples, &speech);
    assert!(
        found.is_some_and(|found| found.score > 0.9),
        "the caller was not heard: {found:?}"
    );
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_as_info_count_too() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut network = trunk(place.offices(), vec![office(&place, "2025550188")]).await;
    let mut server = Server::start(&place);
    let keys = [
        ("DIGIT1", "5"),
        ("DIGIT2", "0"),
        ("DIGIT3", "1"),
        ("DIGIT4", "8"),
        ("DIGIT5", "8"),
    ];
    let scenario = Scenario {
        name: "caller-keys-by-info",
        replace: &keys,
        local: place.callers(),
        remote: place.server(),
        number: ASKING,
        calls: 1,
        lost: 0,
    };
    let mut caller = Sipp::start(&place, &scenario);
    let rung = network.sighting(PATIENCE).await;
    assert!(
        matches!(rung, Some(Sighting::Rung { ref number, .. }) if number == "2025550188"),
        "{rung:?}"
    );
    tokio::task::spawn_blocking(move || caller.finish())
        .await
        .unwrap()
        .unwrap();
    server.lives();
}
