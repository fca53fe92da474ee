//! The handles that phones and offices hold: a user agent on one UDP address, and its calls.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::exchange::Exchange;
use super::registrar::{Registrar, Registration};

/// How many events may wait for a phone, or orders for the exchange.
const QUEUE: usize = 256;

/// A SIP user agent on one UDP address. Its work is done by a task, which ends when all handles are gone.
#[derive(Debug)]
pub struct UserAgent {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
}

/// What comes in without being asked for.
#[derive(Debug)]
pub enum Arrival {
    /// Somebody calls.
    Call(Call),
    /// The registrar challenged, accepted, refused or removed a registration.
    Registration(Registration),
    /// A datagram that rsip could not read as SIP.
    Unreadable { source: SocketAddr, text: String },
}

/// A call to make.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where the INVITE is sent.
    pub server: SocketAddr,
    /// The request URI; by default the number at the server.
    pub uri: Option<String>,
    /// The number called, for To and the default request URI.
    pub number: String,
    /// The number calling, for From; empty for a withheld one.
    pub caller: String,
    /// The offer; a call without one is answered with the server's offer.
    pub sdp: Option<String>,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
}

/// Who is called by whom, for a call that came in.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The user part of the request URI.
    pub number: String,
    /// The user part of From.
    pub caller: String,
    pub source: SocketAddr,
    pub sdp: Option<String>,
    /// All headers in order, as they came.
    pub headers: Vec<(String, String)>,
}

impl Invitation {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// 180 or another provisional response without a description.
    Ringing {
        status: u16,
    },
    /// A provisional response with a description: early media.
    Progress {
        sdp: String,
    },
    Answered {
        sdp: String,
    },
    /// The ACK for our answer came, with a description if the answer held the offer.
    Confirmed {
        sdp: Option<String>,
    },
    /// A new offer within the call; it has been accepted with our description.
    Reoffered {
        sdp: String,
    },
    /// A final response other than 2xx, or 408 when none came.
    Failed {
        status: u16,
        reason: Option<String>,
    },
    /// The caller gave up before we answered.
    Cancelled {
        reason: Option<String>,
    },
    /// The other side hung up.
    Ended {
        reason: Option<String>,
    },
    /// Nobody acknowledged our answer within 64·T1.
    NoAck,
}

/// Orders from handles to the exchange.
#[derive(Debug)]
pub enum Order {
    Dial {
        key: u64,
        dial: Dial,
        events: mpsc::Sender<CallEvent>,
    },
    Respond {
        key: u64,
        status: (u16, &'static str),
        headers: Vec<(&'static str, String)>,
        sdp: Option<String>,
    },
    Hangup {
        key: u64,
    },
    Reoffer {
        key: u64,
        sdp: String,
    },
}

/// One call of a user agent. When it is dropped, nothing is sent: hang up first.
#[derive(Debug)]
pub struct Call {
    key: u64,
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<CallEvent>,
    /// How the call came in; absent for one that we dialled.
    pub invitation: Option<Invitation>,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// A key for a call, unique within the process.
pub fn next_key() -> u64 {
    NEXT_KEY.fetch_add(1, Ordering::Relaxed)
}

impl UserAgent {
    /// Opens the socket and starts the exchange; with a registrar, REGISTER is served.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn open(
        address: SocketAddr,
        registrar: Option<Registrar>,
    ) -> io::Result<(UserAgent, mpsc::Receiver<Arrival>)> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        let (orders, order_queue) = mpsc::channel(QUEUE);
        let (arrivals, arrival_queue) = mpsc::channel(QUEUE);
        let exchange = Exchange::new(socket, address, orders.downgrade(), arrivals, registrar);
        tokio::spawn(exchange.run(order_queue));
        Ok((UserAgent { address, orders }, arrival_queue))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends an INVITE.
    pub async fn dial(&self, dial: Dial) -> Call {
        let (key, (events, queue)) = (next_key(), mpsc::channel(QUEUE));
        let order = Order::Dial { key, dial, events };
        let _ = self.orders.send(order).await; // a dead exchange shows as the end of the events
        Call::new(key, self.orders.clone(), queue, None)
    }
}

impl Call {
    pub fn new(
        key: u64,
        orders: mpsc::Sender<Order>,
        events: mpsc::Receiver<CallEvent>,
        invitation: Option<Invitation>,
    ) -> Self {
        Self {
            key,
            orders,
            events,
            invitation,
        }
    }

    /// The next event; nothing once the call is over and all was told.
    pub async fn event(&mut self) -> Option<CallEvent> {
        self.events.recv().await
    }

    /// Sends 180.
    pub async fn ring(&self) {
        self.respond((180, "Ringing"), Vec::new(), None).await;
    }

    /// Sends 183 with a description: early media follows.
    pub async fn progress(&self, sdp: String) {
        self.respond((183, "Session Progress"), Vec::new(), Some(sdp))
            .await;
    }

    /// Sends 200.
    pub async fn answer(&self, sdp: String) {
        self.respond((200, "OK"), Vec::new(), Some(sdp)).await;
    }

    /// Sends a final response other than 2xx, with any further headers.
    pub async fn reject(&self, status: (u16, &'static str), headers: Vec<(&'static str, String)>) {
        self.respond(status, headers, None).await;
    }

    /// CANCEL, BYE or 480, as the state of the call asks for.
    pub async fn hangup(&self) {
        let _ = self.orders.send(Order::Hangup { key: self.key }).await;
    }

    /// Sends a re-INVITE.
    pub async fn reoffer(&self, sdp: String) {
        let _ = self.orders.send(Order::Reoffer { key: self.key, sdp }).await;
    }

    async fn respond(
        &self,
        status: (u16, &'static str),
        headers: Vec<(&'static str, String)>,
        sdp: Option<String>,
    ) {
        let _ = self
            .orders
            .send(Order::Respond {
                key: self.key,
                status,
                headers,
                sdp,
            })
            .await;
    }
}
