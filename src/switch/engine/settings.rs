//! What an engine is set up with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media::{Clip, Law};

use super::Routes;
use crate::call::number::{FromUser, IdentityForm, NumberFormat, Pattern};
use crate::call::record::ZipDetail;
use crate::directory::Directory;
use crate::flow::run::Catalogues;
use crate::units::{Language, PhoneNumber, TrunkName};

/// Where recordings come from. Called on the signalling thread, so it must answer at once.
pub trait Recordings: Send + Sync {
    /// A recording by its id in a language, or what stands in for it; none when there is nothing.
    fn clip(&self, language: Language, id: &str) -> Option<Clip>;
}

/// A trunk as the engine uses it.
#[derive(Debug, Clone)]
pub struct Trunk {
    pub name: TrunkName,
    pub host: String,
    pub public: Option<SocketAddr>,
    pub transport: sip::Transport,
    /// Whether requests over UDP that are too large for any path go by TCP.
    pub large_by_tcp: bool,
    pub networks: Vec<sip::Network>,
    pub credentials: Option<sip::Credentials>,
    /// Seconds of registration asked for; none when the trunk knows us by our address.
    pub register: Option<Duration>,
    pub number_format: NumberFormat,
    pub dial_prefix: String,
    pub caller_id: Option<PhoneNumber>,
    pub identity: IdentityForm,
    pub from_user: FromUser,
    pub destinations: Vec<Pattern>,
    pub laws: Vec<Law>,
    pub channels: u32,
    /// Between two OPTIONS; none sends none.
    pub options_every: Option<Duration>,
}

/// All that an engine needs to know.
pub struct Settings {
    pub sip: sip::EndpointConfig,
    pub trunks: Vec<Trunk>,
    pub routes: Routes,
    pub directory: Arc<Directory>,
    pub catalogues: Catalogues,
    pub recordings: Arc<dyn Recordings>,
    /// Languages, the first being spoken until the caller chooses.
    pub languages: Vec<Language>,
    pub most_calls: usize,
    /// Nothing heard from a caller for this long ends the call.
    pub silence_after: Duration,
    /// Key of the callers' pseudonyms; none keeps nothing of them.
    pub caller_key: Option<Vec<u8>>,
    pub zip_detail: ZipDetail,
    /// Ready sockets kept in stock.
    pub stock: usize,
    /// Whether what callers hear is told as [`super::Output::Said`].
    pub tell_speech: bool,
}

/// What became of a trunk's registration or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrunkStatus {
    Registered {
        trunk: TrunkName,
        expires: Duration,
    },
    RegistrationFailed {
        trunk: TrunkName,
        status: u16,
        retry_in: Duration,
    },
    Left {
        trunk: TrunkName,
    },
    /// A large request went by UDP, for TCP could not be had.
    LargeByUdp {
        trunk: TrunkName,
    },
}

/// A trunk as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TrunkState {
    pub name: TrunkName,
    pub resolved: bool,
    /// None for a trunk that is not registered with.
    pub registered: Option<bool>,
    pub calls: u32,
    /// Whether it answered the last OPTIONS; none when none are sent.
    pub answers_options: Option<bool>,
}
