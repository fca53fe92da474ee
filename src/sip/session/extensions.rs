//! The extensions that a peer's calls use: 100rel (RFC 3262), timer (RFC 4028), UPDATE (RFC 3311).

/// Which extensions requests to a peer offer and ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    pub reliable: ReliableProvisional,
    /// Whether our INVITE asks for a session timer. One that the peer asks for is kept either way.
    pub timer: bool,
    /// Whether UPDATE is allowed and sent.
    pub update: bool,
}

/// When provisional responses are sent reliably.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReliableProvisional {
    /// Never: an INVITE that requires it is refused with 420.
    No,
    /// Where the peer requires it.
    #[default]
    Peer,
    /// Our INVITE requires it, and ours are reliable where the peer supports that.
    Required,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            reliable: ReliableProvisional::Peer,
            timer: true,
            update: true,
        }
    }
}

impl Extensions {
    /// The value of Allow.
    pub(crate) fn allow(self) -> &'static str {
        match self.update {
            true => "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, INFO",
            false => "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, INFO",
        }
    }

    /// The value of Supported; may be empty (RFC 3261 §20.37).
    pub(crate) fn supported(self) -> &'static str {
        match (self.timer, self.reliable != ReliableProvisional::No) {
            (true, true) => "timer, 100rel",
            (true, false) => "timer",
            (false, true) => "100rel",
            (false, false) => "",
        }
    }

    /// The lines Allow and Supported.
    pub(crate) fn lines(self) -> String {
        format!("Allow: {}\r\nSupported: {}\r\n", self.allow(), self.supported())
    }

    /// Whether a request may require this option of us. A session timer that is required is kept.
    pub(crate) fn knows(self, option: &[u8]) -> bool {
        option.eq_ignore_ascii_case(b"timer")
            || (option.eq_ignore_ascii_case(b"100rel") && self.reliable != ReliableProvisional::No)
    }
}
