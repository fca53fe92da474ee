//! What a stream hears in the audio of its peer, while it is asked to listen.

use super::Stream;
use crate::codec::Codec;
use crate::digit::Digit;
use crate::hearing::{Ears, Heard, Listening};

impl Stream {
    /// Listens from now on for this and nothing else.
    pub fn listen(&mut self, listening: &Listening) {
        self.ears = (!listening.is_nothing()).then(|| Box::new(Ears::new(listening)));
    }

    /// Hears a packet of audio. Returns what was heard and the key that is down as a tone. Only G.711 is listened to:
    /// where a peer speaks another codec, it takes telephone events as well.
    pub(super) fn listen_to(
        &mut self,
        codec: Codec,
        timestamp: u32,
        payload: &[u8],
    ) -> (Vec<Heard>, Option<Digit>) {
        let (Some(ears), Some(law)) = (&mut self.ears, codec.law()) else {
            return (Vec::new(), None);
        };
        ears.hear(timestamp, payload.iter().map(|byte| law.decode(*byte)));
        let (heard, down) = (ears.take(), ears.digit_down());
        if !ears.is_listening() {
            self.ears = None;
        }
        (heard, down)
    }
}
