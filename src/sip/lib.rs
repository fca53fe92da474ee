//! SIP signalling core without sockets, clocks or tasks.
//!
//! In: datagrams, the time, commands. Out: datagrams, events, the next deadline. [`Endpoint`] is the only state
//! machine to drive; the modules below it are the layers of RFC 3261: [`message`] (syntax), `transaction` (§17),
//! `dialog` (§12), `session` (§13 to §15 with RFC 3262, 3264, 3311, 4028), `registration` (§10), `digest` (RFC 7616,
//! 8760). SDP bodies are opaque here. It must never read a clock, draw ambient randomness, block, panic on input, or
//! grow without bound.

mod admission;
mod body;
mod deadlines;
mod dialog;
mod digest;
mod endpoint;
mod event;
mod identity;
pub mod message;
mod peer;
mod peers;
mod probe;
mod reason;
mod registration;
mod reply;
mod session;
mod slab;
mod transaction;
mod verifier;
mod wire;

pub use endpoint::{Counters, Endpoint, EndpointConfig};
pub use event::{
    Cause, Ended, Event, Failure, IncomingInvite, Input, Invite, InviteError, Output, Party, Reason,
    SessionId, Sighting,
};
pub use identity::{HeaderRefused, check_header};
pub use peer::{Credentials, Network, Peer, PeerId, Share, Transport};
pub use registration::Registration;
pub use session::{Extensions, ReliableProvisional};
