//! The configuration file: parsed and checked in one go, so a value that exists is valid.
//!
//! Shape: TOML, unknown keys refused. Errors carry the line and column where the TOML library knows them, and
//! name the key otherwise. Every key stands in `config/server.toml` with its default.

mod hearing;
mod log;
mod meant;
mod place;
mod transport;
mod trunk;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::call::number::Pattern;
use crate::call::trace::TraceConfig;
use crate::store::{StoreConfig, StoreUrl};
use crate::units::{CampaignId, Language, TrunkName};
pub use hearing::{HearingConfig, OfficeHearing, ToneConfig, ToneName};
pub use log::{LogConfig, LogFormat};
pub use place::Place;
pub use transport::{Certificate, LargeRequests, Listen, Transport};
pub(crate) use trunk::DEFAULT_FAILOVER;
pub use trunk::{Codec, Network, ProxyRoute, Reliable, TrunkConfig};

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
    pub calls: CallsConfig,
    #[serde(default)]
    pub media: MediaConfig,
    #[serde(default)]
    pub hearing: HearingConfig,
    #[serde(default, rename = "tone")]
    pub tones: Vec<ToneConfig>,
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
    /// Name servers that are asked where trunks are, `ADDRESS:PORT`; empty for those of the system.
    pub nameservers: Vec<SocketAddr>,
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
            nameservers: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

/// `[calls]`
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct CallsConfig {
    /// Trunks that calls go out by, the first that can; empty for all, in the order of their tables.
    pub trunks: Vec<TrunkName>,
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
    /// Trunks by which calls to this number go out again, in place of those of `[calls]`.
    #[serde(default)]
    pub trunks: Vec<TrunkName>,
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
    /// Reads `[web]` of a file and nothing else: it may name secrets that only the switch can read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Only {
            #[serde(default)]
            web: WebConfig,
        }
        let only: Only = parsed(&read(path)?, path)?;
        Ok(only.web)
    }

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
    /// Calls that are taken each second; more are answered 503 with Retry-After. 0 sets no limit.
    pub calls_per_second: u32,
    /// Seconds that calls may go on after SIGTERM.
    pub drain_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            calls: 0,
            calls_per_second: 0,
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

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Reads TOML; what was perhaps meant stands behind an unknown key.
fn parsed<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let mut message = error.to_string();
        if let Some(meant) = meant::of(&message) {
            message = format!("{}\ndid you mean {meant}?", message.trim_end());
        }
        ConfigError::Malformed {
            path: path.to_owned(),
            message,
        }
    })
}

impl Config {
    /// Reads and checks a file. Relative paths in it are taken from the file's own folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(&read(path)?, path)?;
        config.anchor(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    /// The tables in which another configuration differs and that only a restart changes.
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let limits = |config: &Self| (config.limits.calls, config.limits.calls_per_second);
        let tables = [
            ("[sip]", self.sip.needs_restart(&other.sip)),
            ("[media]", self.media != other.media),
            ("[hearing]", self.hearing != other.hearing),
            ("[[tone]]", self.tones != other.tones),
            ("[store]", self.store != other.store),
            ("[web]", self.web != other.web),
            ("[prompts]", self.prompts != other.prompts),
            ("[limits] calls, calls_per_second", limits(self) != limits(other)),
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
        let config: Self = parsed(text, path)?;
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
        problems.extend(self.log.filter().err());
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
                    "[prompts] languages: there are no prompts in {language}: use \"en\" and \"es\""
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
            if self.trunks[..index].iter().any(|other| other.name == trunk.name) {
                problems.push(format!("[[trunk]] {}: two trunks have this name", trunk.name));
            }
            trunk.problems(&mut problems);
        }
        hearing::problems(&self.hearing, &self.tones, &mut problems);
        self.unknown_trunks("[calls] trunks", &self.calls.trunks, &mut problems);
        for (index, number) in self.numbers.iter().enumerate() {
            let same = |other: &NumberConfig| {
                other.pattern == number.pattern && other.from_trunk == number.from_trunk
            };
            if self.numbers[..index].iter().any(same) {
                problems.push(format!(
                    "[[number]] {}: the same pattern stands above already: this table is never used",
                    number.pattern
                ));
            }
            self.number_problems(number, &mut problems);
        }
        problems
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
                "[[number]] {pattern}: from_trunk {trunk} is not the name of a [[trunk]]"
            ));
        }
        self.unknown_trunks(&format!("[[number]] {pattern}: trunks"), &number.trunks, problems);
    }

    fn unknown_trunks(&self, place: &str, names: &[TrunkName], problems: &mut Vec<String>) {
        for name in names {
            if !self.trunks.iter().any(|trunk| trunk.name == *name) {
                problems.push(format!("{place}: {name} is not the name of a [[trunk]]"));
            }
        }
    }
}
