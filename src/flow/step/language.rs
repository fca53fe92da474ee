//! `language`: the campaign's languages, by key.

use std::time::Duration;

use crate::call::record::EventKind;
use crate::flow::definition::LanguageChoice;
use crate::flow::run::{Action, Event, Run, State, TimerName, World};
use crate::units::Language;

/// A second key within this time makes the first one part of a ZIP code.
const ALONE: Duration = Duration::from_millis(1200);
/// After the offer ended, this long for a key.
const AFTER_OFFER: Duration = Duration::from_millis(1500);

/// What `lang_offer` says: the keys stand in the recording, so they do not follow the order of a campaign's languages.
const KEYS: [(char, Language); 2] = [('1', Language::ENGLISH), ('2', Language::SPANISH)];

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
    run.act(Action::StopPlaying);
    if key == '#' {
        // "Go on": in the language named before it, if any.
        if let State::ChoosingLanguage(Choosing { key: Some(key) }) = run.state {
            choose(run, key);
        }
        return run.enter(world, &step.next);
    }
    let names_language = offered(run, key).is_some();
    let State::ChoosingLanguage(choosing) = &mut run.state else {
        return;
    };
    match choosing.key.replace(key) {
        None if names_language => run.set_timer(TimerName::Input, ALONE),
        first => {
            for key in first.into_iter().chain([key]) {
                run.keep_typed(key);
            }
            run.enter(world, &step.next);
        }
    }
}

/// The language behind a key, as the prompt names them, if the campaign offers it.
fn offered(run: &Run, key: char) -> Option<Language> {
    let (_, language) = *KEYS.iter().find(|(named, _)| *named == key)?;
    run.campaign
        .as_ref()?
        .languages
        .contains(&language)
        .then_some(language)
}

fn choose(run: &mut Run, key: char) {
    if let Some(language) = offered(run, key) {
        run.language = language;
        run.note(EventKind::LanguageChosen { language });
        run.act(Action::SetLanguage(language));
    }
}
