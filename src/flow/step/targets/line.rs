//! An office's line: ringing, talking, and what comes after either.

use std::time::Duration;

use super::{Current, Phase, RETRY_CHOICE, WARNING, catalogue, next, round, set_phase};
use crate::call::disposition::LegDisposition;
use crate::call::record::EventKind;
use crate::campaign::select::Listed;
use crate::flow::definition::CallTargets;
use crate::flow::run::{Action, Event, Run, TimerName, Tone, World};
use crate::flow::step::talk::Wish;

pub(super) fn on_ringing(
    run: &mut Run,
    world: &World<'_>,
    step: &CallTargets,
    current: Current,
    (early, told): (bool, bool),
    event: Event,
) {
    match event {
        Event::Played if early => join(run),
        Event::Played => {
            set_phase(
                run,
                Phase::Ringing {
                    current,
                    early,
                    told: true,
                },
            );
            run.act(Action::PlayTone(Tone::Ringback));
        }
        Event::CalleeSpokeEarly => {
            set_phase(
                run,
                Phase::Ringing {
                    current,
                    early: true,
                    told,
                },
            );
            if told {
                join(run);
            }
        }
        Event::CalleeAnswered => {
            run.cancel_timer(TimerName::Ring);
            run.act(Action::StopPlaying);
            join(run);
            let talk = Duration::from_secs(u64::from(step.talk_seconds));
            run.set_timer(TimerName::Talk, talk);
            run.set_timer(TimerName::Warning, talk.saturating_sub(WARNING));
            run.tally.reached.insert(current.target.clone());
            set_phase(run, Phase::Talking(current));
        }
        Event::TimerFired(TimerName::Ring) => run.hang_up_callee(LegDisposition::NoAnswer),
        Event::CalleeEnded { disposition, .. } => on_not_reached(run, world, step, current, disposition),
        Event::DigitPressed(digit) => match on_key(run, digit, false) {
            Wish::NextOffice => {
                run.note(EventKind::NextRequested);
                run.hang_up_callee(LegDisposition::CallerSkipped);
            }
            Wish::EndCall => end_all(run, LegDisposition::CallerEndedRinging),
            Wish::Nothing => {}
        },
        Event::TimerFired(TimerName::Star) => on_star(run, false),
        _ => {}
    }
}

pub(super) fn on_talking(
    run: &mut Run,
    world: &World<'_>,
    step: &CallTargets,
    current: Current,
    event: Event,
) {
    match event {
        // A tone in place of a person: the network answered, the office did not.
        Event::CalleeEnded { disposition, .. } if disposition.is_told_by_tone() => {
            run.tally.reached.remove(&current.target);
            on_not_reached(run, world, step, current, disposition);
        }
        Event::CalleeEnded { .. } => after_talk(run, world, step),
        Event::DigitPressed(digit) => match on_key(run, digit, true) {
            Wish::NextOffice => {
                run.note(EventKind::NextRequested);
                run.hang_up_callee(LegDisposition::CallerEndedTalk);
            }
            Wish::EndCall => end_all(run, LegDisposition::CallerEndedTalk),
            Wish::Nothing => {}
        },
        Event::TimerFired(TimerName::Star) => on_star(run, true),
        Event::TimerFired(TimerName::Warning) => {
            run.note(EventKind::LimitWarned { seconds_left: 60 });
            run.play_key(world, "limit_warning");
        }
        Event::TimerFired(TimerName::Talk) => {
            run.note(EventKind::LimitReached {
                limit: "talk".to_owned(),
            });
            run.hang_up_callee(LegDisposition::LimitReached);
        }
        _ => {}
    }
}

/// Joins caller and office. Keys that are being withheld stay so.
pub(super) fn join(run: &mut Run) {
    run.act(Action::Bridge { withhold_star: true });
    if round(run).is_some_and(|round| round.keys.holds()) {
        run.act(Action::WithholdAll(true));
    }
}

/// Whether this `#` is the second of two whose first was pressed while the office was still there.
pub(super) fn ends_call(run: &mut Run) -> bool {
    round(run).is_some_and(|round| round.keys.half_ended())
}

pub(super) fn on_key(run: &mut Run, digit: char, talking: bool) -> Wish {
    let Some(mut keys) = round(run).map(|round| std::mem::take(&mut round.keys)) else {
        return Wish::Nothing;
    };
    let wish = keys.on_digit(run, digit, talking);
    if let Some(round) = round(run) {
        round.keys = keys;
    }
    wish
}

pub(super) fn on_star(run: &mut Run, talking: bool) {
    let Some(mut keys) = round(run).map(|round| std::mem::take(&mut round.keys)) else {
        return;
    };
    keys.on_timer(run, talking);
    if let Some(round) = round(run) {
        round.keys = keys;
    }
}

pub(super) fn end_all(run: &mut Run, disposition: LegDisposition) {
    run.choose("end_call");
    run.hang_up_callee(disposition);
    let session = run.disposition_if_abandoned();
    run.end(session, 480);
}

pub(super) fn cancel_talk_timers(run: &mut Run) {
    for timer in [
        TimerName::Ring,
        TimerName::Talk,
        TimerName::Warning,
        TimerName::Star,
    ] {
        run.cancel_timer(timer);
    }
}

pub(super) fn after_talk(run: &mut Run, world: &World<'_>, step: &CallTargets) {
    cancel_talk_timers(run);
    run.resume_menu(world);
    go_between(run, world, step);
}

/// Says how many are left and goes on; after the last one there is nothing to say.
pub(super) fn go_between(run: &mut Run, world: &World<'_>, step: &CallTargets) {
    let waiting = |entry: &&Listed| matches!(entry, Listed::Target(_));
    let left = round(run).map_or(0, |round| round.queue.iter().filter(waiting).count());
    set_phase(run, Phase::Telling);
    if left == 0 {
        return next(run, world, step);
    }
    let words = catalogue(run, world);
    let calls_left = |_: &str| words.calls_left(u32::try_from(left).unwrap_or(u32::MAX));
    let pieces = run.pieces_with(world, "msg_between_calls", &calls_left);
    run.play(&["msg_between_calls"], pieces);
}

pub(super) fn on_not_reached(
    run: &mut Run,
    world: &World<'_>,
    step: &CallTargets,
    current: Current,
    disposition: LegDisposition,
) {
    cancel_talk_timers(run);
    run.resume_menu(world);
    let key = match disposition {
        LegDisposition::CallerSkipped => {
            run.act(Action::StopPlaying);
            set_phase(run, Phase::Telling);
            return next(run, world, step);
        }
        LegDisposition::Busy | LegDisposition::BusyInband => "msg_target_busy",
        LegDisposition::NoAnswer => "target_no_answer",
        LegDisposition::NotInService | LegDisposition::NumberChanged => "target_unreachable",
        LegDisposition::MailboxFull | LegDisposition::MailboxFullSuspected => "mailbox_full",
        _ => "failover_none",
    };
    let retried = round(run).is_none_or(|round| round.put_off.contains(&current.target));
    if key == "failover_none" && !retried {
        set_phase(run, Phase::OfferingRetry(current));
    } else {
        set_phase(run, Phase::Telling);
    }
    if key == "failover_none" && retried {
        return go_between(run, world, step);
    }
    run.play_key(world, key);
}

pub(super) fn on_offering(
    run: &mut Run,
    world: &World<'_>,
    step: &CallTargets,
    current: &Current,
    event: &Event,
) {
    match event {
        Event::Played => run.set_timer(TimerName::Input, RETRY_CHOICE),
        Event::DigitPressed('1') => {
            run.choose("retry_at_end");
            run.act(Action::StopPlaying);
            if let Some(round) = round(run) {
                round.put_off.push(current.target.clone());
                round.queue.push_back(Listed::Target(current.target.clone()));
            }
            next(run, world, step);
        }
        Event::DigitPressed('#' | '2') => {
            run.act(Action::StopPlaying);
            next(run, world, step);
        }
        Event::TimerFired(TimerName::Input) => next(run, world, step),
        _ => {}
    }
}
