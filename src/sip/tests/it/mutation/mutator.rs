//! Breaks bytes the way networks, careless peers and attackers do. Every mutation follows from its seed.

/// A small generator of numbers (SplitMix64): the same seed gives the same numbers everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`; 0 when there is none.
    pub fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.roll() % count.max(1) as u64).unwrap_or(0)
    }
}

/// What is put in between: delimiters, line ends, bytes that are not text, numbers that overflow.
const PIECES: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"=",
    b" ",
    b"\t",
    b"\r\n ",
    b"\n\t",
    b"\r\n\r\n",
    b"@",
    b"?",
    b"/",
    b"%00",
    b"%4",
    b"[",
    b"]",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b";tag=x",
    b";branch=z9hG4bK",
    b"SIP/2.0",
    b"z9hG4bK",
    b"-1",
];
const NUMBERS: [&[u8]; 9] = [
    b"0",
    b"-1",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"18446744073709551616",
    b"99999999999999999999999999",
];

/// One to four mutations of a member of the corpus.
pub fn mutate(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.pick(corpus.len())].clone();
    for _ in 0..=dice.pick(4) {
        let at = dice.pick(bytes.len() + 1);
        match dice.pick(12) {
            0 | 1 => flip(dice, &mut bytes, at),
            2 | 3 => {
                let piece = PIECES[dice.pick(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            4 => {
                // Most of the message stays: a short one tests little.
                let end = bytes.len() - dice.pick(bytes.len() / 4 + 1);
                bytes.truncate(end);
            }
            5 => {
                let end = (at + dice.pick(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let other = &corpus[dice.pick(corpus.len())];
                let from = dice.pick(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => {
                let end = (at + dice.pick(60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            8 => number(dice, &mut bytes, at),
            9 => line(dice, &mut bytes, corpus),
            10 => case(&mut bytes, at),
            _ => {
                // A line of another message, or the same one twice.
                let copy = one_line(dice, &bytes).to_vec();
                let place = line_start(&bytes, at);
                bytes.splice(place..place, copy);
            }
        }
    }
    bytes
}

fn flip(dice: &mut Dice, bytes: &mut [u8], at: usize) {
    let bit = dice.pick(8);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Puts an extreme number in place of the next one.
fn number(dice: &mut Dice, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes[at..]
        .iter()
        .position(u8::is_ascii_digit)
        .map(|step| at + step)
    else {
        return;
    };
    let length = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = NUMBERS[dice.pick(NUMBERS.len())];
    bytes.splice(start..start + length, number.iter().copied());
}

/// Puts in a line of another message.
fn line(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let other = &corpus[dice.pick(corpus.len())];
    let copy = one_line(dice, other).to_vec();
    let at = dice.pick(bytes.len() + 1);
    let place = line_start(bytes, at);
    bytes.splice(place..place, copy);
}

/// Changes the case of a word.
fn case(bytes: &mut [u8], at: usize) {
    for byte in bytes[at..]
        .iter_mut()
        .take_while(|byte| byte.is_ascii_alphanumeric())
    {
        *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
    }
}

fn one_line<'a>(dice: &mut Dice, bytes: &'a [u8]) -> &'a [u8] {
    let start = line_start(bytes, dice.pick(bytes.len() + 1));
    let rest = &bytes[start..];
    let end = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(rest.len(), |at| at + 1);
    &rest[..end]
}

fn line_start(bytes: &[u8], at: usize) -> usize {
    bytes[..at]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1)
}
