//! The UDP ports that media uses: handed out at random, rested before they are used again.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of receive buffer: 39 packets, 780 ms of audio. More would only keep stale audio.
const RECEIVE_BUFFER: usize = 16 * 1024;
/// Rested ports among which the next one is drawn.
const DRAWN_FROM: usize = 64;
/// Ports tried for one socket when others hold them.
const ATTEMPTS: usize = 32;

/// Why there is no port for a stream.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Every port of the range is in use or rests.
    #[error("no media port is free")]
    Exhausted,
    /// The system refuses: out of file descriptors, or the address is not ours.
    #[error("a media port cannot be opened: {0}")]
    Refused(#[from] io::Error),
}

/// Even ports of a range on one address. Clones share the ports.
#[derive(Debug, Clone)]
pub struct PortPool {
    address: IpAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Free ports and the time from which they may be used, longest rested first.
    free: VecDeque<(u16, Instant)>,
    rest: Duration,
    random: ChaCha20Rng,
}

/// A bound, non-blocking socket. Its port goes back to the pool when it is dropped.
#[derive(Debug)]
pub struct MediaSocket {
    // Declared before the lease: the socket closes before its port goes back.
    socket: UdpSocket,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl PortPool {
    /// `rest` is how long a port stays unused after a call, so that late packets reach nobody; `seed` must be random.
    pub fn new(address: IpAddr, ports: RangeInclusive<u16>, rest: Duration, seed: [u8; 32]) -> Self {
        let now = Instant::now();
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut free: VecDeque<_> = ports
            .filter(|port| port % 2 == 0)
            .map(|port| (port, now))
            .collect();
        for index in (1..free.len()).rev() {
            free.swap(index, below(&mut random, index + 1));
        }
        Self {
            address,
            state: Arc::new(Mutex::new(State { free, rest, random })),
        }
    }

    /// Ports that are neither in use nor resting.
    pub fn available(&self) -> usize {
        let now = Instant::now();
        lock(&self.state)
            .free
            .iter()
            .filter(|(_, from)| *from <= now)
            .count()
    }

    /// Opens a socket on a random port.
    ///
    /// # Errors
    /// `Exhausted` when no port is free, `Refused` when the system says no.
    pub fn open(&self) -> Result<MediaSocket, PortError> {
        for _ in 0..ATTEMPTS {
            let lease = self.lease()?;
            match bind(SocketAddr::new(self.address, lease.port)) {
                Ok(socket) => {
                    return Ok(MediaSocket {
                        socket,
                        lease: Some(lease),
                    });
                }
                // Another program holds it: it rests and the next one is tried.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => drop(lease),
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortError::Exhausted)
    }

    fn lease(&self) -> Result<Lease, PortError> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let rested = state
            .free
            .iter()
            .take(DRAWN_FROM)
            .take_while(|(_, from)| *from <= now)
            .count();
        if rested == 0 {
            return Err(PortError::Exhausted);
        }
        let drawn = below(&mut state.random, rested);
        let (port, _) = state.free.remove(drawn).ok_or(PortError::Exhausted)?;
        Ok(Lease {
            port,
            state: Arc::clone(&self.state),
        })
    }
}

impl MediaSocket {
    /// Throws away what came before the stream was wanted, such as sound that a carrier sends while it rings: passed
    /// on later, it would be most of a second late.
    pub fn discard_received(&self) {
        // The buffer holds fewer. An error before the end, such as a port that is unreachable, takes a turn too.
        for _ in 0..64 {
            let received = self.socket.recv_from(&mut [0; 1]);
            if received.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// Only if the system lost the socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn udp(&self) -> &UdpSocket {
        &self.socket
    }

    /// Whether its port belongs to a pool.
    pub fn is_leased(&self) -> bool {
        self.lease.is_some()
    }
}

/// A socket outside any pool, made non-blocking.
impl TryFrom<UdpSocket> for MediaSocket {
    type Error = io::Error;

    fn try_from(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, lease: None })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        let from = Instant::now() + state.rest;
        state.free.push_back((self.port, from));
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn below(random: &mut ChaCha20Rng, bound: usize) -> usize {
    (random.next_u64() % bound.max(1) as u64) as usize
}

/// The state is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 77, 10, 1));

    fn pool(ports: RangeInclusive<u16>, rest: Duration) -> PortPool {
        PortPool::new(ADDRESS, ports, rest, [7; 32])
    }

    #[test]
    fn ports_are_even_different_and_not_in_order() {
        let pool = pool(20_001..=20_200, Duration::from_secs(5));
        let sockets: Vec<_> = (0..20).map(|_| pool.open().unwrap()).collect();
        let ports: Vec<u16> = sockets
            .iter()
            .map(|socket| socket.local_address().unwrap().port())
            .collect();
        assert!(
            ports
                .iter()
                .all(|port| port % 2 == 0 && (20_001..=20_200).contains(port))
        );
        let mut sorted = ports.clone();
        sorted.sort_unstable();
        assert_ne!(sorted, ports);
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
    }

    #[test]
    fn a_port_rests_before_it_is_used_again() {
        let pool = pool(21_000..=21_000, Duration::from_millis(50));
        let socket = pool.open().unwrap();
        assert!(matches!(pool.open(), Err(PortError::Exhausted)));
        drop(socket);
        assert!(matches!(pool.open(), Err(PortError::Exhausted)));
        assert_eq!(pool.available(), 0);
        std::thread::sleep(Duration::from_millis(60));
        assert!(pool.open().is_ok());
    }

    #[test]
    fn a_port_held_by_another_program_is_passed_over() {
        let pool = pool(22_000..=22_003, Duration::ZERO);
        let other = UdpSocket::bind((ADDRESS, 22_000)).unwrap();
        for _ in 0..5 {
            let socket = pool.open().unwrap();
            assert_eq!(socket.local_address().unwrap().port(), 22_002);
        }
        drop(other);
    }

    #[test]
    fn receive_buffers_hold_less_than_a_second_of_audio() {
        let pool = pool(23_000..=23_010, Duration::ZERO);
        let media = pool.open().unwrap();
        let buffer = socket2::SockRef::from(media.udp()).recv_buffer_size().unwrap();
        // The kernel doubles what is asked for.
        assert_eq!(buffer, 2 * RECEIVE_BUFFER);
    }
}
