//! Between the sockets and the engine: what came is an input, what is to be sent finds its way.

use std::net::SocketAddr;
use std::time::Duration;

use super::{BATCH, Running};
use crate::switch::engine::Input;
use crate::switch::sip_transport::{Heard, LARGEST, Lost, Notice, Ready, Way};

/// Room for one datagram.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; LARGEST]
}

impl Running {
    pub(super) fn receive(&mut self, ready: Ready, buffer: &mut [u8]) {
        match ready {
            Ready::Datagrams(index) => self.receive_datagrams(index, buffer),
            Ready::Accepted {
                transport,
                stream,
                source,
            } => {
                let now = self.clock.now();
                let is_known = self.engine.is_trunks(source.ip());
                if is_known || self.engine.admits(now, source.ip()) {
                    let connections = &mut self.transports.connections;
                    connections.accept(transport.into(), stream, source, is_known);
                }
            }
            Ready::Notice(notice) => {
                self.notice(notice);
                for _ in 1..BATCH {
                    let Some(notice) = self.transports.connections.next_notice() else {
                        break;
                    };
                    self.notice(notice);
                }
            }
        }
    }

    fn receive_datagrams(&mut self, index: usize, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let Some((local, source, length)) = self.transports.udp.receive(index, buffer) else {
                return;
            };
            let Some(bytes) = buffer.get(..length) else { return };
            let transport = sip::Transport::Udp;
            let input = Input::Sip(sip::Input::Received {
                local,
                source,
                transport,
                bytes,
            });
            self.engine.handle_input(self.clock.now(), input);
        }
    }

    fn notice(&mut self, notice: Notice) {
        let Some(heard) = self.transports.connections.take(notice) else {
            return;
        };
        let Heard {
            connection,
            local,
            source,
            transport,
            proved,
            is_stranger,
            bytes,
        } = heard;
        let bytes = bytes.as_slice();
        // Of a trunk that a reload took away nothing but the address is left.
        let input = match proved.and_then(|trunk| self.engine.peer(&trunk)) {
            Some(peer) => sip::Input::ReceivedFrom {
                peer,
                local,
                source,
                transport,
                bytes,
            },
            None => sip::Input::Received {
                local,
                source,
                transport,
                bytes,
            },
        };
        self.engine.handle_input(self.clock.now(), Input::Sip(input));
        if is_stranger && self.engine.is_trunks(source.ip()) {
            self.transports.connections.know(connection);
        }
    }

    pub(super) fn send(
        &mut self,
        (local, destination): (SocketAddr, SocketAddr),
        transport: sip::Transport,
        (peer, connection): (Option<sip::PeerId>, Option<SocketAddr>),
        bytes: Vec<u8>,
    ) {
        if transport == sip::Transport::Udp {
            return self.transports.udp.send(local, destination, &bytes);
        }
        let trunk = peer.and_then(|peer| self.engine.trunk(peer));
        let way = Way {
            local,
            destination,
            transport,
            trunk: trunk.map(|trunk| trunk.name.clone()),
            connection,
        };
        self.transports.connections.send(&way, bytes);
    }

    /// Lets connections send what waits, for a moment.
    pub(super) async fn flush(&self) {
        for _ in 0..50 {
            if self.transports.connections.is_flushed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Tells the SIP core of connections that are gone.
    pub(super) fn tell_lost(&mut self) -> bool {
        let mut told = false;
        while let Some(lost) = self.transports.connections.next_lost() {
            told = true;
            let (Lost::Connection { trunk, .. } | Lost::Unreachable { trunk, .. }) = &lost;
            let peer = trunk.as_ref().and_then(|trunk| self.engine.peer(trunk));
            if trunk.is_some() && peer.is_none() {
                // A reload took the trunk away; nothing of its is waited for.
                continue;
            }
            let input = match lost {
                Lost::Connection {
                    remote, transport, ..
                } => sip::Input::ConnectionLost {
                    peer,
                    remote,
                    transport,
                },
                Lost::Unreachable {
                    remote, transport, ..
                } => sip::Input::Unreachable {
                    peer,
                    remote,
                    transport,
                },
            };
            self.engine.handle_input(self.clock.now(), Input::Sip(input));
        }
        while let Some(remote) = self.transports.udp.next_unreachable() {
            told = true;
            let transport = sip::Transport::Udp;
            let input = sip::Input::Unreachable {
                peer: None,
                remote,
                transport,
            };
            self.engine.handle_input(self.clock.now(), Input::Sip(input));
        }
        told
    }
}
