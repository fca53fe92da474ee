//! The offices behind the simulated trunk: each has a number, a way to treat calls, and an ear.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::peer::{Call, CallEvent, Heard, Invitation, Law, Voice, read_description, write_description};
use super::timeline::Timeline;

/// One office of the demo or of a test.
#[derive(Debug, Clone)]
pub struct Office {
    /// As people would say it.
    pub name: String,
    /// The digits that reach it, without `+` and country code.
    pub number: String,
    pub conduct: Conduct,
    /// Where its telephones listen.
    pub media: IpAddr,
    /// The laws it speaks, preferred first.
    pub laws: Vec<Law>,
    /// Whether its side sends sound while it rings, without having announced early media.
    pub hasty: bool,
}

/// How an office treats a call.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// Rings for a while, answers, and speaks until the other side hangs up, or for `talk`.
    Answers {
        ring: Duration,
        speech: Arc<[i16]>,
        talk: Option<Duration>,
    },
    /// Plays early media (183), then answers.
    Announces { early: Duration, speech: Arc<[i16]> },
    /// Rings for ever.
    RingsOn,
    /// Rings for a while, then gives this final response.
    Refuses {
        ring: Duration,
        status: (u16, &'static str),
        reason: Option<String>,
    },
}

/// What an office saw, told as it happens.
#[derive(Debug, Clone)]
pub enum Sighting {
    /// The telephone rang.
    Rung {
        number: String,
        invitation: Invitation,
    },
    Answered {
        number: String,
    },
    Refused {
        number: String,
        status: u16,
    },
    /// The caller's side gave up before the answer.
    Cancelled {
        number: String,
        reason: Option<String>,
    },
    /// The talk ended; `by_office` tells who hung up.
    Ended {
        number: String,
        heard: Heard,
        by_office: bool,
        reason: Option<String>,
    },
    /// Our answer was never acknowledged.
    NoAck {
        number: String,
    },
}

impl Sighting {
    pub fn number(&self) -> &str {
        match self {
            Sighting::Rung { number, .. }
            | Sighting::Answered { number }
            | Sighting::Refused { number, .. }
            | Sighting::Cancelled { number, .. }
            | Sighting::Ended { number, .. }
            | Sighting::NoAck { number } => number,
        }
    }
}

impl Office {
    /// Treats one call from the first ring to its end.
    pub async fn treat(self, mut call: Call, sightings: mpsc::Sender<Sighting>, timeline: Timeline) {
        let Some(invitation) = call.invitation.clone() else {
            return;
        };
        let number = self.number.clone();
        timeline.tell(&self.name, "the telephone rings");
        let _ = sightings
            .send(Sighting::Rung {
                number: number.clone(),
                invitation: invitation.clone(),
            })
            .await;
        let answer_after = match &self.conduct {
            Conduct::Answers { ring, .. } | Conduct::Refuses { ring, .. } => Some(*ring),
            Conduct::Announces { early, .. } => Some(*early),
            Conduct::RingsOn => None,
        };
        let Ok(voice) = Voice::open(self.media).await else {
            return;
        };
        let offer = invitation.sdp.as_deref().and_then(read_description);
        let laws = match &offer {
            Some(offer) if self.laws.contains(&offer.law) => vec![offer.law],
            _ => self.laws.clone(),
        };
        let sdp = write_description(voice.address(), &laws, Some(super::peer::EVENT_TYPE));
        let description = offer.map(|offer| {
            let law = laws.first().copied().unwrap_or(offer.law);
            super::peer::Description { law, ..offer }
        });
        if let Conduct::Announces { speech, .. } = &self.conduct {
            call.progress(sdp.clone()).await;
            connect(&voice, description.clone()).await;
            voice.say(Arc::clone(speech), true).await;
        } else if self.hasty {
            call.ring().await;
            connect(&voice, description.clone()).await;
        } else if !answer_after.is_some_and(|ring| ring.is_zero()) {
            call.ring().await;
        }
        if let Some(reason) = self.wait_for_cancel(&mut call, answer_after).await {
            timeline.tell(&self.name, "the caller's side gave up");
            let _ = sightings.send(Sighting::Cancelled { number, reason }).await;
            return;
        }
        if let Conduct::Refuses { status, reason, .. } = &self.conduct {
            timeline.tell(&self.name, &format!("refuses: {} {}", status.0, status.1));
            let headers = reason.iter().map(|reason| ("Reason", reason.clone())).collect();
            call.reject(*status, headers).await;
            let _ = sightings
                .send(Sighting::Refused {
                    number,
                    status: status.0,
                })
                .await;
            return;
        }
        timeline.tell(&self.name, "picks up and speaks");
        let _ = sightings.send(Sighting::Answered { number }).await;
        call.answer(sdp).await;
        connect(&voice, description).await;
        self.talk(call, voice, sightings, timeline).await;
    }

    /// Waits while the telephone rings. Gives the reason when the other side cancels.
    async fn wait_for_cancel(&self, call: &mut Call, ring: Option<Duration>) -> Option<Option<String>> {
        let until = Instant::now() + ring.unwrap_or(Duration::from_secs(600));
        loop {
            match timeout_at(until, call.event()).await {
                Ok(Some(CallEvent::Cancelled { reason } | CallEvent::Ended { reason })) => {
                    return Some(reason);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Some(None),
                Err(_) => return None,
            }
        }
    }

    async fn talk(self, mut call: Call, voice: Voice, sightings: mpsc::Sender<Sighting>, timeline: Timeline) {
        let mut limit = None;
        if let Conduct::Answers { speech, talk, .. } = &self.conduct {
            voice.say(Arc::clone(speech), true).await;
            limit = *talk;
        }
        let until = Instant::now() + limit.unwrap_or(Duration::from_secs(7200));
        let number = self.number.clone();
        let sighting = loop {
            match timeout_at(until, call.event()).await {
                Ok(Some(CallEvent::Confirmed { sdp: Some(sdp) } | CallEvent::Reoffered { sdp })) => {
                    if let Some(description) = read_description(&sdp) {
                        voice.connect(description).await;
                    }
                }
                Ok(Some(CallEvent::NoAck)) => break Sighting::NoAck { number },
                Ok(Some(CallEvent::Ended { reason })) => {
                    timeline.tell(&self.name, "the line is closed");
                    break Sighting::Ended {
                        number,
                        heard: voice.heard().await,
                        by_office: false,
                        reason,
                    };
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    timeline.tell(&self.name, "hangs up");
                    call.hangup().await;
                    break Sighting::Ended {
                        number,
                        heard: voice.heard().await,
                        by_office: true,
                        reason: None,
                    };
                }
            }
        };
        let _ = sightings.send(sighting).await;
    }
}

/// Sends sound from now on; before the answer only early media is sent.
async fn connect(voice: &Voice, description: Option<super::peer::Description>) {
    if let Some(description) = description {
        voice.connect(description).await;
    }
}
