//! Whom we talk to: a trunk or another switch, with its addresses and credentials.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::session::Extensions;

/// Names a peer; chosen by the owner of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u32);

/// How messages travel. Over TCP and TLS a destination means the open connection to that address, or a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// Whether the transport itself retransmits, so that SIP must not (RFC 3261 §17.1.1.2).
    pub fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The port of a URI or Via that names none (RFC 3261 §18.2.2).
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    pub(crate) fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// A range of addresses: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Network {
    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, canonical(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32u32.saturating_sub(u32::from(self.prefix));
                shift == 32 || u32::from(network) >> shift == u32::from(address) >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128u32.saturating_sub(u32::from(self.prefix));
                shift == 128 || u128::from(network) >> shift == u128::from(address) >> shift
            }
            _ => false,
        }
    }
}

/// IPv4 addresses mapped into IPv6 count as IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// A username and password, used only for challenges from the peer they belong to.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// When set, challenges of any other realm are refused.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// How calls are spread over targets (RFC 2782): those of one group are equally good, and take calls by their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub group: u16,
    pub weight: u32,
}

/// A peer that may call us and that we may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: PeerId,
    /// Where requests go, best first; already resolved. May be empty for a peer that only calls us.
    pub targets: Vec<SocketAddr>,
    /// The share of each target, in their order; empty where the first one takes all calls.
    pub shares: Vec<Share>,
    /// Where REGISTER goes, best first; empty for `targets`.
    pub registrars: Vec<SocketAddr>,
    /// Addresses that were among these until not long ago: calls that began there go on.
    pub former: Vec<IpAddr>,
    /// Addresses its requests come from, beside those of `targets`.
    pub networks: Vec<Network>,
    /// How requests go to it. A peer on TLS is heard over TLS only, one on TCP not over UDP: the source of a datagram
    /// proves nothing.
    pub transport: Transport,
    /// Whether requests over UDP that are too large for any path go by TCP (RFC 3261 §18.1.1).
    pub large_by_tcp: bool,
    /// Our listening address that sends to this peer; concrete, not a wildcard.
    pub local: SocketAddr,
    /// The address told in Via and Contact when it differs from `local` (NAT).
    pub public: Option<SocketAddr>,
    pub credentials: Option<Credentials>,
    /// What its requests prove themselves with when they come from elsewhere than `targets` and `networks`: digest
    /// authentication in the realm of the endpoint, whatever realm stands here. `None`: by address only.
    pub accepts: Option<Credentials>,
    /// An outbound proxy as a Route value (`<sip:proxy.example.com;lr>`) put on requests outside dialogs.
    pub route: Option<String>,
    /// What its calls use beyond RFC 3261.
    pub extensions: Extensions,
}

impl Peer {
    /// A peer known by its addresses, over UDP, without credentials.
    pub fn new(id: PeerId, local: SocketAddr, targets: Vec<SocketAddr>) -> Self {
        Self {
            id,
            targets,
            shares: Vec::new(),
            registrars: Vec::new(),
            former: Vec::new(),
            networks: Vec::new(),
            transport: Transport::Udp,
            large_by_tcp: false,
            local,
            public: None,
            credentials: None,
            accepts: None,
            route: None,
            extensions: Extensions::default(),
        }
    }

    /// Whether requests from `source` are this peer's.
    pub fn owns(&self, source: IpAddr) -> bool {
        let source = canonical(source);
        self.targets
            .iter()
            .chain(&self.registrars)
            .any(|target| target.ip() == source)
            || self.networks.iter().any(|network| network.contains(source))
            || self.former.contains(&source)
    }

    /// Whether a request could go there: one of the targets, or what was one.
    pub(crate) fn is_target(&self, remote: SocketAddr) -> bool {
        self.targets.contains(&remote) || self.former.contains(&canonical(remote.ip()))
    }

    pub(crate) fn advertised(&self) -> SocketAddr {
        self.public.unwrap_or(self.local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_prefix_and_mapped_addresses_count_as_ipv4() {
        let network = Network {
            address: "192.0.2.0".parse().unwrap(),
            prefix: 24,
        };
        assert!(network.contains("192.0.2.255".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!network.contains("192.0.3.0".parse().unwrap()));
        let all = Network {
            address: "::".parse().unwrap(),
            prefix: 0,
        };
        assert!(all.contains("2001:db8::1".parse().unwrap()) && !all.contains("192.0.2.1".parse().unwrap()));
        assert!(Network::host("2001:db8::1".parse().unwrap()).contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials {
            username: "u".into(),
            password: "hunter2".into(),
            realm: None,
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
