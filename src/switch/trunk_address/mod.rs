//! Where trunks are: host names to addresses, off the signalling task.
//!
//! In: the trunk's places and name servers. Out: [`Found`], told for each change. Names are asked for again when their
//! answers' time is over (never before 5 s, at the latest after an hour); one that is not found leaves what was found.

mod look_up;
mod order;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use sip::Share;
use tokio::sync::mpsc;

use super::setup::{self, StartError};
use super::start::seed;
use crate::config::{Config, Listen, Place, Transport, TrunkConfig};
use crate::units::TrunkName;
use look_up::{Answer, Dns, LookUpError};

/// Until a name that was not found is asked for again.
const NOT_FOUND: Duration = Duration::from_secs(10);
/// Beyond the end of an answer, so that it is no longer remembered when it is asked for again.
const GRACE: Duration = Duration::from_millis(50);
const SIP_PORT: u16 = 5060;
/// Most groups of equally good addresses in one answer: at most one for each address.
const GROUPS: usize = 16;
/// Addresses of one trunk that are used.
const MOST_TARGETS: usize = 16;

/// A trunk's addresses and the address of ours that reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub trunk: TrunkName,
    /// Where calls go, best first.
    pub targets: Vec<SocketAddr>,
    /// How calls are spread over them, in their order.
    pub shares: Vec<Share>,
    /// Where REGISTER goes, where that is elsewhere; best first.
    pub registrars: Vec<SocketAddr>,
    pub local: SocketAddr,
}

/// Begins to look the trunks of a configuration up; those who look end with the receiver of what they find.
pub fn watch_trunks(
    config: &Config,
    listen: &[Listen],
    found: &mpsc::Sender<Found>,
) -> Result<(), StartError> {
    let (four, six) = (
        listen.iter().any(|listen| listen.address.is_ipv4()),
        listen.iter().any(|listen| listen.address.is_ipv6()),
    );
    let dns = Dns::new(&config.sip.nameservers, (four, six));
    if let Err(error) = &dns {
        tracing::warn!("host names of trunks cannot be looked up: {error}");
    }
    for trunk in &config.trunks {
        let dns = dns.as_ref().ok().cloned();
        let ours = setup::listen_over(listen, trunk.transport);
        let watching = watch(trunk.clone(), ours, dns, seed()?, found.clone());
        tokio::spawn(watching);
    }
    Ok(())
}

/// Looks a trunk's addresses up for as long as the receiver lives, and tells each change. `dns` is none where no name
/// server is known; then only addresses are found.
pub async fn watch(
    trunk: TrunkConfig,
    listen: Vec<SocketAddr>,
    dns: Option<Dns>,
    seed: [u8; 32],
    found: mpsc::Sender<Found>,
) {
    let transport = trunk.transport;
    let mut random = ChaCha12Rng::from_seed(seed);
    let mut proxies = Side::new(&trunk.name, trunk.places(), transport);
    let mut registrars = Side::new(&trunk.name, &trunk.registrar, transport);
    let mut last = None;
    loop {
        let pause = proxies
            .renew(dns.as_ref(), &mut random)
            .await
            .min(registrars.renew(dns.as_ref(), &mut random).await);
        let (targets, shares) = proxies.targets(&listen).into_iter().unzip();
        let targets: Vec<SocketAddr> = targets;
        // Told even when nothing was found at first: calls may come from the trunk's configured addresses.
        let told = Found {
            trunk: trunk.name.clone(),
            local: local_for(
                &listen,
                targets
                    .first()
                    .copied()
                    .unwrap_or(SocketAddr::from(([192, 0, 2, 1], SIP_PORT))),
            ),
            targets,
            shares,
            registrars: registrars
                .targets(&listen)
                .into_iter()
                .map(|(target, _)| target)
                .collect(),
        };
        if last.as_ref() != Some(&told) {
            last = Some(told.clone());
            if found.send(told).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause + GRACE) => {}
            () = found.closed() => return,
        }
    }
}

/// Several places that serve for the same, in order, each with what was last found of it.
struct Side {
    trunk: TrunkName,
    transport: Transport,
    places: Vec<(String, Vec<(SocketAddr, Share)>)>,
}

impl Side {
    fn new(trunk: &TrunkName, places: &[String], transport: Transport) -> Self {
        Self {
            trunk: trunk.clone(),
            transport,
            places: places.iter().map(|place| (place.clone(), Vec::new())).collect(),
        }
    }

    /// Asks for every place; tells when to ask again.
    async fn renew(&mut self, dns: Option<&Dns>, random: &mut ChaCha12Rng) -> Duration {
        let mut pause = Duration::from_secs(3600);
        for (text, known) in &mut self.places {
            let mut draw = |most: u32| {
                // Evenly spread: the upper half of a product of 32 bits with the number of outcomes.
                let product = u64::from(random.next_u32()) * (u64::from(most) + 1);
                u32::try_from(product >> 32).unwrap_or(most)
            };
            match look_up(text, self.transport, dns, &mut draw).await {
                Ok(answer) => {
                    pause = pause.min(answer.lifetime);
                    let found: Vec<_> = answer.targets.into_iter().zip(answer.shares).collect();
                    // The same hosts keep their order: a new draw of weights is no change.
                    let same = known.len() == found.len() && known.iter().all(|known| found.contains(known));
                    if !same {
                        *known = found;
                    }
                }
                Err(error) => {
                    pause = pause.min(NOT_FOUND);
                    let kept = known.len();
                    tracing::warn!(trunk = %self.trunk, host = %text, kept, "the trunk's address was not found: {error}");
                }
            }
        }
        pause
    }

    /// What is known, as far as we listen on that kind of address. All are of the kind of the first.
    fn targets(&self, listen: &[SocketAddr]) -> Vec<(SocketAddr, Share)> {
        let mut targets: Vec<(SocketAddr, Share)> = Vec::new();
        let places = (0u16..).step_by(GROUPS).zip(&self.places);
        for (first, (target, share)) in
            places.flat_map(|(first, (_, known))| known.iter().map(move |one| (first, *one)))
        {
            let reachable = listen.iter().any(|ours| ours.is_ipv4() == target.is_ipv4());
            let like_first = targets
                .first()
                .is_none_or(|(first, _)| first.is_ipv4() == target.is_ipv4());
            let is_new = targets.iter().all(|(other, _)| *other != target);
            if reachable && like_first && is_new && targets.len() < MOST_TARGETS {
                let group = first.saturating_add(share.group);
                targets.push((target, Share { group, ..share }));
            }
        }
        targets
    }
}

async fn look_up(
    text: &str,
    transport: Transport,
    dns: Option<&Dns>,
    draw: &mut (dyn FnMut(u32) -> u32 + Send),
) -> Result<Answer, LookUpError> {
    let place = Place::parse(text, transport).ok_or(LookUpError::NoName)?;
    match (dns, &place) {
        (Some(dns), _) => dns.find(&place, transport, draw).await,
        (None, Place::Address(address)) => Ok(Answer {
            targets: vec![*address],
            shares: vec![look_up::ALONE],
            lifetime: Duration::from_secs(3600),
        }),
        (None, Place::Name { .. }) => Err(LookUpError::Failed("there is no name server".to_owned())),
    }
}

/// Which of our listening addresses reaches a target; where we listen on every address, the one that the system
/// would send from.
pub fn local_for(listen: &[SocketAddr], target: SocketAddr) -> SocketAddr {
    let same_family = |address: &&SocketAddr| address.is_ipv4() == target.is_ipv4();
    let chosen = listen
        .iter()
        .filter(same_family)
        .find(|address| address.ip().is_loopback() == target.ip().is_loopback())
        .or_else(|| listen.iter().find(same_family))
        .or(listen.first());
    let Some(chosen) = chosen else {
        return SocketAddr::from(([127, 0, 0, 1], SIP_PORT));
    };
    if !chosen.ip().is_unspecified() {
        return *chosen;
    }
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let routed = UdpSocket::bind(any).and_then(|probe| {
        probe.connect(target)?;
        probe.local_addr()
    });
    routed.map_or(*chosen, |address| SocketAddr::new(address.ip(), chosen.port()))
}
