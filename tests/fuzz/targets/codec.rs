//! Payloads as every codec's decoder takes them: the first byte says which one, then come payloads behind their lengths.

use media::Codec;
use media::codec::{Decoder, MAX_DECODED};

pub fn run(data: &[u8]) {
    let [which, payloads @ ..] = data else { return };
    let codec = Codec::ALL[usize::from(*which) % Codec::ALL.len()];
    let Some(mut decoder) = Decoder::new(codec) else {
        return;
    };
    let mut rest = payloads;
    while let [length, after @ ..] = rest {
        let length = usize::from(*length).min(after.len());
        let mut samples = [0; MAX_DECODED];
        assert!(decoder.decode(&after[..length], &mut samples).len() <= MAX_DECODED);
        assert!(codec.ticks(&after[..length]) <= 5760);
        rest = &after[length..];
    }
}
