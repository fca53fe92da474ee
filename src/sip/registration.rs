//! Keeps one REGISTER binding per peer alive (RFC 3261 §10).

use crate::peer::PeerId;

/// A binding to keep at a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub peer: PeerId,
    /// The Request-URI: `sip:registrar.example.com`.
    pub registrar: String,
    /// The address of record put in To and From: `sip:account@example.com`.
    pub aor: String,
    /// The expiry to ask for, in seconds; what is granted counts.
    pub expires: u32,
}
