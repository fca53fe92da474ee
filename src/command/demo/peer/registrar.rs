//! The registrar of the simulated trunk: challenges every REGISTER and keeps where the server can be reached.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rsip::{Request, Response};

use super::digest::{self, Account, Algorithm, Refused};
use super::message;

/// A registrar for one account.
#[derive(Debug)]
pub struct Registrar {
    account: Account,
    /// What it offers, in order of preference.
    algorithms: Vec<Algorithm>,
    /// The longest registration it grants.
    longest: Duration,
    /// Nonces that were given out, with the highest count seen.
    nonces: HashMap<String, u32>,
}

/// What the registrar did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    Challenged,
    Accepted {
        contact: String,
        algorithm: Algorithm,
        expires: Duration,
    },
    Removed,
    Refused {
        status: u16,
    },
}

/// How many nonces are remembered; the registrar has one customer.
const NONCES: usize = 64;

impl Registrar {
    pub fn new(account: Account, algorithms: Vec<Algorithm>, longest: Duration) -> Self {
        Self {
            account,
            algorithms,
            longest,
            nonces: HashMap::new(),
        }
    }

    /// Answers a REGISTER. `nonce` is fresh randomness for a challenge.
    pub fn answer(
        &mut self,
        request: &Request,
        source: SocketAddr,
        nonce: &str,
        tag: &str,
    ) -> (Response, Registration) {
        let Some(credentials) = message::field(&request.headers, "Authorization") else {
            return self.challenge(request, source, nonce, tag, false);
        };
        let uri = request.uri.to_string();
        match digest::verify(&credentials, "REGISTER", &uri, &self.account) {
            Ok(proof) => match self.nonces.get_mut(&proof.nonce) {
                Some(highest) if proof.count > *highest => {
                    *highest = proof.count;
                    self.register(request, source, tag, proof.algorithm)
                }
                _ => self.challenge(request, source, nonce, tag, true),
            },
            Err(Refused::Malformed(_)) => refuse(request, source, tag, (400, "Bad Request")),
            Err(Refused::Stranger | Refused::WrongResponse) => {
                refuse(request, source, tag, (403, "Forbidden"))
            }
        }
    }

    fn challenge(
        &mut self,
        request: &Request,
        source: SocketAddr,
        nonce: &str,
        tag: &str,
        stale: bool,
    ) -> (Response, Registration) {
        if self.nonces.len() >= NONCES {
            self.nonces.clear();
        }
        let mut headers = Vec::new();
        for algorithm in &self.algorithms {
            // One nonce for each algorithm, so that a client cannot answer one challenge with another's.
            let nonce = format!("{nonce}{}", algorithm.name().len());
            headers.push(digest::challenge(&self.account.realm, &nonce, *algorithm, stale));
            self.nonces.insert(nonce, 0);
        }
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|value| ("WWW-Authenticate", value.as_str()))
            .collect();
        let response = message::response(request, source, (401, "Unauthorized"), tag);
        (
            message::complete(response, &headers, None),
            Registration::Challenged,
        )
    }

    fn register(
        &self,
        request: &Request,
        source: SocketAddr,
        tag: &str,
        algorithm: Algorithm,
    ) -> (Response, Registration) {
        let response = message::response(request, source, (200, "OK"), tag);
        let Some(contact) = message::field(&request.headers, "Contact") else {
            return (message::complete(response, &[], None), Registration::Removed);
        };
        let asked = expires(&contact)
            .or_else(|| message::field(&request.headers, "Expires").and_then(|value| value.parse().ok()))
            .unwrap_or(3600);
        if asked == 0 {
            return (message::complete(response, &[], None), Registration::Removed);
        }
        let granted = Duration::from_secs(asked).min(self.longest);
        let uri = contact
            .split_once('>')
            .map_or(contact.as_str(), |(uri, _)| uri)
            .trim_start_matches('<');
        let bound = format!("<{uri}>;expires={}", granted.as_secs());
        let response = message::complete(response, &[("Contact", &bound)], None);
        (
            response,
            Registration::Accepted {
                contact: uri.to_owned(),
                algorithm,
                expires: granted,
            },
        )
    }
}

fn refuse(request: &Request, source: SocketAddr, tag: &str, status: (u16, &str)) -> (Response, Registration) {
    let response = message::response(request, source, status, tag);
    (
        message::complete(response, &[], None),
        Registration::Refused { status: status.0 },
    )
}

/// The `expires` parameter of a Contact value.
fn expires(contact: &str) -> Option<u64> {
    let (_, parameters) = contact.split_once('>').unwrap_or(("", contact));
    parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("expires=")?.parse().ok())
}
