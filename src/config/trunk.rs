//! `[[trunk]]`: what a provider needs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{LargeRequests, Place, Secret, Transport};
use crate::call::leg::DigitForm;
use crate::call::number::{FromUser, IdentityForm, NumberFormat, Pattern};
use crate::units::{PhoneNumber, TrunkName};

/// A peer that carries calls to and from the telephone network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkConfig {
    pub name: TrunkName,
    /// Host name of the provider, as its SIP addresses write it: `sip.example.com`. Also where calls go unless `proxy` is set.
    pub host: String,
    /// Where requests are sent, if not to `host`: `HOST`, `HOST:PORT` or `ADDRESS:PORT`, or several, best first.
    #[serde(default, deserialize_with = "one_or_more")]
    pub proxy: Vec<String>,
    /// Whether the proxy also stands in a Route header.
    #[serde(default)]
    pub proxy_route: ProxyRoute,
    /// Where REGISTER is sent, if not where calls go; one or several, best first.
    #[serde(default, deserialize_with = "one_or_more")]
    pub registrar: Vec<String>,
    /// How messages travel to it.
    #[serde(default)]
    pub transport: Transport,
    #[serde(default)]
    pub large_requests: LargeRequests,
    /// The name that its certificate must bear, if not `host`.
    pub tls_name: Option<String>,
    /// Authorities (PEM) trusted for it, in place of the system's.
    pub tls_ca: Option<PathBuf>,
    /// The certificate that we show it (PEM), with the key below.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<Secret>,
    /// Whether to register (REGISTER) with the trunk.
    #[serde(default)]
    pub register: bool,
    /// `seconds` asked for in REGISTER.
    #[serde(default = "default_register_seconds")]
    pub register_seconds: u32,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// The realm of digest challenges that `password` is proved to; the first one that the trunk asks for, if left out.
    pub realm: Option<String>,
    /// What the trunk proves its calls with (digest) when they come from other addresses than its own.
    pub accept_username: Option<String>,
    pub accept_password: Option<Secret>,
    /// Networks (`192.0.2.0/24`) or addresses that calls from this trunk come from; the proxy's addresses are always added.
    #[serde(default)]
    pub addresses: Vec<Network>,
    /// How numbers that we dial are written.
    #[serde(default)]
    pub number_format: NumberFormat,
    /// How the trunk writes numbers to us; any way that can be told, if left out.
    pub number_format_in: Option<NumberFormat>,
    /// Whether `;user=phone` stands behind numbers.
    #[serde(default)]
    pub user_phone: bool,
    /// Digits put before every number dialled (a technical prefix).
    #[serde(default)]
    pub dial_prefix: String,
    /// The number shown to those we call.
    pub caller_id: Option<PhoneNumber>,
    /// The name shown to those we call.
    pub display_name: Option<String>,
    /// Which headers say `caller_id`, beside From where From does.
    #[serde(default = "default_identity", deserialize_with = "one_or_more")]
    pub identity: Vec<IdentityForm>,
    /// Whose name stands in From.
    #[serde(default)]
    pub from_user: FromUser,
    /// The host in From and in the identity headers, if not `host`.
    pub from_host: Option<String>,
    /// Whether those we call are not to see the number (`Privacy: id`); the trunk is told all the same.
    #[serde(default)]
    pub withhold: bool,
    /// Whether Diversion says which number of ours the caller dialled.
    #[serde(default)]
    pub diversion: bool,
    /// Headers put on every INVITE, as the provider asks for.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Destinations that may be dialled: patterns as in `[[number]]`.
    #[serde(default = "default_destinations")]
    pub destinations: Vec<Pattern>,
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,
    /// How keys travel to and from it.
    #[serde(default)]
    pub digits: DigitForm,
    /// Calls at one time, both directions.
    #[serde(default = "default_channels")]
    pub channels: u32,
    /// Calls dialled each second; 0 sets no limit.
    #[serde(default)]
    pub calls_per_second: u32,
    /// Final answers after which another trunk is tried.
    #[serde(default = "default_failover")]
    pub failover: Vec<u16>,
    /// `seconds` after which a call dialled that still rings is given up, whatever its flow says; 0 sets no limit.
    #[serde(default)]
    pub ring_seconds: u32,
    /// `seconds` after its answer at which a call ends, in either direction; 0 sets no limit.
    #[serde(default)]
    pub call_seconds: u32,
    /// How provisional responses are acknowledged (RFC 3262).
    #[serde(default)]
    pub reliable: Reliable,
    /// Whether calls ask for a session timer (RFC 4028); one that the trunk asks for is kept either way.
    #[serde(default = "yes")]
    pub session_timer: bool,
    /// Whether UPDATE (RFC 3311) is offered and sent.
    #[serde(default = "yes")]
    pub update: bool,
    /// Seconds between OPTIONS pings; 0 sends none.
    #[serde(default)]
    pub options_seconds: u32,
    /// Pings that fail in a row until the trunk counts as down.
    #[serde(default = "default_options_failures")]
    pub options_failures: u32,
}

/// Whether an outbound proxy stands in a Route header (RFC 3261 §8.1.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyRoute {
    /// Requests are just sent there.
    #[default]
    None,
    /// `Route: <sip:PROXY;lr>`
    Loose,
    /// As RFC 2543 had it: the proxy in the Request-URI, the number in Route.
    Strict,
}

impl ProxyRoute {
    /// The Route value for a proxy.
    pub fn value(self, proxy: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Loose => Some(format!("<sip:{proxy};lr>")),
            Self::Strict => Some(format!("<sip:{proxy}>")),
        }
    }
}

/// When provisional responses are sent reliably (100rel, RFC 3262).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reliable {
    /// Never; a call that requires it is refused with 420.
    No,
    /// Where the trunk requires it.
    #[default]
    Peer,
    /// Our calls require it; responses to the trunk's calls are reliable wherever it supports that.
    Required,
}

fn yes() -> bool {
    true
}

fn default_register_seconds() -> u32 {
    600
}

fn default_channels() -> u32 {
    1000
}

fn default_options_failures() -> u32 {
    3
}

fn default_identity() -> Vec<IdentityForm> {
    vec![IdentityForm::default()]
}

/// What speaks against the trunk or our account there, never against who is called.
pub(crate) const DEFAULT_FAILOVER: &[u16] = &[401, 407, 408, 500, 502, 503, 504];

fn default_failover() -> Vec<u16> {
    DEFAULT_FAILOVER.to_vec()
}

fn default_codecs() -> Vec<Codec> {
    vec![Codec::Pcmu, Codec::Pcma]
}

/// Ten-digit North American numbers; emergency and premium numbers are refused whatever this says.
fn default_destinations() -> Vec<Pattern> {
    "+1XXXXXXXXXX".parse().into_iter().collect()
}

/// One value, or a list of them.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected one value of the right kind, or a list of them"
    )]
    enum OneOrMore<T> {
        One(T),
        More(Vec<T>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Codec {
    #[serde(rename = "PCMU")]
    Pcmu,
    #[serde(rename = "PCMA")]
    Pcma,
    #[serde(rename = "G722")]
    G722,
    #[serde(rename = "opus")]
    Opus,
}

/// An address or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refused = || format!("{text:?} is not an IP address or a network like \"192.0.2.0/24\"");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| refused())?)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        match prefix.unwrap_or(full) {
            prefix if prefix <= full => Ok(Self { address, prefix }),
            _ => Err(refused()),
        }
    }
}

/// Whether text may be the user part of a SIP URI (RFC 3261 §25.1).
fn is_user(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()%&=+$,;?/".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

impl TrunkConfig {
    /// Whether its calls are known by nothing but the addresses that its names have.
    pub fn is_known_by_names_alone(&self) -> bool {
        let is_name =
            |place: &String| matches!(Place::parse(place, self.transport), Some(Place::Name { .. }));
        !self.register
            && self.addresses.is_empty()
            && self.accept_username.is_none()
            && self.transport != Transport::Tls
            && self.places().iter().all(is_name)
    }

    /// Where calls go: the proxies, else the host.
    pub fn places(&self) -> &[String] {
        match self.proxy.is_empty() {
            true => std::slice::from_ref(&self.host),
            false => &self.proxy,
        }
    }

    /// Everything that the shape alone cannot tell.
    pub(super) fn problems(&self, problems: &mut Vec<String>) {
        self.transport_problems(problems);
        let mut told = |problem: String| problems.push(format!("[[trunk]] {}: {problem}", self.name));
        self.account_problems(&mut told);
        self.place_problems(&mut told);
        self.header_problems(&mut told);
        if self.channels == 0 {
            told("channels must be at least 1".to_owned());
        }
        if self.ring_seconds > 0 && !(5..=600).contains(&self.ring_seconds) {
            told("ring_seconds must be 0, or 5 to 600".to_owned());
        }
        if self.call_seconds > 0 && !(10..=86_400).contains(&self.call_seconds) {
            told("call_seconds must be 0, or 10 to 86400".to_owned());
        }
        if self.options_seconds > 0 && !(5..=3600).contains(&self.options_seconds) {
            told("options_seconds must be 0, or 5 to 3600".to_owned());
        }
        if !(1..=100).contains(&self.options_failures) {
            told("options_failures must be 1 to 100".to_owned());
        }
        if self.codecs.is_empty() {
            told("codecs is empty: give \"PCMU\" or \"PCMA\"".to_owned());
        }
        if self.codecs.contains(&Codec::Opus) && !cfg!(feature = "opus") {
            told(
                "codecs: \"opus\" is not in this program; it has to be built with --features opus".to_owned(),
            );
        }
        for status in &self.failover {
            if !(300..700).contains(status) {
                told(format!(
                    "failover: {status} is not a final answer that fails (300 to 699)"
                ));
            }
        }
        let is_dialled = |byte: u8| byte.is_ascii_digit() || b"*#+".contains(&byte);
        if !self.dial_prefix.bytes().all(is_dialled) {
            told("dial_prefix may hold digits, *, # and + only".to_owned());
        }
    }

    fn account_problems(&self, told: &mut impl FnMut(String)) {
        if self.username.is_some() != self.password.is_some() {
            told("give both username and password, or neither".to_owned());
        }
        if self.realm.is_some() && self.username.is_none() {
            told("realm needs username and password".to_owned());
        }
        if self.accept_username.is_some() != self.accept_password.is_some() {
            told("give both accept_username and accept_password, or neither".to_owned());
        }
        if let Some(Err(problem)) = self.accept_password.as_ref().map(Secret::reveal) {
            told(format!("accept_password: {problem}"));
        }
        if self.register && self.username.is_none() {
            told("register = true needs username and password".to_owned());
        }
        let is_named = self.register || self.from_user == FromUser::Account || self.caller_id.is_none();
        if let Some(username) = self.username.as_ref().filter(|_| is_named)
            && !is_user(username)
        {
            told(format!(
                "username {username:?} cannot stand in a SIP address: escape what is not a letter, digit or -_.!~*'()&=+$,;?/ as %XX"
            ));
        }
        if self.register && !(60..=86_400).contains(&self.register_seconds) {
            told("register_seconds must be 60 to 86400".to_owned());
        }
        if self.from_user == FromUser::Account && self.username.is_none() {
            told("from_user = \"account\" needs username and password".to_owned());
        }
        if let Some(Err(problem)) = self.password.as_ref().map(Secret::reveal) {
            told(format!("password: {problem}"));
        }
    }

    fn place_problems(&self, told: &mut impl FnMut(String)) {
        let places = std::iter::once(("host", &self.host))
            .chain(self.proxy.iter().map(|proxy| ("proxy", proxy)))
            .chain(self.registrar.iter().map(|registrar| ("registrar", registrar)))
            .chain(self.from_host.iter().map(|host| ("from_host", host)));
        for (key, place) in places {
            if Place::parse(place, self.transport).is_none() {
                told(format!("{key} {place:?} is not a host name or an address"));
            }
        }
        for Network { address, prefix } in &self.addresses {
            let least = if address.is_ipv4() { 8 } else { 16 };
            if *prefix < least {
                told(format!(
                    "addresses: \"{address}/{prefix}\" makes strangers the trunk: a prefix of {least} is the shortest"
                ));
            }
        }
        if self.proxy_route != ProxyRoute::None && self.proxy.is_empty() {
            told("proxy_route needs a proxy".to_owned());
        }
        if !self.registrar.is_empty() && !self.register {
            told("registrar is of use with register = true only".to_owned());
        }
    }

    fn header_problems(&self, told: &mut impl FnMut(String)) {
        if self
            .display_name
            .iter()
            .any(|name| name.chars().any(char::is_control) || name.len() > 64)
        {
            told("display_name may hold 64 bytes at most and no line ends".to_owned());
        }
        for (name, value) in &self.headers {
            if let Err(problem) = sip::check_header(name, value) {
                told(format!("headers: {name:?}: {problem}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn problems(keys: &str) -> String {
        let text = format!("[[trunk]]\nname = \"t\"\nhost = \"sip.example.com\"\n{keys}\n");
        match Config::parse(&text, "t.toml".as_ref()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn places_are_one_or_several() {
        assert_eq!(problems("proxy = \"192.0.2.1:5070\""), "");
        assert_eq!(
            problems("proxy = [\"a.example.com\", \"[2001:db8::1]:5060\"]"),
            ""
        );
        assert!(problems("proxy = [\"a b\"]").contains("proxy \"a b\" is not a host name"));
        assert!(problems("registrar = \"r.example.com\"").contains("register = true"));
        assert!(problems("proxy_route = \"loose\"").contains("proxy_route needs a proxy"));
    }

    #[test]
    fn a_header_of_the_configuration_cannot_become_two_nor_one_of_ours() {
        assert_eq!(problems("headers = { X-Account-Id = \"12345\" }"), "");
        for (name, value) in [
            ("X-A", "1\\r\\nX-B: 2"),
            ("X-A", "1\\nX-B: 2"),
            ("X A", "1"),
            ("X-A: 1\\r\\nX-B", "2"),
            ("Via", "SIP/2.0/UDP h"),
            ("f", "<sip:a@h>"),
            ("Content-Length", "0"),
        ] {
            let told = problems(&format!("headers = {{ \"{name}\" = \"{value}\" }}"));
            assert!(
                told.contains("[[trunk]] t: headers: "),
                "{name}: {value}: {told:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_told_by_its_key() {
        for (keys, told) in [
            ("failover = [200]", "failover: 200"),
            ("options_failures = 0", "options_failures"),
            ("display_name = \"a\\nb\"", "display_name"),
            ("channels = 0", "channels"),
            ("ring_seconds = 4", "ring_seconds must be 0, or 5 to 600"),
            ("call_seconds = 90000", "call_seconds must be 0, or 10 to 86400"),
            ("reliable = \"sometimes\"", "reliable"),
            ("dial_prefix = \"1;x\"", "dial_prefix"),
            ("from_user = \"account\"", "from_user"),
            ("accept_username = \"u\"", "accept_password"),
            ("addresses = [\"0.0.0.0/0\"]", "addresses: \"0.0.0.0/0\""),
            ("addresses = [\"::/0\"]", "addresses: \"::/0\""),
            (
                "username = \"a b\"\npassword = \"p\"\nregister = true",
                "username \"a b\" cannot",
            ),
            (
                "username = \"a@b\"\npassword = \"p\"\nregister = true",
                "username \"a@b\" cannot",
            ),
            ("realm = \"r\"", "realm needs username"),
        ] {
            assert!(problems(keys).contains(told), "{keys}: {}", problems(keys));
        }
    }
}
