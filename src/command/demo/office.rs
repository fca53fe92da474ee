//! The offices behind the simulated trunk: each has a number, a way to treat calls, and an ear.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::peer::{
    Call, CallEvent, Description, EVENT_TYPE, Heard, Invitation, Law, Voice, read_description,
    write_description,
};
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

impl Conduct {
    /// How long the telephone rings or the announcement plays; nothing for ever.
    fn rings_for(&self) -> Option<Duration> {
        match self {
            Conduct::Answers { ring, .. } | Conduct::Refuses { ring, .. } => Some(*ring),
            Conduct::Announces { early, .. } => Some(*early),
            Conduct::RingsOn => None,
        }
    }
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
        let offer = invitation.sdp.as_deref().and_then(read_description);
        let _ = sightings
            .send(Sighting::Rung {
                number: number.clone(),
                invitation,
            })
            .await;
        let Ok(line) = self.pick_up_line(offer).await else {
            return;
        };
        self.ring(&call, &line).await;
        if let Some(reason) = self.wait_for_cancel(&mut call).await {
            timeline.tell(&self.name, "the caller's side gave up");
            let _ = sightings.send(Sighting::Cancelled { number, reason }).await;
            return;
        }
        if let Conduct::Refuses { status, reason, .. } = &self.conduct {
            timeline.tell(&self.name, &format!("refuses: {} {}", status.0, status.1));
            let headers = reason.iter().map(|reason| ("Reason", reason.clone())).collect();
            call.reject(*status, headers).await;
            let status = status.0;
            let _ = sightings.send(Sighting::Refused { number, status }).await;
            return;
        }
        timeline.tell(&self.name, "picks up and speaks");
        let _ = sightings.send(Sighting::Answered { number }).await;
        call.answer(line.sdp.clone()).await;
        line.connect().await;
        self.talk(call, line.voice, sightings, timeline).await;
    }

    /// A voice, and the description that answers the offer.
    async fn pick_up_line(&self, offer: Option<Description>) -> std::io::Result<Line> {
        let voice = Voice::open(self.media).await?;
        let laws = match &offer {
            Some(offer) if self.laws.contains(&offer.law) => vec![offer.law],
            _ => self.laws.clone(),
        };
        let sdp = write_description(voice.address(), &laws, Some(EVENT_TYPE));
        let remote = offer.map(|offer| {
            let law = laws.first().copied().unwrap_or(offer.law);
            Description { law, ..offer }
        });
        Ok(Line { voice, sdp, remote })
    }

    /// Lets the caller's side know that it rings; before the answer only early media is sent, or a hasty side's sound.
    async fn ring(&self, call: &Call, line: &Line) {
        if let Conduct::Announces { speech, .. } = &self.conduct {
            call.progress(line.sdp.clone()).await;
            line.connect().await;
            line.voice.say(Arc::clone(speech), true).await;
            return;
        }
        if self.conduct.rings_for().is_none_or(|ring| !ring.is_zero()) {
            call.ring().await;
        }
        if self.hasty {
            line.connect().await;
        }
    }

    /// Waits while the telephone rings. Gives the reason when the other side cancels.
    async fn wait_for_cancel(&self, call: &mut Call) -> Option<Option<String>> {
        let until = Instant::now() + self.conduct.rings_for().unwrap_or(Duration::from_secs(600));
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

/// One telephone of an office during one call.
struct Line {
    voice: Voice,
    /// What answers the offer.
    sdp: String,
    /// Where sound goes, if the offer told.
    remote: Option<Description>,
}

impl Line {
    /// Sends sound from now on.
    async fn connect(&self) {
        if let Some(remote) = &self.remote {
            self.voice.connect(remote.clone()).await;
        }
    }
}
