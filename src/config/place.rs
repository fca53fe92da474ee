//! Where a configuration says that a trunk is: a name or an address, with or without a port.

use std::net::{IpAddr, SocketAddr};

use super::Transport;

/// A place as written: `sip.example.com`, `sip.example.com:5070`, `192.0.2.1`, `[2001:db8::1]:5060`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nothing has to be asked for.
    Address(SocketAddr),
    /// A port that is written down means that no SRV record is asked for (RFC 3263 §4.2).
    Name { name: String, port: Option<u16> },
}

impl Place {
    /// Reads a place. None when the text can be no host's name.
    pub fn parse(text: &str, transport: Transport) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self::Address(address));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(SocketAddr::new(address, transport.port())));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port != 0)?)),
            None => (text, None),
        };
        is_name(name).then(|| Self::Name {
            name: name.trim_end_matches('.').to_owned(),
            port,
        })
    }
}

/// Whether text may be asked for in the DNS: labels of letters, digits, hyphens and underscores.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_the_ports_of_its_service_and_a_name_keeps_what_is_written() {
        let address = |text: &str, transport| match Place::parse(text, transport) {
            Some(Place::Address(address)) => address.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(address("192.0.2.1", Transport::Udp), "192.0.2.1:5060");
        assert_eq!(address("192.0.2.1", Transport::Tls), "192.0.2.1:5061");
        assert_eq!(address("192.0.2.1:5070", Transport::Tls), "192.0.2.1:5070");
        assert_eq!(address("[2001:db8::1]", Transport::Udp), "[2001:db8::1]:5060");
        assert_eq!(address("2001:db8::1", Transport::Udp), "[2001:db8::1]:5060");
        assert_eq!(
            address("[2001:db8::1]:5070", Transport::Udp),
            "[2001:db8::1]:5070"
        );
        let name = |port| {
            Some(Place::Name {
                name: "sip.example.com".to_owned(),
                port,
            })
        };
        assert_eq!(Place::parse("sip.example.com", Transport::Udp), name(None));
        assert_eq!(Place::parse("sip.example.com.", Transport::Udp), name(None));
        assert_eq!(
            Place::parse("sip.example.com:5070", Transport::Udp),
            name(Some(5070))
        );
    }

    #[test]
    fn what_is_no_hosts_name_is_no_place() {
        for text in [
            "",
            "a b",
            "a..b",
            "<its address>",
            "a:0",
            "a:70000",
            "a:b",
            "sip:a@b",
            "a\r\nb",
        ] {
            assert_eq!(Place::parse(text, Transport::Udp), None, "{text:?}");
        }
        assert_eq!(Place::parse(&"a".repeat(64), Transport::Udp), None);
    }
}
