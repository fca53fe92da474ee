//! The UDP sockets that SIP listens on: the way of most messages, kept free of tasks and queues.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Bytes that may wait in each direction: a burst of some thousand messages.
const BUFFER: usize = 4 << 20;
/// Unreachable addresses that wait to be told.
const MOST_UNREACHABLE: usize = 64;
/// The largest datagram there is.
pub const LARGEST: usize = 65_535;

/// All listening sockets.
pub struct UdpSockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    unsent: u64,
    /// Where the system knew no way to, until told.
    unreachable: VecDeque<SocketAddr>,
    /// The socket that is looked at first.
    turn: usize,
}

impl UdpSockets {
    /// Binds every address. Must run inside the runtime.
    ///
    /// # Errors
    /// Names the address that could not be bound.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let socket = bind_one(address).map_err(|error| (address, error))?;
            let local = socket.local_addr().map_err(|error| (address, error))?;
            sockets.push((local, socket));
        }
        Ok(Self {
            sockets,
            unsent: 0,
            unreachable: VecDeque::new(),
            turn: 0,
        })
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(local, _)| *local)
    }

    /// Says which socket has a datagram: in turn, so that a busy one does not starve the others.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let count = self.sockets.len().max(1);
        for step in 0..count {
            let index = (self.turn + step) % count;
            let ready = |(_, socket): &(SocketAddr, UdpSocket)| socket.poll_recv_ready(context).is_ready();
            if self.sockets.get(index).is_some_and(ready) {
                self.turn = index + 1;
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    }

    /// Takes one datagram, if there is one. Errors of the network (a port unreachable) are passed over.
    pub fn receive(&self, index: usize, buffer: &mut [u8]) -> Option<(SocketAddr, SocketAddr, usize)> {
        let (local, socket) = self.sockets.get(index)?;
        loop {
            match socket.try_recv_from(buffer) {
                Ok((length, source)) => return Some((*local, source, length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends from our address `local`, or from the socket that listens on every address. A datagram that the system
    /// does not take is dropped, as the network might have done: SIP repeats what matters.
    pub fn send(&mut self, local: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        let exact = self.sockets.iter().find(|(address, _)| *address == local);
        let same_port = || {
            self.sockets.iter().find(|(address, _)| {
                address.port() == local.port()
                    && address.ip().is_unspecified()
                    && address.is_ipv4() == local.is_ipv4()
            })
        };
        let family = || {
            self.sockets
                .iter()
                .find(|(address, _)| address.is_ipv4() == destination.is_ipv4())
        };
        let chosen = exact.or_else(same_port).or_else(family);
        let sent = match chosen {
            Some((_, socket)) => socket.try_send_to(bytes, destination),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        if let Err(error) = sent {
            self.unsent += 1;
            if says_unreachable(&error) && self.unreachable.len() < MOST_UNREACHABLE {
                self.unreachable.push_back(destination);
            }
        }
    }

    /// An address that nothing can be sent to, as the system knew at once.
    pub fn next_unreachable(&mut self) -> Option<SocketAddr> {
        self.unreachable.pop_front()
    }

    /// Datagrams that the system did not take.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }
}

/// Whether an error is about the way rather than about room for the moment, or a message that is too long.
fn says_unreachable(error: &io::Error) -> bool {
    let passing = [
        Errno::AGAIN,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::INTR,
        Errno::MSGSIZE,
    ];
    error.kind() != io::ErrorKind::WouldBlock
        && !passing
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The system may grant less; that is no reason not to start.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_without_a_way_is_told() {
        let mut sockets = UdpSockets::bind(&["127.0.37.1:0".parse().unwrap()]).unwrap();
        let local = sockets.addresses().next().unwrap();
        sockets.sockets[0].1.writable().await.unwrap();
        // A socket of IPv4 has no way there.
        let outside: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
        sockets.send(local, outside, b"x");
        assert_eq!(sockets.next_unreachable(), Some(outside));
        assert_eq!((sockets.next_unreachable(), sockets.unsent()), (None, 1));
        let inside: SocketAddr = "127.0.37.2:5060".parse().unwrap();
        sockets.send(local, inside, b"x");
        assert_eq!((sockets.next_unreachable(), sockets.unsent()), (None, 1));
    }
}
