//! The invariants at the end of `sip.md` §6, judged by what went over the wires to and from the switch and by the
//! records it wrote; nothing of the switch's own state is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use trunkline::call::record::{LegNumber, RecordChange};
use trunkline::call::trace::{self, Trace};
use trunkline::units::CallId;

use super::message::Message;

/// 64*T1: how long a final response or a 2xx may be repeated, and so for how long it must be acknowledged.
const LONGEST: Duration = Duration::from_secs(32);
/// Messages of the switch with one Call-ID; more is a storm.
const MOST_MESSAGES: usize = 400;

/// An INVITE of the switch: one transaction.
struct Sent {
    at: Instant,
    cseq: u32,
    is_first: bool,
    /// When the first response arrived.
    heard: Option<Instant>,
    /// 2xx and failures that arrived: status, To tag, when.
    finals: Vec<(u16, String, Instant)>,
}

/// A request to the switch: one transaction.
#[derive(Default)]
struct Served {
    method: String,
    begins: bool,
    /// The peer's tag, and when a copy arrived first and last.
    from: String,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The first copy came before the switch could know its dialog.
    early: bool,
    /// Different final responses: status and To tag.
    finals: BTreeSet<(u16, String)>,
}

/// All that went over the wires with one Call-ID.
#[derive(Default)]
struct Thread {
    messages: Vec<(Duration, bool, Message)>,
    transmitted: usize,
    sent: BTreeMap<String, Sent>,
    served: BTreeMap<(String, String), Served>,
    /// CSeq number and To tag.
    acks: BTreeSet<(u32, String)>,
    acked_by_peer: bool,
    /// To tags of the switch's BYEs, and From tags of the peer's.
    byes: BTreeSet<String>,
    peer_byes: BTreeSet<String>,
    /// The peer told that it knows the dialog no more, or did not answer a request.
    lost: bool,
    /// Requests of the switch within the dialog that were not answered.
    open: BTreeSet<(String, String)>,
    /// When the switch let go of the peer or the peer of the switch, as far as the wire tells.
    over: Option<Instant>,
    cancelled: Option<Instant>,
    /// The peer's tags, since when the switch can know them.
    tags: BTreeMap<String, Instant>,
    invited: Vec<Instant>,
    /// The switch sent the INVITE.
    dialled: bool,
    rung: bool,
}

#[derive(Default)]
struct Call {
    opened: u32,
    closed: u32,
    sip_call_id: Option<String>,
    legs: BTreeMap<LegNumber, (u32, u32)>,
}

pub struct Audit {
    begun: Instant,
    /// When the trunks were taken away.
    pub alone: Option<Instant>,
    threads: BTreeMap<String, Thread>,
    /// Call-IDs of the calls that the switch dialled, and the calls whose records opened a leg for them, in order.
    dialled: Vec<String>,
    dials: Vec<CallId>,
    /// Legs opened over a trunk, and not closed again, since the last input.
    opening: Vec<(CallId, LegNumber)>,
    calls: BTreeMap<CallId, Call>,
    violations: Vec<String>,
}

impl Audit {
    pub fn new(begun: Instant) -> Self {
        Self {
            begun,
            alone: None,
            threads: BTreeMap::new(),
            dialled: Vec::new(),
            dials: Vec::new(),
            opening: Vec::new(),
            calls: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub fn require(&mut self, holds: bool, say: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(say());
        }
    }

    /// Calls that were opened in the records.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How often each kind of message arrived at the switch (`> 200 INVITE`) or was sent by it (`< INVITE`).
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for (_, to_switch, message) in self.threads.values().flat_map(|thread| &thread.messages) {
            let way = if *to_switch { '>' } else { '<' };
            *kinds.entry(format!("{way} {}", message.kind())).or_default() += 1;
        }
        kinds
    }

    /// The messages with a Call-ID, as lines: when, which way, what.
    pub fn trace(&self, call_id: &str) -> Vec<String> {
        let thread = self.threads.get(call_id);
        let messages = thread.into_iter().flat_map(|thread| &thread.messages);
        let line = |(at, to_switch, message): &(Duration, bool, Message)| {
            let way = if *to_switch { "->" } else { "<-" };
            let (cseq, tag) = (message.cseq(), message.tag("To"));
            format!(
                "  {at:>12.3?} {way} {} (CSeq {cseq}, To tag {tag:?}, {})",
                message.kind(),
                message.branch()
            )
        };
        messages.map(line).collect()
    }

    /// All messages with a Call-ID that the switch sent or got: when, whether it got it, and what.
    pub fn messages(&self, call_id: &str) -> &[(Duration, bool, Message)] {
        self.threads.get(call_id).map_or(&[], |thread| &thread.messages)
    }

    /// Call-IDs of the calls that the switch dialled, in order.
    pub fn dialled(&self) -> &[String] {
        &self.dialled
    }

    // The wire.

    pub fn sent(&mut self, now: Instant, message: Message) {
        if !message.is_sip() {
            return;
        }
        let at = now - self.begun;
        let call_id = message.call_id().to_owned();
        let is_new = !self.threads.contains_key(&call_id);
        let thread = self.threads.entry(call_id.clone()).or_default();
        thread.transmitted += 1;
        if message.status().is_some() {
            thread.responded(now, &message);
        } else {
            thread.requested(now, &message);
            if is_new && message.method() == "INVITE" {
                self.dialled.push(call_id);
            }
        }
        thread.messages.push((at, false, message));
    }

    pub fn delivered(&mut self, now: Instant, message: Message) {
        if !message.is_sip() {
            return;
        }
        let at = now - self.begun;
        let thread = self.threads.entry(message.call_id().to_owned()).or_default();
        match message.status() {
            Some(status) => thread.answered(now, &message, status),
            None => thread.asked(now, &message),
        }
        thread.messages.push((at, true, message));
    }

    // Records.

    pub fn record(&mut self, _now: Instant, change: &RecordChange) {
        let id = change.call();
        if let RecordChange::Traced(kept) = change {
            // The messages follow the end of the call that they are of.
            let closed = self.calls.get(&id).is_some_and(|call| call.closed == 1);
            let fits = closed && Trace::decode(&kept.trace).is_ok_and(|trace| fits(&trace));
            return self.require(fits, || {
                format!("{id:?}: a trace before the end, or not of a call")
            });
        }
        let call = self.calls.entry(id).or_default();
        let in_order =
            call.closed == 0 && (call.opened == 1 || matches!(change, RecordChange::CallOpened(_)));
        match change {
            RecordChange::CallOpened(opened) => {
                call.opened += 1;
                call.sip_call_id.clone_from(&opened.sip_call_id);
            }
            RecordChange::LegOpened(leg) => {
                call.legs.entry(leg.leg).or_default().0 += 1;
                if leg.leg.0 > 0 && leg.trunk.is_some() {
                    self.opening.push((id, leg.leg));
                }
            }
            RecordChange::LegClosed(leg) => {
                call.legs.entry(leg.leg).or_default().1 += 1;
                self.opening.retain(|opening| *opening != (id, leg.leg));
            }
            RecordChange::CallClosed(_) => call.closed += 1,
            RecordChange::Events { .. } | RecordChange::CallDetails { .. } | RecordChange::Traced(_) => {}
        }
        self.require(in_order, || {
            format!("{id:?}: a change before the call opened or after it closed: {change:?}")
        });
    }

    /// The switch has said all that it had to say about one input: each leg that it opened was dialled just now.
    pub fn rest(&mut self) {
        self.dials.extend(self.opening.drain(..).map(|(id, _)| id));
    }

    // Judgement.

    /// Everything that does not hold.
    pub fn finish(&mut self, _changes: &[RecordChange]) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.violations);
        for (call_id, thread) in &self.threads {
            let before = wrong.len();
            thread.judge(self.alone, &mut wrong);
            for fault in &mut wrong[before..] {
                *fault = format!("{call_id}: {fault}");
            }
        }
        self.judge_records(&mut wrong);
        self.judge_offices(&mut wrong);
        wrong.dedup();
        for fault in &mut wrong {
            if let Some((call_id, _)) = fault.split_once(": ") {
                let trace = self.trace(call_id).join("\n");
                *fault = format!("{fault}\n{trace}");
            }
        }
        wrong
    }

    fn judge_records(&self, wrong: &mut Vec<String>) {
        let mut recorded: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, call) in &self.calls {
            if (call.opened, call.closed) != (1, 1) {
                wrong.push(format!(
                    "{id:?} was opened {} times and closed {}",
                    call.opened, call.closed
                ));
            }
            for (leg, (opened, closed)) in &call.legs {
                if (*opened, *closed) != (1, 1) {
                    wrong.push(format!(
                        "{id:?} {leg:?} was opened {opened} times and closed {closed}"
                    ));
                }
            }
            if let Some(call_id) = &call.sip_call_id {
                *recorded.entry(call_id).or_default() += 1;
            }
        }
        for (call_id, thread) in &self.threads {
            let records = recorded.get(call_id.as_str()).copied().unwrap_or(0);
            if records > 1 || (thread.rung && records == 0) {
                wrong.push(format!("{call_id}: {records} records of one call"));
            }
        }
    }

    /// No office is rung, or left ringing, without a caller.
    fn judge_offices(&self, wrong: &mut Vec<String>) {
        if self.dialled.len() != self.dials.len() {
            wrong.push(format!(
                "{} INVITEs and {} dials in the records",
                self.dialled.len(),
                self.dials.len()
            ));
            return;
        }
        for (office, id) in self.dialled.iter().zip(&self.dials) {
            let caller = self.calls.get(id).and_then(|call| call.sip_call_id.as_ref());
            let (Some(caller), Some(thread)) = (
                caller.and_then(|caller| self.threads.get(caller)),
                self.threads.get(office),
            ) else {
                wrong.push(format!("{office}: was dialled for no caller"));
                continue;
            };
            let Some(gone) = caller.over else { continue };
            if thread.invited.iter().any(|at| *at > gone) {
                wrong.push(format!("{office}: was invited after its caller was gone"));
            }
            if let Some(by) = thread.rings_after(gone) {
                let (by, gone) = (by - self.begun, gone - self.begun);
                let caller = self.calls[id].sip_call_id.clone().unwrap_or_default();
                let trace = self.trace(&caller).join("\n");
                wrong.push(format!(
                    "{office}: rang on without a caller (gone at {gone:?}, to be over by {by:?})\n{trace}\nof the caller; of the office:"
                ));
            }
        }
    }
}

impl Thread {
    /// When at the latest the peer should have been let go of, if it was not. Nothing may be cancelled before something
    /// was heard.
    fn rings_after(&self, gone: Instant) -> Option<Instant> {
        let first = self.sent.values().filter(|sent| sent.is_first);
        first
            .filter_map(|sent| {
                let by = sent.heard?.max(gone);
                let refused = sent
                    .finals
                    .iter()
                    .any(|(status, _, at)| *status >= 300 && *at <= by);
                let over = self.over.is_some_and(|over| over <= by);
                (!refused && !over).then_some(by)
            })
            .next()
    }

    /// Whether the switch could not know yet which dialog a request was in, whenever a copy came.
    fn is_ahead(&self, served: &Served) -> bool {
        let invited = self.sent.values().any(|sent| sent.is_first);
        let since = self.tags.get(&served.from);
        invited
            && served
                .last
                .is_some_and(|last| since.is_none_or(|since| *since > last))
    }

    fn ends(&mut self, now: Instant) {
        self.over.get_or_insert(now);
    }

    /// A request of the switch.
    fn requested(&mut self, now: Instant, request: &Message) {
        let (branch, tag) = (request.branch().to_owned(), request.tag("To").to_owned());
        match request.method() {
            "INVITE" => {
                let is_first = tag.is_empty();
                self.dialled |= is_first;
                if !self.sent.contains_key(&branch) {
                    if is_first {
                        self.invited.push(now);
                    }
                    let (cseq, finals) = (request.cseq(), Vec::new());
                    self.sent.insert(
                        branch.clone(),
                        Sent {
                            at: now,
                            cseq,
                            is_first,
                            heard: None,
                            finals,
                        },
                    );
                }
                if !is_first {
                    self.open.insert((branch, tag));
                }
            }
            "ACK" => {
                self.acks.insert((request.cseq(), tag));
            }
            "BYE" => {
                self.byes.insert(tag);
                self.ends(now);
            }
            "CANCEL" => {
                self.cancelled.get_or_insert(now);
                self.ends(now);
            }
            "REGISTER" | "OPTIONS" => {}
            _ => {
                self.open.insert((branch, tag));
            }
        }
    }

    /// A response of the switch.
    fn responded(&mut self, now: Instant, response: &Message) {
        let status = response.status().unwrap_or(0);
        let (branch, method) = (response.branch().to_owned(), response.method().to_owned());
        let Some(served) = self.served.get_mut(&(branch, method)) else {
            return;
        };
        if status < 200 {
            self.rung |= status == 180 || status == 183;
            return;
        }
        served.finals.insert((status, response.tag("To").to_owned()));
        let (begins, is_bye) = (served.begins, served.method == "BYE");
        // An answered call has a record, as has one that rang.
        self.rung |= begins && status < 300;
        if (begins && status >= 300 && status != 482) || (is_bye && status == 200) {
            self.ends(now);
        }
    }

    /// A request to the switch.
    fn asked(&mut self, now: Instant, request: &Message) {
        let method = request.method().to_owned();
        if method == "ACK" {
            self.acked_by_peer = true;
            return;
        }
        if method == "BYE" {
            self.peer_byes.insert(request.tag("From").to_owned());
        }
        let begins = method == "INVITE" && request.tag("To").is_empty();
        let served = self
            .served
            .entry((request.branch().to_owned(), method.clone()))
            .or_default();
        if served.last.is_none() {
            served.early = self.dialled && !self.tags.contains_key(request.tag("From"));
        }
        (served.method, served.begins) = (method, begins);
        (served.from, served.last) = (request.tag("From").to_owned(), Some(now));
        served.first.get_or_insert(now);
    }

    /// A response to the switch.
    fn answered(&mut self, now: Instant, response: &Message, status: u16) {
        let tag = response.tag("To").to_owned();
        if response.method() != "INVITE" {
            if status >= 200 {
                self.lost |= matches!(status, 408 | 481) && response.method() != "CANCEL";
                self.open.retain(|(branch, _)| *branch != response.branch());
            }
            return;
        }
        let Some(sent) = self
            .sent
            .get_mut(response.branch())
            .filter(|sent| sent.cseq == response.cseq())
        else {
            return;
        };
        sent.heard.get_or_insert(now);
        if (101..300).contains(&status) {
            self.tags.entry(tag.clone()).or_insert(now);
        }
        if status < 200 {
            return;
        }
        if !sent.is_first {
            self.lost |= matches!(status, 408 | 481);
            self.open.retain(|(branch, _)| *branch != response.branch());
        }
        let challenges = matches!(status, 401 | 407 | 422);
        let ends = sent.is_first && status >= 300 && !challenges;
        sent.finals.push((status, tag, now));
        if ends {
            self.ends(now);
        }
    }

    /// Since `alone` there are no trunks, and so no answers to anybody.
    fn judge(&self, alone: Option<Instant>, wrong: &mut Vec<String>) {
        if self.transmitted > MOST_MESSAGES {
            wrong.push(format!("{} messages were sent", self.transmitted));
        }
        for ((branch, method), served) in &self.served {
            let of_stranger = alone.is_some_and(|alone| served.first >= Some(alone));
            if served.finals.is_empty() && (self.is_ahead(served) || of_stranger) {
                continue;
            }
            // A CANCEL means nothing any more after the ACK, and the tag of its answer after the BYE.
            let cancels = method == "CANCEL"
                && !served.finals.is_empty()
                && served
                    .finals
                    .iter()
                    .all(|(status, tag)| matches!(status, 200 | 481) && !tag.is_empty());
            // What overtook the answer to a cancelled call may be refused, and its copies be served.
            let refused = served.early && served.finals.iter().any(|(status, _)| *status == 481);
            let most = if refused { 2 } else { 1 };
            if !(1..=most).contains(&served.finals.len()) && !cancels {
                wrong.push(format!(
                    "{method} {branch} got the final responses {:?}",
                    served.finals
                ));
            }
        }
        for sent in self.sent.values() {
            self.judge_acks(sent, wrong);
        }
        // Our own 2xx made a dialog too.
        let answered = self
            .served
            .values()
            .any(|served| served.begins && served.finals.iter().any(|(status, _)| *status < 300));
        if answered && self.byes.is_empty() && self.peer_byes.is_empty() && !self.is_lost() {
            wrong.push("the caller's dialog never ended".to_owned());
        }
    }

    fn judge_acks(&self, sent: &Sent, wrong: &mut Vec<String>) {
        // What comes after the transaction and its forks are forgotten is nobody's.
        let first = sent.finals.first().map_or(sent.at, |(_, _, at)| *at);
        let known_until = self.cancelled.map_or(first, |at| at.min(first)) + LONGEST;
        for (status, tag, at) in &sent.finals {
            // A failure after a 2xx is another branch's, and is dropped (RFC 6026 §7.2).
            let answered = sent
                .finals
                .iter()
                .any(|(other, _, when)| *other < 300 && when <= at);
            let in_time = !(*status >= 300 && answered)
                && *at < known_until
                && *at < sent.at + Duration::from_secs(180);
            if in_time && !self.acks.contains(&(sent.cseq, tag.clone())) {
                wrong.push(format!("{status} with the tag {tag:?} was not acknowledged"));
            }
            if *status < 300
                && sent.is_first
                && self.acks.contains(&(sent.cseq, tag.clone()))
                && !self.byes.contains(tag)
                && !self.peer_byes.contains(tag)
                && !self.is_lost()
            {
                wrong.push(format!("the dialog with the tag {tag:?} never ended"));
            }
        }
    }

    fn is_lost(&self) -> bool {
        self.lost || !self.open.is_empty()
    }
}

/// Whether a trace begins as a call does and keeps within its bounds.
fn fits(kept: &Trace) -> bool {
    let first = kept.messages.first();
    let bytes: usize = kept.messages.iter().map(|message| message.text.len()).sum();
    first.is_some_and(|first| !first.sent && first.text.starts_with(b"INVITE "))
        && kept.messages.len() <= trace::MOST_MESSAGES
        && bytes <= 2 * trace::MOST_BYTES
}
