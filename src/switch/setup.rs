//! From the configuration and the store to the settings of an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use media::hearing::ToneDefinition;
use media::{Clip, Law};

use super::engine::{Hearing, NumberRoute, Recipe, Recordings, Routes, Settings, Trunk, Wanted};
use super::prompt_library::PromptLibrary;
use crate::call::record::ZipDetail;
use crate::campaign::Campaign;
use crate::config::{
    CallerPrivacy, Codec, Config, LargeRequests, Listen, OfficeHearing, Place, Reliable, Secret, ToneConfig,
    Transport, TrunkConfig,
};
use crate::directory::Directory;
use crate::flow::definition::FlowError;
use crate::flow::run::Catalogues;
use crate::flow::{Flow, run};
use crate::store::{CampaignStore, StoreError};
use crate::units::{CampaignId, Language};

/// Sockets kept ready: twice what the calls of one batch of datagrams can take, for they are made between batches.
const STOCK: usize = 256;
/// Descriptors that a call needs: two streams, and some room.
const FILES_PER_CALL: u64 = 2;
const FILES_FOR_ALL_ELSE: u64 = 256;

/// What a switch is started with beside its configuration; left out, it comes from the store or is built in.
#[derive(Default)]
pub struct Parts {
    pub directory: Option<Arc<Directory>>,
    /// The wall-clock time to begin at; the machine's, if left out.
    pub wall: Option<Timestamp>,
}

/// Why a switch did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("[sip] listen: {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("[media] address, ports: {address}: {reason}")]
    MediaPort { address: IpAddr, reason: String },
    #[error("media threads: {0}")]
    Media(std::io::Error),
    #[error("prompts: {0}")]
    Prompts(std::io::Error),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("record writer: {0}")]
    Writer(std::io::Error),
    #[error("directory: {0}")]
    Directory(String),
    #[error("no randomness: {0}")]
    Random(String),
    #[error("a start-up task failed: {0}")]
    Task(String),
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
}

impl Recordings for PromptLibrary {
    fn clip(&self, language: Language, id: &str) -> Option<Clip> {
        self.clip(language, id)
    }
}

/// The campaigns there are: the built-in one and those in the store, which come first.
pub fn campaigns_of(
    config: &Config,
    store: Option<&dyn CampaignStore>,
) -> Result<BTreeMap<CampaignId, Arc<Campaign>>, StartError> {
    let built_in = Campaign::congress(config.prompts.languages());
    let mut campaigns = BTreeMap::from([(built_in.id.clone(), Arc::new(built_in))]);
    let mut problems = Vec::new();
    for kept in store
        .map(CampaignStore::campaigns)
        .transpose()?
        .unwrap_or_default()
    {
        match serde_json::from_value::<Campaign>(kept.document) {
            Ok(campaign) => {
                campaigns.insert(kept.id, Arc::new(campaign));
            }
            Err(error) => problems.push(format!("campaign {}: {error}", kept.id)),
        }
    }
    if problems.is_empty() {
        Ok(campaigns)
    } else {
        Err(StartError::Configuration(problems))
    }
}

/// The flows that the configuration needs, own ones before built-in ones, and every fault of those that do not fit.
pub fn flows_of(
    config: &Config,
    campaigns: &BTreeMap<CampaignId, Arc<Campaign>>,
) -> (BTreeMap<String, Arc<Flow>>, Vec<String>) {
    let of_campaigns = config.numbers.iter().filter_map(|number| {
        let campaign = campaigns.get(number.campaign.as_ref()?)?;
        Some(campaign.flow.clone())
    });
    let wanted: BTreeSet<String> = config
        .numbers
        .iter()
        .filter_map(|number| number.flow.clone())
        .chain(of_campaigns)
        .collect();
    let mut flows = BTreeMap::new();
    let mut problems = Vec::new();
    for name in wanted {
        match flow(config, &name) {
            Ok(Some(flow)) => {
                flows.insert(name, Arc::new(flow));
            }
            // `routes_of` tells which number wants it.
            Ok(None) => {}
            Err(error) => problems.extend(error.to_string().lines().map(str::to_owned)),
        }
    }
    (flows, problems)
}

/// The routes of a configuration, or every fault in it.
pub fn plan_of(
    config: &Config,
    campaigns: &BTreeMap<CampaignId, Arc<Campaign>>,
) -> Result<Routes, Vec<String>> {
    let (flows, mut problems) = flows_of(config, campaigns);
    match routes_of(config, campaigns, &flows) {
        Ok(routes) if problems.is_empty() => Ok(routes),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}

fn flow(config: &Config, name: &str) -> Result<Option<Flow>, FlowError> {
    let own = config
        .flows
        .directory
        .as_ref()
        .map(|folder| folder.join(format!("{name}.toml")));
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if let Some(path) = own.filter(|path| is_name && path.exists()) {
        let text = std::fs::read_to_string(&path).map_err(|error| FlowError::Malformed {
            name: path.display().to_string(),
            message: error.to_string(),
        })?;
        return Flow::parse(&path.display().to_string(), &text).map(Some);
    }
    let parsed = Flow::bundled(name).map(|text| Flow::parse(&format!("built-in flow {name}"), text));
    parsed.transpose()
}

/// The routes of `[[number]]`; every fault is told.
pub fn routes_of(
    config: &Config,
    campaigns: &BTreeMap<CampaignId, Arc<Campaign>>,
    flows: &BTreeMap<String, Arc<Flow>>,
) -> Result<Routes, Vec<String>> {
    let numbers: Vec<_> = config
        .numbers
        .iter()
        .filter_map(|number| {
            let wanted = match (&number.campaign, &number.flow) {
                (Some(campaign), _) => Wanted::Campaign(campaign.clone()),
                (None, Some(flow)) => Wanted::Flow(flow.clone()),
                (None, None) => return None,
            };
            Some(NumberRoute {
                pattern: number.pattern.clone(),
                from_trunk: number.from_trunk.clone(),
                trunks: number.trunks.clone(),
                wanted,
            })
        })
        .collect();
    Routes::new(&numbers, campaigns, flows).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// The address that peers are told to send RTP to, for a bound socket.
pub(super) fn media_address(config: &Config, listen: &[Listen]) -> (IpAddr, Option<IpAddr>) {
    let bound = config
        .media
        .address
        .or_else(|| listen.first().map(|listen| listen.address.ip()));
    let bound = bound.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    (bound, config.sip.public_address)
}

/// Settings of the engine, without what only the running switch has.
pub(super) fn settings(
    config: &Config,
    routes: Routes,
    directory: Arc<Directory>,
    recordings: Arc<dyn Recordings>,
    caller_key: Vec<u8>,
    listen: &[Listen],
) -> Result<Settings, StartError> {
    let user_agent = config.sip.user_agent.clone();
    Ok(Settings {
        sip: sip::EndpointConfig {
            agent: (!user_agent.is_empty()).then_some(user_agent),
            ..sip::EndpointConfig::default()
        },
        trunks: trunks_of(config, listen)?,
        routes,
        directory,
        catalogues: Catalogues,
        recordings,
        languages: config.prompts.languages(),
        most_calls: most_calls(config),
        calls_per_second: config.limits.calls_per_second,
        silence_after: Duration::from_secs(u64::from(config.media.silence_seconds)),
        caller_key: (config.privacy.caller == CallerPrivacy::Hmac).then_some(caller_key),
        zip_detail: ZipDetail::default(),
        hearing: hearing_of(config),
        stock: stock_of(config),
        tell_speech: false,
    })
}

/// Our addresses of one transport; all of them where there is none: a trunk can be called without being listened to.
pub(super) fn listen_over(listen: &[Listen], transport: Transport) -> Vec<SocketAddr> {
    let addresses = |wanted: &dyn Fn(&Listen) -> bool| -> Vec<SocketAddr> {
        let found = listen.iter().filter(|listen| wanted(listen));
        found.map(|listen| listen.address).collect()
    };
    let ours = addresses(&|listen| listen.transport == transport);
    match ours.is_empty() {
        true => addresses(&|_| true),
        false => ours,
    }
}

/// The trunks as the engine uses them, in the order in which calls go out by them.
pub fn trunks_of(config: &Config, listen: &[Listen]) -> Result<Vec<Trunk>, StartError> {
    let trunks: Result<Vec<_>, String> = config
        .trunks
        .iter()
        .map(|trunk| trunk_of(config, trunk, listen))
        .collect();
    let mut trunks = trunks.map_err(|problem| StartError::Configuration(vec![problem]))?;
    let wanted = &config.calls.trunks;
    trunks.sort_by_key(|trunk| {
        let place = wanted.iter().position(|name| *name == trunk.name);
        place.unwrap_or(wanted.len())
    });
    Ok(trunks)
}

/// Not more than a quarter of the ports: a small range is for calls.
fn stock_of(config: &Config) -> usize {
    let ports = usize::from(config.media.ports.last - config.media.ports.first) / 2;
    STOCK.min(ports / 4).max(2)
}

/// As configured, else as many as the open file limit and the ports allow.
fn most_calls(config: &Config) -> usize {
    let files = super::media_driver::raise_file_limit().unwrap_or(1024);
    let by_files = files.saturating_sub(FILES_FOR_ALL_ELSE + stock_of(config) as u64) / FILES_PER_CALL;
    let ports = (u64::from(config.media.ports.last - config.media.ports.first) / 2)
        .saturating_sub(stock_of(config) as u64);
    let derived = by_files.min(ports / 2).max(1);
    let wanted = if config.limits.calls == 0 {
        derived
    } else {
        u64::from(config.limits.calls)
    };
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

fn trunk_of(config: &Config, trunk: &TrunkConfig, listen: &[Listen]) -> Result<Trunk, String> {
    let credentials = credentials_of(trunk, "password", &trunk.username, &trunk.password)?;
    let accepts = credentials_of(
        trunk,
        "accept_password",
        &trunk.accept_username,
        &trunk.accept_password,
    )?;
    let ours = listen_over(listen, trunk.transport);
    let port = ours.first().map_or(5060, SocketAddr::port);
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Ok(Trunk {
        public: config
            .sip
            .public_address
            .map(|address| SocketAddr::new(address, port)),
        transport: trunk.transport.into(),
        large_by_tcp: trunk.large_requests == LargeRequests::Tcp,
        networks: trunk
            .addresses
            .iter()
            .map(|network| sip::Network {
                address: network.address,
                prefix: network.prefix,
            })
            .collect(),
        credentials,
        accepts,
        register: trunk.register.then(|| seconds(trunk.register_seconds)),
        route: trunk
            .proxy
            .first()
            .and_then(|proxy| trunk.proxy_route.value(proxy)),
        registrar: trunk.registrar.first().map(|place| host_of(place)),
        number_format: trunk.number_format,
        number_format_in: trunk.number_format_in,
        dial_prefix: trunk.dial_prefix.clone(),
        caller_id: trunk.caller_id.clone(),
        recipe: recipe_of(trunk),
        dials: config.calls.trunks.is_empty() || config.calls.trunks.contains(&trunk.name),
        destinations: trunk.destinations.clone(),
        codecs: trunk.codecs.iter().map(|codec| media_codec(*codec)).collect(),
        digits: trunk.digits,
        channels: trunk.channels,
        calls_per_second: trunk.calls_per_second,
        failover: trunk.failover.clone(),
        longest_ring: (trunk.ring_seconds > 0).then(|| seconds(trunk.ring_seconds)),
        longest_call: (trunk.call_seconds > 0).then(|| seconds(trunk.call_seconds)),
        extensions: extensions_of(trunk),
        options_every: (trunk.options_seconds > 0).then(|| seconds(trunk.options_seconds)),
        options_failures: trunk.options_failures,
        ..Trunk::new(trunk.name.clone(), trunk.host.clone())
    })
}

fn extensions_of(trunk: &TrunkConfig) -> sip::Extensions {
    sip::Extensions {
        reliable: match trunk.reliable {
            Reliable::No => sip::ReliableProvisional::No,
            Reliable::Peer => sip::ReliableProvisional::Peer,
            Reliable::Required => sip::ReliableProvisional::Required,
        },
        timer: trunk.session_timer,
        update: trunk.update,
    }
}

fn credentials_of(
    trunk: &TrunkConfig,
    key: &str,
    username: &Option<String>,
    password: &Option<Secret>,
) -> Result<Option<sip::Credentials>, String> {
    let password = password.as_ref().map(Secret::reveal).transpose();
    let password = password.map_err(|problem| format!("[[trunk]] {}: {key}: {problem}", trunk.name))?;
    Ok(username
        .clone()
        .zip(password)
        .map(|(username, password)| sip::Credentials {
            username,
            password,
            realm: (key == "password").then(|| trunk.realm.clone()).flatten(),
        }))
}

fn recipe_of(trunk: &TrunkConfig) -> Recipe {
    Recipe {
        identity: trunk.identity.clone(),
        from_user: trunk.from_user,
        from_host: trunk.from_host.clone(),
        display: trunk.display_name.clone(),
        withhold: trunk.withhold,
        diversion: trunk.diversion,
        user_phone: trunk.user_phone,
        headers: trunk
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn hearing_of(config: &Config) -> Hearing {
    let tones: Arc<[ToneDefinition]> = match config.tones.is_empty() {
        true => ToneDefinition::north_american().into(),
        false => config.tones.iter().map(ToneConfig::definition).collect(),
    };
    Hearing {
        tones: (config.hearing.offices != OfficeHearing::Off).then_some(tones),
        answered_for: Duration::from_secs(u64::from(config.hearing.seconds)),
        acts: config.hearing.offices == OfficeHearing::Act,
    }
}

/// A place without its port.
fn host_of(place: &str) -> String {
    match Place::parse(place, Transport::Udp) {
        Some(Place::Name { name, .. }) => name,
        Some(Place::Address(SocketAddr::V6(address))) => format!("[{}]", address.ip()),
        Some(Place::Address(address)) => address.ip().to_string(),
        None => place.to_owned(),
    }
}

/// Prompts that the flows name and that no recording exists for.
pub fn missing_prompts(
    flows: &BTreeMap<String, Arc<Flow>>,
    library: &PromptLibrary,
    language: Language,
) -> Vec<String> {
    let words = run::Catalogues.of(language);
    let mut missing = Vec::new();
    for flow in flows.values() {
        for key in flow
            .steps
            .values()
            .flat_map(crate::flow::definition::Step::prompts)
        {
            for piece in words.pieces(key, &|_| Vec::new()) {
                let crate::flow::catalogue::Piece::Recording(id) = piece else {
                    continue;
                };
                if library.source(language, &id).is_none() {
                    missing.push(format!(
                        "flow {}: prompt {key} has no recording ({id})",
                        flow.name
                    ));
                }
            }
        }
    }
    missing
}

/// Settings of an engine that runs without a network: one trunk, on which nothing real can be reached.
pub fn simulation_settings(
    config: &Config,
    routes: Routes,
    directory: Arc<Directory>,
    recordings: Arc<dyn Recordings>,
    trunk: &crate::units::TrunkName,
) -> Settings {
    Settings {
        sip: sip::EndpointConfig::default(),
        trunks: vec![Trunk {
            destinations: ["+1XXXXXXXXXX", "X*"]
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            channels: 10_000,
            ..Trunk::new(trunk.clone(), "trunk.invalid")
        }],
        routes,
        directory,
        catalogues: Catalogues,
        recordings,
        languages: config.prompts.languages(),
        most_calls: 10_000,
        calls_per_second: 0,
        silence_after: Duration::from_secs(u64::from(config.media.silence_seconds)),
        caller_key: None,
        zip_detail: ZipDetail::Full,
        hearing: hearing_of(config),
        stock: 8,
        tell_speech: true,
    }
}

const fn media_codec(codec: Codec) -> media::Codec {
    match codec {
        Codec::Pcmu => media::Codec::G711(Law::Mu),
        Codec::Pcma => media::Codec::G711(Law::A),
        Codec::G722 => media::Codec::G722,
        Codec::Opus => media::Codec::Opus,
    }
}
