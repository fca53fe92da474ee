//! What a peer does of itself, and how it answers: the words in which `plans` describes behaviour and `agent` acts.

use std::time::Duration;

use super::message::Sdp;

/// Something an agent does of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// The caller's INVITE.
    Dial,
    /// CANCEL whatever came so far.
    Cancel,
    /// BYE once confirmed, CANCEL before.
    HangUp,
    /// BYE in the early dialog.
    EarlyBye,
    Key(char),
    InfoKey(char),
    /// One packet of sound.
    Speak,
    Reinvite,
    Hold,
    /// A hold on which nothing is sent either way.
    Mute,
    /// Sound comes from another port from now on.
    Move,
    /// Offers of what we cannot do, alone and beside sound.
    Fax,
    Film,
    LateReinvite,
    SpoiltReinvite,
    Update,
    Options,
    Refer,
    /// The INVITE once more on another branch (RFC 3261 §8.2.2.2).
    Merged,
    /// A request within the dialog with a CSeq that is long gone.
    Stale,
    /// Nothing is sent or heard any more.
    Vanish,
    /// The switch finds the peer's address unreachable.
    BreakOff,
    /// A provisional response of one branch of a fork.
    Provisional {
        status: u16,
        fork: u8,
        sound: bool,
        reliable: bool,
    },
    /// A final response of one branch of a fork.
    Final {
        status: u16,
        fork: u8,
    },
    /// The final response once more, though it was acknowledged.
    Echo,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    Silence,
}

/// When a 2xx is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    AtOnce,
    After(Duration),
    Never,
}

/// What becomes of an INVITE that is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCancel {
    Terminated,
    Answered,
    Nothing,
}

/// Where an agent is not what the RFCs want, and what it will do.
#[derive(Debug, Clone)]
pub struct Habits {
    pub acks: Acks,
    pub bye: Reply,
    pub cancel: Reply,
    pub offers: Reply,
    pub others: Reply,
    pub after_cancel: AfterCancel,
    pub sdp: Sdp,
    /// The answer in the ACK of a 2xx that has the offer, if not the usual one.
    pub acks_with: Option<Sdp>,
    /// INVITEs that are challenged before one is taken.
    pub challenges: u8,
    /// The first INVITE is refused with 422.
    pub too_brief: bool,
    /// Header lines of the INVITE or of its 2xx.
    pub lines: &'static str,
    /// The 2xx has no To tag.
    pub tagless: bool,
    /// Responses name another CSeq number.
    pub lies: bool,
    /// Header lines of failures.
    pub failure_lines: &'static str,
    /// What is done, and how long after the INVITE.
    pub deeds: Vec<(Duration, Deed)>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            acks: Acks::AtOnce,
            bye: Reply::Status(200),
            cancel: Reply::Status(200),
            offers: Reply::Status(200),
            others: Reply::Status(200),
            after_cancel: AfterCancel::Terminated,
            sdp: Sdp::Usual,
            acks_with: None,
            challenges: 0,
            too_brief: false,
            lines: "",
            tagless: false,
            lies: false,
            failure_lines: "",
            deeds: Vec::new(),
        }
    }
}
