//! Sound that comes early, in another law, or stops.

use std::time::Duration;

use trunkline::command::demo::peer::{Law, find, melody};
use trunkline::command::demo::{Conduct, Office, Sighting};

use super::keys::{office, trunk, tune};
use super::place::Place;
use super::server::Server;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_sent_while_it_rings_is_neither_kept_nor_counted_as_lost() {
    let place = Place::new();
    let number = "2025550106";
    let conduct = Conduct::Answers {
        ring: Duration::from_secs(2),
        speech: tune(number).into(),
        talk: None,
    };
    let hasty = Office {
        hasty: true,
        conduct,
        ..office(&place, number)
    };
    let _network = trunk(place.offices(), vec![hasty]).await;
    let mut server = Server::start(&place);
    let callers = trunk(place.callers(), Vec::new()).await;
    let mut caller = callers
        .caller(place.server(), "4155550123", number)
        .await
        .unwrap();
    assert!(caller.answered(PATIENCE).await);
    let before = caller.heard().await.packets;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let heard = caller.heard().await;
    caller.hangs_up().await;
    let packets = heard.packets - before;
    assert!(
        (30..65).contains(&packets),
        "{packets} packets in the first second: old sound came with the new"
    );
    assert_eq!(heard.lost, 0);
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn office_that_speaks_only_the_other_law_is_understood_both_ways() {
    let place = Place::new();
    let number = "2025550107";
    let european = Office {
        laws: vec![Law::A],
        ..office(&place, number)
    };
    let mut network = trunk(place.offices(), vec![european]).await;
    let mut server = Server::start(&place);
    let callers = trunk(place.callers(), Vec::new()).await;
    let mut caller = callers
        .caller(place.server(), "4155550123", number)
        .await
        .unwrap();
    assert!(caller.answered(PATIENCE).await);
    let speech = melody(78, 3);
    caller.says(&speech).await;
    assert!(
        caller.hears(&tune(number), PATIENCE).await.is_some(),
        "the office was not heard"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    caller.hangs_up().await;
    let talk = loop {
        match network.sighting(PATIENCE).await.expect("the talk ends") {
            Sighting::Ended { heard, .. } => break heard,
            Sighting::NoAck { .. } => panic!("the answer was not acknowledged"),
            _ => {}
        }
    };
    assert!(
        find(&talk.samples, &speech).is_some_and(|found| found.score > 0.9),
        "the caller was not heard"
    );
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcement_before_the_answer_is_heard_by_the_caller() {
    let place = Place::new();
    let number = "2025550108";
    let conduct = Conduct::Announces {
        early: Duration::from_secs(6),
        speech: tune(number).into(),
    };
    let announces = Office {
        conduct,
        ..office(&place, number)
    };
    let _network = trunk(place.offices(), vec![announces]).await;
    let mut server = Server::start(&place);
    let callers = trunk(place.callers(), Vec::new()).await;
    let mut caller = callers
        .caller(place.server(), "4155550123", number)
        .await
        .unwrap();
    let heard = caller.hears(&tune(number), PATIENCE).await;
    let answered_before = caller.is_answered();
    caller.hangs_up().await;
    assert!(heard.is_some(), "the announcement was not heard");
    assert!(!answered_before, "it was heard only after the answer");
    server.lives();
}
