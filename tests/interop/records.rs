//! What is left of calls in the store, read as an operator would after the server has ended.

use std::time::Duration;

use trunkline::call::disposition::SessionDisposition;
use trunkline::call::record::{CallRecord, Direction};
use trunkline::store::{CallFilter, CallStore, SqliteStore, StoreUrl};

use super::keys::{office, trunk};
use super::place::Place;
use super::server::Server;

/// All records, the oldest first.
pub fn records(place: &Place) -> Vec<CallRecord> {
    let store = SqliteStore::open_existing(&StoreUrl::sqlite(place.file("trunkline.db"))).unwrap();
    let page = store.calls(&CallFilter::default()).unwrap();
    page.calls
        .iter()
        .rev()
        .map(|call| store.call(call.id).unwrap().unwrap())
        .collect()
}

/// What became of the legs that the server dialled, in order.
pub fn dialled(records: &[CallRecord]) -> Vec<&'static str> {
    let legs = records.iter().flat_map(|record| &record.legs);
    legs.filter(|leg| leg.direction == Direction::Outbound)
        .map(|leg| leg.end.as_ref().map_or("open", |end| end.disposition.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_a_crash_cut_off_is_closed_at_the_next_start_and_stands_there_once() {
    let place = Place::new();
    let number = "2025550105";
    let _network = trunk(place.offices(), vec![office(&place, number)]).await;
    let callers = trunk(place.callers(), Vec::new()).await;
    let server = Server::start(&place);
    let mut caller = callers
        .caller(place.server(), "4155550123", number)
        .await
        .unwrap();
    assert!(caller.answered(Duration::from_secs(20)).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.crash();
    let open = records(&place);
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(
        open[0].summary.disposition, None,
        "the call was going on when the server died"
    );
    drop(Server::start(&place));
    let closed = records(&place);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed[0].summary.id, open[0].summary.id);
    assert_eq!(
        closed[0].summary.disposition,
        Some(SessionDisposition::SystemError)
    );
    assert!(closed[0].summary.ended_at.is_some());
}
