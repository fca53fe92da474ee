//! `dial`: a plain route from a number to a far end.

use std::time::Duration;

use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::call::record::Choice;
use crate::flow::definition::Dial;
use crate::flow::run::{Action, DialRequest, Event, Run, State, TimerName, Tone, World};
use crate::units::{TargetId, TrunkName};

#[derive(Debug, Default)]
pub(in crate::flow) struct Joined {
    talking: bool,
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &Dial) {
    run.pause_menu(world);
    run.state = State::Dialling(Joined::default());
    run.so_far = SessionDisposition::NoTargetReached;
    run.tally.listed = 1;
    run.tally.dialled += 1;
    run.set_timer(TimerName::Ring, Duration::from_secs(u64::from(step.ring_seconds)));
    run.act(Action::Dial(Box::new(DialRequest {
        number: step
            .number
            .replace("{called}", &run.called)
            .replace("{digits}", &run.digits),
        trunk: step.trunk.as_deref().map(TrunkName::new),
        target: None,
        office: None,
        public_number: None,
        choice: Choice::Route,
        attempt: 1,
    })));
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &Dial, event: Event) {
    let State::Dialling(joined) = &mut run.state else {
        return;
    };
    match event {
        Event::CalleeRang if run.answered => run.act(Action::PlayTone(Tone::Ringback)),
        // A caller who was not answered was told at admission that it rings.
        Event::CalleeRang => {}
        Event::CalleeSpokeEarly => run.act(Action::Bridge { withhold_star: false }),
        Event::CalleeAnswered => {
            joined.talking = true;
            run.tally.reached.insert(TargetId::new("far_end"));
            run.so_far = SessionDisposition::CompletedAll;
            run.cancel_timer(TimerName::Ring);
            run.answer(world);
            run.pause_menu(world);
            run.act(Action::Bridge { withhold_star: false });
            run.set_timer(TimerName::Talk, Duration::from_secs(u64::from(step.talk_seconds)));
        }
        Event::CalleeEnded { disposition, .. } => {
            if disposition.is_told_by_tone() {
                run.tally.reached.clear();
                run.so_far = SessionDisposition::NoTargetReached;
            }
            finish(run, world, step, disposition);
        }
        Event::TimerFired(TimerName::Ring) => run.hang_up_callee(LegDisposition::NoAnswer),
        Event::TimerFired(TimerName::Talk) => run.hang_up_callee(LegDisposition::LimitReached),
        _ => {}
    }
}

fn finish(run: &mut Run, world: &World<'_>, step: &Dial, disposition: LegDisposition) {
    run.cancel_timer(TimerName::Ring);
    run.cancel_timer(TimerName::Talk);
    match &step.next {
        Some(next) => {
            run.answer(world);
            run.resume_menu(world);
            run.enter(world, next);
        }
        None => run.end(
            run.tally.disposition().unwrap_or(run.so_far),
            status_of(disposition),
        ),
    }
}

/// What a caller who was never answered gets when the far end was not reached.
fn status_of(disposition: LegDisposition) -> u16 {
    match disposition {
        LegDisposition::Busy | LegDisposition::BusyInband => 486,
        LegDisposition::NoAnswer => 480,
        LegDisposition::NotInService => 404,
        LegDisposition::NumberChanged => 410,
        LegDisposition::Declined | LegDisposition::CalleridRejected => 603,
        LegDisposition::BlockedByAnalytics => 608,
        LegDisposition::MediaFailed => 488,
        LegDisposition::Congestion => 503,
        LegDisposition::NoNumber => 403,
        LegDisposition::TrunkError | LegDisposition::SystemError => 502,
        _ => 480,
    }
}
