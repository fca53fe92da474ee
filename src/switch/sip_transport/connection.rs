//! One connection over TCP or TLS: a task that reads, frames, writes and keeps alive until it ends.
//!
//! In: messages to send, by a bounded queue. Out: [`Notice`]s. A task that nobody reads from ends by itself or by
//! being dropped; it never holds up another connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::framing::{Framing, Piece};
use super::words::words;

/// Names one connection; never used twice.
pub type ConnectionId = u64;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    pub handshake: Duration,
    /// For a message to be whole, once the connection is open or the message has begun.
    pub message: Duration,
    /// Between two messages of somebody who is no trunk.
    pub idle: Duration,
    /// Between two pings of ours.
    pub ping: Duration,
    pub pong: Duration,
    /// For one message to be taken by the other side.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(5),
            message: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            ping: Duration::from_secs(90),
            pong: Duration::from_secs(10),
            write: Duration::from_secs(10),
        }
    }
}

/// Bytes that somebody who is no trunk may send in one idle time.
const BUDGET: usize = 256 << 10;
/// Bytes asked for in one reading.
const READING: usize = 4096;
const LONG: Duration = Duration::from_secs(86_400);

/// News of a connection, in order.
#[derive(Debug)]
pub enum Notice {
    /// It is open; with the certificate that the other side proved to have.
    Up {
        connection: ConnectionId,
        certificate: Option<CertificateDer<'static>>,
    },
    Message {
        connection: ConnectionId,
        bytes: Vec<u8>,
    },
    /// It is gone. `was_up` tells whether it was ever open.
    Down {
        connection: ConnectionId,
        was_up: bool,
        why: String,
    },
}

/// What the task and the owner of a connection both look at.
#[derive(Debug, Default)]
pub struct Shared {
    /// Bytes that wait to be sent.
    pub queued: AtomicUsize,
    /// The other side is a trunk's.
    pub is_known: AtomicBool,
    pongs: AtomicU32,
}

/// The task's end of a connection.
pub struct Line {
    pub id: ConnectionId,
    pub shared: Arc<Shared>,
    pub pong: mpsc::WeakSender<Vec<u8>>,
    pub notices: mpsc::Sender<Notice>,
    pub patience: Patience,
    /// Whether we opened it, and so keep it alive.
    pub keeps_alive: bool,
}

impl Line {
    /// Serves an open connection until it ends; tells why it did.
    pub async fn serve<S>(
        self,
        stream: S,
        certificate: Option<CertificateDer<'static>>,
        outgoing: mpsc::Receiver<Vec<u8>>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = self.id;
        let up = Notice::Up {
            connection,
            certificate,
        };
        if self.notices.send(up).await.is_err() {
            return;
        }
        let (reader, mut writer) = tokio::io::split(stream);
        let why = tokio::select! {
            why = self.read(reader) => why,
            why = self.write(&mut writer, outgoing) => why,
        };
        // A farewell for TLS; the connection ends without it, too.
        let _ = timeout(Duration::from_millis(100), writer.shutdown()).await;
        self.down(true, why).await;
    }

    pub async fn down(&self, was_up: bool, why: String) {
        let down = Notice::Down {
            connection: self.id,
            was_up,
            why: words(&why),
        };
        // Nobody to tell is left when the switch ends.
        let _ = self.notices.send(down).await;
    }

    async fn read(&self, mut reader: impl AsyncRead + Unpin) -> String {
        let mut framing = Framing::default();
        let mut due = Instant::now() + self.patience.message;
        let (mut spent, mut spent_since) = (0, Instant::now());
        loop {
            framing.bytes.reserve(READING);
            let is_amid = framing.is_amid();
            match timeout_at(due, reader.read_buf(&mut framing.bytes)).await {
                Err(_) if !is_amid && self.is_known() => {
                    due = Instant::now() + LONG;
                    continue;
                }
                Err(_) => return "no whole message came in time".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Ok(Ok(0)) => return "the other side closed it".to_owned(),
                Ok(Ok(count)) => spent += count,
            }
            if spent_since.elapsed() > self.patience.idle {
                (spent, spent_since) = (0, Instant::now());
            }
            if spent > BUDGET && !self.is_known() {
                return "the other side sent too much".to_owned();
            }
            let taken = match self.take(&mut framing).await {
                Ok(taken) => taken,
                Err(why) => return why,
            };
            due = match (framing.is_amid(), taken) {
                (true, 0) if is_amid => due,
                (true, _) => Instant::now() + self.patience.message,
                (false, 0) => due,
                (false, _) if self.is_known() => Instant::now() + LONG,
                (false, _) => Instant::now() + self.patience.idle,
            };
        }
    }

    fn is_known(&self) -> bool {
        self.shared.is_known.load(Ordering::Relaxed)
    }

    /// Passes on what is complete; tells how many messages that were.
    async fn take(&self, framing: &mut Framing) -> Result<usize, String> {
        let mut taken = 0;
        loop {
            let piece = match framing.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(taken),
                Err(error) => {
                    // The engine counts what it cannot read, too.
                    framing.bytes.truncate(READING);
                    self.tell(std::mem::take(&mut framing.bytes)).await?;
                    return Err(format!("no SIP: {error}"));
                }
            };
            match piece {
                Piece::Message(bytes) => {
                    taken += 1;
                    self.tell(bytes).await?;
                }
                Piece::Ping => {
                    if let Some(outgoing) = self.pong.upgrade() {
                        self.shared.queued.fetch_add(2, Ordering::Relaxed);
                        // A full queue has its end coming.
                        let _ = outgoing.try_send(b"\r\n".to_vec());
                    }
                }
                Piece::Pong => {
                    self.shared.pongs.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn tell(&self, bytes: Vec<u8>) -> Result<(), String> {
        let connection = self.id;
        let told = self.notices.send(Notice::Message { connection, bytes }).await;
        told.map_err(|_| "the switch ends".to_owned())
    }

    async fn write<W>(&self, writer: &mut W, mut outgoing: mpsc::Receiver<Vec<u8>>) -> String
    where
        W: AsyncWrite + Unpin,
    {
        let mut ping_at = Instant::now() + self.next_ping();
        let mut awaited: Option<u32> = None;
        loop {
            let ping = sleep_until(if self.keeps_alive {
                ping_at
            } else {
                Instant::now() + LONG
            });
            let bytes = tokio::select! {
                bytes = outgoing.recv() => match bytes {
                    Some(bytes) => bytes,
                    None => return "closed".to_owned(),
                },
                () = ping => {
                    let pongs = self.shared.pongs.load(Ordering::Relaxed);
                    if let Some(before) = awaited.take() {
                        // Many never answer pings; one that used to is gone.
                        if pongs == before && pongs > 0 {
                            return "the other side stopped answering pings".to_owned();
                        }
                        ping_at = Instant::now() + self.next_ping();
                        continue;
                    }
                    awaited = Some(pongs);
                    ping_at = Instant::now() + self.patience.pong;
                    self.shared.queued.fetch_add(4, Ordering::Relaxed);
                    b"\r\n\r\n".to_vec()
                }
            };
            let written = timeout(self.patience.write, async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            });
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "the other side does not read".to_owned(),
            }
            self.shared.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
    }

    /// At 80 to 100 % of the time, so that connections do not all ping at once (RFC 5626 §4.4.1).
    fn next_ping(&self) -> Duration {
        let part = u32::try_from(self.id.wrapping_mul(0x9e37_79b9) % 20).unwrap_or(0);
        self.patience.ping * (80 + part) / 100
    }
}

/// Connects from one of our addresses.
pub async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    let stream = socket.connect(remote).await?;
    prepare(&stream);
    Ok(stream)
}

/// Bytes that the system may keep for a connection in each direction.
const BUFFER: usize = 128 << 10;

/// Lets the system notice by itself that the other side is gone, and keep little for it. What it does not grant is no
/// reason to go without.
pub fn prepare(stream: &tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = socket.set_recv_buffer_size(BUFFER);
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let _ = socket.set_tcp_keepalive(&keep_alive);
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(20)));
}
