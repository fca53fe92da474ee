//! Where trunks are: host names to addresses, asked for again now and then, off the signalling task.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::TrunkConfig;
use crate::units::TrunkName;

/// Between two look-ups of a name that was found, and of one that was not.
const FOUND: Duration = Duration::from_secs(300);
const NOT_FOUND: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
const SIP_PORT: u16 = 5060;
/// Addresses of one name that are used.
const MOST_ADDRESSES: usize = 8;

/// A trunk's addresses and the address of ours that reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub trunk: TrunkName,
    pub targets: Vec<SocketAddr>,
    pub local: SocketAddr,
}

/// Looks a trunk's address up for as long as the receiver lives, and tells each change.
pub async fn watch(trunk: TrunkConfig, listen: Vec<SocketAddr>, found: mpsc::Sender<Found>) {
    let wanted = trunk.proxy.clone().unwrap_or_else(|| trunk.host.clone());
    let mut last = None;
    loop {
        let targets = look_up(&wanted).await;
        let pause = if targets.is_empty() { NOT_FOUND } else { FOUND };
        if targets.is_empty() {
            tracing::warn!(trunk = %trunk.name, host = %wanted, "the trunk's address is not known; trying again");
        }
        // Told even when nothing was found at first: calls may come from the trunk's configured addresses. Later, a
        // name that is not found leaves the addresses that were.
        if last.as_ref() != Some(&targets) && (last.is_none() || !targets.is_empty()) {
            let any = SocketAddr::from(([192, 0, 2, 1], SIP_PORT));
            let local = local_for(&listen, targets.first().copied().unwrap_or(any));
            last = Some(targets.clone());
            let told = Found {
                trunk: trunk.name.clone(),
                targets,
                local,
            };
            if found.send(told).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = found.closed() => return,
        }
    }
}

async fn look_up(wanted: &str) -> Vec<SocketAddr> {
    if let Ok(address) = wanted.parse::<SocketAddr>() {
        return vec![address];
    }
    if let Ok(address) = wanted.trim_matches(['[', ']']).parse::<IpAddr>() {
        return vec![SocketAddr::new(address, SIP_PORT)];
    }
    let with_port = match wanted.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => wanted.to_owned(),
        _ => format!("{wanted}:{SIP_PORT}"),
    };
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host(with_port)).await {
        Ok(Ok(addresses)) => addresses.take(MOST_ADDRESSES).collect(),
        _ => Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_reaches_a_target_is_concrete() {
        let listen = ["0.0.0.0:5070".parse().unwrap()];
        let local = local_for(&listen, "127.0.0.1:5060".parse().unwrap());
        assert_eq!(local.to_string(), "127.0.0.1:5070");
    }

    #[test]
    fn listening_address_of_the_targets_kind_is_chosen() {
        let listen = ["[::1]:5060".parse().unwrap(), "127.0.10.1:5060".parse().unwrap()];
        let local = local_for(&listen, "127.0.12.1:5060".parse().unwrap());
        assert_eq!(local.to_string(), "127.0.10.1:5060");
    }
}
