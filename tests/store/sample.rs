//! Calls and stores that the tests share.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::*;
use trunkline::store::*;
use trunkline::units::{CallId, CampaignId, Language, OfficeId, TargetId, TrunkName};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Changes in a [`whole_call`].
pub const WHOLE: u64 = 11;

pub fn new_store() -> (TempDir, Arc<SqliteStore>) {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(open(directory.path()));
    (directory, store)
}

pub fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(&StoreUrl::sqlite(directory.join("trunkline.db"))).unwrap()
}

pub fn id(n: u64) -> CallId {
    CallId::new(1_780_000_000_000 + n, u128::from(n))
}

pub fn hmac() -> CallerHmac {
    caller_hmac(b"key", &"+12025550100".parse().unwrap())
}

pub fn count(store: &impl CallStore) -> usize {
    let mut calls = 0;
    let each = &mut |_| {
        calls += 1;
        ControlFlow::Continue(())
    };
    store.export_calls(&CallFilter::default(), each).unwrap();
    calls
}

pub fn opened(call: CallId, at: UtcMicros, campaign: &str) -> RecordChange {
    RecordChange::CallOpened(Box::new(CallOpened {
        call,
        at,
        direction: Direction::Inbound,
        route: Route {
            number: Some("+12025550199".to_owned()),
            trunk: Some(TrunkName::new("carrier")),
            campaign: Some(CampaignId::new(campaign)),
            flow: Some("hotline".to_owned()),
            flow_version: Some(1),
        },
        caller: Some(hmac()),
        sip_call_id: Some("7f3a@192.0.2.7".to_owned()),
    }))
}

pub fn closed(call: CallId, at: UtcMicros, disposition: SessionDisposition) -> RecordChange {
    let details = CallDetails {
        zip: Some(KeptZip::new("94110".parse().unwrap(), ZipDetail::Prefix)),
        language: Some(Language::ENGLISH),
        ..CallDetails::default()
    };
    RecordChange::CallClosed(Box::new(CallClosed {
        call,
        at,
        disposition,
        ended_by: EndedBy::Caller,
        details,
    }))
}

/// A caller who tried one office, which was busy: eleven changes.
pub fn whole_call(call: CallId, caller: CallerHmac) -> Vec<RecordChange> {
    let seconds = |n: i64| UtcMicros(n * 1_000_000);
    let (caller_leg, office_leg) = (LegNumber(0), LegNumber(1));
    let event = |at, leg, kind| RecordChange::event(call, seconds(at), leg, kind);
    let mut begun = opened(call, seconds(0), "congress");
    if let RecordChange::CallOpened(opened) = &mut begun {
        opened.caller = Some(caller);
    }
    let target = TargetId::new("us:bioguide:P000197");
    let office = OfficeId::new("us:bioguide:P000197/dc");
    let number = Some("+12025550142".parse().unwrap());
    let busy = Cause {
        sip_status: Some(486),
        q850: Some(17),
        phrase: Some(Phrase::new("Busy Here")),
    };
    let party = Party::Office {
        target: target.clone(),
        office: Some(office.clone()),
        number,
    };
    let dialled = EventKind::Dialled {
        target: Some(target),
        office: Some(office),
        trunk: None,
        attempt: 1,
    };
    let failed = EventKind::DialFailed {
        disposition: LegDisposition::Busy,
        cause: busy.clone(),
    };
    let hung_up = EventKind::HungUp { by: EndedBy::Caller };
    let last = vec![
        CallEvent {
            at: seconds(22),
            leg: Some(office_leg),
            kind: failed,
        },
        CallEvent {
            at: seconds(90),
            leg: Some(caller_leg),
            kind: hung_up,
        },
    ];
    vec![
        begun,
        event(0, None, EventKind::Admitted),
        leg_opened(call, caller_leg, seconds(0), Party::Caller),
        event(1, Some(caller_leg), EventKind::Answered),
        event(9, Some(caller_leg), EventKind::Digits { count: 5 }),
        leg_opened(call, office_leg, seconds(20), party),
        event(20, Some(office_leg), dialled),
        leg_closed(call, office_leg, seconds(22), LegDisposition::Busy, busy),
        RecordChange::Events { call, events: last },
        leg_closed(
            call,
            caller_leg,
            seconds(90),
            LegDisposition::AnsweredConversation,
            Cause::default(),
        ),
        closed(call, seconds(90), SessionDisposition::CompletedSome),
    ]
}

/// The kinds of a whole call's events.
pub const WHOLE_KINDS: [&str; 6] = [
    "admitted",
    "answered",
    "digits",
    "dialled",
    "dial_failed",
    "hung_up",
];

pub fn kinds(call: &CallRecord) -> Vec<&'static str> {
    call.events.iter().map(|event| event.kind.name()).collect()
}

fn leg_opened(call: CallId, leg: LegNumber, at: UtcMicros, party: Party) -> RecordChange {
    let direction = if leg == LegNumber(0) {
        Direction::Inbound
    } else {
        Direction::Outbound
    };
    RecordChange::LegOpened(Box::new(LegOpened {
        call,
        leg,
        at,
        direction,
        party,
        trunk: Some(TrunkName::new("carrier")),
        choice: Some(Choice::Main),
        attempt: 1,
        caller_id_policy: Some("campaign".to_owned()),
    }))
}

fn leg_closed(
    call: CallId,
    leg: LegNumber,
    at: UtcMicros,
    disposition: LegDisposition,
    cause: Cause,
) -> RecordChange {
    RecordChange::LegClosed(Box::new(LegClosed {
        call,
        leg,
        at,
        ringing_at: None,
        answered_at: None,
        disposition,
        ended_by: EndedBy::Trunk,
        cause,
        evidence: EvidenceSource::Signal,
        confidence: 100,
        media: MediaSummary {
            codec: Some("PCMU".to_owned()),
            packets_sent: 4500,
            packets_received: 4498,
            packets_lost: 2,
            jitter_microseconds: 700,
        },
    }))
}
