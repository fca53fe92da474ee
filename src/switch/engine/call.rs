//! One call inside the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::call::book::Book;
use crate::call::disposition::SessionDisposition;
use crate::call::leg::{DigitForm, Leg};
use crate::call::record::{CallDetails, EndedBy, LegNumber, UtcMicros};
use crate::call::timers::CallKey;
use crate::directory::Directory;
use crate::flow::run::{DialRequest, Event as FlowEvent, Run, TimerName};
use crate::units::{Language, PhoneNumber, TrunkName};

/// Which of a call's legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

/// A call's timers: the flow's, and the engine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    Flow(TimerName),
    /// A call that was one too many for its trunk's second goes out.
    Dial,
    /// A leg rings for longer than its trunk may.
    TrunkRing,
    /// The caller's leg, or the dialled one, lasts for longer than its trunk may carry a call.
    CallerLimit,
    CalleeLimit,
    /// A stream's totals should have come by now.
    Totals,
}

pub(super) const ALL_TIMERS: [Timer; 13] = [
    Timer::Flow(TimerName::Input),
    Timer::Flow(TimerName::AfterZip),
    Timer::Flow(TimerName::Ring),
    Timer::Flow(TimerName::Warning),
    Timer::Flow(TimerName::Talk),
    Timer::Flow(TimerName::Star),
    Timer::Flow(TimerName::Menu),
    Timer::Flow(TimerName::Session),
    Timer::Dial,
    Timer::TrunkRing,
    Timer::CallerLimit,
    Timer::CalleeLimit,
    Timer::Totals,
];

/// How a call ends, once it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallEnding {
    pub disposition: SessionDisposition,
    pub by: EndedBy,
    pub at: UtcMicros,
}

/// What is being dialled, while another trunk may yet carry it.
#[derive(Debug)]
pub(super) struct Dialling {
    pub request: DialRequest,
    /// Places of the trunks that were tried.
    pub tried: Vec<usize>,
    /// The trunk for whose next second the call waits.
    pub waits_for: Option<usize>,
}

impl Dialling {
    pub fn new(request: DialRequest) -> Self {
        Self {
            request,
            tried: Vec::new(),
            waits_for: None,
        }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub key: CallKey,
    /// How many configurations there had been when it began.
    pub generation: u64,
    pub book: Book,
    pub run: Run,
    /// The directory as it was when the call began: a refresh never changes a call.
    pub directory: Arc<Directory>,
    pub caller: Leg,
    pub callee: Option<Leg>,
    pub dialling: Option<Dialling>,
    /// Trunks by which it goes out, in order; empty for those of all calls.
    pub trunks: Arc<[TrunkName]>,
    /// The number of ours that the caller dialled.
    pub called: Option<PhoneNumber>,
    /// Legs that ended and whose totals are outstanding.
    pub ended_legs: Vec<Leg>,
    pub next_leg: u16,
    /// What the flow has yet to hear.
    pub pending: VecDeque<FlowEvent>,
    pub language: Language,
    /// What is played to the caller, by number; none when nothing is.
    pub playing: Option<u64>,
    pub next_play: u64,
    pub bridged: bool,
    /// Which of the caller's keys reach the callee only when the flow says so.
    pub withheld: Withheld,
    pub details: CallDetails,
    /// The last key and how it came, so that one press that comes two ways counts once.
    pub last_digit: Option<LastDigit>,
    pub ending: Option<CallEnding>,
    pub max_forwards: u8,
}

/// Keys of the caller that are not passed on by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withheld {
    Nothing,
    Star,
    All,
}

/// The last press, and the ways by which it came so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastDigit {
    pub digit: char,
    /// By [`DigitSource`].
    pub came: [bool; 3],
    pub at: Instant,
}

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DigitSource {
    Rtp,
    Info,
    Inband,
}

impl Call {
    pub fn new_leg(&mut self) -> LegNumber {
        let number = LegNumber(self.next_leg);
        self.next_leg = self.next_leg.saturating_add(1);
        number
    }

    /// Whether the dialled side takes keys as RTP events.
    pub fn callee_takes_events(&self) -> bool {
        let agreed = self.callee.as_ref().and_then(|leg| leg.agreed.as_ref());
        let wanted = self
            .callee
            .as_ref()
            .is_some_and(|leg| leg.digits == DigitForm::Rfc4733);
        wanted && agreed.is_some_and(|agreed| agreed.event_payload_type.is_some())
    }

    /// The callee's leg while it is up.
    pub fn callee_up(&mut self) -> Option<&mut Leg> {
        self.callee.as_mut().filter(|leg| leg.is_up())
    }
}

/// The session that an event of the SIP core is about; none for those about a trunk.
pub(super) fn session_of(event: &sip::Event) -> Option<sip::SessionId> {
    match event {
        sip::Event::Incoming { session, .. }
        | sip::Event::Ringing { session }
        | sip::Event::Progress { session, .. }
        | sip::Event::Answered { session, .. }
        | sip::Event::Confirmed { session }
        | sip::Event::Offered { session, .. }
        | sip::Event::OfferAnswered { session, .. }
        | sip::Event::OfferRefused { session, .. }
        | sip::Event::DigitPressed { session, .. }
        | sip::Event::Failed { session, .. }
        | sip::Event::Ended { session, .. } => Some(*session),
        _ => None,
    }
}
