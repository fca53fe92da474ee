//! How SIP messages travel: listening addresses, and the certificates of TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::{Secret, SipConfig, TrunkConfig};

/// `udp`, `tcp` or `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    #[default]
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// What stands before a name in the question for its SRV records (RFC 3263 §4.2).
    pub fn srv_prefix(self) -> &'static str {
        match self {
            Self::Udp => "_sip._udp",
            Self::Tcp => "_sip._tcp",
            Self::Tls => "_sips._tcp",
        }
    }

    /// The port where none is written.
    pub fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// A listening address: `udp:192.0.2.1:5060`, `tls:[2001:db8::1]:5061`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (transport, address) = match text.split_once(':') {
            Some(("udp", rest)) => (Transport::Udp, rest),
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("tls", rest)) => (Transport::Tls, rest),
            _ => {
                return Err(format!(
                    "{text:?} must begin with \"udp:\", \"tcp:\" or \"tls:\", as in \"udp:0.0.0.0:5060\""
                ));
            }
        };
        match address.parse() {
            Ok(address) => Ok(Self { transport, address }),
            Err(_) => Err(format!(
                "{text:?} is not \"{transport}:\" with an IP address and a port"
            )),
        }
    }
}

/// How requests of more than 1300 bytes go to a trunk on UDP (RFC 3261 §18.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LargeRequests {
    /// By UDP as all others: in fragments.
    #[default]
    Udp,
    /// By TCP, and by UDP where that cannot be had.
    Tcp,
}

/// A certificate with its key, in PEM files.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    pub chain: &'a Path,
    pub key: &'a Secret,
}

impl SipConfig {
    pub fn certificate(&self) -> Option<Certificate<'_>> {
        let (chain, key) = (self.tls_certificate.as_deref()?, self.tls_key.as_ref()?);
        Some(Certificate { chain, key })
    }

    /// Whether the other differs in what only a restart changes; certificates are read again.
    pub(super) fn needs_restart(&self, other: &Self) -> bool {
        self.listen != other.listen
            || self.public_address != other.public_address
            || self.user_agent != other.user_agent
    }

    pub(super) fn problems(&self, problems: &mut Vec<String>) {
        for server in &self.nameservers {
            if server.port() == 0 {
                problems.push(format!("[sip] nameservers: {server} has no port"));
            }
        }
        if self.listen.is_empty() {
            problems.push("[sip] listen: give at least one address, such as \"udp:0.0.0.0:5060\"".to_owned());
        }
        for (index, listen) in self.listen.iter().enumerate() {
            if self.listen[..index].contains(listen) {
                let Listen { transport, address } = listen;
                problems.push(format!(
                    "[sip] listen: \"{transport}:{address}\" stands there twice"
                ));
            }
        }
        let serves_tls = self
            .listen
            .iter()
            .any(|listen| listen.transport == Transport::Tls);
        if serves_tls && self.certificate().is_none() {
            problems.push("[sip] listen: \"tls:…\" needs tls_certificate and tls_key".to_owned());
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            problems.push("[sip]: give both tls_certificate and tls_key, or neither".to_owned());
        }
        if self.tls_client_ca.is_some() && !serves_tls {
            problems.push("[sip] tls_client_ca: there is no \"tls:…\" in listen".to_owned());
        }
    }

    pub(super) fn anchor(&mut self, folder: &Path) {
        anchor(
            folder,
            [&mut self.tls_certificate, &mut self.tls_client_ca],
            &mut self.tls_key,
        );
    }
}

impl TrunkConfig {
    pub fn certificate(&self) -> Option<Certificate<'_>> {
        let (chain, key) = (self.tls_certificate.as_deref()?, self.tls_key.as_ref()?);
        Some(Certificate { chain, key })
    }

    /// The name that the trunk's certificate must bear.
    pub fn certificate_name(&self) -> &str {
        match &self.tls_name {
            Some(name) => name,
            None => without_port(&self.host),
        }
    }

    pub(super) fn transport_problems(&self, problems: &mut Vec<String>) {
        let name = &self.name;
        let is_tls = self.transport == Transport::Tls;
        if is_tls && ServerName::try_from(self.certificate_name()).is_err() {
            problems.push(format!(
                "[[trunk]] {name}: {:?} cannot be the name of a certificate: give tls_name",
                self.certificate_name()
            ));
        }
        let keys = [
            ("tls_name", self.tls_name.is_some()),
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_certificate", self.tls_certificate.is_some()),
            ("tls_key", self.tls_key.is_some()),
        ];
        for (key, _) in keys.iter().filter(|(_, given)| *given && !is_tls) {
            problems.push(format!("[[trunk]] {name}: {key} needs transport = \"tls\""));
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            problems.push(format!(
                "[[trunk]] {name}: give both tls_certificate and tls_key, or neither"
            ));
        }
        if self.large_requests == LargeRequests::Tcp && self.transport != Transport::Udp {
            problems.push(format!(
                "[[trunk]] {name}: large_requests = \"tcp\" is for transport = \"udp\""
            ));
        }
    }

    pub(super) fn anchor(&mut self, folder: &Path) {
        for secret in [&mut self.password, &mut self.accept_password] {
            if let Some(Secret::File { file }) = secret {
                *file = folder.join(&*file);
            }
        }
        anchor(
            folder,
            [&mut self.tls_certificate, &mut self.tls_ca],
            &mut self.tls_key,
        );
    }
}

fn anchor(folder: &Path, paths: [&mut Option<PathBuf>; 2], key: &mut Option<Secret>) {
    for path in paths.into_iter().flatten() {
        *path = folder.join(&*path);
    }
    if let Some(Secret::File { file }) = key {
        *file = folder.join(&*file);
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => name,
        _ => host.trim_matches(['[', ']']),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn problems(text: &str) -> String {
        match Config::parse(text, "server.toml".as_ref()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn listening_addresses_name_their_transport() {
        let text = "[sip]\nlisten = [\"udp:0.0.0.0:5060\", \"tcp:[::1]:5060\"]\n";
        assert_eq!(problems(text), "");
        assert!(problems("[sip]\nlisten = [\"sctp:0.0.0.0:5060\"]\n").contains("must begin with"));
        assert!(problems("[sip]\nlisten = [\"tcp:localhost\"]\n").contains("is not \"tcp:\" with an IP"));
        let twice = "[sip]\nlisten = [\"tcp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"]\n";
        assert!(problems(twice).contains("twice"));
    }

    #[test]
    fn tls_keys_stand_only_where_they_mean_something() {
        let listen = problems("[sip]\nlisten = [\"tls:0.0.0.0:5061\"]\n");
        assert!(listen.contains("needs tls_certificate and tls_key"), "{listen}");
        let trunk = |keys: &str| {
            problems(&format!(
                "[[trunk]]\nname = \"t\"\nhost = \"sip.example.com\"\n{keys}\n"
            ))
        };
        assert_eq!(trunk("transport = \"tls\""), "");
        assert!(trunk("tls_ca = \"ca.pem\"").contains("tls_ca needs transport = \"tls\""));
        assert!(trunk("transport = \"tls\"\ntls_name = \"a b\"").contains("cannot be the name"));
        assert!(trunk("transport = \"tls\"\ntls_certificate = \"c.pem\"").contains("give both"));
        assert!(trunk("transport = \"tcp\"\nlarge_requests = \"tcp\"").contains("is for transport"));
        assert!(trunk("transport = \"sctp\"").contains("sctp"));
    }
}
