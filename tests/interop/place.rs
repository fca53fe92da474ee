//! Where a test takes place: loopback addresses and a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Six neighbouring loopback addresses and a folder that goes away with the test.
pub struct Place {
    first: [u8; 2],
    folder: TempDir,
}

static TAKEN: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub fn new() -> Place {
        for _ in 0..500 {
            let number = std::process::id().wrapping_mul(31) + TAKEN.fetch_add(1, Ordering::Relaxed);
            let first = [130 + (number / 250 % 100) as u8, (number % 250) as u8];
            let address = |last| SocketAddr::new(ip(first, last), 5060);
            if (1..=6)
                .map(|last| UdpSocket::bind(address(last)))
                .all(|socket| socket.is_ok())
            {
                return Place {
                    first,
                    folder: tempfile::tempdir().unwrap(),
                };
            }
        }
        panic!("no free loopback addresses");
    }

    fn ip(&self, last: u8) -> IpAddr {
        ip(self.first, last)
    }

    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(self.ip(1), 5060)
    }

    /// The trunk that calls come from.
    pub fn callers(&self) -> SocketAddr {
        SocketAddr::new(self.ip(2), 5060)
    }

    /// The trunk that leads to the offices.
    pub fn offices(&self) -> SocketAddr {
        SocketAddr::new(self.ip(3), 5060)
    }

    /// No trunk of the server's.
    pub fn stranger(&self) -> SocketAddr {
        SocketAddr::new(self.ip(4), 5060)
    }

    /// A proxy or registrar before the server.
    pub fn proxy(&self) -> SocketAddr {
        SocketAddr::new(self.ip(5), 5060)
    }

    /// A second one of whatever the test needs two of.
    pub fn second(&self) -> SocketAddr {
        SocketAddr::new(self.ip(6), 5060)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Waits until a program listens there; tells whether it does.
pub fn listens(protocol: &str, address: SocketAddr) -> bool {
    let IpAddr::V4(ip) = address.ip() else {
        return false;
    };
    // As the kernel's tables write it: the address as a number of this machine's byte order, then the port.
    let shown = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let table = std::fs::read_to_string(format!("/proc/net/{protocol}")).unwrap_or_default();
        let mut locals = table.lines().filter_map(|line| line.split_whitespace().nth(1));
        if locals.any(|local| local == shown) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn ip(first: [u8; 2], last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, first[0], first[1], last))
}
