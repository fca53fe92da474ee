//! A call's messages as a ladder: one column for each party, time running down, one arrow for each message.
//!
//! Pure: a call's record, its trace and a screen in, text out. Nothing that a peer wrote reaches the terminal as it is.

use std::net::SocketAddr;

use super::canvas::{Canvas, Paint, Screen};
use super::glance::{Glance, Start, harmless, narrow};
use super::words::{cause, ended_by, offset, party, unrecorded};
use crate::call::record::{CallRecord, LegNumber, UtcMicros};
use crate::call::trace::{Trace, TracedMessage};

/// Columns of the time at the left.
const TIME: usize = 11;
/// Room beside the outer columns for half of their names.
const MARGIN: usize = 9;
/// Distance of two columns.
const NARROWEST: usize = 23;
const WIDEST: usize = 46;
/// Nothing passed for so long, in microseconds: the time is shown.
const GAP: i64 = 2_000_000;
/// Times of copies that are shown.
const COPIES_SHOWN: usize = 6;

/// The diagram; with `full`, every message's text behind it.
pub(super) fn ladder(call: &CallRecord, trace: &Trace, screen: &Screen, full: bool) -> String {
    let stage = Stage::new(call, trace, screen);
    let mut out = Canvas::new(screen);
    stage.heading(&mut out);
    let begun = call.summary.started_at;
    let mut last = begun;
    let mut told: Vec<LegNumber> = Vec::new();
    for (index, message) in trace.messages.iter().enumerate() {
        if trace.left_out > 0 && index == trace.gap_after {
            stage.note(&mut out, &format!("{} messages were not kept", trace.left_out));
        }
        let passed = message.at.since(last);
        if passed >= GAP {
            stage.gap(&mut out, passed);
        }
        if stage.shared() && message.leg.0 != 0 && !told.contains(&message.leg) {
            told.push(message.leg);
            stage.note(
                &mut out,
                &format!("leg {}: {}", message.leg.0, stage.name(message.leg)),
            );
        }
        stage.message(&mut out, message, full.then_some(index + 1), begun);
        last = message
            .copies
            .iter()
            .copied()
            .fold(message.at, UtcMicros::max)
            .max(last);
    }
    if trace.left_out > 0 && trace.gap_after >= trace.messages.len() {
        stage.note(&mut out, &format!("{} messages were not kept", trace.left_out));
    }
    stage.end(&mut out);
    stage.legend(&mut out);
    if full {
        for (index, message) in trace.messages.iter().enumerate() {
            stage.text(&mut out, message, index + 1, begun);
        }
    }
    out.finish()
}

/// The columns and who stands on them.
struct Stage<'a> {
    call: &'a CallRecord,
    trace: &'a Trace,
    screen: &'a Screen,
    /// Legs beside the caller's, in the order in which they appear.
    others: Vec<LegNumber>,
    /// Where the columns are: the caller's if there is one, ours, the others'.
    bars: Vec<usize>,
    /// The place of our column among them.
    ours: usize,
}

impl<'a> Stage<'a> {
    fn new(call: &'a CallRecord, trace: &'a Trace, screen: &'a Screen) -> Self {
        let mut others: Vec<LegNumber> = Vec::new();
        for message in &trace.messages {
            if message.leg.0 != 0 && !others.contains(&message.leg) {
                others.push(message.leg);
            }
        }
        let has_caller = trace.messages.iter().any(|message| message.leg.0 == 0);
        let ours = usize::from(has_caller);
        let first = TIME + MARGIN;
        let room = screen.width.saturating_sub(first + MARGIN + 1);
        let most = 1 + room / NARROWEST;
        let columns = (ours + 1 + others.len()).min(most.max(3));
        let apart = (room / columns.saturating_sub(1).max(1)).min(WIDEST);
        Self {
            call,
            trace,
            screen,
            others,
            bars: (0..columns).map(|column| first + column * apart).collect(),
            ours,
        }
    }

    /// Whether legs share the last column.
    fn shared(&self) -> bool {
        self.ours + 1 + self.others.len() > self.bars.len()
    }

    fn column(&self, leg: LegNumber) -> usize {
        if leg.0 == 0 {
            return 0;
        }
        let place = self.others.iter().position(|other| *other == leg).unwrap_or(0);
        (self.ours + 1 + place).min(self.bars.len() - 1)
    }

    /// A leg's party, and its trunk.
    fn name(&self, leg: LegNumber) -> String {
        let record = self.call.legs.iter().find(|record| record.leg == leg);
        record.map_or_else(|| unrecorded(leg), |record| narrow(&party(record)))
    }

    fn trunk(&self, leg: LegNumber) -> Option<String> {
        let record = self.call.legs.iter().find(|record| record.leg == leg)?;
        record.trunk.as_ref().map(|trunk| narrow(trunk.as_str()))
    }

    fn addresses(&self, leg: LegNumber) -> Vec<(SocketAddr, SocketAddr, &'static str)> {
        let mut found = Vec::new();
        for message in self.trace.messages.iter().filter(|message| message.leg == leg) {
            let transport = transport_name(message.transport);
            let path = (message.remote, message.local, transport);
            if !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }

    /// Three lines above the columns: who, over which trunk, at which address.
    fn heading(&self, out: &mut Canvas<'_>) {
        let mut rows = [const { Vec::<String>::new() }; 3];
        for column in 0..self.bars.len() {
            let legs: Vec<LegNumber> = if column == self.ours {
                Vec::new()
            } else {
                let all = [LegNumber(0)].into_iter().chain(self.others.iter().copied());
                all.filter(|leg| self.column(*leg) == column && (leg.0 != 0 || self.ours == 1))
                    .collect()
            };
            let (name, trunk, address) = match legs.as_slice() {
                [] if column == self.ours => {
                    let local = self
                        .trace
                        .messages
                        .first()
                        .map(|message| message.local.to_string());
                    ("Trunkline".to_owned(), String::new(), local.unwrap_or_default())
                }
                [] => Default::default(),
                [leg] => {
                    let address = self
                        .addresses(*leg)
                        .first()
                        .map(|(remote, ..)| remote.to_string());
                    (
                        self.name(*leg),
                        self.trunk(*leg).unwrap_or_default(),
                        address.unwrap_or_default(),
                    )
                }
                [first, .., last] => (
                    format!("legs {} to {}", first.0, last.0),
                    String::new(),
                    String::new(),
                ),
            };
            rows[0].push(name);
            rows[1].push(trunk);
            rows[2].push(address);
        }
        for (row, paint) in rows.iter().zip([Paint::Strong, Paint::Faint, Paint::Faint]) {
            if row.iter().all(String::is_empty) {
                continue;
            }
            let mut line = out.line();
            for (column, (text, bar)) in row.iter().zip(&self.bars).enumerate() {
                let apart = self.bars.get(1).map_or(WIDEST, |second| second - self.bars[0]);
                let outer = column == 0 || column + 1 == self.bars.len();
                let text = middle_cut(text, if outer { 2 * MARGIN + 1 } else { apart - 2 });
                let begin = bar.saturating_sub(text.chars().count() / 2);
                line.put(begin, &text, paint);
            }
            out.push(line);
        }
        out.push(self.bars_line(out, '│'));
    }

    fn bars_line(&self, out: &Canvas<'_>, bar: char) -> super::canvas::Line {
        let mut line = out.line();
        for at in &self.bars {
            line.put(*at, &bar.to_string(), Paint::Faint);
        }
        line
    }

    fn gap(&self, out: &mut Canvas<'_>, passed: i64) {
        let mut line = self.bars_line(out, '┆');
        let text = match passed / 1_000_000 {
            whole if whole < 600 => format!("{whole} s later"),
            whole => format!("{} min later", whole / 60),
        };
        line.put(TIME.saturating_sub(1 + text.chars().count()), &text, Paint::Faint);
        out.push(line);
    }

    fn note(&self, out: &mut Canvas<'_>, text: &str) {
        let mut line = self.bars_line(out, '┆');
        line.put(TIME + 1, &format!(" {} ", narrow(text)), Paint::Strong);
        out.push(line);
    }

    fn message(
        &self,
        out: &mut Canvas<'_>,
        message: &TracedMessage,
        number: Option<usize>,
        begun: UtcMicros,
    ) {
        let glance = Glance::of(&message.text);
        let (ours, theirs) = (self.bars[self.ours], self.bars[self.column(message.leg)]);
        let (left, right) = (ours.min(theirs), ours.max(theirs));
        let to_right = if message.sent {
            theirs > ours
        } else {
            theirs < ours
        };
        let inner = right - left - 1;
        let mut line = self.bars_line(out, '│');
        let at = offset(message.at.since(begun));
        line.put((TIME - 1).saturating_sub(at.chars().count()), &at, Paint::Faint);
        line.put(left + 1, &"─".repeat(inner), Paint::Plain);
        if to_right {
            line.put(right - 1, "▶", Paint::Plain);
        } else {
            line.put(left + 1, "◀", Paint::Plain);
        }
        // A dash and the head of the arrow remain at each side.
        let room = inner.saturating_sub(5);
        let number = number.map(|number| format!("[{number}] ")).unwrap_or_default();
        let copies = match message.copies.len() {
            0 => String::new(),
            more => format!(" ×{}", more + 1),
        };
        let used = number.chars().count() + copies.chars().count();
        let label = number + &label(&glance, room.saturating_sub(used));
        line.put(left + 3, &format!(" {label}"), paint(&glance));
        let end = left + 4 + label.chars().count();
        line.put(end, &copies, Paint::Copies);
        line.put(end + copies.chars().count(), " ", Paint::Plain);
        out.push(line);
        for detail in details(&glance, message) {
            for text in wrap(&detail, inner.saturating_sub(3)) {
                let mut line = self.bars_line(out, '│');
                line.put(left + 3, &text, Paint::Faint);
                out.push(line);
            }
        }
    }

    /// What became of each leg and of the call.
    fn end(&self, out: &mut Canvas<'_>) {
        out.text("", Paint::Plain);
        for leg in &self.call.legs {
            let Some(end) = &leg.end else { continue };
            let codes = match cause(&end.cause) {
                codes if codes.is_empty() => codes,
                codes => format!(", {}", narrow(&codes)),
            };
            let text = format!(
                "leg {} {}: {} ({}{codes}), by {}",
                leg.leg.0,
                narrow(&party(leg)),
                end.disposition.words(),
                end.disposition,
                ended_by(end.ended_by)
            );
            out.text(&text, Paint::Plain);
        }
        let summary = &self.call.summary;
        let text = match (summary.disposition, summary.ended_by) {
            (Some(disposition), Some(by)) => {
                format!(
                    "The call ended: {} ({disposition}), by {}.",
                    disposition.words(),
                    ended_by(by)
                )
            }
            _ => "The call is still going on.".to_owned(),
        };
        out.text(&text, Paint::Strong);
    }

    /// The paths in full, and the marks that were used.
    fn legend(&self, out: &mut Canvas<'_>) {
        out.text("", Paint::Plain);
        let all = [LegNumber(0)].into_iter().chain(self.others.iter().copied());
        for leg in all {
            for (remote, local, transport) in self.addresses(leg) {
                let over = self
                    .trunk(leg)
                    .map(|trunk| format!(" over {trunk}"))
                    .unwrap_or_default();
                let text = format!(
                    "leg {} {}{over}: {transport} {remote} to {local}",
                    leg.0,
                    self.name(leg)
                );
                out.text(&text, Paint::Faint);
            }
        }
        if self
            .trace
            .messages
            .iter()
            .any(|message| !message.copies.is_empty())
        {
            out.text(
                "×n: the same bytes passed n times (retransmissions, or copies of the network)",
                Paint::Faint,
            );
        }
        if self
            .trace
            .messages
            .iter()
            .any(|message| Glance::of(&message.text).credentials)
        {
            out.text("+auth: with credentials, which are not kept", Paint::Faint);
        }
    }

    /// One message, word for word.
    fn text(&self, out: &mut Canvas<'_>, message: &TracedMessage, number: usize, begun: UtcMicros) {
        let (source, destination) = message.path();
        let copies = match message.copies.len() {
            0 => String::new(),
            more => format!(", {} times", more + 1),
        };
        let heading = format!(
            "[{number}] {} leg {} {} {source} ▶ {destination}, {} bytes{copies}",
            offset(message.at.since(begun)),
            message.leg.0,
            transport_name(message.transport),
            message.length,
        );
        out.text("", Paint::Plain);
        out.text(&heading, Paint::Strong);
        let text = String::from_utf8_lossy(&message.text);
        for line in text.trim_end_matches(['\r', '\n']).split('\n') {
            let line = harmless(line.strip_suffix('\r').unwrap_or(line), self.screen.unicode);
            out.verbatim(&format!("    {line}"));
        }
    }
}

/// The words on an arrow: as many as fit, the sequence number and method of CSeq for the longest.
fn label(glance: &Glance, room: usize) -> String {
    let fits = |text: &String| text.chars().count() <= room;
    let cseq = format!("({} {})", glance.cseq, glance.method);
    let choices = match &glance.start {
        Start::Request(method) => {
            let auth = if glance.credentials { " +auth" } else { "" };
            vec![
                format!("{method} {}{auth}", glance.cseq),
                format!("{method} {}", glance.cseq),
                method.clone(),
            ]
        }
        Start::Response(status, phrase) => {
            let beside = format!("{status}  {cseq}").chars().count();
            let cut = end_cut(phrase, room.saturating_sub(beside));
            let cut = if cut.chars().count() < 5 {
                None
            } else {
                Some(format!("{status} {cut} {cseq}"))
            };
            let whole = format!("{status} {phrase} {cseq}");
            let mut choices = vec![whole];
            choices.extend(cut);
            choices.extend([
                format!("{status} {cseq}"),
                format!("{status} {phrase}"),
                status.to_string(),
            ]);
            choices
        }
    };
    choices
        .iter()
        .find(|text| fits(text))
        .cloned()
        .unwrap_or_else(|| end_cut(&choices[0], room))
}

fn paint(glance: &Glance) -> Paint {
    match glance.start {
        Start::Request(_) => Paint::Request,
        Start::Response(100..=199, _) => Paint::Provisional,
        Start::Response(200..=299, _) => Paint::Success,
        Start::Response(..) => Paint::Failure,
    }
}

/// What stands below an arrow.
fn details(glance: &Glance, message: &TracedMessage) -> Vec<String> {
    let mut details = Vec::new();
    details.extend(glance.sdp.as_ref().map(|sdp| format!("SDP {sdp}")));
    details.extend(glance.reasons.iter().cloned());
    if !message.copies.is_empty() {
        let after: Vec<String> = message
            .copies
            .iter()
            .take(COPIES_SHOWN)
            .map(|at| seconds(at.since(message.at)))
            .collect();
        let more = if message.copies.len() > COPIES_SHOWN {
            " …"
        } else {
            ""
        };
        details.push(format!("again after {}{more}", after.join(", ")));
    }
    details
}

/// `0.5 s`, `12 s`.
fn seconds(micros: i64) -> String {
    let tenths = (micros.max(0) + 50_000) / 100_000;
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 => format!("{whole}.{tenth} s"),
        (whole, _) => format!("{whole} s"),
    }
}

fn transport_name(transport: sip::Transport) -> &'static str {
    match transport {
        sip::Transport::Udp => "udp",
        sip::Transport::Tcp => "tcp",
        sip::Transport::Tls => "tls",
    }
}

fn end_cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    kept + "…"
}

/// The beginning and the end of a text, which tell addresses and offices apart.
fn middle_cut(text: &str, room: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= room {
        return text.to_owned();
    }
    let begin = room.saturating_sub(1) / 3;
    let end = letters.len() - room.saturating_sub(1 + begin);
    letters[..begin]
        .iter()
        .chain(['…'].iter())
        .chain(&letters[end..])
        .collect()
}

/// Breaks at spaces; a word that is too long is cut.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word = end_cut(word, room);
        let used = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if used == 0 || used + 1 + word.chars().count() <= room => {
                if used > 0 {
                    line.push(' ');
                }
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
