//! The configuration file: parsed and checked in one go, so a value that exists is valid.
//!
//! Shape: TOML, unknown keys refused. Errors carry the line and column where the TOML library knows them, and
//! name the key otherwise. Every key stands in `config/server.toml` with its default.

mod transport;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::call::number::{FromUser, IdentityForm, NumberFormat, Pattern};
use crate::call::trace::TraceConfig;
use crate::store::{StoreConfig, StoreUrl};
use crate::units::{CampaignId, Language, PhoneNumber, TrunkName};
pub use transport::{Certificate, LargeRequests, Listen, Transport};

/// Why a configuration cannot be used: every problem that was found, each on a line of its own.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Malformed { path: PathBuf, message: String },
    #[error("{}", problems.join("\n"))]
    Invalid { problems: Vec<String> },
}

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub sip: SipConfig,
    #[serde(default, rename = "trunk")]
    pub trunks: Vec<TrunkConfig>,
    #[serde(default, rename = "number")]
    pub numbers: Vec<NumberConfig>,
    #[serde(default)]
    pub media: MediaConfig,
    #[serde(default)]
    pub store: StoreConfig,
    #[serde(default)]
    pub web: WebConfig,
    #[serde(default)]
    pub prompts: PromptsConfig,
    #[serde(default)]
    pub flows: FlowsConfig,
    #[serde(default)]
    pub limits: LimitsConfig,
    #[serde(default)]
    pub privacy: PrivacyConfig,
    #[serde(default)]
    pub trace: TraceConfig,
    #[serde(default)]
    pub log: LogConfig,
}

/// `[sip]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SipConfig {
    /// Where requests arrive, `udp:ADDRESS:PORT`, `tcp:…` or `tls:…`.
    pub listen: Vec<Listen>,
    /// The address that peers see, where it is not the one we listen on (behind NAT).
    pub public_address: Option<IpAddr>,
    pub user_agent: String,
    /// The certificate shown by `tls:…`: a PEM file, with those between it and its authority.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key, as PEM text.
    pub tls_key: Option<Secret>,
    /// Authorities (PEM) of which those who connect must show a certificate; its name tells which trunk they are.
    pub tls_client_ca: Option<PathBuf>,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            listen: vec![Listen {
                transport: Transport::Udp,
                address: SocketAddr::from(([0, 0, 0, 0], 5060)),
            }],
            public_address: None,
            user_agent: "Trunkline".to_owned(),
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

/// `[[trunk]]`: a peer that carries calls to and from the telephone network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkConfig {
    pub name: TrunkName,
    /// Host name of the provider, as its SIP addresses write it: `sip.example.com`. Also where calls go unless `proxy` is set.
    pub host: String,
    /// `HOST:PORT` or `ADDRESS:PORT` where requests are sent, if not `host`.
    pub proxy: Option<String>,
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
    /// Networks (`192.0.2.0/24`) or addresses that calls from this trunk come from; the proxy's addresses are always added.
    #[serde(default)]
    pub addresses: Vec<Network>,
    #[serde(default)]
    pub number_format: NumberFormat,
    /// Digits put before every number dialled (a technical prefix).
    #[serde(default)]
    pub dial_prefix: String,
    /// The number shown to those we call.
    pub caller_id: Option<PhoneNumber>,
    /// Which header says `caller_id`, beside From where From does.
    #[serde(default)]
    pub identity: IdentityForm,
    /// Whose name stands in From.
    #[serde(default)]
    pub from_user: FromUser,
    /// Destinations that may be dialled: patterns as in `[[number]]`.
    #[serde(default = "default_destinations")]
    pub destinations: Vec<Pattern>,
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,
    /// Calls at one time, both directions.
    #[serde(default = "default_channels")]
    pub channels: u32,
    /// Seconds between OPTIONS pings; 0 sends none.
    #[serde(default)]
    pub options_seconds: u32,
}

fn default_register_seconds() -> u32 {
    600
}

fn default_channels() -> u32 {
    1000
}

fn default_codecs() -> Vec<Codec> {
    vec![Codec::Pcmu, Codec::Pcma]
}

/// Ten-digit North American numbers; emergency and premium numbers are refused whatever this says.
fn default_destinations() -> Vec<Pattern> {
    "+1XXXXXXXXXX".parse().into_iter().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Codec {
    #[serde(rename = "PCMU")]
    Pcmu,
    #[serde(rename = "PCMA")]
    Pcma,
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

/// A secret: the text itself, `{ file = "…" }` or `{ env = "…" }`. It prints as `***`.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    Text(String),
    File { file: PathBuf },
    Env { env: String },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// The secret's text; trailing line ends of a file are not part of it.
    pub fn reveal(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File { file } => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("secret file {}: {error}", file.display())),
            Self::Env { env } => {
                std::env::var(env).map_err(|_| format!("environment variable {env} is not set"))
            }
        }
    }
}

/// `[[number]]`: what answers a number of ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberConfig {
    /// The number in E.164 form, or a pattern: `X` is any digit, a final `*` any rest.
    pub pattern: Pattern,
    /// The campaign that answers…
    pub campaign: Option<CampaignId>,
    /// …or the flow that does.
    pub flow: Option<String>,
    /// Only calls from this trunk.
    pub from_trunk: Option<TrunkName>,
}

/// `[media]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// Address of the RTP sockets; the first `[sip]` listening address when left out.
    pub address: Option<IpAddr>,
    /// UDP ports for RTP, `FIRST-LAST`.
    pub ports: PortRange,
    /// Milliseconds between two rounds of a media thread, 1 to 5; 0 adapts them to the load.
    pub tick_milliseconds: u8,
    /// Media threads; 0 takes one less than the cores, at least one.
    pub threads: u8,
    /// Seconds without any RTP after which a call is ended.
    pub silence_seconds: u32,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            address: None,
            ports: PortRange {
                first: 16384,
                last: 32766,
            },
            tick_milliseconds: 0,
            threads: 0,
            silence_seconds: 60,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refused =
            || format!("{text:?} is not a range of ports like \"16384-32766\" (from 1024, at least 4 ports)");
        let (first, last) = text.split_once('-').ok_or_else(refused)?;
        let first = first.trim().parse().map_err(|_| refused())?;
        let last = last.trim().parse().map_err(|_| refused())?;
        if first >= 1024 && last >= first + 3 {
            Ok(Self { first, last })
        } else {
            Err(refused())
        }
    }
}

/// `[web]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Address of the status page; empty for none.
    pub listen: String,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
        }
    }
}

/// `[prompts]`
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// Own recordings, laid out as `LANGUAGE/KEY.wav`; they come before the built-in ones.
    pub directory: Option<PathBuf>,
    /// Languages offered, the first being the one spoken until the caller chooses.
    pub languages: Option<Vec<Language>>,
}

impl WebConfig {
    /// Where to listen; none when nothing is to be served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

impl PromptsConfig {
    pub fn languages(&self) -> Vec<Language> {
        match &self.languages {
            Some(languages) if !languages.is_empty() => languages.clone(),
            _ => vec![Language::ENGLISH, Language::SPANISH],
        }
    }
}

/// `[flows]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsConfig {
    /// Own flows, `NAME.toml`; they come before the built-in ones.
    pub directory: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Calls at one time; more are answered 503. 0 derives it from the open file limit.
    pub calls: u32,
    /// Seconds that calls may go on after SIGTERM.
    pub drain_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            calls: 0,
            drain_seconds: 300,
        }
    }
}

impl LimitsConfig {
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// `[privacy]`
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// How a caller's number is kept.
    pub caller: CallerPrivacy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerPrivacy {
    /// As a keyed hash: repeated calls can be counted, the number cannot be read.
    #[default]
    Hmac,
    /// Not at all.
    None,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,trunkline::switch=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are taken from the file's own folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&text, path)?;
        config.anchor(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    /// The tables in which another configuration differs and that only a restart changes.
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let limits = |config: &Self| config.limits.calls;
        let tables = [
            ("[sip]", self.sip.needs_restart(&other.sip)),
            ("[media]", self.media != other.media),
            ("[store]", self.store != other.store),
            ("[web]", self.web != other.web),
            ("[prompts]", self.prompts != other.prompts),
            ("[limits] calls", limits(self) != limits(other)),
            ("[privacy]", self.privacy != other.privacy),
            ("[trace]", self.trace != other.trace),
            ("[log]", self.log != other.log),
        ];
        tables
            .into_iter()
            .filter_map(|(table, differs)| differs.then_some(table))
            .collect()
    }

    /// Reads text; `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            let problems = problems
                .iter()
                .map(|problem| format!("{}: {problem}", path.display()))
                .collect();
            Err(ConfigError::Invalid { problems })
        }
    }

    fn anchor(&mut self, folder: &Path) {
        for path in [&mut self.prompts.directory, &mut self.flows.directory]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
        self.sip.anchor(folder);
        self.store.url = StoreUrl::sqlite(folder.join(self.store.url.path()));
        for trunk in &mut self.trunks {
            trunk.anchor(folder);
        }
    }

    /// Everything that the shape alone cannot tell, all of it at once.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.sip.problems(&mut problems);
        if self.media.tick_milliseconds > 5 {
            problems.push(format!(
                "[media] tick_milliseconds: {} is not 0 to 5",
                self.media.tick_milliseconds
            ));
        }
        if !self.web.listen.is_empty() && self.web.listen.parse::<SocketAddr>().is_err() {
            problems.push(format!(
                "[web] listen: {:?} is not an address with a port",
                self.web.listen
            ));
        }
        for language in self.prompts.languages.iter().flatten() {
            if ![Language::ENGLISH, Language::SPANISH].contains(language) {
                problems.push(format!(
                    "[prompts] languages: there are no prompts in {language:?}: use \"en\" and \"es\""
                ));
            }
        }
        if !(10..=3600).contains(&self.media.silence_seconds) {
            problems.push(format!(
                "[media] silence_seconds: {} is not 10 to 3600",
                self.media.silence_seconds
            ));
        }
        for (index, trunk) in self.trunks.iter().enumerate() {
            self.trunk_problems(index, trunk, &mut problems);
        }
        for number in &self.numbers {
            self.number_problems(number, &mut problems);
        }
        problems
    }

    fn trunk_problems(&self, index: usize, trunk: &TrunkConfig, problems: &mut Vec<String>) {
        let name = &trunk.name;
        if self.trunks[..index].iter().any(|other| other.name == *name) {
            problems.push(format!("[[trunk]] {name}: two trunks have this name"));
        }
        if trunk.username.is_some() != trunk.password.is_some() {
            problems.push(format!(
                "[[trunk]] {name}: give both username and password, or neither"
            ));
        }
        if trunk.register && trunk.username.is_none() {
            problems.push(format!(
                "[[trunk]] {name}: register = true needs username and password"
            ));
        }
        if trunk.register && !(60..=86_400).contains(&trunk.register_seconds) {
            problems.push(format!("[[trunk]] {name}: register_seconds must be 60 to 86400"));
        }
        if trunk.from_user == FromUser::Account && trunk.username.is_none() {
            problems.push(format!(
                "[[trunk]] {name}: from_user = \"account\" needs username and password"
            ));
        }
        if trunk.channels == 0 {
            problems.push(format!("[[trunk]] {name}: channels must be at least 1"));
        }
        if trunk.options_seconds > 0 && !(5..=3600).contains(&trunk.options_seconds) {
            problems.push(format!(
                "[[trunk]] {name}: options_seconds must be 0, or 5 to 3600"
            ));
        }
        if trunk.codecs.is_empty() {
            problems.push(format!(
                "[[trunk]] {name}: codecs is empty: give \"PCMU\" or \"PCMA\""
            ));
        }
        if !trunk
            .dial_prefix
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"*#+".contains(&byte))
        {
            problems.push(format!(
                "[[trunk]] {name}: dial_prefix may hold digits, *, # and + only"
            ));
        }
        if trunk.host.is_empty()
            || trunk
                .host
                .contains(|letter: char| letter.is_whitespace() || letter.is_control())
        {
            problems.push(format!(
                "[[trunk]] {name}: host {:?} is not a host name",
                trunk.host
            ));
        }
        trunk.transport_problems(problems);
        if let Some(Err(problem)) = trunk.password.as_ref().map(Secret::reveal) {
            problems.push(format!("[[trunk]] {name}: password: {problem}"));
        }
    }

    fn number_problems(&self, number: &NumberConfig, problems: &mut Vec<String>) {
        let pattern = &number.pattern;
        if number.campaign.is_some() == number.flow.is_some() {
            problems.push(format!("[[number]] {pattern}: give either campaign or flow"));
        }
        if let Some(trunk) = &number.from_trunk
            && !self.trunks.iter().any(|other| other.name == *trunk)
        {
            problems.push(format!(
                "[[number]] {pattern}: from_trunk {trunk:?} is not the name of a [[trunk]]"
            ));
        }
    }
}
