//! One execution of a flow on one call.
//!
//! A [`Run`] takes [`Event`]s and leaves [`Action`]s, which call control carries out in order. It holds what is true
//! of the call at this moment: the step, its state, keys typed ahead, the ZIP code, the targets.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::catalogue::{Catalogue, Piece};
use super::definition::{Flow, Step};
use super::step::{dial, gather, language, play, targets, whom, zip};
use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::call::record::{Cause, Choice, EventKind};
use crate::campaign::Campaign;
use crate::campaign::select::Listed;
use crate::directory::{Directory, Located};
use crate::units::{Language, OfficeId, PhoneNumber, TargetId, TrunkName, Zip};

/// Keys that are kept ahead of the step that takes them.
const MOST_TYPED: usize = 32;

/// Steps entered without anything happening between them; more is a circle without sound.
const MOST_STEPS_AT_ONCE: u8 = 64;

/// Time in menus over the whole call, and of the whole call (`hotline.md` §1).
pub const MENU_LIMIT: Duration = Duration::from_secs(10 * 60);
pub const SESSION_LIMIT: Duration = Duration::from_secs(120 * 60);

/// A call's timers, one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimerName {
    /// No key after a prompt ended.
    Input,
    /// Four more digits of the ZIP code, or the `*` that corrects it.
    AfterZip,
    /// The dialled leg rings too long.
    Ring,
    /// The talk ends soon.
    Warning,
    /// The talk has gone on for as long as it may.
    Talk,
    /// A second `*` or `#` would come by now.
    Star,
    Menu,
    Session,
}

/// What happens on a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The call came in.
    Started,
    /// The caller pressed a key.
    DigitPressed(char),
    /// What was being played has ended.
    Played,
    TimerFired(TimerName),
    CalleeRang,
    /// The callee's side sends sound before the answer.
    CalleeSpokeEarly,
    CalleeAnswered,
    /// The dialled leg ended, before or after its answer.
    CalleeEnded {
        disposition: LegDisposition,
        cause: Cause,
    },
}

/// A leg to be dialled.
#[derive(Debug, Clone, PartialEq)]
pub struct DialRequest {
    pub number: String,
    pub trunk: Option<TrunkName>,
    pub target: Option<TargetId>,
    pub office: Option<OfficeId>,
    /// For the record: the office's number, which is public.
    pub public_number: Option<PhoneNumber>,
    pub choice: Choice,
    pub attempt: u16,
}

/// A target that is on the list and is not dialled.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    pub target: Option<TargetId>,
    pub office: Option<OfficeId>,
    pub disposition: LegDisposition,
}

/// Tones that are played in place of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Ringback,
}

/// What call control is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Answer,
    /// Play in place of what is being played.
    Play {
        pieces: Vec<Piece>,
        repeat: bool,
    },
    PlayTone(Tone),
    StopPlaying,
    SetTimer(TimerName, Duration),
    CancelTimer(TimerName),
    Dial(Box<DialRequest>),
    /// Join caller and callee; `*` goes to the callee only by [`Action::SendDigit`].
    Bridge {
        withhold_star: bool,
    },
    SendDigit(char),
    /// While true, no key of the caller's goes to the callee by itself.
    WithholdAll(bool),
    /// End the dialled leg; this is what became of it.
    HangUpCallee(LegDisposition),
    Skip(Skipped),
    Echo,
    Note(EventKind),
    SetLanguage(Language),
    SetZip(Zip),
    /// End the call. A caller who was not answered gets `status`.
    HangUp {
        disposition: SessionDisposition,
        status: u16,
    },
}

/// What a run can see of the world.
pub struct World<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub directory: &'a Directory,
    pub catalogues: Catalogues,
}

/// The words of every language.
#[derive(Debug, Clone, Copy, Default)]
pub struct Catalogues;

impl Catalogues {
    pub fn of(self, language: Language) -> &'static Catalogue {
        Catalogue::bundled(language)
    }
}

/// What a step is in the middle of.
#[derive(Debug)]
pub(super) enum State {
    /// Between steps.
    Idle,
    Playing,
    ChoosingLanguage(language::Choosing),
    EnteringZip(zip::Entry),
    FindingTargets(whom::Finding),
    CallingTargets(targets::Round),
    Gathering(gather::Gathered),
    Dialling(dial::Joined),
    /// Nothing is expected but a timer or the caller's end.
    Resting,
    Ended,
}

/// How many times each kind of entry failed.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub no_input: u8,
    pub invalid: u8,
    pub unknown_zip: u8,
    /// The caller corrected the ZIP code.
    pub corrected: bool,
}

impl Tries {
    /// Whether the ZIP code is asked for again.
    pub fn any(&self) -> bool {
        self.corrected || self.no_input > 0 || self.invalid > 0 || self.unknown_zip > 0
    }
}

/// The execution of a flow.
#[derive(Debug)]
pub struct Run {
    pub(super) flow: Arc<Flow>,
    pub(super) campaign: Option<Arc<Campaign>>,
    pub(super) called: String,
    pub(super) step: String,
    pub(super) state: State,
    pub(super) language: Language,
    pub(super) answered: bool,
    pub(super) typed: VecDeque<char>,
    pub(super) digits: String,
    pub(super) zip: Option<Zip>,
    /// Digits typed within two seconds of the ZIP code's fifth; `None` outside that time.
    pub(super) after_zip: Option<String>,
    pub(super) plus4: Option<String>,
    pub(super) located: Option<Located>,
    pub(super) listed: Vec<Listed>,
    pub(super) tries: Tries,
    pub(super) tally: Tally,
    /// What the call would be called if it ended now.
    pub(super) so_far: SessionDisposition,
    menu_left: Duration,
    menu_since: Option<Instant>,
    steps_at_once: u8,
    actions: VecDeque<Action>,
}

/// What became of the targets so far, each counted once however often it was dialled.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub listed: usize,
    pub reached: BTreeSet<TargetId>,
    pub dialled: u32,
    pub closed: u32,
    pub skipped: u32,
}

impl Run {
    pub fn new(flow: Arc<Flow>, campaign: Option<Arc<Campaign>>, called: String, language: Language) -> Self {
        let step = flow.start.clone();
        Self {
            flow,
            campaign,
            called,
            step,
            state: State::Idle,
            language,
            answered: false,
            typed: VecDeque::new(),
            digits: String::new(),
            zip: None,
            after_zip: None,
            plus4: None,
            located: None,
            listed: Vec::new(),
            tries: Tries::default(),
            tally: Tally::default(),
            so_far: SessionDisposition::AbandonedGreeting,
            menu_left: MENU_LIMIT,
            menu_since: None,
            steps_at_once: 0,
            actions: VecDeque::new(),
        }
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// What the call is called in the record if the caller ends it now.
    pub fn disposition_if_abandoned(&self) -> SessionDisposition {
        self.tally
            .disposition()
            .filter(|_| self.tally.dialled > 0)
            .unwrap_or(self.so_far)
    }

    /// Whether the flow waits for keys, so that a simulated caller knows when to press them.
    pub fn waits_for_keys(&self) -> bool {
        match &self.state {
            State::ChoosingLanguage(_) | State::EnteringZip(_) | State::Gathering(_) => true,
            State::FindingTargets(finding) => finding.waits_for_keys(),
            State::CallingTargets(round) => round.waits_for_keys(),
            _ => false,
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn handle(&mut self, world: &World<'_>, event: Event) {
        self.steps_at_once = 0;
        match event {
            _ if matches!(self.state, State::Ended) => {}
            Event::Started => self.start(world),
            Event::DigitPressed(digit) => self.on_digit(world, digit),
            Event::TimerFired(TimerName::AfterZip) => self.end_after_zip(),
            Event::TimerFired(TimerName::Session) => self.on_limit(world, "session"),
            Event::TimerFired(TimerName::Menu) => self.on_limit(world, "menu"),
            event => self.pass_on(world, event),
        }
    }

    fn start(&mut self, world: &World<'_>) {
        self.set_timer(TimerName::Session, SESSION_LIMIT);
        let start = self.flow.start.clone();
        self.enter(world, &start);
    }

    fn on_digit(&mut self, world: &World<'_>, digit: char) {
        self.note(EventKind::Digits { count: 1 });
        let correctable = self.can_correct_zip();
        match (&mut self.after_zip, digit) {
            (Some(rest), '0'..='9') => {
                if rest.len() < 5 {
                    rest.push(digit);
                }
                return;
            }
            (Some(_), '*') if correctable => {
                self.end_after_zip();
                self.cancel_timer(TimerName::AfterZip);
                self.choose("correct_zip");
                self.tries.corrected = true;
                return self.back_to_zip(world);
            }
            _ => {}
        }
        self.pass_on(world, Event::DigitPressed(digit));
    }

    /// Whether the ZIP code may still be corrected: nobody has been dialled.
    fn can_correct_zip(&self) -> bool {
        match &self.state {
            State::FindingTargets(_) => true,
            State::CallingTargets(round) => round.nobody_dialled_yet(),
            _ => false,
        }
    }

    fn back_to_zip(&mut self, world: &World<'_>) {
        let again = self.flow.steps.values().find_map(|step| match step {
            Step::Whom(whom) => Some(whom.again.clone()),
            _ => None,
        });
        if let Some(again) = again {
            self.enter(world, &again);
        }
    }

    /// The two seconds after a ZIP code are over: exactly four digits were the "+4", others are dropped.
    fn end_after_zip(&mut self) {
        self.plus4 = self.after_zip.take().filter(|rest| rest.len() == 4);
    }

    /// Somebody is dialled: the ZIP code stands.
    pub(super) fn end_zip_correction(&mut self) {
        if self.after_zip.is_some() {
            self.cancel_timer(TimerName::AfterZip);
            self.end_after_zip();
        }
    }

    fn on_limit(&mut self, world: &World<'_>, limit: &str) {
        let _ = world;
        self.note(EventKind::LimitReached {
            limit: limit.to_owned(),
        });
        self.hang_up_callee(LegDisposition::LimitReached);
        let disposition = self.tally.disposition().unwrap_or(self.so_far);
        self.end(disposition, 480);
    }

    fn pass_on(&mut self, world: &World<'_>, event: Event) {
        let flow = Arc::clone(&self.flow);
        let Some(step) = flow.steps.get(&self.step) else {
            return self.fail("missing_step");
        };
        match step {
            Step::Play(step) => play::on(self, world, step, event),
            Step::Language(step) => language::on(self, world, step, event),
            Step::Zip(step) => zip::on(self, world, step, event),
            Step::Whom(step) => whom::on(self, world, step, event),
            Step::CallTargets(step) => targets::on(self, world, step, event),
            Step::Gather(step) => gather::on(self, world, step, event),
            Step::Dial(step) => dial::on(self, world, step, event),
            Step::Wait(step) => {
                if let (Event::TimerFired(TimerName::Input), Some(next)) = (event, &step.next) {
                    self.enter(world, next);
                }
            }
            Step::Echo(_) | Step::Hangup(_) => {}
        }
    }

    /// Goes on to a step.
    pub(super) fn enter(&mut self, world: &World<'_>, name: &str) {
        self.steps_at_once += 1;
        if self.steps_at_once > MOST_STEPS_AT_ONCE {
            return self.fail("circle_of_steps");
        }
        let flow = Arc::clone(&self.flow);
        let Some(step) = flow.steps.get(name) else {
            return self.fail("missing_step");
        };
        self.step = name.to_owned();
        self.note(EventKind::StepEntered {
            step: name.to_owned(),
        });
        self.cancel_timer(TimerName::Input);
        match step {
            Step::Play(step) => play::enter(self, world, step),
            Step::Language(step) => language::enter(self, world, step),
            Step::Zip(step) => zip::enter(self, world, step),
            Step::Whom(step) => whom::enter(self, world, step),
            Step::CallTargets(step) => targets::enter(self, world, step),
            Step::Gather(step) => gather::enter(self, world, step),
            Step::Dial(step) => dial::enter(self, world, step),
            Step::Echo(_) => {
                self.answer(world);
                self.state = State::Resting;
                self.so_far = SessionDisposition::Completed;
                self.act(Action::Echo);
            }
            Step::Wait(step) => {
                self.answer(world);
                self.state = State::Resting;
                self.so_far = SessionDisposition::Completed;
                if let Some(seconds) = step.seconds {
                    self.set_timer(TimerName::Input, Duration::from_secs(u64::from(seconds)));
                }
            }
            Step::Hangup(_) => {
                let disposition = self.tally.disposition().unwrap_or(self.so_far);
                self.end(disposition, 480);
            }
        }
    }

    /// Answers the caller, if that has not been done, and starts the clock of the menus.
    pub(super) fn answer(&mut self, world: &World<'_>) {
        if !self.answered {
            self.answered = true;
            self.act(Action::Answer);
            self.resume_menu(world);
        }
    }

    /// Time in menus runs again.
    pub(super) fn resume_menu(&mut self, world: &World<'_>) {
        if self.menu_since.is_none() && self.campaign.is_some() {
            self.menu_since = Some(world.now);
            self.set_timer(TimerName::Menu, self.menu_left);
        }
    }

    /// Time at an office's line does not count as time in menus.
    pub(super) fn pause_menu(&mut self, world: &World<'_>) {
        if let Some(since) = self.menu_since.take() {
            self.menu_left = self
                .menu_left
                .saturating_sub(world.now.saturating_duration_since(since));
            self.cancel_timer(TimerName::Menu);
        }
    }

    pub(super) fn end(&mut self, disposition: SessionDisposition, status: u16) {
        if !matches!(self.state, State::Ended) {
            self.state = State::Ended;
            self.act(Action::HangUp { disposition, status });
        }
    }

    /// A flow that cannot go on ends the call; validation should have refused it.
    pub(super) fn fail(&mut self, reason: &str) {
        self.note(EventKind::Decision {
            reason: reason.to_owned(),
        });
        self.end(SessionDisposition::SystemError, 500);
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn note(&mut self, kind: EventKind) {
        self.act(Action::Note(kind));
    }

    pub(super) fn choose(&mut self, choice: &str) {
        self.note(EventKind::Chosen {
            choice: choice.to_owned(),
        });
    }

    pub(super) fn decide(&mut self, reason: &str) {
        self.note(EventKind::Decision {
            reason: reason.to_owned(),
        });
    }

    pub(super) fn set_timer(&mut self, name: TimerName, after: Duration) {
        self.act(Action::SetTimer(name, after));
    }

    pub(super) fn cancel_timer(&mut self, name: TimerName) {
        self.act(Action::CancelTimer(name));
    }

    pub(super) fn hang_up_callee(&mut self, disposition: LegDisposition) {
        self.act(Action::HangUpCallee(disposition));
    }

    pub(super) fn keep_typed(&mut self, digit: char) {
        if self.typed.len() < MOST_TYPED {
            self.typed.push_back(digit);
        }
    }

    /// Plays a prompt by its key, slots left out.
    pub(super) fn play_key(&mut self, world: &World<'_>, key: &str) {
        let pieces = self.pieces(world, key);
        self.play(&[key], pieces);
    }

    /// Plays pieces; `keys` name them in the record. Nothing to play counts as played: the flow must go on.
    pub(super) fn play(&mut self, keys: &[&str], pieces: Vec<Piece>) {
        for key in keys {
            self.note(EventKind::PromptStarted {
                prompt: (*key).to_owned(),
            });
        }
        self.act(Action::Play {
            pieces,
            repeat: false,
        });
    }

    pub(super) fn pieces(&self, world: &World<'_>, key: &str) -> Vec<Piece> {
        self.pieces_with(world, key, &|_| Vec::new())
    }

    pub(super) fn pieces_with(
        &self,
        world: &World<'_>,
        key: &str,
        slots: &dyn Fn(&str) -> Vec<Piece>,
    ) -> Vec<Piece> {
        world.catalogues.of(self.language).pieces(key, slots)
    }
}

impl Tally {
    /// The call's disposition as it stands, once targets have been considered.
    pub fn disposition(&self) -> Option<SessionDisposition> {
        if self.dialled + self.closed + self.skipped == 0 {
            return None;
        }
        if self.dialled == 0 && self.closed > 0 {
            return Some(SessionDisposition::AfterHoursEnd);
        }
        Some(SessionDisposition::of_targets(self.reached.len(), self.listed))
    }
}
