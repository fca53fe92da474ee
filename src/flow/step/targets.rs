//! `call_targets`: the targets one after the other, each at an office that is open (`hotline.md` S6 to S11).

mod line;
mod reach;

use std::collections::VecDeque;
use std::time::Duration;

use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::call::record::{Choice, EventKind};
use crate::campaign::select::Listed;
use crate::directory::{Office, Target};
use crate::flow::catalogue::{Catalogue, Piece};
use crate::flow::definition::{CallTargets, Step};
use crate::flow::run::{Action, DialRequest, Event, Run, Skipped, State, TimerName, World};
use crate::flow::speech;
use crate::flow::step::talk::Keys;
use crate::units::{OfficeId, TargetId};
use line::{end_all, ends_call, on_offering, on_ringing, on_star, on_talking};
use reach::{Reach, reach};

/// The words before the talk limit come this long before it.
const WARNING: Duration = Duration::from_secs(60);
/// For the key that puts an office off to the end.
const RETRY_CHOICE: Duration = Duration::from_secs(4);
/// Pause after an entry was accepted.
const AFTER_ENTRY: Piece = Piece::Silence(Duration::from_millis(500));
const SHORT_PAUSE: Piece = Piece::Silence(Duration::from_millis(300));

#[derive(Debug)]
pub(in crate::flow) struct Round {
    queue: VecDeque<Listed>,
    phase: Phase,
    keys: Keys,
    hinted: bool,
    dialled_any: bool,
    /// Targets that the caller asked to try again at the end: once each.
    put_off: Vec<TargetId>,
}

/// Who is being called.
#[derive(Debug, Clone)]
struct Current {
    target: TargetId,
    office: OfficeId,
    /// The office stands in for one that is closed.
    failed_over: bool,
}

#[derive(Debug)]
enum Phase {
    /// Saying something that needs no answer, then on to the next target.
    Telling,
    /// Introducing a target, and waiting for a key or the moment to dial.
    Introducing(Current),
    /// Dialled; the office has not answered.
    /// `early`: the office's side sends sound; `told`: "connecting" was said to its end.
    Ringing {
        current: Current,
        early: bool,
        told: bool,
    },
    Talking(Current),
    /// Saying why an office was not reached, with the offer to try it again at the end.
    OfferingRetry(Current),
}

impl Round {
    pub(in crate::flow) fn waits_for_keys(&self) -> bool {
        matches!(
            self.phase,
            Phase::Introducing(_) | Phase::OfferingRetry(_) | Phase::Talking(_)
        )
    }

    pub(in crate::flow) fn nobody_dialled_yet(&self) -> bool {
        !self.dialled_any
    }
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &CallTargets) {
    let queue: VecDeque<Listed> = run.listed.iter().cloned().collect();
    let count = queue
        .iter()
        .filter(|entry| matches!(entry, Listed::Target(_)))
        .count();
    run.so_far = SessionDisposition::AbandonedMenu;
    run.state = State::CallingTargets(Round {
        queue,
        phase: Phase::Telling,
        keys: Keys::default(),
        hinted: false,
        dialled_any: false,
        put_off: Vec::new(),
    });
    run.tally.listed = count;
    if count == 0 {
        return next(run, world, step);
    }
    let words = catalogue(run, world);
    let offices = |_: &str| words.offices(u32::try_from(count).unwrap_or(u32::MAX));
    let mut pieces = vec![AFTER_ENTRY];
    pieces.extend(run.pieces_with(world, "msg_call_block_intro", &offices));
    run.play(&["msg_call_block_intro"], pieces);
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &CallTargets, event: Event) {
    let State::CallingTargets(round) = &run.state else {
        return;
    };
    match &round.phase {
        Phase::Telling => on_telling(run, world, step, &event),
        Phase::Introducing(current) => {
            let current = current.clone();
            on_introducing(run, world, step, current, &event);
        }
        Phase::Ringing { current, early, told } => {
            let (current, heard) = (current.clone(), (*early, *told));
            on_ringing(run, world, step, current, heard, event);
        }
        Phase::Talking(current) => {
            let current = current.clone();
            on_talking(run, world, step, current, event);
        }
        Phase::OfferingRetry(current) => {
            let current = current.clone();
            on_offering(run, world, step, &current, &event);
        }
    }
}

fn catalogue(run: &Run, world: &World<'_>) -> &'static Catalogue {
    world.catalogues.of(run.language)
}

fn round(run: &mut Run) -> Option<&mut Round> {
    match &mut run.state {
        State::CallingTargets(round) => Some(round),
        _ => None,
    }
}

fn set_phase(run: &mut Run, phase: Phase) {
    if let Some(round) = round(run) {
        round.phase = phase;
    }
}

fn on_telling(run: &mut Run, world: &World<'_>, step: &CallTargets, event: &Event) {
    match event {
        Event::Played => next(run, world, step),
        Event::TimerFired(TimerName::Star) => on_star(run, false),
        Event::DigitPressed('#') if ends_call(run) => end_all(run, LegDisposition::CallerEndedTalk),
        Event::DigitPressed('#') => {
            run.act(Action::StopPlaying);
            next(run, world, step);
        }
        Event::DigitPressed(digit) => run.keep_typed(*digit),
        _ => {}
    }
}

/// Takes the next entry of the list, or goes on when there is none.
fn next(run: &mut Run, world: &World<'_>, step: &CallTargets) {
    run.cancel_timer(TimerName::Input);
    let Some(entry) = round(run).and_then(|round| round.queue.pop_front()) else {
        if let Some(disposition) = run.tally.disposition() {
            run.so_far = disposition;
        }
        return run.enter(world, &step.next);
    };
    match entry {
        Listed::Vacant { state, district } => {
            run.tally.skipped += 1;
            run.act(Action::Skip(Skipped {
                target: None,
                office: None,
                disposition: LegDisposition::Vacant,
            }));
            let words = catalogue(run, world);
            let pieces = run.pieces_with(world, "seat_vacant", &|_| words.district(state, Some(district)));
            set_phase(run, Phase::Telling);
            run.play(&["seat_vacant"], pieces);
        }
        Listed::Target(id) => match world.directory.target(&id) {
            Some(target) => take_target(run, world, target),
            // A directory that lost the target between the choice and now: as if there were no number.
            None => skip(run, id, None, LegDisposition::NoNumber, |run| {
                run.play_key(world, "no_number")
            }),
        },
    }
}

fn skip(
    run: &mut Run,
    target: TargetId,
    office: Option<OfficeId>,
    disposition: LegDisposition,
    tell: impl FnOnce(&mut Run),
) {
    match disposition {
        LegDisposition::ClosedHours => run.tally.closed += 1,
        _ => run.tally.skipped += 1,
    }
    run.act(Action::Skip(Skipped {
        target: Some(target),
        office,
        disposition,
    }));
    set_phase(run, Phase::Telling);
    tell(run);
}

fn take_target(run: &mut Run, world: &World<'_>, target: &Target) {
    let words = catalogue(run, world);
    match reach(world.directory, target, run.zip, world.wall) {
        Reach::NoNumber => skip(run, target.id.clone(), None, LegDisposition::NoNumber, |run| {
            let pieces = [
                speech::titled(words, target),
                vec![SHORT_PAUSE],
                run.pieces(world, "no_number"),
            ]
            .concat();
            run.play(&["no_number"], pieces);
        }),
        Reach::Closed { office, opens } => {
            run.note(EventKind::OfficeClosed {
                office: office.id.clone(),
                opens_at: opens.map(Into::into),
            });
            let (target_id, office_id) = (target.id.clone(), office.id.clone());
            skip(
                run,
                target_id,
                Some(office_id),
                LegDisposition::ClosedHours,
                |run| {
                    let mut pieces = vec![SHORT_PAUSE];
                    pieces.extend(speech::titled(words, target));
                    pieces.push(SHORT_PAUSE);
                    pieces.extend(closed_words(run, world, office, opens));
                    run.play(&["after_hours_intro"], pieces);
                },
            );
        }
        Reach::Open { office, closed } => {
            let current = Current {
                target: target.id.clone(),
                office: office.id.clone(),
                failed_over: closed.is_some(),
            };
            let mut before = Vec::new();
            if let Some((closed_office, opens)) = closed {
                let opens_at = opens.map(Into::into);
                run.note(EventKind::OfficeClosed {
                    office: closed_office.id.clone(),
                    opens_at,
                });
                run.note(EventKind::FailedOver {
                    office: office.id.clone(),
                });
                before = closed_words(run, world, closed_office, opens);
                before.push(SHORT_PAUSE);
                let city = |_: &str| words.place(&office.city);
                before.extend(run.pieces_with(world, "failover_try", &city));
                before.push(SHORT_PAUSE);
            }
            set_phase(run, Phase::Introducing(current.clone()));
            introduce(run, world, &current, before);
            take_typed(run, world);
        }
    }
}

/// Keys typed ahead of the introduction count as pressed during it.
fn take_typed(run: &mut Run, world: &World<'_>) {
    let flow = run.flow.clone();
    let Some(Step::CallTargets(step)) = flow.steps.get(&run.step) else {
        return;
    };
    while let State::CallingTargets(Round {
        phase: Phase::Introducing(current),
        ..
    }) = &run.state
    {
        let current = current.clone();
        let Some(digit) = run.typed.pop_front() else {
            return;
        };
        on_introducing(run, world, step, current, &Event::DigitPressed(digit));
    }
}

fn closed_words(run: &Run, world: &World<'_>, office: &Office, opens: Option<jiff::Timestamp>) -> Vec<Piece> {
    let words = catalogue(run, world);
    let slots = |slot: &str| match (slot, opens) {
        ("office", _) => speech::office(words, office),
        (_, Some(opens)) => speech::opening(words, office, opens, world.wall, slot),
        _ => Vec::new(),
    };
    run.pieces_with(world, "after_hours_intro", &slots)
}

/// Says who is next; the hint about keys comes with the first.
fn introduce(run: &mut Run, world: &World<'_>, current: &Current, before: Vec<Piece>) {
    let Some((target, office)) = find(world, current) else {
        // The directory of a call does not change; were it otherwise, the call would go on all the same.
        return run.fail("target_lost");
    };
    let words = catalogue(run, world);
    let slots = |slot: &str| match slot {
        "title" => speech::title(words, target),
        "name" => speech::name(words, target),
        "office" => speech::office(words, office),
        _ => Vec::new(),
    };
    let mut pieces = vec![SHORT_PAUSE];
    let intro = run.pieces_with(world, "msg_target_intro", &slots);
    if before.is_empty() {
        pieces.extend(intro);
    } else {
        pieces.extend(speech::titled(words, target));
        pieces.push(SHORT_PAUSE);
        pieces.extend(before);
    }
    let mut keys = vec!["msg_target_intro"];
    let first = round(run).is_some_and(|round| !std::mem::replace(&mut round.hinted, true));
    if first {
        keys.push("keys_hint");
        pieces.push(SHORT_PAUSE);
        pieces.extend(run.pieces(world, "keys_hint"));
    }
    run.play(&keys, pieces);
}

fn find<'a>(world: &World<'a>, current: &Current) -> Option<(&'a Target, &'a Office)> {
    let target = world.directory.target(&current.target)?;
    let office = target.offices.iter().find(|office| office.id == current.office)?;
    Some((target, office))
}

fn on_introducing(run: &mut Run, world: &World<'_>, step: &CallTargets, current: Current, event: &Event) {
    match event {
        Event::Played => run.set_timer(
            TimerName::Input,
            Duration::from_secs(u64::from(step.auto_seconds)),
        ),
        Event::TimerFired(TimerName::Star) => on_star(run, false),
        Event::DigitPressed('#') if ends_call(run) => end_all(run, LegDisposition::CallerEndedTalk),
        Event::TimerFired(TimerName::Input) | Event::DigitPressed('1' | '#') => {
            dial(run, world, step, current)
        }
        Event::DigitPressed('2') => {
            run.choose("skip_office");
            run.act(Action::StopPlaying);
            run.cancel_timer(TimerName::Input);
            run.tally.skipped += 1;
            run.act(Action::Skip(Skipped {
                target: Some(current.target),
                office: Some(current.office),
                disposition: LegDisposition::CallerSkipped,
            }));
            next(run, world, step);
        }
        Event::DigitPressed('*') => {
            run.cancel_timer(TimerName::Input);
            introduce(run, world, &current, Vec::new());
        }
        Event::DigitPressed('3') => {
            run.choose("talking_points");
            run.cancel_timer(TimerName::Input);
            run.play_key(world, "talking_points");
        }
        Event::DigitPressed('0') => {
            run.choose("help");
            run.cancel_timer(TimerName::Input);
            run.play_key(world, "keys_hint");
        }
        _ => {}
    }
}

fn dial(run: &mut Run, world: &World<'_>, step: &CallTargets, current: Current) {
    run.cancel_timer(TimerName::Input);
    let Some(number) = find(world, &current).and_then(|(_, office)| office.phone.clone()) else {
        return skip(
            run,
            current.target,
            Some(current.office),
            LegDisposition::NoNumber,
            |run| {
                run.play_key(world, "no_number");
            },
        );
    };
    run.pause_menu(world);
    run.typed.clear();
    run.tally.dialled += 1;
    run.end_zip_correction();
    if let Some(round) = round(run) {
        round.dialled_any = true;
        round.keys = Keys::default();
        round.phase = Phase::Ringing {
            current: current.clone(),
            early: false,
            told: false,
        };
    }
    run.play_key(world, "connecting");
    run.set_timer(TimerName::Ring, Duration::from_secs(u64::from(step.ring_seconds)));
    let attempt = if round(run).is_some_and(|round| round.put_off.contains(&current.target)) {
        2
    } else {
        1
    };
    run.act(Action::Dial(Box::new(DialRequest {
        number: number.as_str().to_owned(),
        trunk: None,
        target: Some(current.target),
        office: Some(current.office),
        public_number: Some(number),
        choice: if current.failed_over {
            Choice::Failover
        } else {
            Choice::Main
        },
        attempt,
    })));
}
