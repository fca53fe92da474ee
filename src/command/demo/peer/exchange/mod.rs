//! The task behind a user agent: one socket, its transactions with their retransmissions, its dialogs.

mod orders;
mod requests;
mod responses;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rsip::{Method, Request, SipMessage};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::dialog::{Dialog, Stage};
use super::message;
use super::registrar::Registrar;
use super::user_agent::{Arrival, CallEvent, Order};

/// The round-trip estimate, the longest interval between repeats, and when to give up (RFC 3261 §17).
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);

/// How many events may wait for a phone.
const QUEUE: usize = 256;

pub struct Exchange {
    socket: UdpSocket,
    local: SocketAddr,
    orders: mpsc::WeakSender<Order>,
    arrivals: mpsc::Sender<Arrival>,
    registrar: Option<Registrar>,
    dialogs: Vec<Dialog>,
    /// Final responses by transaction, to answer repeated requests alike.
    answered: HashMap<String, Stored>,
    repeats: Vec<Repeat>,
}

struct Stored {
    bytes: Vec<u8>,
    to: SocketAddr,
    until: Instant,
}

/// A datagram that is sent again until the other side reacts.
struct Repeat {
    until: Until,
    bytes: Vec<u8>,
    to: SocketAddr,
    next: Instant,
    interval: Duration,
    longest: Duration,
    give_up: Instant,
}

/// What ends a repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Until {
    /// A response to this branch and method.
    Response(String),
    /// The ACK of this call: for our 2xx, or for another final response.
    Ack { key: u64, success: bool },
}

impl Exchange {
    pub fn new(
        socket: UdpSocket,
        local: SocketAddr,
        orders: mpsc::WeakSender<Order>,
        arrivals: mpsc::Sender<Arrival>,
        registrar: Option<Registrar>,
    ) -> Self {
        let (dialogs, answered, repeats) = (Vec::new(), HashMap::new(), Vec::new());
        Self {
            socket,
            local,
            orders,
            arrivals,
            registrar,
            dialogs,
            answered,
            repeats,
        }
    }

    /// Works until all handles are gone.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut buffer = vec![0_u8; 65_536];
        loop {
            let next = self.repeats.iter().map(|repeat| repeat.next).min();
            let next = next.unwrap_or_else(|| Instant::now() + GIVE_UP);
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = received {
                        self.receive(&buffer[..length], source).await;
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                () = sleep_until(next) => self.repeat(Instant::now()).await,
            }
        }
    }

    async fn repeat(&mut self, now: Instant) {
        self.answered.retain(|_, stored| stored.until > now);
        let mut given_up = Vec::new();
        self.repeats.retain(|repeat| {
            if repeat.give_up <= now {
                given_up.push(repeat.until.clone());
            }
            repeat.give_up > now
        });
        for until in given_up {
            self.give_up(&until);
        }
        for repeat in self.repeats.iter_mut().filter(|repeat| repeat.next <= now) {
            let _ = self.socket.send_to(&repeat.bytes, repeat.to).await;
            repeat.interval = (repeat.interval * 2).min(repeat.longest);
            repeat.next = now + repeat.interval;
        }
        self.dialogs
            .retain(|dialog| dialog.stage != Stage::Over || !dialog.events.is_closed());
    }

    fn give_up(&mut self, until: &Until) {
        for dialog in &mut self.dialogs {
            let silent = match until {
                Until::Response(transaction) => {
                    matches!(
                        dialog.stage,
                        Stage::Inviting {
                            proceeding: false,
                            ..
                        }
                    ) && transaction_of(&dialog.invite).as_ref() == Some(transaction)
                }
                Until::Ack { key, success } => *success && *key == dialog.key && dialog.stage == Stage::Up,
            };
            if silent {
                let event = match until {
                    Until::Response(_) => CallEvent::Failed {
                        status: 408,
                        reason: None,
                    },
                    Until::Ack { .. } => CallEvent::NoAck,
                };
                dialog.stage = Stage::Over;
                dialog.tell(event);
            }
        }
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        let _ = self.socket.send_to(bytes, to).await; // loss is what UDP does
    }

    async fn send_until(&mut self, until: Until, bytes: Vec<u8>, to: SocketAddr, longest: Duration) {
        self.send(&bytes, to).await;
        let now = Instant::now();
        let (next, give_up) = (now + T1, now + GIVE_UP);
        self.repeats.push(Repeat {
            until,
            bytes,
            to,
            next,
            interval: T1,
            longest,
            give_up,
        });
    }

    fn stop_repeating(&mut self, until: &Until) {
        self.repeats.retain(|repeat| repeat.until != *until);
    }

    fn dialog(&mut self, key: u64) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.key == key)
    }

    async fn receive(&mut self, bytes: &[u8], source: SocketAddr) {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return; // a keep-alive
        }
        match SipMessage::try_from(bytes) {
            Ok(SipMessage::Request(request)) => self.requested(request, source).await,
            Ok(SipMessage::Response(response)) => self.responded(response).await,
            Err(_) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let _ = self.arrivals.try_send(Arrival::Unreadable { source, text });
            }
        }
    }
}

/// Names a transaction: the branch, then the method (RFC 3261 §17.2.3). ACK belongs to none of its own.
fn transaction_of(request: &Request) -> Option<String> {
    if request.method == Method::Ack {
        return None;
    }
    Some(format!("{} {}", message::branch(request)?, request.method))
}

fn text_of(body: &[u8]) -> Option<String> {
    (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned())
}

fn split_header(header: &rsip::Header) -> Option<(String, String)> {
    let line = header.to_string();
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

fn random_branch() -> String {
    format!("z9hG4bK{}", random_token())
}

/// Sixteen hexadecimal digits.
fn random_token() -> String {
    let mut bytes = [0_u8; 8];
    let _ = getrandom::fill(&mut bytes); // all zeros only make a clash possible, on loopback
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
