//! The call that the demo makes, from the first ring to the last word, with everything that must happen in it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::caller::Caller;
use super::checks::Checks;
use super::office::Sighting;
use super::peer::{CallEvent, DigitStyle, Heard, find, write_wav};
use super::stage::{CALLER, HOTLINE, PEOPLE, ZIP, caller_speech, office_speech};
use super::timeline::Timeline;
use super::trunk::Trunk;

/// How long anything may take that a person waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How alike two pieces of audio are that are the same.
const SAME: f64 = 0.9;

/// The recordings by their ids, as 8 kHz audio.
pub type Recordings<'a> = &'a dyn Fn(&str) -> Option<Vec<i16>>;

/// One call to the hotline, told and checked.
pub struct Story<'a> {
    pub trunk: &'a mut Trunk,
    pub server: SocketAddr,
    pub recordings: Recordings<'a>,
    pub timeline: Timeline,
    pub checks: &'a mut Checks,
}

impl Story<'_> {
    /// Plays the whole call; `folder` gets what the caller heard.
    ///
    /// # Errors
    /// When no media port is to be had or the recording cannot be written.
    pub async fn tell(&mut self, folder: &Path) -> std::io::Result<()> {
        let mut caller = self.trunk.caller(self.server, CALLER, HOTLINE).await?;
        let answered = caller.answered(PATIENCE).await;
        if self.checks.that("the hotline answers the call", answered) {
            self.greeting(&mut caller).await;
            let rung = self.first_office(&mut caller).await;
            self.other_offices(&mut caller, rung).await;
            self.close(&mut caller).await;
        }
        let heard = caller.heard().await;
        self.judge_stream(&heard);
        let path = folder.join("caller-heard.wav");
        write_wav(&path, &heard.samples)?;
        self.timeline
            .tell("demo", &format!("what the caller heard is in {}", path.display()));
        Ok(())
    }

    async fn hears(&mut self, caller: &mut Caller, id: &str, what: &str) -> bool {
        let known = (self.recordings)(id);
        let found = match &known {
            Some(known) => caller.hears(known, PATIENCE).await,
            None => None,
        };
        if let Some(found) = found {
            let percent = (found.score * 100.0).round();
            self.timeline.tell(
                "caller",
                &format!("hears {what} ({percent:.0} % the same as the recording)"),
            );
        }
        self.checks
            .that(format!("the caller hears {what}"), found.is_some())
    }

    async fn greeting(&mut self, caller: &mut Caller) {
        self.hears(caller, "msg_intro-plain", "the welcome").await;
        self.hears(
            caller,
            "msg_location",
            "\"Please enter your five-digit ZIP code\"",
        )
        .await;
        caller.press(ZIP, DigitStyle::default()).await;
    }

    /// The office that answers: a talk, ended by `**`. Gives the numbers of the offices that rang.
    async fn first_office(&mut self, caller: &mut Caller) -> Vec<String> {
        let mut rung = Vec::new();
        self.hears(caller, "connecting", "\"Connecting you\"").await;
        let answered = loop {
            match self.trunk.sighting(PATIENCE).await {
                Some(Sighting::Rung { number, .. }) => rung.push(number),
                Some(Sighting::Answered { number }) => break number == PEOPLE[0].number,
                Some(_) => {}
                None => break false,
            }
        };
        let name = PEOPLE[0].office;
        if !self.checks.that(
            format!("the first office, {name}'s, is rung and answers"),
            answered,
        ) {
            return rung;
        }
        caller.says(&caller_speech()).await;
        let speech = office_speech();
        let heard = caller.hears(&speech, PATIENCE).await.is_some();
        if heard {
            self.timeline
                .tell("caller", "hears the office speak, and speaks to it");
        }
        self.checks.that("the caller hears the office", heard);
        tokio::time::sleep(Duration::from_secs(2)).await;
        caller.is_silent().await;
        caller.press("**", DigitStyle::default()).await;
        let talk = self.ended_talk().await;
        let office_heard = talk
            .as_ref()
            .is_some_and(|heard| hears_in(heard, &caller_speech()));
        self.checks.that("the office hears the caller", office_heard);
        self.checks.that(
            "two stars end the talk and do not reach the office",
            talk.is_some_and(|heard| !heard.digits.contains("**")),
        );
        rung
    }

    /// What the office heard, if the server ended the talk.
    async fn ended_talk(&mut self) -> Option<Heard> {
        loop {
            match self.trunk.sighting(PATIENCE).await? {
                Sighting::Ended {
                    heard,
                    by_office: false,
                    ..
                } => return Some(heard),
                Sighting::Ended { .. } | Sighting::NoAck { .. } => return None,
                _ => {}
            }
        }
    }

    async fn other_offices(&mut self, caller: &mut Caller, mut rung: Vec<String>) {
        self.hears(caller, "msg_target_busy", "\"That line is busy\"")
            .await;
        self.hears(caller, "after_hours_intro-2", "that the last office is closed")
            .await;
        for sighting in self.trunk.sightings_so_far() {
            if let Sighting::Rung { number, .. } = sighting {
                rung.push(number);
            }
        }
        let [first, second, closed] = PEOPLE.map(|person| person.number.to_owned());
        self.checks.that(
            "representative and senators are rung in order",
            rung == [first, second],
        );
        let _ = self
            .checks
            .that("the closed office is not rung", !rung.contains(&closed));
    }

    async fn close(&mut self, caller: &mut Caller) {
        self.hears(caller, "msg_final_thanks", "the thanks").await;
        let ended = caller.ended(PATIENCE).await && matches!(caller.ending(), Some(CallEvent::Ended { .. }));
        self.checks.that("the hotline ends the call", ended);
    }

    /// One stream from beginning to end, without a gap.
    fn judge_stream(&mut self, heard: &Heard) {
        let sources: &BTreeSet<u32> = &heard.sources;
        self.checks.that(
            format!(
                "the caller got one unbroken audio stream ({} packets, {} lost)",
                heard.packets, heard.lost
            ),
            sources.len() == 1 && heard.lost == 0 && heard.breaks == 0,
        );
    }
}

fn hears_in(heard: &Heard, known: &[i16]) -> bool {
    find(&heard.samples, known).is_some_and(|found| found.score > SAME)
}
