//! Method and header names (RFC 3261 §7.3.3, §20; compact forms of RFC 3261, 4028, 6665, 3892, 8224).

use std::fmt;

/// A request method. `Other` stands for every extension method; its text stays in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Info,
    Update,
    Prack,
    Refer,
    Notify,
    Subscribe,
    Message,
    Publish,
    Other,
}

impl Method {
    /// Method names are case-sensitive (RFC 3261 §7.1).
    pub fn from_bytes(text: &[u8]) -> Self {
        match text {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"REGISTER" => Self::Register,
            b"OPTIONS" => Self::Options,
            b"INFO" => Self::Info,
            b"UPDATE" => Self::Update,
            b"PRACK" => Self::Prack,
            b"REFER" => Self::Refer,
            b"NOTIFY" => Self::Notify,
            b"SUBSCRIBE" => Self::Subscribe,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Subscribe => "SUBSCRIBE",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other => "OTHER",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! names {
    ($($variant:ident $text:literal $(| $compact:literal)?;)*) => {
        /// A header name this core acts on. `Other` is every other header; its text stays in the message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name { $($variant,)* Other }

        impl Name {
            /// Names are case-insensitive and have compact forms (RFC 3261 §7.3.1, §7.3.3).
            pub fn from_bytes(text: &[u8]) -> Self {
                let mut lower = [0u8; 24];
                if text.len() > lower.len() {
                    return Self::Other;
                }
                for (to, from) in lower.iter_mut().zip(text) {
                    *to = from.to_ascii_lowercase();
                }
                match std::str::from_utf8(&lower[..text.len()]).unwrap_or("") {
                    $($text $(| $compact)? => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

names! {
    Via "via" | "v";
    From "from" | "f";
    To "to" | "t";
    CallId "call-id" | "i";
    CSeq "cseq";
    Contact "contact" | "m";
    MaxForwards "max-forwards";
    Route "route";
    RecordRoute "record-route";
    ContentType "content-type" | "c";
    ContentLength "content-length" | "l";
    ContentEncoding "content-encoding" | "e";
    ContentDisposition "content-disposition";
    Accept "accept";
    Expires "expires";
    MinExpires "min-expires";
    Require "require";
    ProxyRequire "proxy-require";
    Supported "supported" | "k";
    Unsupported "unsupported";
    Allow "allow";
    WwwAuthenticate "www-authenticate";
    ProxyAuthenticate "proxy-authenticate";
    Authorization "authorization";
    ProxyAuthorization "proxy-authorization";
    Reason "reason";
    RetryAfter "retry-after";
    RSeq "rseq";
    RAck "rack";
    SessionExpires "session-expires" | "x";
    MinSe "min-se";
    PAssertedIdentity "p-asserted-identity";
    PPreferredIdentity "p-preferred-identity";
    RemotePartyId "remote-party-id";
    Privacy "privacy";
    Diversion "diversion";
    HistoryInfo "history-info";
    Identity "identity" | "y";
    Warning "warning";
    ServiceRoute "service-route";
    UserAgent "user-agent";
    Server "server";
    XTwilioError "x-twilio-error";
}
