//! The transports of SIP: UDP sockets, and connections over TCP and TLS.
//!
//! In: messages to send, connections that others open. Out: [`Ready`], one thing at a time, in turn. RFC 3261 §18,
//! RFC 5626 §4.4.1 (keep-alives), RFC 5922 (names in certificates). No peer may hold up another: every queue is
//! bounded, and a connection whose other side does not read, write or prove itself in time is closed.

mod connection;
mod connections;
mod framing;
mod tls;
mod udp;
mod validity;
mod words;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{Listen, Transport};
pub use connection::Notice;
pub use connections::{Connections, Heard, Lost, Way};
pub use tls::{CertificateDates, Tls, certificate_dates};
pub use udp::{LARGEST, UdpSockets};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

impl From<Transport> for sip::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Udp => Self::Udp,
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
        }
    }
}

/// Something that came.
pub enum Ready {
    /// A UDP socket has datagrams.
    Datagrams(usize),
    Accepted {
        transport: Transport,
        stream: TcpStream,
        source: SocketAddr,
    },
    Notice(Notice),
}

/// All sockets that SIP uses.
pub struct Transports {
    pub udp: UdpSockets,
    pub connections: Connections,
    listeners: Vec<(Listen, TcpListener)>,
    /// Which of the three kinds is looked at first.
    turn: usize,
}

impl Transports {
    /// Binds every address. Must run inside the runtime.
    ///
    /// # Errors
    /// Names the address that could not be bound.
    pub fn bind(listen: &[Listen], tls: Tls) -> Result<Self, (SocketAddr, io::Error)> {
        let over_udp = |listen: &&Listen| listen.transport == Transport::Udp;
        let addresses: Vec<SocketAddr> = listen
            .iter()
            .filter(over_udp)
            .map(|listen| listen.address)
            .collect();
        let udp = UdpSockets::bind(&addresses)?;
        let mut listeners = Vec::new();
        for &Listen { transport, address } in listen.iter().filter(|listen| !over_udp(listen)) {
            let listener = bind_one(address).map_err(|error| (address, error))?;
            let address = listener.local_addr().map_err(|error| (address, error))?;
            listeners.push((Listen { transport, address }, listener));
        }
        Ok(Self {
            udp,
            connections: Connections::new(tls),
            listeners,
            turn: 0,
        })
    }

    /// Where SIP arrives, those over UDP first.
    pub fn listen(&self) -> Vec<Listen> {
        let transport = Transport::Udp;
        let udp = self.udp.addresses().map(|address| Listen { transport, address });
        udp.chain(self.listeners.iter().map(|(listen, _)| *listen))
            .collect()
    }

    /// Waits until something came: datagrams, connections and their news in turn, so that none starves another.
    pub async fn ready(&mut self) -> Ready {
        poll_fn(|context| {
            for step in 0..3 {
                let kind = (self.turn + step) % 3;
                let found = match kind {
                    0 => self.udp.poll_readable(context).map(Ready::Datagrams),
                    1 => self.poll_accept(context),
                    _ => self.connections.poll_notice(context).map(Ready::Notice),
                };
                if found.is_ready() {
                    self.turn = kind + 1;
                    return found;
                }
            }
            Poll::Pending
        })
        .await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Ready> {
        for (listen, listener) in &self.listeners {
            // A connection that was gone again before it could be taken is no matter; without descriptors the system
            // keeps it waiting, and the next look is at the next heartbeat.
            if let Poll::Ready(Ok((stream, source))) = listener.poll_accept(context) {
                let transport = listen.transport;
                return Poll::Ready(Ready::Accepted {
                    transport,
                    stream,
                    source,
                });
            }
        }
        Poll::Pending
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
