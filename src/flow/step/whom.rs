//! `whom`: from a ZIP code to the list of targets, with the questions in between (`hotline.md` S3 to S5).

use std::time::Duration;

use crate::call::disposition::SessionDisposition;
use crate::call::record::{DistrictName, EventKind, KeptZip, ZipDetail};
use crate::campaign::select::{
    Again, Asked, Choice, DistrictAnswer, Listed, Nobody, Notice, Resolution, resolve,
};
use crate::directory::{Confidence, Rule};
use crate::flow::catalogue::{Catalogue, Piece};
use crate::flow::definition::Whom;
use crate::flow::run::{Action, Event, Run, State, TimerName, World};
use crate::flow::speech;
use crate::units;

/// For a choice by key.
const CHOICE: Duration = Duration::from_secs(8);
/// For the `*` that corrects a ZIP code read back.
const CORRECTION: Duration = Duration::from_secs(2);
/// Questions are repeated this often before the likeliest answer is taken.
const REPEATS: u8 = 2;
/// The same for keys that mean nothing.
const INVALID_REPEATS: u8 = 3;
/// Unknown and military ZIP codes in one call.
const MOST_UNKNOWN: u8 = 3;
/// Pause after an entry was accepted.
const AFTER_ENTRY: Piece = Piece::Silence(Duration::from_millis(500));

#[derive(Debug)]
pub(in crate::flow) struct Finding {
    asked: Asked,
    phase: Phase,
    repeats: u8,
    invalid: u8,
}

#[derive(Debug)]
enum Phase {
    /// Saying why another ZIP code is needed.
    Again,
    /// The ZIP code was read back; `*` corrects it.
    Confirming,
    State(Vec<units::State>),
    Representative(Vec<Choice>),
    /// Saying what there is to know before the list.
    Telling,
    /// Saying that there is nobody to call.
    Nobody,
}

impl Finding {
    pub(in crate::flow) fn waits_for_keys(&self) -> bool {
        matches!(self.phase, Phase::State(_) | Phase::Representative(_))
    }
}

pub(in crate::flow) fn enter(run: &mut Run, world: &World<'_>, step: &Whom) {
    let (Some(zip), Some(_)) = (run.zip, &run.campaign) else {
        return run.fail("no_zip_or_campaign");
    };
    let located = world.directory.locate(zip);
    run.so_far = SessionDisposition::AbandonedMenu;
    run.note(EventKind::Located {
        zip: KeptZip::new(zip, ZipDetail::Full),
        states: located.states.clone(),
        districts: located
            .districts
            .iter()
            .map(|part| DistrictName {
                state: part.state,
                district: part.district,
            })
            .collect(),
        rule: rule_name(located.rule).to_owned(),
        confidence: match located.confidence {
            Confidence::High => 95,
            Confidence::Medium => 70,
            Confidence::Low => 40,
        },
        data_version: world.directory.version(),
    });
    let retried = run.tries.corrected || run.tries.invalid > 0 || run.tries.unknown_zip > 0;
    let known = !located.states.is_empty();
    let confirm =
        known && (retried || (located.confidence == Confidence::Low && located.districts.len() > 1));
    let state = located.states.first().copied();
    run.located = Some(located);
    run.state = State::FindingTargets(Finding {
        asked: Asked::default(),
        phase: Phase::Confirming,
        repeats: 0,
        invalid: 0,
    });
    match state {
        Some(state) if confirm => {
            let words = catalogue(run, world);
            let slots = |slot: &str| match slot {
                "zip" => words.digits(zip.as_str()),
                "state" => words.state(state),
                _ => Vec::new(),
            };
            let mut pieces = vec![AFTER_ENTRY];
            pieces.extend(run.pieces_with(world, "zip_confirm", &slots));
            run.play(&["zip_confirm"], pieces);
        }
        _ => advance(run, world, step),
    }
}

pub(in crate::flow) fn on(run: &mut Run, world: &World<'_>, step: &Whom, event: Event) {
    let State::FindingTargets(finding) = &run.state else {
        return;
    };
    match (&finding.phase, event) {
        (Phase::Again, Event::Played) => after_reason(run, world, step),
        (Phase::Again, Event::DigitPressed(digit)) => {
            run.keep_typed(digit);
            run.act(Action::StopPlaying);
            after_reason(run, world, step);
        }
        (Phase::Confirming, Event::DigitPressed('*')) => {
            run.choose("correct_zip");
            run.act(Action::StopPlaying);
            run.tries.corrected = true;
            run.enter(world, &step.again);
        }
        (Phase::Confirming, Event::DigitPressed('#')) => advance(run, world, step),
        (Phase::Confirming, Event::DigitPressed(digit)) => run.keep_typed(digit),
        (Phase::Confirming, Event::Played) => run.set_timer(TimerName::Input, CORRECTION),
        (Phase::Confirming, Event::TimerFired(TimerName::Input)) => advance(run, world, step),
        (Phase::State(_) | Phase::Representative(_), Event::Played) => {
            run.set_timer(TimerName::Input, CHOICE)
        }
        (Phase::State(_) | Phase::Representative(_), Event::DigitPressed(digit)) => {
            on_choice(run, world, step, digit);
        }
        (Phase::State(_) | Phase::Representative(_), Event::TimerFired(TimerName::Input)) => {
            on_no_choice(run, world, step);
        }
        (Phase::Telling, Event::DigitPressed('#')) => {
            run.act(Action::StopPlaying);
            run.enter(world, &step.next);
        }
        (Phase::Telling, Event::DigitPressed(digit)) => run.keep_typed(digit),
        (Phase::Telling, Event::Played) => run.enter(world, &step.next),
        (Phase::Nobody, Event::Played) => run.enter(world, &step.nobody),
        _ => {}
    }
}

fn catalogue(run: &Run, world: &World<'_>) -> &'static Catalogue {
    world.catalogues.of(run.language)
}

/// Resolves with what is known and asks, tells or goes on.
fn advance(run: &mut Run, world: &World<'_>, step: &Whom) {
    run.cancel_timer(TimerName::Input);
    let (State::FindingTargets(finding), Some(campaign), Some(located)) =
        (&run.state, &run.campaign, &run.located)
    else {
        return run.fail("nothing_located");
    };
    match resolve(campaign, world.directory, located, finding.asked) {
        Resolution::AskZipAgain(again) => ask_again(run, world, again),
        Resolution::AskState(states) => {
            run.decide("ask_state");
            ask(run, world, step, Phase::State(states));
        }
        Resolution::AskRepresentative(choices) => {
            run.decide("ask_representative");
            ask(run, world, step, Phase::Representative(choices));
        }
        Resolution::Listed {
            listed,
            notices,
            reason,
        } => tell(run, world, step, listed, &notices, reason),
        Resolution::Nobody(nobody) => {
            run.so_far = match nobody {
                Nobody::OutsideArea => SessionDisposition::OutsideArea,
                Nobody::NoTarget => SessionDisposition::NoTarget,
            };
            set_phase(run, Phase::Nobody);
            run.play_key(world, "no_target_here");
        }
    }
}

fn set_phase(run: &mut Run, phase: Phase) {
    if let State::FindingTargets(finding) = &mut run.state {
        finding.phase = phase;
    }
}

fn ask_again(run: &mut Run, world: &World<'_>, again: Again) {
    run.tries.unknown_zip = run.tries.unknown_zip.saturating_add(1);
    // Those digits belonged to a ZIP code that was no use.
    run.after_zip = None;
    run.cancel_timer(TimerName::AfterZip);
    set_phase(run, Phase::Again);
    let key = match again {
        Again::Unknown => "msg_invalid_location",
        Again::Military => "zip_military",
    };
    run.play_key(world, key);
}

/// The caller heard why the ZIP code was no use: asked again, but not for ever.
fn after_reason(run: &mut Run, world: &World<'_>, step: &Whom) {
    if run.tries.unknown_zip >= MOST_UNKNOWN {
        run.so_far = SessionDisposition::InvalidZipExhausted;
        return run.enter(world, &step.exhausted);
    }
    run.enter(world, &step.again);
}

fn ask(run: &mut Run, world: &World<'_>, step: &Whom, phase: Phase) {
    if let State::FindingTargets(finding) = &mut run.state {
        finding.phase = phase;
        finding.repeats = 0;
        finding.invalid = 0;
    }
    play_question(run, world);
    while let (State::FindingTargets(_), Some(digit)) = (&run.state, run.typed.pop_front()) {
        on_choice(run, world, step, digit);
    }
}

fn play_question(run: &mut Run, world: &World<'_>) {
    let State::FindingTargets(finding) = &run.state else {
        return;
    };
    let words = catalogue(run, world);
    let mut pieces = vec![AFTER_ENTRY];
    let keys: &[&str] = match &finding.phase {
        Phase::State(states) => {
            pieces.extend(run.pieces(world, "state_choose"));
            for (at, &state) in (1..).zip(states) {
                let slots = |slot: &str| {
                    if slot == "n" {
                        words.number(at)
                    } else {
                        words.state(state)
                    }
                };
                pieces.extend(run.pieces_with(world, "state_option", &slots));
            }
            &["state_choose"]
        }
        Phase::Representative(choices) => {
            pieces.extend(run.pieces(world, "split_intro"));
            for (at, choice) in (1..).zip(choices) {
                let slots = |slot: &str| match slot {
                    "n" => words.number(at),
                    "title" => speech::choice_title(words, world.directory, choice),
                    _ => speech::choice_name(words, world.directory, choice),
                };
                pieces.extend(run.pieces_with(world, "split_option", &slots));
            }
            pieces.extend(run.pieces(world, "split_unsure"));
            &["split_intro"]
        }
        _ => &[],
    };
    run.play(keys, pieces);
}

fn on_choice(run: &mut Run, world: &World<'_>, step: &Whom, digit: char) {
    let State::FindingTargets(finding) = &mut run.state else {
        return;
    };
    let number = digit
        .to_digit(10)
        .map_or(0, |number| number as usize)
        .wrapping_sub(1);
    let chosen = match &finding.phase {
        Phase::State(states) => states.get(number).map(|&state| {
            finding.asked.state = Some(state);
            format!("state_{state}")
        }),
        Phase::Representative(_) if digit == '9' => {
            finding.asked.district = Some(DistrictAnswer::NotSure);
            Some("not_sure".to_owned())
        }
        Phase::Representative(choices) => choices.get(number).map(|choice| {
            finding.asked.state = Some(choice.state);
            finding.asked.district = Some(DistrictAnswer::District(choice.district));
            format!("district_{}_{}", choice.state, choice.district)
        }),
        _ => None,
    };
    run.cancel_timer(TimerName::Input);
    match (chosen, digit) {
        (Some(chosen), _) => {
            run.act(Action::StopPlaying);
            run.choose(&chosen);
            advance(run, world, step);
        }
        (None, '*' | '0') => play_question(run, world),
        (None, '#') => {
            run.act(Action::StopPlaying);
            take_default(run, world, step);
        }
        (None, _) => {
            let State::FindingTargets(finding) = &mut run.state else {
                return;
            };
            finding.invalid += 1;
            let attempt = finding.invalid;
            run.note(EventKind::InvalidInput { attempt });
            if attempt <= INVALID_REPEATS {
                play_question(run, world)
            } else {
                take_default(run, world, step)
            }
        }
    }
}

/// No key: the question again, then the likeliest answer or the campaign's policy.
fn on_no_choice(run: &mut Run, world: &World<'_>, step: &Whom) {
    let State::FindingTargets(finding) = &mut run.state else {
        return;
    };
    finding.repeats += 1;
    let attempt = finding.repeats;
    run.note(EventKind::NoInput { attempt });
    if attempt <= REPEATS {
        play_question(run, world)
    } else {
        take_default(run, world, step)
    }
}

/// The state where most of the ZIP code's people live; no representative, for none is guessed.
fn take_default(run: &mut Run, world: &World<'_>, step: &Whom) {
    let State::FindingTargets(finding) = &mut run.state else {
        return;
    };
    match &finding.phase {
        Phase::State(states) => finding.asked.state = states.first().copied(),
        _ => finding.asked.district = Some(DistrictAnswer::NotSure),
    }
    run.decide("no_choice_made");
    advance(run, world, step);
}

/// The list is settled: freezes it, says what there is to say and goes on.
fn tell(
    run: &mut Run,
    world: &World<'_>,
    step: &Whom,
    listed: Vec<Listed>,
    notices: &[Notice],
    reason: &'static str,
) {
    run.decide(reason);
    let targets = listed.iter().filter_map(|entry| match entry {
        Listed::Target(id) => Some(id.clone()),
        Listed::Vacant { .. } => None,
    });
    run.note(EventKind::TargetsChosen {
        targets: targets.collect(),
    });
    run.listed = listed;
    let words = catalogue(run, world);
    let mut keys = Vec::new();
    let mut pieces = vec![AFTER_ENTRY];
    for notice in notices {
        let (key, filled) = notice_pieces(run, world, words, notice);
        keys.push(key);
        pieces.extend(filled);
    }
    if keys.is_empty() {
        return run.enter(world, &step.next);
    }
    set_phase(run, Phase::Telling);
    run.play(&keys, pieces);
}

fn notice_pieces(
    run: &Run,
    world: &World<'_>,
    words: &Catalogue,
    notice: &Notice,
) -> (&'static str, Vec<Piece>) {
    let name = |id| {
        world
            .directory
            .target(id)
            .map(|target| speech::titled(words, target))
            .unwrap_or_default()
    };
    match notice {
        Notice::StateOnly(state) => {
            let key = "zip_unknown_state_only";
            (key, run.pieces_with(world, key, &|_| words.state(*state)))
        }
        Notice::SenatorsOnly => ("split_senators_only", run.pieces(world, "split_senators_only")),
        Notice::NoSenateCapital(id) => {
            let key = "no_senate_dc";
            (key, run.pieces_with(world, key, &|_| name(id)))
        }
        Notice::NoSenateTerritory(state, id) => {
            let key = "no_senate_territory";
            let title = world.directory.target(id).map(|target| target.title);
            let slots = |slot: &str| match slot {
                "territory" => words.state(*state),
                "delegate" => speech::a_title(words, title),
                _ => name(id),
            };
            (key, run.pieces_with(world, key, &slots))
        }
    }
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Exact => "share",
        Rule::ZipState => "zip_state",
        Rule::TerritoryTable => "territory",
        Rule::Prefix => "prefix",
        Rule::Military => "military",
        Rule::Unknown => "unknown",
    }
}
