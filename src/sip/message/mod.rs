//! SIP messages as bytes: an index over what came in, and a writer for what goes out.
//!
//! In: one datagram or one framed stream message. Out: a borrowed [`Message`] whose headers, URIs and body are slices
//! of the input, byte for byte, and typed views of single values ([`Via`], [`Address`], [`Uri`], [`CSeq`]). The
//! [`Writer`] builds requests and responses and refuses CR, LF and NUL in every value. RFC 3261 §7, §25; RFC 3966.
//! It must never panic, recurse or allocate by a length that a peer names.

mod address;
mod frame;
mod name;
mod parse;
mod peek;
mod revise;
mod salvage;
mod status;
mod uri;
mod value;
mod via;
mod write;

pub use address::Address;
pub use frame::{frame_extent, frame_length};
pub use name::{Method, Name};
pub(crate) use parse::Buffers;
pub use parse::{Header, MAX_HEADERS, MAX_LINE, MAX_MESSAGE, Message, ParseError, Start};
pub use peek::peek_call_id;
pub use revise::{Revision, ack_for_failure, cancel_for, revise};
pub use salvage::refusal;
pub use status::phrase;
pub use uri::Uri;
pub use value::{CSeq, Params, SessionExpires, decimal, lossy, split_commas, tokens, trim, unquote};
pub use via::Via;
pub use write::{BuildError, Writer, is_clean};
