//! `play`: prompts, one after the other.

use std::time::Duration;

use crate::call::disposition::SessionDisposition;
use crate::flow::catalogue::Piece;
use crate::flow::definition::Play;
use crate::flow::run::{Action, Event, Run, State, World};

/// Silence between the answer and the first word, so that it is not lost (`hotline.md` §1).
pub(in crate::flow) const AFTER_ANSWER: Piece = Piece::Silence(Duration::from_millis(700));

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &Play) {
    let first = !run.answered;
    run.answer(world);
    if step.barge_in && !run.typed.is_empty() && !step.repeat {
        return run.enter(world, &step.next);
    }
    run.state = State::Playing;
    let mut pieces = if first { vec![AFTER_ANSWER] } else { Vec::new() };
    for key in &step.prompts {
        pieces.extend(run.pieces(world, key));
    }
    if step.repeat {
        run.so_far = SessionDisposition::Completed;
        run.act(Action::Play { pieces, repeat: true });
    } else {
        let keys: Vec<&str> = step.prompts.iter().map(String::as_str).collect();
        run.play(&keys, pieces);
    }
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &Play, event: Event) {
    match event {
        Event::Played if !step.repeat => run.enter(world, &step.next),
        Event::DigitPressed(digit) => {
            // `#` is "go on", not the first key of what comes next.
            if digit != '#' {
                run.keep_typed(digit);
            }
            if step.barge_in && !step.repeat {
                run.act(Action::StopPlaying);
                run.enter(world, &step.next);
            }
        }
        _ => {}
    }
}
