//! `language`: the campaign's languages, by key.

use std::time::Duration;

use crate::call::record::EventKind;
use crate::flow::definition::LanguageChoice;
use crate::flow::run::{Action, Event, Run, State, TimerName, World};

/// A second key within this time makes the first one part of a ZIP code.
const ALONE: Duration = Duration::from_millis(1200);
/// After the offer ended, this long for a key.
const AFTER_OFFER: Duration = Duration::from_millis(1500);

#[derive(Debug, Default)]
pub(in crate::flow) struct Choosing {
    key: Option<char>,
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &LanguageChoice) {
    run.answer(world);
    let offered = run
        .campaign
        .as_ref()
        .map_or(0, |campaign| campaign.languages.len());
    if offered < 2 || run.typed.len() > 1 {
        return run.enter(world, &step.next);
    }
    run.state = State::ChoosingLanguage(Choosing::default());
    match run.typed.pop_front() {
        Some(key) => on_digit(run, world, step, key),
        None => run.play_key(world, &step.prompt),
    }
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &LanguageChoice, event: Event) {
    match event {
        Event::DigitPressed(key) => on_digit(run, world, step, key),
        Event::Played => run.set_timer(TimerName::Input, AFTER_OFFER),
        Event::TimerFired(TimerName::Input) => {
            if let State::ChoosingLanguage(Choosing { key: Some(key) }) = run.state {
                choose(run, key);
            }
            run.enter(world, &step.next);
        }
        _ => {}
    }
}

fn on_digit(run: &mut Run, world: &World<'_>, step: &LanguageChoice, key: char) {
    let State::ChoosingLanguage(choosing) = &mut run.state else {
        return;
    };
    let first = choosing.key.replace(key);
    let offered = run
        .campaign
        .as_ref()
        .map_or(0, |campaign| campaign.languages.len());
    let names_language = key
        .to_digit(10)
        .is_some_and(|number| (1..=offered).contains(&(number as usize)));
    run.act(Action::StopPlaying);
    match first {
        None if names_language => run.set_timer(TimerName::Input, ALONE),
        first => {
            for key in first.into_iter().chain([key]) {
                run.keep_typed(key);
            }
            run.enter(world, &step.next);
        }
    }
}

fn choose(run: &mut Run, key: char) {
    let index = key.to_digit(10).map_or(0, |number| number as usize);
    let chosen = run
        .campaign
        .as_ref()
        .and_then(|campaign| campaign.languages.get(index.wrapping_sub(1)).copied());
    if let Some(language) = chosen {
        run.language = language;
        run.note(EventKind::LanguageChosen { language });
        run.act(Action::SetLanguage(language));
    }
}
