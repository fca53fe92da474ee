//! The person who calls the hotline: dials, listens for what is said, presses keys, speaks, hangs up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::peer::{
    Call, CallEvent, Description, Dial, DigitStyle, EVENT_TYPE, Heard, Law, Match, UserAgent, Voice, find,
    find_rough, read_description, write_description,
};
use super::timeline::Timeline;

/// How often the caller thinks about what was heard.
const ATTENTION: Duration = Duration::from_millis(300);

/// What counts as the same audio, after one passage through G.711.
const SURE: f64 = 0.9;

/// What is worth a closer look.
const ALIKE: f64 = 0.4;

/// One call of one person.
#[derive(Debug)]
pub struct Caller {
    call: Call,
    voice: Voice,
    timeline: Timeline,
    /// How the call ended, once it has.
    over: Option<CallEvent>,
    answered: bool,
    /// The sample up to which all has been understood.
    listened: usize,
}

impl Caller {
    /// Dials; the call is not yet answered.
    ///
    /// # Errors
    /// When no media port is to be had.
    pub async fn dial(
        agent: &UserAgent,
        media: IpAddr,
        server: SocketAddr,
        from: &str,
        number: &str,
        timeline: Timeline,
    ) -> io::Result<Caller> {
        let voice = Voice::open(media).await?;
        let sdp = write_description(voice.address(), &[Law::Mu, Law::A], Some(EVENT_TYPE));
        let dial = Dial {
            server,
            uri: None,
            number: number.to_owned(),
            caller: from.to_owned(),
            sdp: Some(sdp),
            headers: Vec::new(),
        };
        timeline.tell("caller", &format!("dials {number}"));
        let call = agent.dial(dial).await;
        Ok(Caller {
            call,
            voice,
            timeline,
            over: None,
            answered: false,
            listened: 0,
        })
    }

    /// Waits for the answer; false when there is none.
    pub async fn answered(&mut self, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        while !self.answered && self.over.is_none() && self.attend(until).await {}
        self.answered
    }

    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Waits for the call's end; false when it does not end.
    pub async fn ended(&mut self, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        while self.over.is_none() && self.attend(until).await {}
        self.over.is_some()
    }

    /// How the call ended.
    pub fn ending(&self) -> Option<&CallEvent> {
        self.over.as_ref()
    }

    /// Takes the next event; false when none comes in time.
    async fn attend(&mut self, until: Instant) -> bool {
        let Ok(event) = timeout_at(until, self.call.event()).await else {
            return false;
        };
        match event {
            Some(CallEvent::Ringing { .. }) => self.timeline.tell("caller", "hears it ring"),
            Some(
                CallEvent::Progress { sdp } | CallEvent::Answered { sdp } | CallEvent::Reoffered { sdp },
            ) if read_description(&sdp).is_none() => {
                self.timeline
                    .tell("caller", "cannot use the audio description it got");
            }
            Some(CallEvent::Progress { sdp } | CallEvent::Reoffered { sdp }) => self.connect(&sdp).await,
            Some(CallEvent::Answered { sdp }) => {
                self.timeline.tell("caller", "the call is answered");
                self.answered = true;
                self.connect(&sdp).await;
            }
            Some(event @ (CallEvent::Failed { .. } | CallEvent::Ended { .. } | CallEvent::NoAck)) => {
                self.timeline.tell("caller", "the call is over");
                self.over = Some(event);
            }
            Some(CallEvent::Confirmed { .. } | CallEvent::Cancelled { .. }) => {}
            None => return false,
        }
        true
    }

    async fn connect(&self, sdp: &str) {
        if let Some(description) = read_description(sdp) {
            self.voice.connect(Description { ..description }).await;
        }
    }

    /// Listens until known audio has been heard to its end. What came before is not looked at again.
    pub async fn hears(&mut self, known: &[i16], longest: Duration) -> Option<Match> {
        let until = Instant::now() + longest;
        loop {
            let heard = self.voice.heard().await.samples;
            let part = heard.get(self.listened..).unwrap_or_default().to_vec();
            let (looked_for, listened, part_length) = (known.to_vec(), self.listened as i64, part.len());
            let search = move || recognise(&part, &looked_for);
            let found = tokio::task::spawn_blocking(search).await.ok().flatten();
            if let Some(found) = found {
                let at = found.at + listened;
                let end = (at + known.len() as i64).max(0) as usize;
                self.listened = end;
                sleep(time_of(end).saturating_sub(self.voice.elapsed())).await;
                return Some(Match {
                    at,
                    score: found.score,
                });
            }
            if Instant::now() >= until || self.over.is_some() {
                return None;
            }
            // It is not in here, so it begins later.
            let begun = (self.listened + part_length).saturating_sub(known.len());
            self.listened = self.listened.max(begun);
            self.attend(Instant::now() + ATTENTION).await;
            if self.over.is_some() {
                sleep(ATTENTION).await;
            }
        }
    }

    /// Presses keys, in a manner.
    pub async fn press(&self, keys: &str, style: DigitStyle) {
        self.timeline.tell("caller", &format!("presses {keys}"));
        self.voice.press(keys, style).await;
    }

    /// Speaks audio over and over.
    pub async fn says(&self, samples: &[i16]) {
        self.voice.say(samples.into(), true).await;
    }

    /// Falls silent.
    pub async fn is_silent(&self) {
        self.voice.say(Vec::new().into(), false).await;
    }

    pub async fn hangs_up(&self) {
        self.timeline.tell("caller", "hangs up");
        self.call.hangup().await;
    }

    /// All that was heard so far.
    pub async fn heard(&self) -> Heard {
        self.voice.heard().await
    }
}

/// Finds known audio; where a busy machine made it skip a frame, by its pieces.
fn recognise(heard: &[i16], known: &[i16]) -> Option<Match> {
    let whole = find(heard, known)?;
    if whole.score > SURE {
        return Some(whole);
    }
    let alike = whole.score > ALIKE;
    alike
        .then(|| find_rough(heard, known))
        .flatten()
        .filter(|found| found.score > SURE)
}

fn time_of(sample: usize) -> Duration {
    Duration::from_micros(sample as u64 * 125)
}
