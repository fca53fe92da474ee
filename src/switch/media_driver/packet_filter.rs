//! The socket filter (classic BPF) that keeps audio nobody listens to in the kernel.

use std::io;
use std::net::UdpSocket;

use media::Attention;
use media::attention::SAMPLE;
use socket2::{SockFilter, SockRef};

/// Loads the byte, or the 16 bits, at an offset. A packet that ends before it is dropped.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where RTP begins: the filter of a UDP socket sees the UDP header first.
const RTP: u32 = 8;
/// What follows the last test: let pass, drop.
const PASS: u32 = u32::MAX;
const DROP: u32 = 0;

/// Sets or removes the filter of a socket. Packets that wait on it already stay as they are.
///
/// # Errors
/// When the system refuses a filter.
pub(super) fn set(socket: &UdpSocket, attention: Attention) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match attention {
        Attention::Sample { events } => socket.attach_filter(&program(events)),
        Attention::All => match socket.detach_filter() {
            // There was none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
    }
}

/// Passes what is no RTP, RTCP, the given payload types, and one of [`SAMPLE`] other packets.
fn program(events: [Option<u8>; 4]) -> Vec<SockFilter> {
    let events: Vec<u8> = events.into_iter().flatten().collect();
    // A jump counts the statements it leaps over. Behind the tests for payload types come load, and, compare, drop,
    // pass.
    let tests = events.len() as u8;
    let mut program = vec![
        SockFilter::new(LOAD_BYTE, 0, 0, RTP),
        SockFilter::new(AND, 0, 0, 0xc0),
        SockFilter::new(JUMP_IF_EQUAL, 0, tests + 8, 0x80),
        SockFilter::new(LOAD_BYTE, 0, 0, RTP + 1),
        SockFilter::new(JUMP_IF_AT_LEAST, 0, 1, 192),
        SockFilter::new(JUMP_IF_AT_LEAST, 0, tests + 5, 224),
        SockFilter::new(AND, 0, 0, 0x7f),
    ];
    for (index, event) in events.iter().enumerate() {
        let after = tests - 1 - index as u8;
        program.push(SockFilter::new(JUMP_IF_EQUAL, after + 4, 0, u32::from(*event)));
    }
    program.extend([
        SockFilter::new(LOAD_HALF, 0, 0, RTP + 2),
        SockFilter::new(AND, 0, 0, u32::from(SAMPLE - 1)),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 0),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, PASS),
    ]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket with its peer; the filter is on the first.
    fn pair() -> (UdpSocket, UdpSocket) {
        let ours = UdpSocket::bind("127.77.12.1:0").unwrap();
        let theirs = UdpSocket::bind("127.77.12.2:0").unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.connect(ours.local_addr().unwrap()).unwrap();
        (ours, theirs)
    }

    /// The second byte and the sequence number of each packet that is there to read.
    fn heard(socket: &UdpSocket) -> Vec<(u8, u16)> {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| {
            socket
                .recv(&mut buffer)
                .ok()
                .map(|length| buffer[..length].to_vec())
        })
        .map(|bytes| (bytes[1], u16::from_be_bytes([bytes[2], bytes[3]])))
        .collect()
    }

    fn send(socket: &UdpSocket, first: u8, second: u8, sequence: u16) {
        let [high, low] = sequence.to_be_bytes();
        socket
            .send(&[first, second, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 1])
            .unwrap();
    }

    #[test]
    fn keys_control_packets_and_one_audio_packet_in_32_pass() {
        let (ours, theirs) = pair();
        let sample = Attention::Sample {
            events: [Some(101), Some(96), None, None],
        };
        set(&ours, sample).unwrap();
        for sequence in 0..64 {
            send(&theirs, 0x80, 0, sequence);
        }
        assert_eq!(heard(&ours), [(0, 0), (0, 32)]);
        for (first, second) in [
            (0x80, 101),
            (0x80, 96 | 0x80),
            (0x90, 101),
            (0x81, 200),
            (0x81, 223),
            (0, 1),
        ] {
            send(&theirs, first, second, 33);
            assert_eq!(heard(&ours), [(second, 33)], "{first:#x} {second}");
        }
        // Payload types that are no keys, with and without marker, and 95 and 97 with marker, which look near RTCP.
        for second in [0u8, 8, 0x80, 95, 97, 100, 191, 225] {
            send(&theirs, 0x80, second, 33);
            assert_eq!(heard(&ours), [], "{second}");
        }
    }

    #[test]
    fn a_removed_filter_lets_everything_pass_and_may_be_removed_again() {
        let (ours, theirs) = pair();
        for events in [[None; 4], [Some(101), None, None, None]] {
            set(&ours, Attention::Sample { events }).unwrap();
            send(&theirs, 0x80, 0, 1);
            assert_eq!(heard(&ours), []);
            set(&ours, Attention::All).unwrap();
            set(&ours, Attention::All).unwrap();
            send(&theirs, 0x80, 0, 1);
            assert_eq!(heard(&ours), [(0, 1)]);
        }
    }
}
