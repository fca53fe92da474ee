//! Any record, however odd its texts, reads back from the store and from JSON.

use std::fmt::Debug;

use proptest::prelude::*;
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::*;
use trunkline::store::*;
use trunkline::units::{CampaignId, Language, OfficeId, TargetId, TrunkName, Zip};

use crate::sample::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_record_reads_back_from_store_and_json(calls in prop::collection::vec(any_call(), 1..4)) {
        let (_directory, store) = new_store();
        let calls: Vec<CallRecord> = (0..).zip(calls).map(|(n, mut call)| {
            call.summary.id = id(n);
            call.events.sort_by_key(|event| event.at);
            call
        }).collect();
        for call in &calls {
            store.apply(&changes_of(call)).unwrap();
        }
        for call in &calls {
            let read = store.call(call.summary.id).unwrap().unwrap();
            prop_assert_eq!(&read, call);
            let json = serde_json::to_string(&read).unwrap();
            prop_assert_eq!(&serde_json::from_str::<CallRecord>(&json).unwrap(), call);
        }
    }

    #[test]
    fn phrase_kept_twice_is_the_phrase_kept_once(text in "[ -~]{0,60}|[0-9 ().-]{0,40}|.{0,200}") {
        let once = Phrase::new(&text);
        prop_assert_eq!(&Phrase::new(once.as_str()), &once);
    }

    #[test]
    fn event_kind_has_the_name_that_json_gives_it(kind in any_kind()) {
        prop_assert_eq!(&serde_json::to_value(&kind).unwrap()["kind"], kind.name());
    }
}

/// The changes that build up a record.
fn changes_of(record: &CallRecord) -> Vec<RecordChange> {
    let summary = record.summary.clone();
    let call = summary.id;
    let mut changes = vec![RecordChange::CallOpened(Box::new(CallOpened {
        call,
        at: summary.started_at,
        direction: summary.direction,
        route: summary.route,
        caller: summary.caller_hmac,
        sip_call_id: summary.sip_call_id,
    }))];
    changes.extend(record.legs.iter().flat_map(|leg| changes_of_leg(record, leg)));
    changes.push(RecordChange::Events {
        call,
        events: record.events.clone(),
    });
    let details = CallDetails {
        answered_at: summary.answered_at,
        language: summary.language,
        zip: Some(summary.zip),
        data_version: summary.data_version,
        ..CallDetails::default()
    };
    changes.push(match (summary.ended_at, summary.disposition, summary.ended_by) {
        (Some(at), Some(disposition), Some(ended_by)) => RecordChange::CallClosed(Box::new(CallClosed {
            call,
            at,
            disposition,
            ended_by,
            details,
        })),
        _ => RecordChange::CallDetails {
            call,
            details: Box::new(details),
        },
    });
    changes
}

fn changes_of_leg(record: &CallRecord, leg: &LegRecord) -> Vec<RecordChange> {
    let call = record.summary.id;
    let leg = leg.clone();
    let mut changes = vec![RecordChange::LegOpened(Box::new(LegOpened {
        call,
        leg: leg.leg,
        at: leg.started_at,
        direction: leg.direction,
        party: leg.party,
        trunk: leg.trunk,
        choice: leg.choice,
        attempt: leg.attempt,
        caller_id_policy: leg.caller_id_policy,
    }))];
    if let (Some(at), Some(end)) = (leg.ended_at, leg.end) {
        changes.push(RecordChange::LegClosed(Box::new(LegClosed {
            call,
            leg: leg.leg,
            at,
            ringing_at: end.ringing_at,
            answered_at: end.answered_at,
            disposition: end.disposition,
            ended_by: end.ended_by,
            cause: end.cause,
            evidence: end.evidence,
            confidence: end.confidence,
            media: end.media,
        })));
    }
    changes
}

fn any_call() -> impl Strategy<Value = CallRecord> {
    let event = (at(), prop::option::of((0..9_u16).prop_map(LegNumber)), any_kind())
        .prop_map(|(at, leg, kind)| CallEvent { at, leg, kind });
    let legs = prop::collection::vec(any_leg(), 0..4).prop_map(|mut legs| {
        (0..).zip(&mut legs).for_each(|(n, leg)| leg.leg = LegNumber(n));
        legs
    });
    let events = prop::collection::vec(event, 0..12);
    (any_summary(), legs, events).prop_map(|(summary, legs, events)| CallRecord {
        summary,
        legs,
        events,
    })
}

fn any_summary() -> impl Strategy<Value = CallSummary> {
    let times = (at(), prop::option::of(at()));
    let end = prop::option::of((at(), one(SessionDisposition::ALL), one(EndedBy::ALL)));
    let words = (prop::option::of(text()), prop::option::of(text()), any::<bool>());
    (times, end, any_route(), any_zip(), words, one(Direction::ALL)).prop_map(
        |((started_at, answered_at), end, route, zip, (sip_call_id, data_version, known), direction)| {
            CallSummary {
                id: id(0),
                direction,
                started_at,
                answered_at,
                ended_at: end.map(|(at, _, _)| at),
                route,
                caller_hmac: known.then(hmac),
                language: known.then_some(Language::SPANISH),
                zip,
                data_version,
                disposition: end.map(|(_, disposition, _)| disposition),
                ended_by: end.map(|(_, _, by)| by),
                sip_call_id,
            }
        },
    )
}

fn any_leg() -> impl Strategy<Value = LegRecord> {
    let words = (
        prop::option::of(text()),
        prop::option::of(text()),
        prop::option::of(one(Choice::ALL)),
    );
    let end = prop::option::of((at(), any_outcome()));
    (one(Direction::ALL), any_party(), words, any::<u16>(), at(), end).prop_map(
        |(direction, party, (trunk, caller_id_policy, choice), attempt, started_at, end)| {
            let (ended_at, end) = end.unzip();
            let trunk = trunk.map(TrunkName::new);
            let leg = LegNumber(0);
            LegRecord {
                leg,
                direction,
                party,
                trunk,
                choice,
                attempt,
                caller_id_policy,
                started_at,
                ended_at,
                end,
            }
        },
    )
}

fn any_party() -> impl Strategy<Value = Party> {
    let number = prop::option::of("[1-9][0-9]{3,14}");
    let office =
        (text(), prop::option::of(text()), number).prop_map(|(target, office, number)| Party::Office {
            target: TargetId::new(target),
            office: office.map(OfficeId::new),
            number: number.map(|digits| format!("+{digits}").parse().unwrap()),
        });
    prop_oneof![Just(Party::Caller), Just(Party::Route), office]
}

fn any_outcome() -> impl Strategy<Value = LegOutcome> {
    let packets = || 0..u64::MAX / 4;
    let media = (
        prop::option::of(text()),
        packets(),
        packets(),
        packets(),
        any::<u32>(),
    )
        .prop_map(
            |(codec, packets_sent, packets_received, packets_lost, jitter_microseconds)| MediaSummary {
                codec,
                packets_sent,
                packets_received,
                packets_lost,
                jitter_microseconds,
            },
        );
    let codes = (
        one(LegDisposition::ALL),
        one(EndedBy::ALL),
        one(EvidenceSource::ALL),
        0..=100_u8,
    );
    (
        prop::option::of(at()),
        prop::option::of(at()),
        codes,
        any_cause(),
        media,
    )
        .prop_map(
            |(ringing_at, answered_at, (disposition, ended_by, evidence, confidence), cause, media)| {
                LegOutcome {
                    ringing_at,
                    answered_at,
                    disposition,
                    ended_by,
                    cause,
                    evidence,
                    confidence,
                    media,
                }
            },
        )
}

fn any_cause() -> impl Strategy<Value = Cause> {
    (
        any::<Option<u16>>(),
        any::<Option<u16>>(),
        prop::option::of(".{0,150}"),
    )
        .prop_map(|(sip_status, q850, phrase)| Cause {
            sip_status,
            q850,
            phrase: phrase.map(|text| Phrase::new(&text)),
        })
}

fn any_route() -> impl Strategy<Value = Route> {
    let word = || prop::option::of(text());
    (word(), word(), word(), word(), any::<Option<u32>>()).prop_map(
        |(number, trunk, campaign, flow, flow_version)| Route {
            number,
            trunk: trunk.map(TrunkName::new),
            campaign: campaign.map(CampaignId::new),
            flow,
            flow_version,
        },
    )
}

fn any_zip() -> impl Strategy<Value = KeptZip> {
    let detail = one(&[ZipDetail::Nothing, ZipDetail::Prefix, ZipDetail::Full]);
    ("[0-9]{5}", detail).prop_map(|(zip, detail)| KeptZip::new(zip.parse::<Zip>().unwrap(), detail))
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    let states = prop::collection::vec("[A-Z]{2}".prop_map(|state| state.parse().unwrap()), 0..3);
    let located = (any_zip(), states, text(), 0..=100_u8, any::<u8>()).prop_map(
        |(zip, states, rule, confidence, district)| EventKind::Located {
            zip,
            districts: states
                .iter()
                .map(|&state| DistrictName { state, district })
                .collect(),
            states,
            rule,
            confidence,
            data_version: "2026".to_owned(),
        },
    );
    prop_oneof![
        bare_kind(),
        located,
        kind_with_fields(),
        (one(EndedBy::ALL), any_cause()).prop_map(|(by, cause)| EventKind::Ended { by, cause }),
        (one(LegDisposition::ALL), any_cause())
            .prop_map(|(disposition, cause)| EventKind::DialFailed { disposition, cause }),
        one(EndedBy::ALL).prop_map(|by| EventKind::HungUp { by }),
    ]
}

fn bare_kind() -> impl Strategy<Value = EventKind> {
    prop::sample::select(vec![
        EventKind::Admitted,
        EventKind::Ringing,
        EventKind::EarlyMedia,
        EventKind::Answered,
        EventKind::Unbridged,
        EventKind::NextRequested,
        EventKind::MediaStarted,
        EventKind::MediaTimedOut,
        EventKind::Held,
        EventKind::Resumed,
        EventKind::Recovered,
    ])
}

fn kind_with_fields() -> impl Strategy<Value = EventKind> {
    (0..26_u8, text(), any::<u16>(), any::<u8>(), any::<bool>()).prop_map(
        |(which, text, number, byte, flag)| {
            let seconds = u32::from(number);
            match which {
                0 => EventKind::Refused {
                    status: number,
                    reason: text,
                },
                1 => EventKind::Progress { status: number },
                2 => EventKind::StepEntered { step: text },
                3 => EventKind::PromptStarted { prompt: text },
                4 => EventKind::PromptEnded {
                    prompt: text,
                    interrupted: flag,
                },
                5 => EventKind::PromptMissing { prompt: text },
                6 => EventKind::Digits { count: number },
                7 => EventKind::Chosen { choice: text },
                8 => EventKind::NoInput { attempt: byte },
                9 => EventKind::InvalidInput { attempt: byte },
                10 => EventKind::TargetsChosen {
                    targets: vec![TargetId::new(text)],
                },
                11 => EventKind::OfficeClosed {
                    office: OfficeId::new(text),
                    opens_at: flag.then_some(UtcMicros(9)),
                },
                12 => {
                    let (target, office) = (
                        flag.then(|| TargetId::new(text.clone())),
                        Some(OfficeId::new(text)),
                    );
                    EventKind::Dialled {
                        target,
                        office,
                        trunk: None,
                        attempt: number,
                    }
                }
                13 => EventKind::FailedOver {
                    office: OfficeId::new(text),
                },
                14 => EventKind::Bridged {
                    with: LegNumber(number),
                },
                15 => EventKind::MediaSilent { seconds },
                16 => EventKind::LimitReached { limit: text },
                17 => EventKind::Reoffered { accepted: flag },
                18 => EventKind::Decision { reason: text },
                19 => EventKind::LimitWarned {
                    seconds_left: seconds,
                },
                20 => EventKind::CodecChosen { codec: text },
                21 => EventKind::Queued { position: number },
                22 => EventKind::LanguageChosen {
                    language: Language::ENGLISH,
                },
                24 => EventKind::Heard {
                    sound: text.clone(),
                    evidence: text,
                    confidence: byte,
                },
                _ => EventKind::OutcomeTold { outcome: text },
            }
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        "[a-z_-]{1,12}",
        Just("'; DROP TABLE call_record; --".to_owned())
    ]
}

fn at() -> impl Strategy<Value = UtcMicros> {
    (0..4_000_000_000_000_000_i64).prop_map(UtcMicros)
}

fn one<T: Copy + Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}
