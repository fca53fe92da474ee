//! `gather`: a fixed number of digits.

use std::time::Duration;

use crate::call::record::EventKind;
use crate::flow::definition::Gather;
use crate::flow::run::{Action, Event, Run, State, TimerName, World};
use crate::flow::step::play::AFTER_ANSWER;

#[derive(Debug, Default)]
pub(in crate::flow) struct Gathered {
    digits: String,
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &Gather) {
    let first = !run.answered;
    run.answer(world);
    run.state = State::Gathering(Gathered::default());
    let mut pieces = if first { vec![AFTER_ANSWER] } else { Vec::new() };
    for key in &step.prompts {
        pieces.extend(run.pieces(world, key));
    }
    let keys: Vec<&str> = step.prompts.iter().map(String::as_str).collect();
    run.play(&keys, pieces);
    while let (State::Gathering(_), Some(digit)) = (&run.state, run.typed.pop_front()) {
        on_digit(run, world, step, digit);
    }
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &Gather, event: Event) {
    match event {
        Event::DigitPressed(digit) => on_digit(run, world, step, digit),
        Event::Played => run.set_timer(
            TimerName::Input,
            Duration::from_secs(u64::from(step.first_seconds)),
        ),
        Event::TimerFired(TimerName::Input) => {
            run.note(EventKind::NoInput { attempt: 1 });
            run.enter(world, &step.otherwise);
        }
        _ => {}
    }
}

fn on_digit(run: &mut Run, world: &World<'_>, step: &Gather, digit: char) {
    let State::Gathering(gathered) = &mut run.state else {
        return;
    };
    let complete = match digit {
        '#' => true,
        _ => {
            gathered.digits.push(digit);
            gathered.digits.len() == usize::from(step.digits)
        }
    };
    let digits = gathered.digits.clone();
    run.act(Action::StopPlaying);
    if !complete {
        return run.set_timer(
            TimerName::Input,
            Duration::from_secs(u64::from(step.inter_digit_seconds)),
        );
    }
    run.cancel_timer(TimerName::Input);
    let enough = digits.len() == usize::from(step.digits);
    run.digits = digits;
    run.enter(world, if enough { &step.next } else { &step.otherwise });
}
