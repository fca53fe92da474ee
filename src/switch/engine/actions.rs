//! Carrying out what a flow wants.

use std::sync::Arc;
use std::time::Duration;

use media::{Clip, Digit, DigitSet, Digits, PlayId};

use super::call::{Call, Side, Timer, Withheld};
use super::exchange::Exchange;
use super::{Now, Output};
use crate::call::disposition::LegDisposition;
use crate::call::leg::{DigitForm, LegState};
use crate::call::record::{EventKind, KeptZip, LegOpened, Party, UtcMicros};
use crate::flow::catalogue::Piece;
use crate::flow::run::{Action, Event as FlowEvent, Skipped, Tone, World};
use crate::units::TargetId;

/// Events and actions of one call in one go; more means a flow that turns in circles.
const MOST_AT_ONCE: usize = 1000;

/// How long a press is said to be in INFO.
const INFO_PRESS: Duration = Duration::from_millis(160);

impl Exchange {
    /// Lets the flow hear what happened and carries out what it wants, until nothing is left.
    pub(super) fn settle(&mut self, now: Now, call: &mut Call) {
        for _ in 0..MOST_AT_ONCE {
            // An answered caller whose offer is still to come (late offer) hears nothing yet: the flow waits for sound.
            if call.ending.is_none() && call.caller.state == LegState::Answered && !call.caller.opened {
                return;
            }
            if let Some(action) = call.run.poll_action() {
                self.carry_out(now, call, action);
            } else if let Some(event) = call.pending.pop_front() {
                if call.ending.is_some() {
                    continue;
                }
                let directory = Arc::clone(&call.directory);
                let world = World {
                    now: now.monotonic,
                    wall: now.wall,
                    directory: &directory,
                    catalogues: self.settings.catalogues,
                };
                call.run.handle(&world, event);
            } else {
                return;
            }
        }
        self.end_for_fault(now, call);
    }

    fn carry_out(&mut self, now: Now, call: &mut Call, action: Action) {
        if call.ending.is_some() && !matches!(action, Action::Note(_)) {
            return;
        }
        match action {
            Action::Answer => self.answer(now, call),
            Action::Play { pieces, repeat } => self.play(now, call, &pieces, repeat),
            Action::PlayTone(Tone::Ringback) => {
                let ringback = self.ringback.clone();
                self.start_playing(call, vec![ringback], true);
            }
            Action::StopPlaying => {
                if call.playing.take().is_some() {
                    let stream = call.caller.seat.stream;
                    self.media(call.key, media::Command::Stop { stream });
                }
            }
            Action::SetTimer(name, after) => {
                self.timers
                    .set(call.key, Timer::Flow(name), now.monotonic + after);
            }
            Action::CancelTimer(name) => self.timers.cancel(call.key, Timer::Flow(name)),
            Action::Dial(request) => self.dial(now, call, *request),
            Action::Bridge { withhold_star } => self.bridge(now, call, withhold_star),
            Action::SendDigit(digit) => self.send_digit(now, call, digit, Duration::ZERO),
            Action::WithholdAll(all) if call.bridged => {
                self.join(call, if all { Withheld::All } else { Withheld::Star });
            }
            Action::WithholdAll(_) => {}
            Action::HangUpCallee(disposition) => self.hang_up_callee(now, call, disposition),
            Action::Skip(skipped) => self.skip(now, call, skipped),
            Action::Echo => {
                let stream = call.caller.seat.stream;
                self.media(call.key, media::Command::Echo { stream });
            }
            Action::Note(kind) => {
                let kind = self.without_private(kind);
                if let EventKind::Located { data_version, .. } = &kind {
                    call.details.data_version = Some(data_version.clone());
                }
                self.note(now, call, None, kind);
            }
            Action::SetLanguage(language) => {
                call.language = language;
                call.details.language = Some(language);
            }
            Action::SetZip(zip) => call.details.zip = Some(KeptZip::new(zip, self.settings.zip_detail)),
            Action::HangUp { disposition, status } => self.end_by_flow(now, call, disposition, status),
        }
    }

    /// Takes out of an event what the privacy setting does not keep.
    fn without_private(&self, kind: EventKind) -> EventKind {
        match kind {
            EventKind::Located {
                zip,
                states,
                districts,
                rule,
                confidence,
                data_version,
            } => {
                let zip = zip
                    .full
                    .map(|full| KeptZip::new(full, self.settings.zip_detail))
                    .unwrap_or_default();
                EventKind::Located {
                    zip,
                    states,
                    districts,
                    rule,
                    confidence,
                    data_version,
                }
            }
            kind => kind,
        }
    }

    fn answer(&mut self, now: Now, call: &mut Call) {
        if call.caller.state != LegState::Invited {
            return;
        }
        let at = UtcMicros::from(now.wall);
        call.caller.state = LegState::Answered;
        call.caller.answered_at = Some(at);
        call.details.answered_at = Some(at);
        call.details.language.get_or_insert(call.language);
        if let Some(longest) = self.settings.trunks[Self::index_of(call.caller.peer)].longest_call {
            self.timers
                .set(call.key, Timer::CallerLimit, now.monotonic + longest);
        }
        let answer = call.caller.answer.take().unwrap_or_default();
        self.open_or_update_stream(call, Side::Caller);
        self.endpoint.answer(now.monotonic, call.caller.session, answer);
        let number = call.caller.number;
        self.note(now, call, Some(number), EventKind::Answered);
        if let Some(codec) = call.caller.codec() {
            let codec = EventKind::CodecChosen {
                codec: codec.name().to_owned(),
            };
            self.note(now, call, Some(number), codec);
        }
    }

    fn play(&mut self, now: Now, call: &mut Call, pieces: &[Piece], repeat: bool) {
        if self.settings.tell_speech {
            let (language, pieces) = (call.language, pieces.to_vec());
            self.outputs.push_back(Output::Said { language, pieces });
        }
        let mut clips = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Silence(duration) => clips.push(Clip::silence(*duration)),
                Piece::Recording(id) => match self.settings.recordings.clip(call.language, id) {
                    Some(clip) => clips.push(clip),
                    None => {
                        let missing = EventKind::PromptMissing { prompt: id.clone() };
                        self.note(now, call, None, missing);
                    }
                },
            }
        }
        let sound = clips.iter().any(|clip| clip.duration() > Duration::ZERO);
        if !sound {
            // Nothing to play counts as played, so that no flow waits for it; a repeated nothing stays silent.
            call.playing = None;
            if !repeat {
                call.pending.push_back(FlowEvent::Played);
            }
            return;
        }
        self.start_playing(call, clips, repeat);
    }

    fn start_playing(&mut self, call: &mut Call, clips: Vec<Clip>, repeat: bool) {
        let play = call.next_play;
        call.next_play += 1;
        call.playing = Some(play);
        let stream = call.caller.seat.stream;
        self.media(
            call.key,
            media::Command::Play {
                stream,
                play: PlayId(play),
                clips,
                repeat,
            },
        );
    }

    /// Joins both legs. A caller who was not answered hears the far end by early media.
    fn bridge(&mut self, now: Now, call: &mut Call, withhold_star: bool) {
        let Some(callee) = call.callee.as_ref().filter(|leg| leg.is_up() && leg.opened) else {
            return;
        };
        let with = callee.number;
        if call.caller.state == LegState::Invited {
            if let (Some(answer), Some(_)) = (call.caller.answer.clone(), &call.caller.agreed) {
                self.endpoint.progress(now.monotonic, call.caller.session, answer);
                self.open_or_update_stream(call, Side::Caller);
            } else {
                // A caller that sent no offer cannot hear anything before the answer.
                return;
            }
        }
        call.playing = None;
        let first = !std::mem::replace(&mut call.bridged, true);
        self.join(
            call,
            if withhold_star {
                Withheld::Star
            } else {
                Withheld::Nothing
            },
        );
        if first {
            self.note(now, call, Some(call.caller.number), EventKind::Bridged { with });
        }
    }

    fn join(&mut self, call: &mut Call, withheld: Withheld) {
        let Some(callee) = &call.callee else { return };
        let (a, b) = (call.caller.seat.stream, callee.seat.stream);
        let withhold = match withheld {
            // Another form of keys is ours to send.
            _ if callee.digits != DigitForm::Rfc4733 => DigitSet::ALL,
            Withheld::Nothing => DigitSet::NONE,
            Withheld::Star => Digit::try_from('*').into_iter().collect(),
            Withheld::All => DigitSet::ALL,
        };
        call.withheld = withheld;
        self.media(call.key, media::Command::Bridge { a, b, withhold });
    }

    /// Sends a key to the callee as its trunk wants it: as an RTP event where its side takes them, as a tone, else by INFO.
    pub(super) fn send_digit(&mut self, now: Now, call: &mut Call, digit: char, held: Duration) {
        let events = call.callee_takes_events();
        let Some(leg) = call.callee_up() else { return };
        let (stream, session) = (leg.seat.stream, leg.session);
        let g711 = leg.codec().is_some_and(|codec| codec.law().is_some());
        let inband = leg.digits == DigitForm::Inband && g711;
        match Digit::try_from(digit) {
            Ok(digit) if events || inband => {
                let shortest = Digits::new(vec![digit]);
                let digits = Digits {
                    on: shortest.on.max(held),
                    inband,
                    ..shortest
                };
                self.media(call.key, media::Command::SendDigits { stream, digits });
            }
            Ok(_) => self
                .endpoint
                .send_digit_info(now.monotonic, session, digit, INFO_PRESS),
            Err(_) => {}
        }
    }

    /// A target that is not dialled stands in the record all the same, with the reason.
    fn skip(&mut self, now: Now, call: &mut Call, skipped: Skipped) {
        let number = call.new_leg();
        let target = skipped.target.unwrap_or_else(|| TargetId::new("vacant"));
        let opened = LegOpened {
            call: call.book.call(),
            leg: number,
            at: UtcMicros::from(now.wall),
            direction: crate::call::record::Direction::Outbound,
            party: Party::Office {
                target,
                office: skipped.office,
                number: None,
            },
            trunk: None,
            choice: None,
            attempt: 1,
            caller_id_policy: None,
        };
        call.book.open_leg(opened, &mut self.changes);
        self.close_undialled(now, call, number, skipped.disposition);
        debug_assert!(
            skipped.disposition.never_dialled() || skipped.disposition == LegDisposition::CallerSkipped
        );
    }
}
