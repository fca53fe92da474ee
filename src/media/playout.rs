//! What a stream plays: clips one after the other, once or for ever.

use crate::clip::Clip;
use crate::codec::Law;

/// Milliseconds of audio we can put in a packet when the peer asks for it.
pub const PACKET_TIMES: [u16; 4] = [10, 20, 40, 60];

/// Names one playout, so that its end can be told. Chosen by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlayId(pub u64);

/// Clips being played and how far they are.
#[derive(Debug, Clone)]
pub struct Playout {
    play: PlayId,
    clips: Vec<Clip>,
    repeat: bool,
    clip: usize,
    offset: usize,
}

impl Playout {
    /// Plays the clips without a gap between them; with `repeat`, from the start again after the last.
    pub fn new(play: PlayId, clips: Vec<Clip>, repeat: bool) -> Self {
        Self {
            play,
            clips,
            repeat,
            clip: 0,
            offset: 0,
        }
    }

    /// The name it was started under.
    pub const fn play(&self) -> PlayId {
        self.play
    }

    /// Whether nothing is left to play.
    pub fn is_over(&self) -> bool {
        self.clip >= self.clips.len()
    }

    /// Fills a packet with the next bytes and, past the end, with silence.
    pub fn fill(&mut self, law: Law, packet: &mut [u8]) {
        let mut filled = 0;
        // A round that moves nothing means that all clips are empty.
        let mut empty_clips = 0;
        while filled < packet.len() && empty_clips <= self.clips.len() {
            let Some(clip) = self.clips.get(self.clip) else {
                break;
            };
            let rest = clip.bytes(law).get(self.offset..).unwrap_or_default();
            let take = rest.len().min(packet.len() - filled);
            packet[filled..filled + take].copy_from_slice(&rest[..take]);
            empty_clips = if take == 0 { empty_clips + 1 } else { 0 };
            let clip_is_over = take == rest.len();
            filled += take;
            self.offset += take;
            if clip_is_over {
                self.next_clip();
            }
        }
        packet[filled..].fill(law.silence());
    }

    fn next_clip(&mut self) {
        self.offset = 0;
        self.clip += 1;
        if self.repeat && self.is_over() {
            self.clip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(first: i16, samples: usize) -> Clip {
        Clip::from_samples(&vec![first; samples])
    }

    #[test]
    fn clips_follow_each_other_without_a_gap() {
        let mut playout = Playout::new(PlayId(1), vec![clip(1000, 100), clip(-1000, 100)], false);
        let mut packet = [0; 160];
        playout.fill(Law::Mu, &mut packet);
        assert!(packet[..100].iter().all(|byte| *byte == Law::Mu.encode(1000)));
        assert!(packet[100..].iter().all(|byte| *byte == Law::Mu.encode(-1000)));
        assert!(!playout.is_over());
        playout.fill(Law::Mu, &mut packet);
        assert!(packet[..40].iter().all(|byte| *byte == Law::Mu.encode(-1000)));
        assert!(packet[40..].iter().all(|byte| *byte == Law::Mu.silence()));
        assert!(playout.is_over());
    }

    #[test]
    fn repeated_clips_never_end() {
        let mut playout = Playout::new(PlayId(1), vec![clip(1000, 30), clip(-1000, 30)], true);
        let mut packet = [0; 160];
        for _ in 0..10 {
            playout.fill(Law::A, &mut packet);
            assert!(packet.iter().all(|byte| *byte != Law::A.silence()));
        }
        assert!(!playout.is_over());
    }

    #[test]
    fn empty_clips_neither_hang_nor_sound() {
        for repeat in [false, true] {
            let mut playout = Playout::new(PlayId(1), vec![clip(0, 0), clip(0, 0)], repeat);
            let mut packet = [0; 160];
            playout.fill(Law::Mu, &mut packet);
            assert!(packet.iter().all(|byte| *byte == Law::Mu.silence()));
            assert_eq!(playout.is_over(), !repeat);
        }
    }
}
