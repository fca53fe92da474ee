//! What is heard in the audio: keys of callers without telephone-event, and what an office's line tells by tones.
//!
//! A tone ends a leg only where nobody can be there: before the answer, or after it before anybody spoke, and only when
//! it is as good as certain. All else is evidence in the record.

use std::time::Duration;

use media::hearing::{Heard, Information, Listening, Progress, Sound};

use super::Now;
use super::call::{Call, DigitSource, Side};
use super::exchange::Exchange;
use crate::call::disposition::{LegDisposition, LegEnd};
use crate::call::leg::{DigitForm, Leg, LegState, Suspicion};
use crate::call::record::{Cause, EndedBy, EventKind, UtcMicros};
use crate::flow::run::Event as FlowEvent;

/// How sure a tone must be to end a leg, in percent.
const CERTAIN: u8 = 90;
/// Whoever spoke for so long after the answer is somebody.
const SPOKE: Duration = Duration::from_secs(2);
/// A mailbox that is full hangs up so soon after its beep.
const FULL_WITHIN: i64 = 5_000_000;
/// How sure that is, in percent.
const FULL: u8 = 60;

impl Exchange {
    /// Tells a side's stream what to listen for, where that changed.
    pub(super) fn listen(&mut self, call: &mut Call, side: Side) {
        let hearing = &self.settings.hearing;
        let (leg, listening) = match side {
            Side::Caller => {
                let digits = comes_as_tones(&call.caller);
                let listening = Listening {
                    digits,
                    ..Listening::default()
                };
                (&mut call.caller, listening)
            }
            Side::Callee => {
                let Some(leg) = &mut call.callee else { return };
                let answered = leg.state == LegState::Answered;
                let listening = Listening {
                    digits: false,
                    tones: hearing.tones.clone(),
                    // Ringing has its own limit.
                    tones_for: answered.then_some(hearing.answered_for),
                };
                (leg, listening)
            }
        };
        if !leg.opened || leg.listening == listening {
            return;
        }
        leg.listening = listening.clone();
        let stream = leg.seat.stream;
        self.media(call.key, media::Command::Listen { stream, listening });
    }

    pub(super) fn on_heard(&mut self, now: Now, call: &mut Call, side: Side, heard: Heard) {
        if let Sound::Digit(digit) = heard.sound {
            if side == Side::Caller {
                self.on_digit(now, call, digit.into(), DigitSource::Inband, Duration::ZERO);
            }
            return;
        }
        let Some(leg) = call.callee_up().filter(|_| side == Side::Callee) else {
            return;
        };
        let (number, early) = (leg.number, leg.state == LegState::Invited);
        let Some((sound, evidence)) = told(&heard) else {
            return;
        };
        if let Sound::Machine { .. } = heard.sound {
            leg.suspicion = Some(Suspicion {
                disposition: LegDisposition::VoicemailSuspected,
                confidence: heard.confidence,
                at: UtcMicros::from(now.wall),
            });
        }
        let noted = EventKind::Heard {
            sound: sound.to_owned(),
            evidence,
            confidence: heard.confidence,
        };
        self.note(now, call, Some(number), noted);
        let nobody_there = early || heard.speech_before < SPOKE;
        if self.settings.hearing.acts
            && nobody_there
            && heard.confidence >= CERTAIN
            && let Some(disposition) = disposition_of(heard.sound)
        {
            self.end_by_tone(now, call, disposition, heard.confidence);
        }
    }

    /// The line told that nobody will answer: the flow goes on as if the network had said so.
    fn end_by_tone(&mut self, now: Now, call: &mut Call, disposition: LegDisposition, confidence: u8) {
        let Some(leg) = call.callee_up() else { return };
        leg.suspicion = Some(Suspicion {
            disposition,
            confidence,
            at: UtcMicros::from(now.wall),
        });
        let session = leg.session;
        self.endpoint.hangup(now.monotonic, session, None);
        self.end_callee(now, call, disposition, EndedBy::Server, Cause::default());
        let cause = Cause::default();
        call.pending
            .push_back(FlowEvent::CalleeEnded { disposition, cause });
    }

    /// What became of an answered leg, where a machine was heard on it. Notes a beep that was followed by hanging up.
    pub(super) fn with_suspicion(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: &mut Leg,
        (disposition, by): (LegDisposition, EndedBy),
    ) -> LegDisposition {
        use LegDisposition::*;
        let talk = matches!(disposition, AnsweredConversation | AnsweredShort | OfficeEnded);
        let Some(suspicion) = &mut leg.suspicion else {
            return disposition;
        };
        if !talk || suspicion.disposition != VoicemailSuspected {
            return disposition;
        }
        let since = UtcMicros::from(now.wall).since(suspicion.at);
        if by == EndedBy::Office && (0..=FULL_WITHIN).contains(&since) {
            (suspicion.disposition, suspicion.confidence) = (MailboxFullSuspected, FULL);
            let noted = EventKind::Heard {
                sound: "beep_then_hang_up".to_owned(),
                evidence: format!("hung up {} ms after the beep", since / 1000),
                confidence: FULL,
            };
            self.note(now, call, Some(leg.number), noted);
            return MailboxFullSuspected;
        }
        suspicion.disposition
    }
}

/// Whether a leg's keys can only come as tones, or do by configuration.
fn comes_as_tones(leg: &Leg) -> bool {
    leg.agreed.as_ref().is_some_and(|agreed| {
        agreed.codec.law().is_some()
            && match leg.digits {
                DigitForm::Rfc4733 => agreed.event_payload_type.is_none(),
                DigitForm::Info => false,
                DigitForm::Inband => true,
            }
    })
}

/// What a tone says of the leg. Information tones without a known code say only that the call failed.
fn disposition_of(sound: Sound) -> Option<LegDisposition> {
    match sound {
        Sound::Progress {
            says: Progress::Busy, ..
        } => Some(LegDisposition::of(&LegEnd::BusyTone)),
        Sound::Information(Information::Vacant | Information::Intercept) => {
            Some(LegDisposition::of(&LegEnd::InformationTone))
        }
        Sound::Progress {
            says: Progress::Reorder,
            ..
        }
        | Sound::Information(_) => Some(LegDisposition::Congestion),
        _ => None,
    }
}

/// The name of a sound and what speaks for it; none for what is no news.
fn told(heard: &Heard) -> Option<(&'static str, String)> {
    let progress = |after: Duration| format!("frequencies and cadence for {} ms", after.as_millis());
    Some(match heard.sound {
        Sound::Digit(_) => return None,
        Sound::Progress { says, after } => {
            let name = match says {
                Progress::Ringback => return None,
                Progress::Busy => "busy_tone",
                Progress::Reorder => "reorder_tone",
                Progress::Dial => "dial_tone",
                Progress::FaxCalling => "fax_calling",
                Progress::FaxAnswer => "fax_answer",
            };
            (name, progress(after))
        }
        Sound::Information(code) => {
            let name = match code {
                Information::Vacant => "information_tone_vacant",
                Information::Intercept => "information_tone_intercept",
                Information::NoCircuit => "information_tone_no_circuit",
                Information::Reorder => "information_tone_reorder",
                Information::Unspecified => "information_tone",
            };
            (name, "three rising tones".to_owned())
        }
        Sound::Machine {
            greeting,
            beep,
            frequency,
        } => {
            let (greeting, beep) = (greeting.as_millis(), beep.as_millis());
            let evidence = format!("{greeting} ms of speech, then {beep} ms of {frequency} Hz");
            ("greeting_and_beep", evidence)
        }
    })
}
