//! The least that a relay on epoll has to do: an edge-triggered epoll polled every 2 ms, `recvmmsg` of up to four
//! packets for every ready socket, header rewritten, `sendto` from the other leg's socket.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::{TICK, answer_totals, far, ours};

const BATCH: usize = 512;
const PACKETS: usize = 4;

static SENT: AtomicU64 = AtomicU64::new(0);

struct Leg {
    socket: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    received: u64,
}

/// Relays between every two legs until standard input closes.
pub fn run(legs: u16) -> Result<(), Box<dyn std::error::Error>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut table = Vec::new();
    for leg in 0..legs {
        let socket = UdpSocket::bind(ours(leg))?;
        socket.set_nonblocking(true)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(u64::from(leg)), flags)?;
        table.push(Leg {
            socket,
            to: far(leg),
            sequence: 0,
            received: 0,
        });
    }
    std::thread::spawn(move || {
        let mut ready = Vec::with_capacity(BATCH);
        let mut pending: Vec<usize> = Vec::new();
        let mut buffers = [[0u8; 2048]; PACKETS];
        let mut deadline = Instant::now();
        loop {
            deadline = (deadline + TICK).max(Instant::now());
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            loop {
                ready.clear();
                let none = Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                if epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&none)).is_err() {
                    break;
                }
                for event in &ready {
                    let leg = event.data.u64() as usize;
                    if relay(&mut table, leg, &mut buffers) == PACKETS {
                        pending.push(leg);
                    }
                }
                if ready.len() < BATCH {
                    break;
                }
            }
            while let Some(leg) = pending.pop() {
                while relay(&mut table, leg, &mut buffers) == PACKETS {}
            }
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    answer_totals(|| SENT.load(Ordering::Relaxed))?;
    Ok(())
}

fn relay(table: &mut [Leg], leg: usize, buffers: &mut [[u8; 2048]; PACKETS]) -> usize {
    let lengths = receive(&table[leg].socket, buffers);
    let count = lengths.iter().take_while(|length| **length > 0).count();
    table[leg].received += count as u64;
    let other = &mut table[leg ^ 1];
    for (buffer, length) in buffers.iter_mut().zip(lengths).take(count) {
        buffer[2..4].copy_from_slice(&other.sequence.to_be_bytes());
        buffer[8..12].copy_from_slice(&(leg as u32).to_be_bytes());
        other.sequence = other.sequence.wrapping_add(1);
        if other.socket.send_to(&buffer[..length], other.to).is_ok() {
            SENT.fetch_add(1, Ordering::Relaxed);
        }
    }
    count
}

#[allow(unsafe_code)]
fn receive(socket: &UdpSocket, buffers: &mut [[u8; 2048]; PACKETS]) -> [usize; PACKETS] {
    // SAFETY: all-zero bytes are a valid `mmsghdr`, `iovec` and `sockaddr_in`. Each header points to its own buffer
    // and address, which outlive the call and are not touched during it.
    unsafe {
        let mut addresses: [libc::sockaddr_in; PACKETS] = std::mem::zeroed();
        let mut parts: [libc::iovec; PACKETS] = std::mem::zeroed();
        let mut headers: [libc::mmsghdr; PACKETS] = std::mem::zeroed();
        for index in 0..PACKETS {
            parts[index].iov_base = buffers[index].as_mut_ptr().cast();
            parts[index].iov_len = buffers[index].len();
            headers[index].msg_hdr.msg_iov = &raw mut parts[index];
            headers[index].msg_hdr.msg_iovlen = 1;
            headers[index].msg_hdr.msg_name = (&raw mut addresses[index]).cast();
            headers[index].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let flags = libc::MSG_DONTWAIT;
        let count = libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            PACKETS as u32,
            flags,
            std::ptr::null_mut(),
        );
        let mut lengths = [0; PACKETS];
        for index in 0..usize::try_from(count).unwrap_or(0) {
            lengths[index] = headers[index].msg_len as usize;
        }
        lengths
    }
}
