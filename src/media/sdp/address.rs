//! Which addresses from a peer's description must not be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why an address is refused as a destination of RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the address is not on the public internet")]
    NotPublic,
    #[error("the address is of this host itself")]
    Loopback,
    #[error("the address is link-local, where clouds keep their metadata services")]
    LinkLocal,
    #[error("the address is not that of one host")]
    NotUnicast,
    #[error("the port belongs to another service")]
    ReservedPort,
}

/// Judges an address that a stranger wrote into a description. None means that RTP may go there before anything
/// came from there. Addresses the operator configured need no judgement. Of an address that is not public, a port of
/// another service is told first: an operator may allow private networks, and never such a port.
pub fn refusal(address: SocketAddr) -> Option<Refusal> {
    let ip = canonical(address.ip());
    let (unicast, public) = match ip {
        IpAddr::V4(ip) => (is_unicast_v4(ip), is_public_v4(ip)),
        IpAddr::V6(ip) => (!ip.is_unspecified() && !ip.is_multicast(), is_public_v6(ip)),
    };
    match () {
        () if !unicast => Some(Refusal::NotUnicast),
        // Below 1024 sit DNS, NTP, SNMP and their like; 1900 is SSDP, 5060 and 5061 SIP, 11211 memcached.
        () if address.port() < 1024 || matches!(address.port(), 1900 | 3702 | 5060 | 5061 | 5353 | 11211) => {
            Some(Refusal::ReservedPort)
        }
        () if ip.is_loopback() => Some(Refusal::Loopback),
        () if is_link_local(ip) => Some(Refusal::LinkLocal),
        () if !public => Some(Refusal::NotPublic),
        () => None,
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // fd00:ec2::254 is a metadata service too.
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

fn is_unicast_v4(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_multicast()
        || ip.octets()[0] == 0
        || ip.octets()[0] >= 240)
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    let carrier_nat = first == 100 && (64..128).contains(&second);
    let protocols = first == 192 && second == 0 && third == 0;
    let benchmarking = first == 198 && (second == 18 || second == 19);
    !(ip.is_private() || ip.is_documentation() || carrier_nat || protocols || benchmarking)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; the documentation prefix, 6to4 and Teredo inside it name other hosts or none.
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && !(first == 0x2001 && (second == 0x0db8 || second == 0)) && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(address: &str) -> Option<Refusal> {
        refusal(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_may_be_sent_to() {
        assert_eq!(judge("54.172.60.1:10000"), None);
        assert_eq!(judge("[2600:1f18::1]:10000"), None);
    }

    #[test]
    fn private_addresses_are_refused() {
        for address in [
            "10.0.0.1:9000",
            "172.16.0.1:9000",
            "192.168.1.1:9000",
            "100.64.0.1:9000",
            "192.0.2.1:9000",
            "198.18.0.1:9000",
            "[fd00::1]:9000",
            "[::ffff:10.0.0.1]:9000",
            "[2002:0a00:0001::1]:9000",
        ] {
            assert_eq!(judge(address), Some(Refusal::NotPublic), "{address}");
        }
    }

    #[test]
    fn this_host_and_metadata_services_are_told_apart_from_private_networks() {
        for address in [
            "127.0.0.1:9000",
            "127.9.9.9:9000",
            "[::1]:9000",
            "[::ffff:127.0.0.1]:9000",
        ] {
            assert_eq!(judge(address), Some(Refusal::Loopback), "{address}");
        }
        for address in ["169.254.169.254:9000", "[fe80::1]:9000", "[fd00:ec2::254]:9000"] {
            assert_eq!(judge(address), Some(Refusal::LinkLocal), "{address}");
        }
    }

    #[test]
    fn groups_and_nobody_are_refused() {
        for address in [
            "0.0.0.0:9000",
            "0.1.2.3:9000",
            "224.0.0.1:9000",
            "255.255.255.255:9000",
            "[ff02::1]:9000",
            "[::]:9000",
        ] {
            assert_eq!(judge(address), Some(Refusal::NotUnicast), "{address}");
        }
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        for port in [22, 53, 123, 161, 1023, 1900, 5060] {
            for host in ["54.172.60.1", "10.0.0.1", "127.0.0.1", "169.254.169.254"] {
                let address = SocketAddr::new(host.parse().unwrap(), port);
                assert_eq!(refusal(address), Some(Refusal::ReservedPort), "{address}");
            }
        }
    }
}
