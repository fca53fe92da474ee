//! Asking the DNS where a trunk is: SRV, then A and AAAA (RFC 3263 §4).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use sip::Share;

use super::order::{Record, ordered};
use crate::config::{Place, Transport};

/// All questions about one place together take at most this long.
const PATIENCE: Duration = Duration::from_secs(8);
/// One question to one name server.
const ONE_QUESTION: Duration = Duration::from_secs(2);
/// Addresses of one place that are used.
const MOST_ADDRESSES: usize = 16;
/// Shortest and longest time that an answer is believed, whatever it says itself.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// Of one step of an SRV weight, so that it can be divided among addresses.
const WEIGHT: u32 = 64;
/// The share of an address without SRV.
pub(super) const ALONE: Share = Share { group: 0, weight: 1 };

/// Where a place is, best first, and for how long that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub targets: Vec<SocketAddr>,
    /// How calls are spread over them, in their order.
    pub shares: Vec<Share>,
    pub lifetime: Duration,
}

/// Why nothing is known of a place.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    #[error("no name server answered in time")]
    TimedOut,
    #[error("it is not a host name")]
    NoName,
    #[error("the name has no address")]
    NoAddress,
    #[error("{0}")]
    Failed(String),
}

/// Asks name servers. Cloning it is cheap; all clones share one cache.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// `servers` empty: those that the system has. `families`: whether IPv4 and IPv6 addresses can be used.
    pub fn new(servers: &[SocketAddr], families: (bool, bool)) -> Result<Self, LookUpError> {
        let failed = |error: NetError| LookUpError::Failed(error.to_string());
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set(builder.options_mut(), families);
        Ok(Self {
            resolver: builder.build().map_err(failed)?,
        })
    }

    /// Finds a place. `draw` gives a random number from 0 to its argument, for the weights of SRV records.
    ///
    /// # Errors
    /// When nothing is found, or nobody answers: what was known before should be kept then.
    pub async fn find(
        &self,
        place: &Place,
        transport: Transport,
        draw: &mut (dyn FnMut(u32) -> u32 + Send),
    ) -> Result<Answer, LookUpError> {
        let (name, port) = match place {
            Place::Address(address) => {
                return Ok(Answer {
                    targets: vec![*address],
                    shares: vec![ALONE],
                    lifetime: LONGEST,
                });
            }
            Place::Name { name, port } => (name.as_str(), *port),
        };
        let asked = self.ask(name, port, transport, draw);
        let mut answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .map_err(|_| LookUpError::TimedOut)??;
        answer.targets.truncate(MOST_ADDRESSES);
        answer.shares.truncate(MOST_ADDRESSES);
        answer.lifetime = answer.lifetime.clamp(SHORTEST, LONGEST);
        if answer.targets.is_empty() {
            return Err(LookUpError::NoAddress);
        }
        Ok(answer)
    }

    async fn ask(
        &self,
        name: &str,
        port: Option<u16>,
        transport: Transport,
        draw: &mut (dyn FnMut(u32) -> u32 + Send),
    ) -> Result<Answer, LookUpError> {
        if let Some(port) = port {
            return self.addresses(name, port).await;
        }
        let Some((records, lifetime)) = self.services(name, transport).await? else {
            return self.addresses(name, transport.port()).await;
        };
        let mut answer = Answer {
            targets: Vec::new(),
            shares: Vec::new(),
            lifetime,
        };
        let mut group = (0, None);
        for record in ordered(records, draw) {
            // A host without an address must not hide the others.
            let Ok(found) = self.addresses(&record.host, record.port).await else {
                answer.lifetime = SHORTEST;
                continue;
            };
            answer.lifetime = answer.lifetime.min(found.lifetime);
            if group.1.is_some_and(|priority| priority != record.priority) {
                group.0 += 1;
            }
            group.1 = Some(record.priority);
            // The addresses of one host share its weight.
            let count = u32::try_from(found.targets.len()).unwrap_or(u32::MAX).max(1);
            let share = Share {
                group: group.0,
                weight: (u32::from(record.weight) * WEIGHT / count).max(1),
            };
            for target in found.targets {
                if !answer.targets.contains(&target) {
                    answer.targets.push(target);
                    answer.shares.push(share);
                }
            }
            if answer.targets.len() >= MOST_ADDRESSES {
                break;
            }
        }
        Ok(answer)
    }

    /// The SRV records of a name; none where it has none.
    async fn services(
        &self,
        name: &str,
        transport: Transport,
    ) -> Result<Option<(Vec<Record>, Duration)>, LookUpError> {
        let question = format!("{}.{name}.", transport.srv_prefix());
        let lookup = match self.resolver.lookup(question, RecordType::SRV).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_no_records_found() => return Ok(None),
            Err(error) => return Err(LookUpError::Failed(error.to_string())),
        };
        let records: Vec<Record> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(Record {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    host: srv.target.to_string(),
                }),
                _ => None,
            })
            // "." says that the service is not to be had there (RFC 2782, "Target").
            .filter(|record| record.host != "." && record.port != 0)
            .collect();
        Ok(Some((records, left(lookup.valid_until()))))
    }

    async fn addresses(&self, name: &str, port: u16) -> Result<Answer, LookUpError> {
        // A name of several labels is whole; a single one may be looked for in the system's own domain.
        let question = match name.trim_end_matches('.') {
            name if name.contains('.') => format!("{name}."),
            name => name.to_owned(),
        };
        let lookup = self.resolver.lookup_ip(question).await.map_err(|error| {
            if error.is_no_records_found() {
                LookUpError::NoAddress
            } else {
                LookUpError::Failed(error.to_string())
            }
        })?;
        let mut addresses: Vec<IpAddr> = lookup.iter().take(MOST_ADDRESSES).collect();
        addresses.sort_by_key(|address| address.is_ipv6());
        Ok(Answer {
            shares: vec![ALONE; addresses.len()],
            targets: addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect(),
            lifetime: left(lookup.valid_until()),
        })
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    let connections: Vec<ConnectionConfig> = std::mem::take(&mut server.connections)
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    server.connections = connections;
    server
}

/// CNAMEs are followed by the resolver, at most eight in a row.
fn set(options: &mut ResolverOpts, (four, six): (bool, bool)) {
    options.timeout = ONE_QUESTION;
    options.attempts = 2;
    options.positive_max_ttl = Some(LONGEST);
    // A name that was not found is asked for again soon.
    options.negative_max_ttl = Some(SHORTEST);
    options.ip_strategy = match (four, six) {
        (true, false) => LookupIpStrategy::Ipv4Only,
        (false, true) => LookupIpStrategy::Ipv6Only,
        _ => LookupIpStrategy::Ipv4AndIpv6,
    };
}
