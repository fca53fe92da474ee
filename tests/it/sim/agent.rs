//! A peer's side of one call: a user agent that repeats, acknowledges and answers as RFC 3261 wants, except where its
//! habits say otherwise. What it does of itself comes as [`Deed`]s at times.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::habits::{Acks, AfterCancel, Deed, Habits, Reply};
use super::message::{Message, Sdp, finish, response, sdp};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Requests and answers are repeated for this long: less than 64*T1, so that the network cannot make the last too late.
const PATIENCE: Duration = Duration::from_secs(26);

/// What agents act on: the time, chance, and what they send and want to be reminded of.
pub struct Stage {
    pub now: Instant,
    pub chance: Chance,
    /// From, to, bytes; SIP and RTP.
    pub sends: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub alarms: Vec<(Instant, usize, Alarm)>,
    /// Addresses of peers to which the switch will find that nothing can be sent.
    pub unreachable: Vec<SocketAddr>,
}

/// Why an agent is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    RepeatRequest(u32),
    RepeatAnswer(u32),
    Acknowledge(u32),
    Do(Deed),
}

/// A request or a final answer that is repeated until something comes.
struct Repeated {
    id: u32,
    message: Message,
    since: Instant,
    gap: Duration,
    provisional: bool,
}

/// One peer in one call.
pub struct Agent {
    pub number: usize,
    pub is_caller: bool,
    pub address: SocketAddr,
    pub media: SocketAddr,
    pub remote_media: Option<SocketAddr>,
    pub call_id: String,
    pub habits: Habits,
    pub confirmed: bool,
    pub over: bool,
    pub vanished: bool,
    /// It sends no sound of itself.
    pub is_mute: bool,
    switch: SocketAddr,
    local: String,
    remote: String,
    remote_tag: String,
    target: String,
    routes: Vec<String>,
    cseq: u32,
    version: u32,
    invite: Option<Message>,
    rounds: u8,
    begun: bool,
    /// The final response to the INVITE was sent.
    finished: bool,
    /// CANCEL was sent.
    cancelled: bool,
    requests: Vec<Repeated>,
    answers: Vec<Repeated>,
    /// Our ACKs by the CSeq number of their INVITE.
    acks: Vec<(u32, String)>,
    served: Vec<(String, String)>,
    pracked: Vec<String>,
    next_id: u32,
    sequence: u16,
    timestamp: u32,
    spoken: u32,
}

impl Agent {
    /// `called` is the number that a caller dials.
    pub fn caller(
        number: usize,
        address: SocketAddr,
        switch: SocketAddr,
        called: &str,
        habits: Habits,
    ) -> Self {
        let from = format!("<sip:+12025550{:03}@{}>", 100 + number % 100, address.ip());
        let target = format!("sip:{called}@{}", switch.ip());
        Self {
            local: from,
            remote: format!("<{target}>"),
            target,
            call_id: format!("caller-{number}@{}", address.ip()),
            ..Self::new(number, true, address, switch, habits)
        }
    }

    /// The side that an INVITE of the switch reaches.
    pub fn office(
        number: usize,
        address: SocketAddr,
        switch: SocketAddr,
        invite: &Message,
        habits: Habits,
    ) -> Self {
        Self {
            local: invite.header("To").to_owned(),
            remote: invite
                .header("From")
                .split(";tag=")
                .next()
                .unwrap_or_default()
                .to_owned(),
            remote_tag: invite.tag("From").to_owned(),
            target: invite.contact().to_owned(),
            call_id: invite.call_id().to_owned(),
            ..Self::new(number, false, address, switch, habits)
        }
    }

    fn new(number: usize, is_caller: bool, address: SocketAddr, switch: SocketAddr, habits: Habits) -> Self {
        let port = 10_000 + u16::try_from(number % 20_000).unwrap() * 2;
        Self {
            number,
            is_caller,
            address,
            media: SocketAddr::new(address.ip(), port),
            remote_media: None,
            call_id: String::new(),
            habits,
            confirmed: false,
            over: false,
            vanished: false,
            is_mute: false,
            switch,
            local: String::new(),
            remote: String::new(),
            remote_tag: String::new(),
            target: String::new(),
            routes: Vec::new(),
            cseq: 0,
            version: 1,
            invite: None,
            rounds: 0,
            begun: false,
            finished: false,
            cancelled: false,
            requests: Vec::new(),
            answers: Vec::new(),
            acks: Vec::new(),
            served: Vec::new(),
            pracked: Vec::new(),
            next_id: 0,
            sequence: 1,
            timestamp: 8000,
            spoken: 0,
        }
    }

    fn tag(&self, fork: u8) -> String {
        format!("agent{}f{fork}", self.number)
    }

    fn sdp(&self, shape: Sdp) -> String {
        sdp(
            shape,
            &self.media.ip().to_string(),
            self.media.port(),
            self.version,
        )
    }

    fn send(&self, stage: &mut Stage, text: &str) {
        if !self.vanished {
            stage
                .sends
                .push((self.address, self.switch, text.as_bytes().to_vec()));
        }
    }

    fn remind(&self, stage: &mut Stage, after: Duration, alarm: Alarm) {
        stage.alarms.push((stage.now + after, self.number, alarm));
    }

    // What the agent does of itself.

    pub fn on_alarm(&mut self, stage: &mut Stage, alarm: Alarm) {
        match alarm {
            Alarm::RepeatRequest(id) => self.repeat(stage, id, true),
            Alarm::RepeatAnswer(id) => self.repeat(stage, id, false),
            Alarm::Acknowledge(cseq) => {
                if let Some((_, ack)) = self.acks.iter().find(|(number, _)| *number == cseq) {
                    let ack = ack.clone();
                    self.send(stage, &ack);
                }
            }
            Alarm::Do(deed) => self.act(stage, deed),
        }
    }

    fn repeat(&mut self, stage: &mut Stage, id: u32, is_request: bool) {
        let list = if is_request {
            &mut self.requests
        } else {
            &mut self.answers
        };
        let Some(at) = list.iter().position(|repeated| repeated.id == id) else {
            return;
        };
        if stage.now.saturating_duration_since(list[at].since) >= PATIENCE {
            list.remove(at);
            return;
        }
        let repeated = &mut list[at];
        if is_request && repeated.provisional && repeated.message.method() == "INVITE" {
            return;
        }
        repeated.gap = if is_request && repeated.message.method() == "INVITE" {
            repeated.gap * 2
        } else {
            (repeated.gap * 2).min(T2)
        };
        let (text, gap) = (repeated.message.text.clone(), repeated.gap);
        self.send(stage, &text);
        let alarm = if is_request {
            Alarm::RepeatRequest(id)
        } else {
            Alarm::RepeatAnswer(id)
        };
        self.remind(stage, gap, alarm);
    }

    fn act(&mut self, stage: &mut Stage, deed: Deed) {
        if self.vanished {
            return;
        }
        match deed {
            Deed::Dial => self.dial(stage),
            Deed::Vanish => self.vanished = true,
            Deed::BreakOff => stage.unreachable.push(self.address),
            Deed::Provisional {
                status,
                fork,
                sound,
                reliable,
            } => {
                self.provisional(stage, status, fork, sound, reliable);
            }
            Deed::Final { status, fork } => self.finally(stage, status, fork),
            Deed::Merged => self.merge(stage),
            _ if self.over => {}
            Deed::Cancel => self.cancel(stage),
            Deed::HangUp if self.confirmed => self.hang_up(stage),
            Deed::HangUp if self.is_caller => self.cancel(stage),
            Deed::HangUp | Deed::EarlyBye if self.begun => self.hang_up(stage),
            Deed::HangUp | Deed::EarlyBye => {}
            Deed::Key(key) => self.press(stage, key),
            Deed::Speak => self.speak(stage),
            Deed::Echo => {
                if let Some((_, text)) = self
                    .served
                    .iter()
                    .rev()
                    .find(|(_, text)| text.contains("INVITE\r\n"))
                {
                    let text = text.clone();
                    self.send(stage, &text);
                }
            }
            _ if !self.confirmed => {}
            Deed::InfoKey(key) => {
                let body = format!("Signal={key}\r\nDuration=160\r\n");
                self.request(stage, "INFO", "Content-Type: application/dtmf-relay\r\n", &body);
            }
            Deed::Options => self.request(stage, "OPTIONS", "", ""),
            Deed::Refer => self.request(stage, "REFER", "Refer-To: <sip:5550199@example.net>\r\n", ""),
            Deed::Stale => {
                let cseq = std::mem::replace(&mut self.cseq, 0);
                self.request(stage, "OPTIONS", "", "");
                self.cseq = cseq.max(1);
            }
            _ => self.offer_again(stage, deed),
        }
    }

    fn offer_again(&mut self, stage: &mut Stage, deed: Deed) {
        match deed {
            Deed::Reinvite => self.offer(stage, "INVITE", Sdp::Usual),
            Deed::Hold => self.offer(stage, "INVITE", Sdp::Hold),
            Deed::Mute => self.offer(stage, "INVITE", Sdp::Inactive),
            Deed::Move => {
                self.media.set_port(self.media.port() + 1);
                self.offer(stage, "INVITE", Sdp::Usual);
            }
            Deed::Fax => self.offer(stage, "INVITE", Sdp::Fax),
            Deed::Film => self.offer(stage, "INVITE", Sdp::Video),
            Deed::LateReinvite => self.offer(stage, "INVITE", Sdp::Nothing),
            Deed::SpoiltReinvite => self.offer(stage, "INVITE", Sdp::Garbage),
            Deed::Update => self.offer(stage, "UPDATE", Sdp::Usual),
            _ => {}
        }
    }

    fn dial(&mut self, stage: &mut Stage) {
        let body = self.sdp(self.habits.sdp);
        self.request(stage, "INVITE", self.habits.lines, &body);
        self.invite = self.requests.last().map(|sent| sent.message.clone());
        for (after, deed) in self.habits.deeds.clone() {
            self.remind(stage, after, Alarm::Do(deed));
        }
    }

    fn offer(&mut self, stage: &mut Stage, method: &str, shape: Sdp) {
        self.version += 1;
        let body = self.sdp(shape);
        self.request(stage, method, "", &body);
    }

    fn request(&mut self, stage: &mut Stage, method: &str, lines: &str, body: &str) {
        self.cseq += 1;
        self.next_id += 1;
        let head = self.head(
            method,
            &format!("z9hG4bK{}n{}", self.call_id.replace('@', "at"), self.next_id),
            self.cseq,
            &self.target,
        );
        let text = match lines.contains("Content-Type") {
            true => format!("{head}{lines}Content-Length: {}\r\n\r\n{body}", body.len()),
            false => finish(format!("{head}{lines}"), body),
        };
        self.send(stage, &text);
        let id = self.next_id;
        self.requests.push(Repeated {
            id,
            message: Message { text },
            since: stage.now,
            gap: T1,
            provisional: false,
        });
        self.remind(stage, T1, Alarm::RepeatRequest(id));
    }

    fn head(&self, method: &str, branch: &str, cseq: u32, target: &str) -> String {
        let mut head = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\n",
            self.address
        );
        for route in &self.routes {
            head.push_str(&format!("Route: {route}\r\n"));
        }
        head.push_str(&format!("From: {};tag={}\r\n", self.local, self.tag(0)));
        match self.remote_tag.is_empty() {
            true => head.push_str(&format!("To: {}\r\n", self.remote)),
            false => head.push_str(&format!("To: {};tag={}\r\n", self.remote, self.remote_tag)),
        }
        head.push_str(&format!(
            "Call-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:agent{}@{}>\r\n",
            self.call_id, self.number, self.address
        ));
        head
    }

    fn cancel(&mut self, stage: &mut Stage) {
        let Some(invite) = self.invite.clone().filter(|_| self.is_caller && !self.confirmed) else {
            return;
        };
        self.cancelled = true;
        self.next_id += 1;
        let head = Self {
            remote_tag: String::new(),
            ..self.shadow()
        }
        .head("CANCEL", invite.branch(), invite.cseq(), &self.target);
        let text = finish(head, "");
        self.send(stage, &text);
        let id = self.next_id;
        self.requests.push(Repeated {
            id,
            message: Message { text },
            since: stage.now,
            gap: T1,
            provisional: false,
        });
        self.remind(stage, T1, Alarm::RepeatRequest(id));
    }

    /// The parts of an agent that requests are written from.
    fn shadow(&self) -> Self {
        Self {
            local: self.local.clone(),
            remote: self.remote.clone(),
            call_id: self.call_id.clone(),
            ..Self::new(
                self.number,
                self.is_caller,
                self.address,
                self.switch,
                Habits::default(),
            )
        }
    }

    fn hang_up(&mut self, stage: &mut Stage) {
        if self.remote_tag.is_empty() {
            return;
        }
        self.request(stage, "BYE", "", "");
        self.over = true;
    }

    fn merge(&mut self, stage: &mut Stage) {
        if let Some(invite) = self.invite.clone().filter(|_| self.is_caller && !self.over) {
            let text = invite.text.replacen("branch=z9hG4bK", "branch=z9hG4bKother", 1);
            self.send(stage, &text);
        }
    }

    fn press(&mut self, stage: &mut Stage, key: char) {
        let event = "0123456789*#ABCD".find(key).and_then(|at| u8::try_from(at).ok());
        let (Some(to), Some(event)) = (self.remote_media, event) else {
            return;
        };
        self.timestamp = self.timestamp.wrapping_add(1600);
        for step in 1..=7u16 {
            let duration = 160 * step.min(5);
            let end = if step >= 5 { 0x80 } else { 0 };
            let mut packet = self.packet(101, step == 1);
            packet.extend([event, end | 10]);
            packet.extend(duration.to_be_bytes());
            stage.sends.push((self.media, to, packet));
        }
    }

    fn speak(&mut self, stage: &mut Stage) {
        let Some(to) = self.remote_media.filter(|_| !self.is_mute) else {
            return;
        };
        self.timestamp = self.timestamp.wrapping_add(160);
        let payload = if self.habits.sdp == Sdp::NoEvents { 8 } else { 0 };
        let mut packet = self.packet(payload, false);
        packet.extend([0x55; 160]);
        stage.sends.push((self.media, to, packet));
        self.spoken += 1;
        // Rare enough to be cheap, often enough not to be taken for silence.
        if self.spoken < 60 {
            self.remind(stage, Duration::from_secs(7), Alarm::Do(Deed::Speak));
        }
    }

    fn packet(&mut self, payload_type: u8, marker: bool) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(u32::try_from(self.number).unwrap().to_be_bytes());
        packet
    }

    fn provisional(&mut self, stage: &mut Stage, status: u16, fork: u8, sound: bool, reliable: bool) {
        let Some(invite) = self.invite.clone().filter(|_| !self.confirmed && !self.over) else {
            return;
        };
        self.begun |= fork == 0 && status > 100;
        let tag = if status == 100 {
            String::new()
        } else {
            self.tag(fork)
        };
        let mut lines = format!("Contact: <sip:agent{}@{}>\r\n", self.number, self.address);
        if reliable {
            lines.push_str(&format!("Require: 100rel\r\nRSeq: {}\r\n", 100 + u32::from(fork)));
        }
        let body = if sound {
            self.sdp(self.habits.sdp)
        } else {
            String::new()
        };
        let text = self.reply(&invite, status, &tag, &lines, &body);
        self.send(stage, &text);
    }

    /// A response; with a CSeq number that is a lie, if that is the habit.
    fn reply(&self, request: &Message, status: u16, tag: &str, lines: &str, body: &str) -> String {
        let text = response(request, status, tag, lines, body);
        match self.habits.lies {
            true => text.replacen(
                &format!("CSeq: {} ", request.cseq()),
                &format!("CSeq: {} ", request.cseq() + 7),
                1,
            ),
            false => text,
        }
    }

    fn finally(&mut self, stage: &mut Stage, status: u16, fork: u8) {
        let Some(invite) = self.invite.clone().filter(|_| !self.is_caller) else {
            return;
        };
        if (self.over || self.finished) && (status >= 300 || fork == 0) {
            return;
        }
        self.finished |= fork == 0;
        let (mut lines, mut body) = (self.habits.failure_lines.to_owned(), String::new());
        let mut tag = self.tag(fork);
        if status < 300 {
            lines = format!(
                "Contact: <sip:agent{}@{}>\r\n{}",
                self.number, self.address, self.habits.lines
            );
            body = self.sdp(self.habits.sdp);
            if fork == 0 {
                self.confirmed = true;
            }
            if self.habits.tagless {
                tag.clear();
            }
        } else {
            self.over = true;
        }
        self.begun = true;
        let text = self.reply(&invite, status, &tag, &lines, &body);
        self.answer(stage, &invite, text);
    }

    /// Sends a final response to INVITE and repeats it until its ACK comes.
    fn answer(&mut self, stage: &mut Stage, invite: &Message, text: String) {
        self.send(stage, &text);
        self.served.push((invite.branch().to_owned(), text.clone()));
        self.next_id += 1;
        let id = self.next_id;
        self.answers.push(Repeated {
            id,
            message: Message { text },
            since: stage.now,
            gap: T1,
            provisional: false,
        });
        self.remind(stage, T1, Alarm::RepeatAnswer(id));
    }

    // What comes.

    pub fn on_message(&mut self, stage: &mut Stage, message: &Message) {
        if self.vanished {
            return;
        }
        match message.status() {
            Some(status) => self.on_response(stage, message, status),
            None => self.on_request(stage, message),
        }
    }

    fn on_response(&mut self, stage: &mut Stage, response: &Message, status: u16) {
        let is_invite = response.method() == "INVITE";
        let found = self.requests.iter().position(|sent| {
            sent.message.branch() == response.branch() && sent.message.method() == response.method()
        });
        if status < 200 {
            if let Some(at) = found {
                self.requests[at].provisional = true;
            }
            if !self.confirmed && is_invite && self.is_caller && status > 100 {
                self.remote_tag = response.tag("To").to_owned();
                self.target = response.contact().to_owned();
                self.remote_media = Sdp::address(response.body()).or(self.remote_media);
                self.acknowledge_provisional(stage, response);
            }
            return;
        }
        if is_invite {
            self.on_final_invite(stage, response, status, found);
        }
        if let Some(at) = found {
            self.requests.remove(at);
        }
        if matches!(status, 408 | 481) && self.confirmed && !is_invite && response.method() != "CANCEL" {
            self.over = true;
        }
    }

    fn acknowledge_provisional(&mut self, stage: &mut Stage, response: &Message) {
        let number = response.header("RSeq").to_owned();
        if number.is_empty() || self.habits.others != Reply::Status(200) || self.pracked.contains(&number) {
            return;
        }
        self.pracked.push(number.clone());
        let lines = format!("RAck: {number} {}\r\n", response.header("CSeq"));
        self.request(stage, "PRACK", &lines, "");
    }

    fn on_final_invite(&mut self, stage: &mut Stage, response: &Message, status: u16, found: Option<usize>) {
        let cseq = response.cseq();
        let Some(invite) = found.map(|at| self.requests[at].message.clone()) else {
            // A 2xx or failure that came before: its ACK again.
            if let Some((_, ack)) = self.acks.iter().find(|(number, _)| *number == cseq)
                && self.habits.acks != Acks::Never
            {
                let ack = ack.clone();
                self.send(stage, &ack);
            }
            return;
        };
        let is_first = self
            .invite
            .as_ref()
            .is_some_and(|first| first.branch() == invite.branch());
        if status >= 300 {
            let mut ack = format!(
                "ACK {}",
                &invite.text["INVITE ".len()..invite.text.find("From:").unwrap()]
            );
            ack.push_str(&format!(
                "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} ACK\r\n",
                invite.header("From"),
                response.header("To"),
                self.call_id
            ));
            let ack = finish(ack, "");
            self.send(stage, &ack);
            self.acks.push((cseq, ack));
            self.over |= is_first || matches!(status, 408 | 481);
            return;
        }
        self.remote_tag = response.tag("To").to_owned();
        self.target = response.contact().to_owned();
        self.remote_media = Sdp::address(response.body()).or(self.remote_media);
        self.confirmed = true;
        self.next_id += 1;
        let branch = format!("z9hG4bK{}a{}", self.call_id.replace('@', "at"), self.next_id);
        let head = self.head("ACK", &branch, cseq, &self.target);
        // The offer was the switch's when ours had none; its answer goes in the ACK.
        let body = if invite.body().is_empty() {
            self.sdp(self.habits.acks_with.unwrap_or(Sdp::Usual))
        } else {
            String::new()
        };
        let ack = finish(head, &body);
        self.acks.push((cseq, ack.clone()));
        match self.habits.acks {
            Acks::AtOnce => self.send(stage, &ack),
            Acks::After(after) => self.remind(stage, after, Alarm::Acknowledge(cseq)),
            Acks::Never => {}
        }
        if is_first {
            self.remind(stage, Duration::from_millis(20), Alarm::Do(Deed::Speak));
            if self.cancelled || self.over {
                self.hang_up(stage);
            }
        }
    }

    fn on_request(&mut self, stage: &mut Stage, request: &Message) {
        let method = request.method();
        if method == "ACK" {
            let cseq = request.cseq();
            let tag = request.tag("To").to_owned();
            self.answers
                .retain(|answer| answer.message.cseq() != cseq || answer.message.tag("To") != tag);
            return;
        }
        let branch = request.branch().to_owned();
        let known =
            self.served.iter().rev().find(|(served, text)| {
                *served == branch && Message { text: text.clone() }.method() == method
            });
        if let Some((_, text)) = known {
            let text = text.clone();
            return self.send(stage, &text);
        }
        match method {
            "INVITE" if request.tag("To").is_empty() => self.on_invite(stage, request),
            "INVITE" | "UPDATE" => self.on_offer(stage, request),
            "CANCEL" => self.on_cancel(stage, request),
            "BYE" => {
                self.serve(stage, request, self.habits.bye, "");
                self.over = true;
                self.requests.retain(|sent| sent.message.method() != "INVITE");
                self.answers.clear();
            }
            _ => self.serve(stage, request, self.habits.others, ""),
        }
    }

    fn serve(&mut self, stage: &mut Stage, request: &Message, reply: Reply, body: &str) {
        let Reply::Status(status) = reply else { return };
        let lines = format!("Contact: <sip:agent{}@{}>\r\n", self.number, self.address);
        let tag = if request.method() == "CANCEL" {
            self.tag(0)
        } else {
            String::new()
        };
        let text = response(request, status, &tag, &lines, body);
        self.send(stage, &text);
        self.served.push((request.branch().to_owned(), text));
    }

    fn on_invite(&mut self, stage: &mut Stage, request: &Message) {
        if self
            .invite
            .as_ref()
            .is_some_and(|known| known.branch() == request.branch())
        {
            return;
        }
        if self.over || self.confirmed {
            return;
        }
        self.invite = Some(request.clone());
        self.remote_media = Sdp::address(request.body());
        self.routes = request.headers("Record-Route").map(str::to_owned).collect();
        self.rounds = self.rounds.saturating_add(1);
        let text = if self.rounds <= self.habits.challenges {
            let (status, name) = if self.number.is_multiple_of(2) {
                (401, "WWW")
            } else {
                (407, "Proxy")
            };
            let lines = format!(
                "{name}-Authenticate: Digest realm=\"sim\", nonce=\"n{}x{}\", qop=\"auth\"\r\n",
                self.number, self.rounds
            );
            self.reply(request, status, &self.tag(9), &lines, "")
        } else if std::mem::take(&mut self.habits.too_brief) {
            self.reply(request, 422, &self.tag(9), "Min-SE: 3600\r\n", "")
        } else {
            if self.rounds <= 1 + self.habits.challenges + 1 {
                for (after, deed) in std::mem::take(&mut self.habits.deeds) {
                    self.remind(stage, after, Alarm::Do(deed));
                }
            }
            return;
        };
        self.answer(stage, request, text);
    }

    fn on_offer(&mut self, stage: &mut Stage, request: &Message) {
        let Reply::Status(status) = self.habits.offers else {
            return;
        };
        self.version += 1;
        let body = match (status, request.body().is_empty() && request.method() == "UPDATE") {
            (200, false) => self.sdp(Sdp::Usual),
            _ => String::new(),
        };
        if request.method() == "UPDATE" {
            return self.serve(stage, request, Reply::Status(status), &body);
        }
        let lines = format!("Contact: <sip:agent{}@{}>\r\n", self.number, self.address);
        let text = response(request, status, "", &lines, &body);
        self.answer(stage, request, text);
    }

    fn on_cancel(&mut self, stage: &mut Stage, request: &Message) {
        self.serve(stage, request, self.habits.cancel, "");
        if self.confirmed || self.over {
            return;
        }
        match self.habits.after_cancel {
            AfterCancel::Terminated => self.finally(stage, 487, 0),
            AfterCancel::Answered => self.finally(stage, 200, 0),
            AfterCancel::Nothing => self.vanished = true,
        }
    }
}
