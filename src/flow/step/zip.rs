//! `zip`: five digits, with help, correction and bounded retries (`hotline.md` S2).

use std::time::Duration;

use crate::call::disposition::SessionDisposition;
use crate::call::record::EventKind;
use crate::flow::catalogue::Piece;
use crate::flow::definition::ZipEntry;
use crate::flow::run::{Action, Event, Run, State, TimerName, World};
use crate::units::Zip;

const FIRST_DIGIT: Duration = Duration::from_secs(8);
const INTER_DIGIT: Duration = Duration::from_secs(4);
/// Four more digits within this time are the "+4"; `*` within it corrects the ZIP code.
const AFTER_ZIP: Duration = Duration::from_secs(2);

/// Between two prompts said one after the other.
const BETWEEN: Piece = Piece::Silence(Duration::from_millis(300));

#[derive(Debug, Default)]
pub(in crate::flow) struct Entry {
    digits: String,
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &ZipEntry) {
    run.answer(world);
    run.after_zip = None;
    run.plus4 = None;
    run.so_far = SessionDisposition::AbandonedZip;
    run.state = State::EnteringZip(Entry::default());
    if run.typed.is_empty() {
        ask(run, world, step, &[]);
    } else {
        take_typed(run, world, step);
    }
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &ZipEntry, event: Event) {
    match event {
        Event::DigitPressed(digit) => on_digit(run, world, step, digit),
        Event::Played => run.set_timer(TimerName::Input, FIRST_DIGIT),
        Event::TimerFired(TimerName::Input) => match &run.state {
            State::EnteringZip(entry) if entry.digits.is_empty() => on_no_input(run, world, step),
            _ => on_invalid(run, world, step),
        },
        _ => {}
    }
}

fn take_typed(run: &mut Run, world: &World<'_>, step: &ZipEntry) {
    while let (State::EnteringZip(_), Some(digit)) = (&run.state, run.typed.pop_front()) {
        on_digit(run, world, step, digit);
    }
}

/// Asks for the ZIP code, after other prompts if given.
fn ask(run: &mut Run, world: &World<'_>, step: &ZipEntry, before: &[&str]) {
    let mut keys = before.to_vec();
    keys.push(if run.tries.any() {
        &step.prompt_again
    } else {
        &step.prompt
    });
    let mut pieces = Vec::new();
    for key in &keys {
        if !pieces.is_empty() {
            pieces.push(BETWEEN);
        }
        pieces.extend(run.pieces(world, key));
    }
    run.play(&keys, pieces);
}

fn on_digit(run: &mut Run, world: &World<'_>, step: &ZipEntry, digit: char) {
    let State::EnteringZip(entry) = &mut run.state else {
        return;
    };
    match digit {
        '0'..='9' => {
            entry.digits.push(digit);
            let first = entry.digits.len() == 1;
            match entry.digits.parse::<Zip>() {
                Ok(zip) => on_zip(run, world, step, zip),
                Err(_) => {
                    if first {
                        run.act(Action::StopPlaying);
                    }
                    run.set_timer(TimerName::Input, INTER_DIGIT);
                }
            }
        }
        '*' => {
            entry.digits.clear();
            run.choose("start_over");
            run.cancel_timer(TimerName::Input);
            ask(run, world, step, &[]);
        }
        '#' if entry.digits.is_empty() => {
            run.choose("help");
            run.cancel_timer(TimerName::Input);
            ask(run, world, step, &[&step.help]);
        }
        '#' => on_invalid(run, world, step),
        _ => {}
    }
}

fn on_zip(run: &mut Run, world: &World<'_>, step: &ZipEntry, zip: Zip) {
    run.act(Action::StopPlaying);
    run.cancel_timer(TimerName::Input);
    run.zip = Some(zip);
    run.act(Action::SetZip(zip));
    // Keys typed ahead beyond the fifth count as typed after it.
    let rest: String = run.typed.drain(..).filter(char::is_ascii_digit).take(5).collect();
    run.after_zip = Some(rest);
    run.set_timer(TimerName::AfterZip, AFTER_ZIP);
    run.enter(world, &step.next);
}

fn on_no_input(run: &mut Run, world: &World<'_>, step: &ZipEntry) {
    run.tries.no_input = run.tries.no_input.saturating_add(1);
    run.note(EventKind::NoInput {
        attempt: run.tries.no_input,
    });
    if run.tries.no_input > step.no_input_retries {
        run.so_far = SessionDisposition::NoInputExhausted;
        return run.enter(world, &step.exhausted);
    }
    ask(run, world, step, &[&step.unparsed]);
}

fn on_invalid(run: &mut Run, world: &World<'_>, step: &ZipEntry) {
    run.tries.invalid = run.tries.invalid.saturating_add(1);
    run.note(EventKind::InvalidInput {
        attempt: run.tries.invalid,
    });
    if let State::EnteringZip(entry) = &mut run.state {
        entry.digits.clear();
    }
    run.cancel_timer(TimerName::Input);
    if run.tries.invalid > step.invalid_retries {
        run.so_far = SessionDisposition::InvalidZipExhausted;
        return run.enter(world, &step.exhausted);
    }
    ask(run, world, step, &[&step.unparsed]);
}
