//! A stream whose audio is decoded for another one, or that sends what was decoded of another one.

use std::time::{Duration, Instant};

use super::{Relay, Stream};
use crate::codec::{CLOCK_RATE, Codec, Law};
use crate::digit::EventPayload;
use crate::payload_types::Content;
use crate::rtp::Header;
use crate::transcode::{Listener, MAX_FRAME, Speaker};

/// A relayed press without an end is over this long after its last packet.
const KEY_PATIENCE: Duration = Duration::from_millis(100);
/// The most telephone audio that one packet takes: 60 ms.
const MAX_TELEPHONE: usize = 480;

/// What only streams with another codec than their partner's need, or than prompts are kept in.
#[derive(Debug, Default)]
pub(super) struct Transcoding {
    /// Decodes what comes, while the stream that hears it needs that.
    listener: Option<Listener>,
    speaker: Option<Speaker>,
    /// What another stream hears, decoded, is sent.
    is_fed: bool,
    key: Option<Key>,
}

/// The press of the other side that is being passed on.
#[derive(Debug, Clone, Copy)]
struct Key {
    ssrc: u32,
    theirs: u32,
    ours: u32,
    /// Until then it counts as down. None once it ended.
    until: Option<Instant>,
}

impl Stream {
    /// What is sent.
    pub fn codec(&self) -> Codec {
        self.agreed.codec
    }

    /// Whether what comes is decoded for another stream.
    pub fn is_decoded(&self) -> bool {
        self.transcoding
            .as_ref()
            .is_some_and(|transcoding| transcoding.listener.is_some())
    }

    /// Whether what another stream hears is sent by [`Stream::feed`].
    pub fn is_fed(&self) -> bool {
        self.transcoding
            .as_ref()
            .is_some_and(|transcoding| transcoding.is_fed)
    }

    /// Keeps an accepted packet, to be decoded in its time.
    pub fn hear(&mut self, relay: &Relay, payload: &[u8]) {
        let transcoding = self.transcoding.get_or_insert_default();
        if let Content::Audio(codec) = relay.content
            && transcoding
                .listener
                .as_ref()
                .is_none_or(|known| known.codec() != codec)
        {
            transcoding.listener = Listener::new(codec);
        }
        if let Some(listener) = &mut transcoding.listener {
            listener.hear(&relay.incoming.header, relay.content, payload);
        }
    }

    /// The next 20 ms of what is decoded, and their rate in Hz.
    pub fn heard<'a>(&mut self, samples: &'a mut [i16; MAX_FRAME]) -> Option<(&'a [i16], u32)> {
        let listener = self.transcoding.as_mut()?.listener.as_mut()?;
        let rate = listener.codec().sample_rate();
        Some((listener.frame(samples), rate))
    }

    /// Decodes no more.
    pub fn stop_hearing(&mut self) {
        if let Some(transcoding) = &mut self.transcoding {
            transcoding.listener = None;
        }
    }

    /// From now on what another stream hears is fed, or no more.
    pub fn set_fed(&mut self, fed: bool) {
        if fed {
            self.transcoding.get_or_insert_default().is_fed = true;
        } else if let Some(transcoding) = &mut self.transcoding {
            (transcoding.is_fed, transcoding.key) = (false, None);
            if let Some(speaker) = &mut transcoding.speaker {
                speaker.clear();
            }
        }
    }

    /// Takes 20 ms to send. While something else is sent they are dropped.
    pub fn feed(&mut self, samples: &[i16], rate: u32) {
        let busy = self.playout.is_some() || self.digits.is_down();
        let codec = self.agreed.codec;
        if let Some(speaker) = self.speaker(codec) {
            if busy {
                speaker.clear();
            } else {
                speaker.push(samples, rate);
            }
        }
    }

    fn speaker(&mut self, codec: Codec) -> Option<&mut Speaker> {
        let transcoding = self.transcoding.get_or_insert_default();
        if transcoding
            .speaker
            .as_ref()
            .is_none_or(|known| known.codec() != codec)
        {
            transcoding.speaker = Speaker::new(codec);
        }
        transcoding.speaker.as_mut()
    }

    /// Fills a payload with the next milliseconds of the prompt, of what is fed, or of silence; returns its length.
    pub(super) fn fill(&mut self, milliseconds: usize, payload: &mut [u8]) -> usize {
        let fed = self.is_fed() && self.playout.is_none();
        match self.agreed.codec.law().filter(|_| !fed) {
            Some(law) => {
                let length = (milliseconds * 8).min(payload.len());
                self.fill_law(law, &mut payload[..length]);
                length
            }
            None => self.encode(milliseconds, fed, payload),
        }
    }

    fn fill_law(&mut self, law: Law, bytes: &mut [u8]) {
        match &mut self.playout {
            Some(playing) => playing.playout.fill(law, bytes),
            None => bytes.fill(law.silence()),
        }
    }

    /// Prompts are kept in G.711 only; what they need of it is decoded as they play.
    fn encode(&mut self, milliseconds: usize, fed: bool, payload: &mut [u8]) -> usize {
        let codec = self.agreed.codec;
        let Some(wanted) = self
            .speaker(codec)
            .map(|speaker| speaker.wants(milliseconds, CLOCK_RATE).min(MAX_TELEPHONE))
        else {
            return 0;
        };
        if !fed && wanted > 0 {
            let (mut bytes, mut samples) = ([0; MAX_TELEPHONE], [0; MAX_TELEPHONE]);
            self.fill_law(Law::Mu, &mut bytes[..wanted]);
            for (sample, byte) in samples.iter_mut().zip(&bytes[..wanted]) {
                *sample = Law::Mu.decode(*byte);
            }
            if let Some(speaker) = self.speaker(codec) {
                speaker.push(&samples[..wanted], CLOCK_RATE);
            }
        }
        self.speaker(codec)
            .map_or(0, |speaker| speaker.take(milliseconds, payload))
    }

    /// Whether a key that is passed on is down, so that no audio is sent.
    pub(super) fn is_key_down(&self, now: Instant) -> bool {
        self.transcoding
            .as_ref()
            .and_then(|transcoding| transcoding.key?.until)
            .is_some_and(|until| now < until)
    }

    /// Numbers a packet of a key that is passed on among audio of our own.
    pub(super) fn number_key(
        &mut self,
        now: Instant,
        relay: &Relay,
        payload_type: u8,
        payload: &[u8],
    ) -> Option<Header> {
        let theirs = relay.incoming.header;
        let known = self
            .transcoding
            .as_ref()?
            .key
            .filter(|key| (key.ssrc, key.theirs) == (theirs.ssrc, theirs.timestamp));
        let ours = match known {
            Some(key) => key.ours,
            None => self.outgoing.own_timestamp(now),
        };
        let ended = EventPayload::parse(payload)?.end || known.is_some_and(|key| key.until.is_none());
        let transcoding = self.transcoding.as_mut()?;
        transcoding.key = Some(Key {
            ssrc: theirs.ssrc,
            theirs: theirs.timestamp,
            ours,
            until: (!ended).then(|| now + KEY_PATIENCE),
        });
        Some(self.outgoing.own_event(known.is_none(), payload_type, ours))
    }
}
