//! The other side of a connection over TCP or TLS, and the certificates that it shows.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority with its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pub folder: tempfile::TempDir,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self {
            root: root.der().clone(),
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// Writes `FILE.pem` and `FILE.key` of a certificate of this name; an old one ended years ago.
    pub fn issue(&self, file: &str, name: &str, is_old: bool) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_old {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Configuration keys for a certificate.
    pub fn keys(&self, file: &str) -> String {
        let path = |end: &str| self.path(&format!("{file}.{end}")).display().to_string();
        format!(
            "tls_certificate = \"{}\"\ntls_key = {{ file = \"{}\" }}\n",
            path("pem"),
            path("key")
        )
    }

    fn pair(&self, file: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(self.path(&format!("{file}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(roots)
    }

    /// What a server shows, and whether it wants a certificate too.
    pub fn server(&self, file: &str, wants_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let (chain, key) = self.pair(file);
        let builder = match wants_client {
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            false => builder.with_no_client_auth(),
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    pub fn client(&self, file: Option<&str>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        Arc::new(match file {
            Some(file) => {
                let (chain, key) = self.pair(file);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One connection, read message by message.
pub struct FarEnd {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    pub local: SocketAddr,
}

/// Connects from an address.
pub fn dial(from: &str, to: &str) -> TcpStream {
    let (from, to): (SocketAddr, SocketAddr) = (format!("{from}:0").parse().unwrap(), to.parse().unwrap());
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream
}

impl FarEnd {
    pub fn tcp(from: &str, to: &str) -> Self {
        Self::over(dial(from, to))
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self {
            local: stream.local_addr().unwrap(),
            stream: Box::new(stream),
            received: Vec::new(),
        }
    }

    /// Connects over TLS and proves the server's name; also gives the certificate that it showed.
    pub fn tls(
        from: &str,
        to: &str,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<(Self, CertificateDer<'static>)> {
        let stream = dial(from, to);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let local = stream.local_addr().unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
        stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let far_end = Self {
            stream: Box::new(stream),
            received: Vec::new(),
            local,
        };
        Ok((far_end, shown))
    }

    /// Takes a connection over TLS; also gives the name that was asked for and how many certificates were shown.
    pub fn accept_tls(
        listener: &TcpListener,
        config: &Arc<ServerConfig>,
    ) -> std::io::Result<(Self, Option<String>, usize)> {
        let stream = accept(listener);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let local = stream.local_addr().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let asked_for = stream.conn.server_name().map(str::to_owned);
        let shown = stream.conn.peer_certificates().map_or(0, <[_]>::len);
        stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let far_end = Self {
            stream: Box::new(stream),
            received: Vec::new(),
            local,
        };
        Ok((far_end, asked_for, shown))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends unless the other side has closed or takes nothing.
    pub fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Reads some more; tells whether the other side has closed.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
        false
    }

    /// The next message.
    pub fn hear(&mut self) -> String {
        self.hear_after("nothing")
    }

    fn hear_after(&mut self, before: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(length) = sip::message::frame_length(&self.received).unwrap() {
                let rest = self.received.split_off(length);
                let message = std::mem::replace(&mut self.received, rest);
                return String::from_utf8(message).unwrap();
            }
            let closed = self.read();
            assert!(
                !closed,
                "closed after {before} and {:?}",
                String::from_utf8_lossy(&self.received)
            );
            assert!(Instant::now() < deadline, "nothing came after {before}");
        }
    }

    /// The next message that begins like this; others are passed over.
    pub fn await_message(&mut self, begin: &str) -> String {
        let mut passed_over = String::new();
        loop {
            let message = self.hear_after(&passed_over);
            if message.starts_with(begin) {
                return message;
            }
            passed_over += &message;
        }
    }

    /// The next bytes, which must be these.
    pub fn await_bytes(&mut self, bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while self.received.len() < bytes.len() {
            assert!(!self.read() && Instant::now() < deadline, "{:?}", self.received);
        }
        assert_eq!(self.received, bytes);
        self.received.clear();
    }

    /// Whether the other side closes within a time.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if self.read() {
                return true;
            }
        }
        false
    }
}

/// Listens where a peer would.
pub fn listen(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(_) => {
                assert!(Instant::now() < deadline, "nobody connected");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The value of a header.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert!(line.is_some(), "no {name} in {message}");
    line.unwrap_or_default()
}
