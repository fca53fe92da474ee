//! Digest authentication as a client (RFC 7616, RFC 8760, RFC 3261 §22).
//!
//! In: the challenges of a 401 or 407. Out: Authorization lines for the request sent again. Credentials answer only
//! the realm they are bound to; the caller makes sure that the request went to their peer. One request never answers a
//! realm twice unless the server calls its own nonce stale: a wrong password stays wrong (RFC 3261 §22.1).

use std::borrow::Cow;
use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::message::{Message, Name, trim, unquote};
use crate::peer::Credentials;

/// Most challenges kept of one response.
const MAX_CHALLENGES: usize = 4;
/// Most times one request is sent again with new credentials.
pub(crate) const MAX_ATTEMPTS: u8 = 3;

/// Hash functions, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
    Sha512Of256,
}

impl Algorithm {
    /// Reads an algorithm and whether it is its `-sess` variant.
    pub fn parse(text: &[u8]) -> Option<(Self, bool)> {
        let text = text.to_ascii_uppercase();
        let (name, session) = match text.strip_suffix(b"-SESS") {
            Some(name) => (name, true),
            None => (&text[..], false),
        };
        let algorithm = match name {
            b"MD5" => Self::Md5,
            b"SHA-256" => Self::Sha256,
            b"SHA-512-256" => Self::Sha512Of256,
            _ => return None,
        };
        Some((algorithm, session))
    }

    pub fn hash(self, parts: &[&[u8]]) -> String {
        fn run<D: Digest>(parts: &[&[u8]]) -> String {
            let mut digest = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    digest.update(b":");
                }
                digest.update(part);
            }
            digest
                .finalize()
                .iter()
                .fold(String::with_capacity(64), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
        }
        match self {
            Self::Md5 => run::<Md5>(parts),
            Self::Sha256 => run::<Sha256>(parts),
            Self::Sha512Of256 => run::<Sha512_256>(parts),
        }
    }
}

/// One challenge that we can answer; texts are as between the quotes.
#[derive(Debug, Clone)]
struct Challenge {
    proxy: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Algorithm,
    session: bool,
    algorithm_text: Option<Vec<u8>>,
    qop_auth: bool,
    stale: bool,
    /// How often this nonce was used.
    count: u32,
    /// Whether the request at hand carries an answer to it.
    answered: bool,
    /// Whether the request at hand was challenged with it, rather than an earlier one.
    asked: bool,
}

impl Challenge {
    fn parse(value: &[u8], proxy: bool) -> Option<Self> {
        let value = trim(value);
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut challenge = Self {
            proxy,
            realm: Vec::new(),
            nonce: Vec::new(),
            opaque: None,
            algorithm: Algorithm::Md5,
            session: false,
            algorithm_text: None,
            qop_auth: false,
            stale: false,
            count: 0,
            answered: false,
            asked: true,
        };
        let (mut has_realm, mut qop_seen) = (false, false);
        for part in crate::message::split_commas(rest) {
            let Some(at) = part.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (name, value) = (trim(&part[..at]).to_ascii_lowercase(), inner(&part[at + 1..]));
            match name.as_slice() {
                b"realm" => (challenge.realm, has_realm) = (value.to_vec(), true),
                b"nonce" => challenge.nonce = value.to_vec(),
                b"opaque" => challenge.opaque = Some(value.to_vec()),
                b"stale" => challenge.stale = value.eq_ignore_ascii_case(b"true"),
                b"algorithm" => {
                    (challenge.algorithm, challenge.session) = Algorithm::parse(value)?;
                    challenge.algorithm_text = Some(value.to_vec());
                }
                b"qop" => {
                    qop_seen = true;
                    challenge.qop_auth |=
                        crate::message::tokens(value).any(|token| token.eq_ignore_ascii_case(b"auth"));
                }
                _ => {}
            }
        }
        let usable = has_realm && !challenge.nonce.is_empty() && (challenge.qop_auth || !qop_seen);
        usable.then_some(challenge)
    }

    fn line(&mut self, credentials: &Credentials, method: &str, uri: &[u8], cnonce: &str) -> Vec<u8> {
        // The one text here that comes from a person; all others were headers or URIs of messages.
        if !crate::message::is_clean(credentials.username.as_bytes()) {
            return Vec::new();
        }
        self.count += 1;
        self.answered = true;
        let count = format!("{:08x}", self.count);
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let (username, password) = (credentials.username.as_bytes(), credentials.password.as_bytes());
        let mut secret = hash(&[username, &self.realm, password]);
        if self.session {
            secret = hash(&[secret.as_bytes(), &self.nonce, cnonce.as_bytes()]);
        }
        let request = hash(&[method.as_bytes(), uri]);
        let response = if self.qop_auth {
            let parts: [&[u8]; 6] = [
                secret.as_bytes(),
                &self.nonce,
                count.as_bytes(),
                cnonce.as_bytes(),
                b"auth",
                request.as_bytes(),
            ];
            hash(&parts)
        } else {
            hash(&[secret.as_bytes(), &self.nonce, request.as_bytes()])
        };
        let name: &[u8] = if self.proxy {
            b"Proxy-Authorization: Digest "
        } else {
            b"Authorization: Digest "
        };
        let mut line = name.to_vec();
        quoted(&mut line, "username", &escape(username));
        for (name, value) in [("realm", &self.realm[..]), ("nonce", &self.nonce), ("uri", uri)] {
            line.extend_from_slice(b", ");
            quoted(&mut line, name, value);
        }
        line.extend_from_slice(b", ");
        quoted(&mut line, "response", response.as_bytes());
        if let Some(algorithm) = &self.algorithm_text {
            line.extend_from_slice(b", algorithm=");
            line.extend_from_slice(algorithm);
        }
        if let Some(opaque) = &self.opaque {
            line.extend_from_slice(b", ");
            quoted(&mut line, "opaque", opaque);
        }
        if self.qop_auth {
            line.extend_from_slice(format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\"").as_bytes());
        } else if self.session {
            line.extend_from_slice(format!(", cnonce=\"{cnonce}\"").as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// The text between the quotes, escapes kept, so that it can be hashed and echoed byte for byte.
fn inner(value: &[u8]) -> &[u8] {
    match trim(value) {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

fn escape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.iter().fold(Vec::new(), |mut escaped, &byte| {
        if matches!(byte, b'"' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
        escaped
    }))
}

fn quoted(line: &mut Vec<u8>, name: &str, value: &[u8]) {
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"=\"");
    line.extend_from_slice(value);
    line.push(b'"');
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswerable {
    #[error("no challenge with an algorithm and qop that we have")]
    Unusable,
    #[error("the realm is not ours")]
    ForeignRealm(Vec<u8>),
    #[error("the credentials were refused")]
    Refused,
}

/// Distinct foreign realms of one peer that are told, so that one who changes them all the time does not fill a log.
const MOST_TOLD: u8 = 8;

/// The realms that a peer challenged for first, its servers' and its proxies'. Where no realm is configured others are
/// refused: the proof of the account's password is for those who have known it from the beginning (RFC 8760 §5).
#[derive(Debug, Default)]
pub(crate) struct Realms {
    server: Option<Vec<u8>>,
    proxy: Option<Vec<u8>>,
    /// The last one refused, and how many were told.
    refused: Option<Vec<u8>>,
    told: u8,
}

impl Realms {
    /// Whether credentials may be given for a realm; the first one is kept where none is configured.
    fn admit(&mut self, proxy: bool, realm: &[u8], configured: Option<&str>) -> bool {
        if let Some(ours) = configured {
            return ours.as_bytes() == realm;
        }
        let kept = if proxy { &mut self.proxy } else { &mut self.server };
        kept.get_or_insert_with(|| realm.to_vec()) == realm
    }

    /// The realm last refused, once for each and not for ever.
    pub fn news(&mut self, realm: &[u8]) -> Option<String> {
        if self.told >= MOST_TOLD || self.refused.as_deref() == Some(realm) {
            return None;
        }
        self.told += 1;
        self.refused = Some(realm.to_vec());
        let text = String::from_utf8_lossy(realm);
        Some(text.chars().filter(|c| !c.is_control()).take(100).collect())
    }
}

/// Remembers the challenges of one dialog or registration and answers them.
#[derive(Debug, Default)]
pub(crate) struct Authenticator {
    challenges: Vec<Challenge>,
    attempts: u8,
}

impl Authenticator {
    /// Starts a new request: the limit of attempts counts per request.
    pub fn restart(&mut self) {
        self.attempts = 0;
        for challenge in &mut self.challenges {
            (challenge.answered, challenge.asked) = (false, false);
        }
    }

    /// Whether [`Authenticator::lines`] would give credentials.
    pub fn is_ready(&self) -> bool {
        !self.challenges.is_empty()
    }

    /// Takes the challenges of a 401 or 407; of each realm the strongest that we can answer.
    pub fn take(
        &mut self,
        response: &Message<'_>,
        credentials: &Credentials,
        realms: &mut Realms,
    ) -> Result<(), Unanswerable> {
        if self.attempts >= MAX_ATTEMPTS {
            return Err(Unanswerable::Refused);
        }
        let (mut found, mut foreign) = (Vec::<Challenge>::new(), None);
        for header in response.headers() {
            let proxy = match header.name {
                Name::WwwAuthenticate => false,
                Name::ProxyAuthenticate => true,
                _ => continue,
            };
            let Some(challenge) = Challenge::parse(header.value, proxy) else {
                continue;
            };
            let realm = unquote(&challenge.realm);
            if !realms.admit(proxy, &realm, credentials.realm.as_deref()) {
                foreign = Some(realm.into_owned());
                continue;
            }
            match found
                .iter()
                .position(|other| other.proxy == proxy && other.realm == challenge.realm)
            {
                Some(at) if found[at].algorithm < challenge.algorithm => found[at] = challenge,
                None if found.len() < MAX_CHALLENGES => found.push(challenge),
                _ => {}
            }
        }
        if found.is_empty() {
            return Err(foreign.map_or(Unanswerable::Unusable, Unanswerable::ForeignRealm));
        }
        let answered = |challenge: &Challenge| {
            self.challenges.iter().any(|old| {
                // What was sent ahead with an old nonce may fail for its age; what was asked for may not.
                let same = old.nonce == challenge.nonce || old.asked && old.algorithm == challenge.algorithm;
                same && old.realm == challenge.realm && old.proxy == challenge.proxy && old.answered
            })
        };
        if found
            .iter()
            .all(|challenge| answered(challenge) && !challenge.stale)
        {
            return Err(Unanswerable::Refused);
        }
        self.keep(found);
        self.attempts += 1;
        Ok(())
    }

    /// Replaces challenges of the same place and realm; others (a proxy's beside the server's) stay.
    fn keep(&mut self, found: Vec<Challenge>) {
        for mut challenge in found {
            let same = |old: &Challenge| old.proxy == challenge.proxy && old.realm == challenge.realm;
            match self.challenges.iter().position(same) {
                Some(at) => {
                    if self.challenges[at].nonce == challenge.nonce {
                        challenge.count = self.challenges[at].count;
                    }
                    self.challenges[at] = challenge;
                }
                None if self.challenges.len() < MAX_CHALLENGES => self.challenges.push(challenge),
                None => {}
            }
        }
    }

    /// Header lines that answer every challenge known, counting each nonce's use.
    pub fn lines(&mut self, credentials: &Credentials, method: &str, uri: &[u8], cnonce: u64) -> Vec<u8> {
        let cnonce = format!("{cnonce:016x}");
        let mut lines = Vec::new();
        for challenge in &mut self.challenges {
            lines.extend_from_slice(&challenge.line(credentials, method, uri, &cnonce));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(challenges: &str) -> Vec<u8> {
        format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{challenges}\r\n"
        )
        .into_bytes()
    }

    fn take(
        authenticator: &mut Authenticator,
        challenges: &str,
        realm: Option<&str>,
    ) -> Result<(), Unanswerable> {
        let (bytes, mut scratch) = (response(challenges), Vec::new());
        let message = Message::parse(&bytes, &mut scratch).unwrap();
        let credentials = credentials("Mufasa", "Circle of Life", realm);
        authenticator.take(&message, &credentials, &mut Realms::default())
    }

    fn credentials(username: &str, password: &str, realm: Option<&str>) -> Credentials {
        Credentials {
            username: username.into(),
            password: password.into(),
            realm: realm.map(str::to_owned),
        }
    }

    fn parameter(lines: &[u8], name: &str) -> String {
        let text = std::str::from_utf8(lines).unwrap();
        let start = text.find(&format!("{name}=")).unwrap() + name.len() + 1;
        text[start..]
            .split([',', '\r'])
            .next()
            .unwrap()
            .trim_matches('"')
            .to_owned()
    }

    /// RFC 7616 §3.9.1: the HTTP example, whose cnonce is fixed; the machinery is the same.
    #[test]
    fn the_published_examples_of_md5_and_sha256_come_out() {
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let value = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let mut challenge = Challenge::parse(value.as_bytes(), false).unwrap();
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let credentials = credentials("Mufasa", "Circle of Life", None);
            let line = challenge.line(&credentials, "GET", b"/dir/index.html", cnonce);
            assert_eq!(parameter(&line, "response"), expected);
            assert_eq!(parameter(&line, "nc"), "00000001");
        }
    }

    #[test]
    fn a_challenge_without_qop_is_answered_the_old_way() {
        let value = b"Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut challenge = Challenge::parse(value, false).unwrap();
        let line = challenge.line(
            &credentials("Mufasa", "CircleOfLife", None),
            "GET",
            b"/dir/index.html",
            "x",
        );
        assert_eq!(parameter(&line, "response"), "1949323746fe6a43ef61f9606e7febea");
        assert!(!String::from_utf8(line).unwrap().contains("nc="));
    }

    #[test]
    fn the_strongest_algorithm_of_a_realm_is_answered_and_other_realms_beside_it() {
        let mut authenticator = Authenticator::default();
        let challenges = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=MD5, qop=\"auth\"\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=SHA-512-256, qop=\"auth\"\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"3\", algorithm=SHA-256, qop=\"auth\"\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"4\", algorithm=WHIRL, qop=\"auth\"\r\n\
             Proxy-Authenticate: Digest realm=\"p\", nonce=\"5\"\r\n";
        take(&mut authenticator, challenges, None).unwrap();
        let lines = authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 7);
        let text = String::from_utf8(lines).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.contains("nonce=\"2\"") && text.contains("algorithm=SHA-512-256"),
            "{text}"
        );
        assert!(
            text.contains("Proxy-Authorization: Digest") && text.contains("nonce=\"5\""),
            "{text}"
        );
    }

    #[test]
    fn a_nonce_is_answered_once_unless_it_is_called_stale() {
        let mut authenticator = Authenticator::default();
        let first = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\", qop=\"auth\"\r\n";
        take(&mut authenticator, first, None).unwrap();
        authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 7);
        assert_eq!(take(&mut authenticator, first, None), Err(Unanswerable::Refused));
        let stale = "WWW-Authenticate: Digest realm=\"a\", nonce=\"2\", qop=\"auth\", stale=TRUE\r\n";
        take(&mut authenticator, stale, None).unwrap();
        let lines = authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 7);
        assert_eq!(parameter(&lines, "nc"), "00000001");
        let again = authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 8);
        assert_eq!(parameter(&again, "nc"), "00000002");
    }

    #[test]
    fn another_request_may_answer_the_same_nonce_with_the_next_count() {
        let mut authenticator = Authenticator::default();
        let challenge = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\", qop=\"auth\"\r\n";
        for count in ["00000001", "00000002"] {
            authenticator.restart();
            take(&mut authenticator, challenge, None).unwrap();
            let lines = authenticator.lines(&credentials("u", "p", None), "BYE", b"sip:h", 7);
            assert_eq!(parameter(&lines, "nc"), count);
            assert_eq!(
                take(&mut authenticator, challenge, None),
                Err(Unanswerable::Refused)
            );
        }
    }

    #[test]
    fn a_refused_password_is_sent_once_whatever_nonces_follow() {
        let mut authenticator = Authenticator::default();
        let mut ask = |more: &str| {
            let line = format!("WWW-Authenticate: Digest realm=\"a\", {more}\r\n");
            let taken = take(&mut authenticator, &line, None);
            if taken.is_ok() {
                authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 7);
            }
            taken.is_ok()
        };
        assert!(ask("nonce=\"1\""));
        assert!(!ask("nonce=\"2\"") && !ask("nonce=\"3\""));
        assert!(ask("nonce=\"4\", stale=true"), "once more for a stale nonce");
        assert!(!ask("nonce=\"5\""));
        assert!(
            ask("nonce=\"6\", algorithm=SHA-256"),
            "another algorithm is another question"
        );
        assert!(!ask("nonce=\"7\", stale=true"), "at most three in all");
    }

    #[test]
    fn credentials_sent_ahead_with_an_old_nonce_do_not_count_as_refused() {
        let mut authenticator = Authenticator::default();
        for request in 0..3 {
            authenticator.restart();
            if authenticator.is_ready() {
                authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 7);
            }
            let line = format!("WWW-Authenticate: Digest realm=\"a\", nonce=\"{request}\"\r\n");
            assert_eq!(take(&mut authenticator, &line, None), Ok(()), "request {request}");
            authenticator.lines(&credentials("u", "p", None), "REGISTER", b"sip:h", 8);
        }
    }

    #[test]
    fn other_realms_and_unknown_schemes_get_no_credentials() {
        let mut authenticator = Authenticator::default();
        let evil = "WWW-Authenticate: Digest realm=\"evil\", nonce=\"1\"\r\n";
        assert_eq!(
            take(&mut authenticator, evil, Some("ours")),
            Err(Unanswerable::ForeignRealm(b"evil".to_vec()))
        );
        let basic = "WWW-Authenticate: Basic realm=\"ours\"\r\n";
        assert_eq!(
            take(&mut authenticator, basic, Some("ours")),
            Err(Unanswerable::Unusable)
        );
        let int_only = "WWW-Authenticate: Digest realm=\"ours\", nonce=\"1\", qop=\"auth-int\"\r\n";
        assert_eq!(
            take(&mut authenticator, int_only, Some("ours")),
            Err(Unanswerable::Unusable)
        );
    }
}
