//! Our INVITE as a provider wants it: the number dialled, who calls, and the provider's own headers
//! (RFC 3261 §8.1.1, RFC 3323, RFC 3325, RFC 5806).

use sip::{Invite, Party, PeerId};

use super::Trunk;
use crate::call::number::{Dialled, FromUser};
use crate::units::PhoneNumber;

/// What of a call stands in its INVITE, beside its trunk's recipe.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub peer: PeerId,
    pub dialled: &'a Dialled,
    /// The number of ours that the caller dialled.
    pub called: Option<&'a PhoneNumber>,
    pub max_forwards: u8,
    pub sdp: Vec<u8>,
}

impl Trunk {
    /// The INVITE for a call.
    pub(super) fn invite(&self, asked: Asked<'_>) -> Invite {
        let suffix = if self.recipe.user_phone { ";user=phone" } else { "" };
        let number = self.number_format.write(asked.dialled);
        let uri = format!("sip:{}{number}@{}{suffix}", self.dial_prefix, self.host);
        Invite {
            peer: asked.peer,
            to: uri.clone(),
            uri,
            from: self.from(suffix),
            headers: self.headers(asked.called),
            max_forwards: Some(asked.max_forwards),
            sdp: asked.sdp,
        }
    }

    /// The host as a domain, which has no port.
    pub(super) fn domain(&self) -> &str {
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match self.host.rsplit_once(':') {
            Some((name, port)) if is_port(port) && (name.ends_with(']') || !name.contains(':')) => name,
            _ => &self.host,
        }
    }

    fn identity_host(&self) -> &str {
        self.recipe.from_host.as_deref().unwrap_or(self.domain())
    }

    fn shown(&self) -> Option<String> {
        self.caller_id
            .as_ref()
            .map(|number| self.number_format.write_own(number))
    }

    fn from(&self, suffix: &str) -> Party {
        let account = self
            .credentials
            .as_ref()
            .map(|credentials| credentials.username.as_str());
        let shown = self.shown();
        let (user, suffix) = match self.recipe.from_user {
            FromUser::Account => (account, ""),
            // RFC 3323 §4.1.1.3.
            FromUser::Number if self.recipe.withhold => {
                return Party {
                    display: Some("Anonymous".to_owned()),
                    uri: "sip:anonymous@anonymous.invalid".to_owned(),
                };
            }
            FromUser::Number if shown.is_some() => (shown.as_deref(), suffix),
            FromUser::Number => (account, ""),
        };
        Party {
            display: self.recipe.display.clone(),
            uri: format!(
                "sip:{}@{}{suffix}",
                user.unwrap_or("anonymous"),
                self.identity_host()
            ),
        }
    }

    fn headers(&self, called: Option<&PhoneNumber>) -> Vec<(String, String)> {
        let recipe = &self.recipe;
        let host = self.identity_host();
        let mut headers = Vec::new();
        if let Some(shown) = self.shown() {
            let identities = recipe.identity.iter();
            headers.extend(identities.filter_map(|form| form.header(&shown, host, recipe.withhold)));
        }
        if recipe.withhold {
            headers.push(("Privacy".to_owned(), "id".to_owned()));
        }
        if let Some(called) = called.filter(|_| recipe.diversion) {
            let number = self.number_format.write_own(called);
            let value = format!("<sip:{number}@{host}>;reason=unconditional");
            headers.push(("Diversion".to_owned(), value));
        }
        headers.extend(recipe.headers.iter().cloned());
        headers
    }
}
