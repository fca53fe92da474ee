//! Whether something was heard through the clock, jitter buffer and resampler of another program.

use trunkline::command::demo::peer::{find, melody};

/// What counts as heard through another program's jitter buffer.
pub const HEARD: f64 = 0.85;
/// How long a telephone can speak: longer than any call here.
pub const SPEECH_SECONDS: u32 = 90;
/// Samples in a piece: 0.3 s.
const PIECE: usize = 2400;
/// So many pieces, one soon after the other in the order in which they were spoken, are no accident.
const ENOUGH_PIECES: usize = 4;

/// Whether enough pieces in a row of what was spoken were heard. A program on a busy machine stops for a moment now and
/// then, which breaks a long piece and leaves short ones whole.
pub fn is_heard_in_pieces(heard: &[i16], spoken: &[i16]) -> bool {
    let (mut row, mut last) = (0, None::<i64>);
    for piece in spoken.chunks_exact(PIECE) {
        let Some(found) = find(heard, piece).filter(|found| found.score > HEARD) else {
            continue;
        };
        // The next piece begins where the last one ends, or a little later; a broken one may lie between.
        let goes_on = last.is_some_and(|last| (2300..16_000).contains(&(found.at - last)));
        row = if goes_on { row + 1 } else { 1 };
        last = Some(found.at);
        if row >= ENOUGH_PIECES {
            return true;
        }
    }
    false
}

#[test]
fn speech_with_pauses_of_the_machine_is_recognised_and_other_speech_is_not() {
    let spoken = melody(31, 20);
    let mut stuttering = vec![0; 5000];
    for second in spoken[40_000..88_000].chunks_exact(6000) {
        stuttering.extend_from_slice(second);
        stuttering.resize(stuttering.len() + 700, 0);
    }
    assert!(is_heard_in_pieces(&stuttering, &spoken));
    assert!(!is_heard_in_pieces(&stuttering, &melody(32, 20)));
    assert!(!is_heard_in_pieces(&melody(33, 6), &spoken));
}
