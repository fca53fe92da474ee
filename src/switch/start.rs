//! What a switch needs before it can run: the store, the directory, the prompts, routes, addresses, randomness.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::Routes;
use super::media_driver::DriverConfig;
use super::port_pool::PortPool;
use super::prompt_library::PromptLibrary;
use super::setup::{self, StartError};
use super::sip_transport::Tls;
use super::trunk_address;
use crate::call::record::UtcMicros;
use crate::config::{Config, Listen, Place, PortRange};
use crate::directory::Directory;
use crate::store::{CallStore, DirectoryStore, SettingStore, SqliteStore, Writer, WriterConfig};

pub(super) fn routes_from(config: &Config, store: &SqliteStore) -> Result<Routes, StartError> {
    let campaigns = setup::campaigns_of(config, Some(store))?;
    setup::plan_of(config, &campaigns).map_err(StartError::Configuration)
}

pub(super) struct Opened {
    pub(super) store: Arc<SqliteStore>,
    pub(super) writer: Writer,
    pub(super) key: Vec<u8>,
}

pub(super) async fn open_store(config: &Config) -> Result<Opened, StartError> {
    let url = config.store.url.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = Arc::new(SqliteStore::open(&url)?);
        store.claim()?;
        let closed = store.close_open_calls(UtcMicros::from(Timestamp::now()))?;
        if closed > 0 {
            tracing::warn!(
                calls = closed,
                "calls that the last run left open were closed as system_error"
            );
        }
        let key = store.caller_key()?.as_bytes().to_vec();
        let writer =
            Writer::start(Arc::clone(&store), WriterConfig::default()).map_err(StartError::Writer)?;
        Ok(Opened { store, writer, key })
    });
    opened
        .await
        .map_err(|error| StartError::Task(error.to_string()))?
}

pub(super) async fn directory_of(store: Arc<SqliteStore>) -> Result<Arc<Directory>, StartError> {
    let read =
        tokio::task::spawn_blocking(move || store.current_directory().map_err(|error| error.to_string()));
    read.await
        .map_err(|error| StartError::Directory(error.to_string()))?
        .map_err(StartError::Directory)
}

pub(super) async fn open_prompts(config: &Config) -> Result<Arc<PromptLibrary>, StartError> {
    let folder = config.prompts.directory.clone();
    let languages = config.prompts.languages();
    let read = tokio::task::spawn_blocking(move || {
        let first = languages
            .first()
            .copied()
            .unwrap_or(crate::units::Language::ENGLISH);
        let library = Arc::new(PromptLibrary::open(folder.as_deref(), first).map_err(StartError::Prompts)?);
        // Without optimisation decoding is slow, and what a test plays is soon read when it is asked for.
        let ahead: &[_] = if cfg!(debug_assertions) { &[] } else { &languages };
        for worker in library.preload(ahead) {
            // A worker that failed leaves its recordings to be read when they are asked for.
            let _ = worker.join();
        }
        if !ahead.is_empty() {
            // Goes on by itself while the server already takes calls.
            drop(library.preload_names(ahead));
        }
        for problem in library.problems() {
            tracing::warn!(language = %problem.language, prompt = problem.id, "prompt passed over: {}", problem.fault);
        }
        Ok(library)
    });
    read.await.map_err(|error| StartError::Task(error.to_string()))?
}

/// Reads the certificates. Off the task that runs calls: files may be slow.
pub(super) async fn read_tls(config: &Config) -> Result<Tls, StartError> {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || Tls::load(&config)).await;
    read.map_err(|error| StartError::Task(error.to_string()))?
        .map_err(StartError::Configuration)
}

pub(super) fn driver_config(config: &Config) -> DriverConfig {
    let defaults = DriverConfig::default();
    let threads = if config.media.threads == 0 {
        defaults.threads
    } else {
        usize::from(config.media.threads)
    };
    let (tick, longest_tick) = match config.media.tick_milliseconds {
        0 => (defaults.tick, defaults.longest_tick),
        fixed => {
            let fixed = Duration::from_millis(u64::from(fixed));
            (fixed, fixed)
        }
    };
    DriverConfig {
        threads,
        tick,
        longest_tick,
        ..defaults
    }
}

/// Binds one port for a moment: an address that is not of this machine is told before the first call.
pub(super) fn prove_media_port(address: IpAddr, ports: PortRange) -> Result<(), StartError> {
    let pool = PortPool::new(address, ports.first..=ports.last, Duration::ZERO, seed()?);
    let opened = pool.open().map(drop);
    opened.map_err(|error| StartError::MediaPort {
        address,
        reason: error.to_string(),
    })
}

/// The address in session descriptions, where RTP is bound to every address: the one that reaches the first trunk.
pub(super) fn concrete(bound: IpAddr, config: &Config, listen: &[Listen]) -> Option<IpAddr> {
    if !bound.is_unspecified() {
        return None;
    }
    let target = config.trunks.iter().find_map(|trunk| {
        let places = trunk.places().iter();
        let parsed = places.filter_map(|place| Place::parse(place, trunk.transport));
        parsed.into_iter().find_map(|place| match place {
            Place::Address(address) => Some(address),
            Place::Name { .. } => None,
        })
    });
    let any_public = SocketAddr::from(([192, 0, 2, 1], 5060));
    let listen: Vec<SocketAddr> = listen.iter().map(|listen| listen.address).collect();
    Some(trunk_address::local_for(&listen, target.unwrap_or(any_public)).ip())
}

pub(super) fn seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(seed)
}
