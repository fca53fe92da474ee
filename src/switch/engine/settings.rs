//! What an engine is set up with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media::hearing::ToneDefinition;
use media::{Clip, Codec, Law};

use super::Routes;
use crate::call::leg::DigitForm;
use crate::call::number::{FromUser, IdentityForm, NumberFormat, Pattern};
use crate::call::record::ZipDetail;
use crate::config::DEFAULT_FAILOVER;
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
    /// What its requests prove themselves with when they come from elsewhere than its addresses.
    pub accepts: Option<sip::Credentials>,
    /// Seconds of registration asked for; none when the trunk knows us by our address.
    pub register: Option<Duration>,
    /// Route value of an outbound proxy.
    pub route: Option<String>,
    /// Host that REGISTER names, where that is not `host`.
    pub registrar: Option<String>,
    pub number_format: NumberFormat,
    pub number_format_in: Option<NumberFormat>,
    pub dial_prefix: String,
    pub caller_id: Option<PhoneNumber>,
    pub recipe: Recipe,
    /// Whether calls go out by it unless a number says otherwise.
    pub dials: bool,
    pub destinations: Vec<Pattern>,
    pub codecs: Vec<Codec>,
    /// How keys travel to and from it.
    pub digits: DigitForm,
    pub channels: u32,
    /// Calls dialled each second; 0 sets no limit.
    pub calls_per_second: u32,
    /// Final answers after which another trunk is tried.
    pub failover: Vec<u16>,
    /// The longest that a call dialled rings, beside what its flow says.
    pub longest_ring: Option<Duration>,
    /// The longest that a call lasts after its answer, in either direction.
    pub longest_call: Option<Duration>,
    /// Extensions that requests to it use.
    pub extensions: sip::Extensions,
    /// Between two OPTIONS; none sends none.
    pub options_every: Option<Duration>,
    /// OPTIONS that fail in a row until it counts as down.
    pub options_failures: u32,
}

/// How an INVITE says who calls, as a provider wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    pub identity: Vec<IdentityForm>,
    pub from_user: FromUser,
    /// Host in From and the identity headers, where that is not the trunk's.
    pub from_host: Option<String>,
    pub display: Option<String>,
    /// Those we call are not to see the number.
    pub withhold: bool,
    pub diversion: bool,
    pub user_phone: bool,
    /// Fixed headers of the provider.
    pub headers: Vec<(String, String)>,
}

impl Trunk {
    /// A trunk known by its address, without a limit, with everything else as the configuration has it by default.
    pub fn new(name: TrunkName, host: impl Into<String>) -> Self {
        Self {
            name,
            host: host.into(),
            public: None,
            transport: sip::Transport::Udp,
            large_by_tcp: false,
            networks: Vec::new(),
            credentials: None,
            accepts: None,
            register: None,
            route: None,
            registrar: None,
            number_format: NumberFormat::PlusE164,
            number_format_in: None,
            dial_prefix: String::new(),
            caller_id: None,
            recipe: Recipe {
                identity: vec![IdentityForm::default()],
                ..Recipe::default()
            },
            dials: true,
            destinations: "+1XXXXXXXXXX".parse().into_iter().collect(),
            codecs: vec![Law::Mu.into(), Law::A.into()],
            digits: DigitForm::default(),
            channels: 1000,
            calls_per_second: 0,
            failover: DEFAULT_FAILOVER.to_vec(),
            longest_ring: None,
            longest_call: None,
            extensions: sip::Extensions::default(),
            options_every: None,
            options_failures: 3,
        }
    }
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
    /// Calls taken each second; 0 sets no limit.
    pub calls_per_second: u32,
    /// Nothing heard from a caller for this long ends the call.
    pub silence_after: Duration,
    /// Key of the callers' pseudonyms; none keeps nothing of them.
    pub caller_key: Option<Vec<u8>>,
    pub zip_detail: ZipDetail,
    pub hearing: Hearing,
    /// Ready sockets kept in stock.
    pub stock: usize,
    /// Whether what callers hear is told as [`super::Output::Said`].
    pub tell_speech: bool,
}

/// What is listened for on the lines that we dial.
#[derive(Debug, Clone)]
pub struct Hearing {
    /// None: nothing.
    pub tones: Option<Arc<[ToneDefinition]>>,
    /// How much of the audio after the answer.
    pub answered_for: Duration,
    /// Whether tones end a leg where nobody spoke; else they are only noted.
    pub acts: bool,
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
    /// So many OPTIONS in a row failed; or one was answered again.
    Down {
        trunk: TrunkName,
    },
    Up {
        trunk: TrunkName,
    },
    /// The trunk sees us at this address.
    SeenAt {
        trunk: TrunkName,
        address: SocketAddr,
    },
    /// It sent a call for a number that is not among ours.
    NotServed {
        trunk: TrunkName,
        number: String,
    },
    /// It sent a call whose sound we cannot have.
    NoCommonCodec {
        trunk: TrunkName,
    },
    /// It failed, and the call goes on over another.
    PassedOver {
        trunk: TrunkName,
        next: TrunkName,
        why: String,
    },
    /// A large request went by UDP, for TCP could not be had.
    LargeByUdp {
        trunk: TrunkName,
    },
    /// The trunk wanted our account's proof for another realm than its own; it was not given.
    ForeignRealm {
        trunk: TrunkName,
        realm: String,
    },
}

/// Why a registration failed, from what REGISTER was answered with (408 for nothing).
pub fn registration_trouble(status: u16) -> String {
    match status {
        401 | 407 => "the trunk refuses the username or password".to_owned(),
        403 => "the trunk refuses this account (SIP 403)".to_owned(),
        404 => "the trunk does not know this account (SIP 404)".to_owned(),
        408 => "the registrar does not answer".to_owned(),
        503 => "the registrar cannot be reached or is not available (SIP 503)".to_owned(),
        _ => format!("the registrar answered SIP {status}"),
    }
}

/// A trunk as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TrunkState {
    pub name: TrunkName,
    pub resolved: bool,
    /// None for a trunk that is not registered with.
    pub registered: Option<bool>,
    /// Why it is not registered with, in words, after a REGISTER failed.
    pub registration_trouble: Option<String>,
    pub calls: u32,
    /// Whether it answered the last OPTIONS; none when none are sent.
    pub answers_options: Option<bool>,
    /// Whether so many OPTIONS in a row failed that other trunks are called first.
    pub down: bool,
    /// Whether it asked not to be called for a while (Retry-After).
    pub resting: bool,
    /// Whether its last call failed and went on over another.
    pub failing: bool,
    /// Where it is reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// The address that it sees us at, where that is not the one we listen on.
    pub seen_at: Option<SocketAddr>,
}
