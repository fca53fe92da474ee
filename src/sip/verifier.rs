//! Digest authentication as a server (RFC 7616, RFC 8760, RFC 3261 §22).
//!
//! In: the credentials of a request, and what peers are known by credentials. Out: whose request it is, or a challenge.
//! Challenges leave no state: a nonce carries its time, and a keyed hash of that, of the source's IP address and of the
//! realm. Only nonces that were used rightly are remembered, to refuse a request that is played again. An unknown
//! user costs and gets exactly what a wrong password does.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::digest::Algorithm;
use crate::message::{Message, Name, Start, Uri, split_commas, trim, unquote};
use crate::peer::{Credentials, PeerId};

/// How long a nonce may be used.
const LIFE: Duration = Duration::from_secs(120);
/// Most used nonces remembered; older ones then count as stale.
const MOST_NONCES: usize = 4096;
/// Most Authorization headers looked at.
const MOST_ANSWERS: usize = 4;
/// Bytes of the keyed hash in a nonce.
const MAC: usize = 10;
/// A nonce: 8 hex digits of time, 8 of salt, and the hash.
const NONCE: usize = 16 + 2 * MAC;

/// The algorithms offered, strongest first, with their names.
const OFFERED: [(Algorithm, &str); 3] = [
    (Algorithm::Sha512Of256, "SHA-512-256"),
    (Algorithm::Sha256, "SHA-256"),
    (Algorithm::Md5, "MD5"),
];

/// What the credentials of a request are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Known(PeerId),
    /// The right password, but the nonce is old, from elsewhere, or was used: ask again with stale=true.
    Stale,
    /// A wrong user, password or form.
    Wrong,
    /// None for our realm.
    Missing,
}

/// Which counts of one nonce were used: the highest, and a bit for each of the 64 below it.
#[derive(Debug, Clone, Copy)]
struct Window {
    highest: u32,
    below: u64,
}

impl Window {
    /// Takes a count; `false` when it was used or is too old to know.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let shift = count - self.highest;
            let moved = self.below.checked_shl(shift).unwrap_or(0);
            let last = 1u64.checked_shl(shift - 1).unwrap_or(0);
            (self.highest, self.below) = (count, moved | last);
            return true;
        }
        let back = self.highest - count;
        if back == 0 || back > 64 {
            return false;
        }
        let bit = 1 << (back - 1);
        let is_new = self.below & bit == 0;
        self.below |= bit;
        is_new
    }
}

/// Makes and checks nonces.
#[derive(Debug)]
pub(crate) struct Verifier {
    key: [u8; 32],
    realm: String,
    began: Option<Instant>,
    used: BTreeMap<u64, Window>,
    /// Nonces up to this one count as used unless they are remembered.
    forgotten: u64,
}

/// The parameters of one Authorization header; texts are as between the quotes.
#[derive(Debug)]
struct Answer<'a> {
    username: Vec<u8>,
    nonce: &'a [u8],
    uri: &'a [u8],
    response: &'a [u8],
    cnonce: &'a [u8],
    count: &'a [u8],
    algorithm: Option<Algorithm>,
    /// qop=auth, and everything that it needs.
    is_whole: bool,
}

impl<'a> Answer<'a> {
    /// Reads credentials for `realm`; `None` for other schemes and realms.
    fn parse(value: &'a [u8], realm: &str) -> Option<Self> {
        let (scheme, rest) = trim(value).split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut answer = Self {
            username: Vec::new(),
            nonce: b"",
            uri: b"",
            response: b"",
            cnonce: b"",
            count: b"",
            algorithm: Some(Algorithm::Md5),
            is_whole: false,
        };
        let (mut is_ours, mut is_auth) = (false, false);
        for part in split_commas(rest).take(32) {
            let Some(at) = part.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (name, value) = (trim(&part[..at]).to_ascii_lowercase(), trim(&part[at + 1..]));
            let inner = value
                .strip_prefix(b"\"")
                .and_then(|rest| rest.strip_suffix(b"\""));
            let plain = inner.unwrap_or(value);
            match name.as_slice() {
                b"username" => answer.username = unquote(value).into_owned(),
                b"realm" => is_ours = *unquote(value) == *realm.as_bytes(),
                b"nonce" => answer.nonce = plain,
                b"uri" => answer.uri = plain,
                b"response" => answer.response = plain,
                b"cnonce" => answer.cnonce = plain,
                b"nc" => answer.count = plain,
                b"qop" => is_auth = plain.eq_ignore_ascii_case(b"auth"),
                b"algorithm" => {
                    let parsed = Algorithm::parse(plain).filter(|(_, session)| !session);
                    answer.algorithm = parsed.map(|(algorithm, _)| algorithm);
                }
                _ => {}
            }
        }
        answer.is_whole = is_auth && answer.count.len() == 8 && !answer.cnonce.is_empty();
        is_ours.then_some(answer)
    }

    /// Computes what the response has to be.
    fn expected(
        &self,
        algorithm: Algorithm,
        credentials: (&[u8], &[u8]),
        realm: &str,
        method: &[u8],
    ) -> String {
        let (username, password) = credentials;
        let secret = algorithm.hash(&[username, realm.as_bytes(), password]);
        let request = algorithm.hash(&[method, self.uri]);
        let parts: [&[u8]; 6] = [
            secret.as_bytes(),
            self.nonce,
            self.count,
            self.cnonce,
            b"auth",
            request.as_bytes(),
        ];
        algorithm.hash(&parts)
    }
}

impl Verifier {
    /// `key` must be secret; quotes, backslashes and control bytes are left out of `realm`.
    pub fn new(key: [u8; 32], realm: &str) -> Self {
        let is_plain = |letter: &char| !(letter.is_control() || matches!(letter, '"' | '\\'));
        let realm = realm.chars().filter(is_plain).collect();
        Self {
            key,
            realm,
            began: None,
            used: BTreeMap::new(),
            forgotten: 0,
        }
    }

    /// Finds whose credentials a request carries, among `known`.
    pub fn verify<'k>(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        source: IpAddr,
        known: impl Iterator<Item = (PeerId, &'k Credentials)>,
    ) -> Verdict {
        let Start::Request { uri, method_text, .. } = request.start else {
            return Verdict::Missing;
        };
        let realm = self.realm.as_str();
        let answer = request
            .headers()
            .iter()
            .filter(|header| header.name == Name::Authorization)
            .take(MOST_ANSWERS)
            .find_map(|header| Answer::parse(header.value, realm));
        let Some(answer) = answer else {
            return Verdict::Missing;
        };
        // Every user is looked at, and one that nobody is stands in for none, so that all take the same time.
        let (mut peer, mut username, mut password) = (None, &b"nobody"[..], &b"no password"[..]);
        for (id, credentials) in known {
            let is_it = equal(credentials.username.as_bytes(), &answer.username);
            if is_it && peer.is_none() {
                peer = Some(id);
                (username, password) = (credentials.username.as_bytes(), credentials.password.as_bytes());
            }
        }
        let algorithm = answer.algorithm.unwrap_or(Algorithm::Md5);
        let expected = answer.expected(algorithm, (username, password), realm, method_text);
        let is_right = equal(expected.as_bytes(), &answer.response.to_ascii_lowercase());
        let is_usable = answer.is_whole && answer.algorithm.is_some() && same_uri(answer.uri, uri);
        match peer {
            Some(peer) if is_right && is_usable => {
                if self.take(now, source, &answer) {
                    Verdict::Known(peer)
                } else {
                    Verdict::Stale
                }
            }
            _ => Verdict::Wrong,
        }
    }

    /// Writes challenges with one new nonce, strongest first, the `weakest` algorithms of those offered only.
    pub fn challenge(
        &mut self,
        now: Instant,
        source: IpAddr,
        salt: u32,
        stale: bool,
        weakest: usize,
    ) -> Vec<u8> {
        let time = self.seconds(now);
        let stamp = u64::from(time) << 32 | u64::from(salt);
        let nonce = format!("{stamp:016x}{}", self.mac(stamp, source));
        let stale = if stale { ",stale=true" } else { "" };
        let mut lines = String::new();
        for (algorithm, name) in OFFERED.iter().skip(OFFERED.len().saturating_sub(weakest)) {
            // Without the parameter it is MD5; those who know only that need not read more.
            let named = match algorithm {
                Algorithm::Md5 => String::new(),
                _ => format!(",algorithm={name}"),
            };
            let realm = &self.realm;
            lines += &format!(
                "WWW-Authenticate: Digest realm=\"{realm}\",nonce=\"{nonce}\"{stale}{named},qop=\"auth\"\r\n"
            );
        }
        lines.into_bytes()
    }

    /// How many algorithms [`Verifier::challenge`] can offer.
    pub fn offered() -> usize {
        OFFERED.len()
    }

    /// Whether the nonce is ours, young, of this source, and not used with this count; notes the use.
    fn take(&mut self, now: Instant, source: IpAddr, answer: &Answer<'_>) -> bool {
        let Some((stamp, mac)) = split_nonce(answer.nonce) else {
            return false;
        };
        let Some(count) = hex(answer.count).and_then(|count| u32::try_from(count).ok()) else {
            return false;
        };
        let (now, life) = (
            self.seconds(now),
            u32::try_from(LIFE.as_secs()).unwrap_or(u32::MAX),
        );
        let is_young = u32::try_from(stamp >> 32).is_ok_and(|made| now.saturating_sub(made) <= life);
        if !equal(self.mac(stamp, source).as_bytes(), mac) || !is_young || count == 0 {
            return false;
        }
        if let Some(window) = self.used.get_mut(&stamp) {
            return window.take(count);
        }
        if stamp <= self.forgotten {
            return false;
        }
        let oldest = u64::from(now.saturating_sub(life)) << 32;
        self.used = self.used.split_off(&oldest);
        if self.used.len() >= MOST_NONCES
            && let Some((stamp, _)) = self.used.pop_first()
        {
            self.forgotten = self.forgotten.max(stamp);
        }
        let window = Window {
            highest: count,
            below: 0,
        };
        self.used.insert(stamp, window);
        true
    }

    fn seconds(&mut self, now: Instant) -> u32 {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began).as_secs();
        // From 1, so that no nonce is the one that is always forgotten.
        u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// HMAC-SHA-256 (RFC 2104) of a stamp and its source, shortened.
    fn mac(&self, stamp: u64, source: IpAddr) -> String {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block
                .iter_mut()
                .zip(self.key)
                .for_each(|(byte, key)| *byte ^= key);
            block
        };
        let source = match source {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(stamp.to_be_bytes())
            .chain_update(source.octets())
            .chain_update(self.realm.as_bytes())
            .finalize();
        let mac = Sha256::new()
            .chain_update(pad(0x5c))
            .chain_update(inner)
            .finalize();
        mac.iter().take(MAC).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Compares in a time that depends on lengths only.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let differs = left
        .iter()
        .zip(right)
        .fold(0u8, |differs, (left, right)| black_box(differs | (left ^ right)));
    left.len() == right.len() && differs == 0
}

/// The stamp of a nonce and its hash.
fn split_nonce(nonce: &[u8]) -> Option<(u64, &[u8])> {
    let (stamp, mac) = nonce.split_at_checked(16).filter(|_| nonce.len() == NONCE)?;
    Some((hex(stamp)?, mac))
}

/// Reads hex digits and nothing else.
fn hex(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

/// Whether credentials were made for this Request-URI: the same text, or at least the same user and host.
fn same_uri(named: &[u8], requested: &[u8]) -> bool {
    if named == requested {
        return true;
    }
    match (Uri::parse(named), Uri::parse(requested)) {
        (Some(named), Some(requested)) => {
            named.user == requested.user && named.host.eq_ignore_ascii_case(requested.host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Authenticator;

    const PEER: PeerId = PeerId(7);

    fn credentials(username: &str, password: &str) -> Credentials {
        Credentials {
            username: username.into(),
            password: password.into(),
            realm: None,
        }
    }

    fn source() -> IpAddr {
        "192.0.2.9".parse().unwrap()
    }

    fn message(start: &str, lines: &[u8]) -> Vec<u8> {
        let method = if start.starts_with("SIP") {
            "INVITE"
        } else {
            start.split(' ').next().unwrap()
        };
        let mut text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\n"
        )
        .into_bytes();
        text.extend_from_slice(lines);
        text.extend_from_slice(b"\r\n");
        text
    }

    /// What our own client answers to a challenge.
    fn answer(challenge: &[u8], user: &Credentials, uri: &str) -> Vec<u8> {
        let mut client = Authenticator::default();
        let bytes = message("SIP/2.0 401 Unauthorized", challenge);
        let mut scratch = Vec::new();
        client
            .take(
                &Message::parse(&bytes, &mut scratch).unwrap(),
                user,
                &mut crate::digest::Realms::default(),
            )
            .unwrap();
        client.lines(user, "INVITE", uri.as_bytes(), 5)
    }

    fn judge(verifier: &mut Verifier, now: Instant, source: IpAddr, lines: &[u8]) -> Verdict {
        let bytes = message("INVITE sip:b@h SIP/2.0", lines);
        let mut scratch = Vec::new();
        let request = Message::parse(&bytes, &mut scratch).unwrap();
        let known = [
            (PeerId(1), credentials("other", "x")),
            (PEER, credentials("ann", "secret")),
        ];
        let known = known.iter().map(|(peer, credentials)| (*peer, credentials));
        verifier.verify(now, &request, source, known)
    }

    fn verifier() -> Verifier {
        Verifier::new([9; 32], "he\"\r\nre")
    }

    #[test]
    fn every_algorithm_offered_is_accepted_and_the_strongest_comes_first() {
        let now = Instant::now();
        for weakest in 1..=3 {
            let mut verifier = verifier();
            let lines = verifier.challenge(now, source(), 1, false, weakest);
            let text = String::from_utf8(lines.clone()).unwrap();
            assert_eq!(text.lines().count(), weakest);
            assert!(
                weakest < 3 || text.lines().next().unwrap().contains("SHA-512-256"),
                "{text}"
            );
            let answer = answer(&lines, &credentials("ann", "secret"), "sip:b@h");
            assert_eq!(judge(&mut verifier, now, source(), &answer), Verdict::Known(PEER));
        }
    }

    #[test]
    fn wrong_passwords_unknown_users_and_other_uris_look_the_same() {
        let (mut verifier, now) = (verifier(), Instant::now());
        let lines = verifier.challenge(now, source(), 1, false, 3);
        for (user, password, uri) in [
            ("ann", "wrong", "sip:b@h"),
            ("bob", "secret", "sip:b@h"),
            ("nobody", "no password", "sip:b@h"),
            ("", "", "sip:b@h"),
            ("ann", "secret", "sip:+19005550100@h"),
        ] {
            let answer = answer(&lines, &credentials(user, password), uri);
            assert_eq!(
                judge(&mut verifier, now, source(), &answer),
                Verdict::Wrong,
                "{user}"
            );
        }
        assert_eq!(judge(&mut verifier, now, source(), b""), Verdict::Missing);
        let foreign = answer(
            &Verifier::new([1; 32], "there").challenge(now, source(), 1, false, 1),
            &credentials("ann", "secret"),
            "sip:b@h",
        );
        assert_eq!(judge(&mut verifier, now, source(), &foreign), Verdict::Missing);
    }

    #[test]
    fn a_nonce_serves_one_source_two_minutes_and_each_count_once() {
        let (mut verifier, now) = (verifier(), Instant::now());
        let lines = verifier.challenge(now, source(), 1, false, 3);
        let good = answer(&lines, &credentials("ann", "secret"), "sip:b@h");
        let elsewhere = "192.0.2.10".parse().unwrap();
        assert_eq!(judge(&mut verifier, now, elsewhere, &good), Verdict::Stale);
        assert_eq!(judge(&mut verifier, now, source(), &good), Verdict::Known(PEER));
        assert_eq!(
            judge(&mut verifier, now, source(), &good),
            Verdict::Stale,
            "played again"
        );
        let lines = verifier.challenge(now, source(), 2, false, 3);
        let late = answer(&lines, &credentials("ann", "secret"), "sip:b@h");
        let after = now + LIFE + Duration::from_secs(1);
        assert_eq!(judge(&mut verifier, after, source(), &late), Verdict::Stale);
        let forged = String::from_utf8(late)
            .unwrap()
            .replace("nonce=\"00000001", "nonce=\"00000079");
        assert_eq!(
            judge(&mut verifier, after, source(), forged.as_bytes()),
            Verdict::Wrong
        );
    }

    #[test]
    fn counts_may_come_out_of_order_but_not_twice() {
        let mut window = Window { highest: 5, below: 0 };
        let taken = [5, 4, 4, 7, 6, 6, 200, 199, 136, 135, 200, u32::MAX, 1].map(|count| window.take(count));
        assert_eq!(
            taken,
            [
                false, true, false, true, true, false, true, true, true, false, false, true, false
            ]
        );
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_cannot_be_played_again() {
        let (mut verifier, now) = (verifier(), Instant::now());
        let mut first = Vec::new();
        for salt in 1..=u32::try_from(MOST_NONCES).unwrap() + 1 {
            let lines = verifier.challenge(now, source(), salt, false, 1);
            let good = answer(&lines, &credentials("ann", "secret"), "sip:b@h");
            assert_eq!(judge(&mut verifier, now, source(), &good), Verdict::Known(PEER));
            if salt == 1 {
                first = good;
            }
        }
        assert_eq!(verifier.used.len(), MOST_NONCES);
        assert_eq!(judge(&mut verifier, now, source(), &first), Verdict::Stale);
        let later = now + LIFE * 2;
        let lines = verifier.challenge(later, source(), 1, false, 1);
        let good = answer(&lines, &credentials("ann", "secret"), "sip:b@h");
        assert_eq!(judge(&mut verifier, later, source(), &good), Verdict::Known(PEER));
        assert_eq!(verifier.used.len(), 1, "old ones are forgotten");
    }

    #[test]
    fn nonsense_is_wrong_or_missing_and_never_more() {
        let (mut verifier, now) = (verifier(), Instant::now());
        for value in [
            "Digest",
            "Digest ",
            "Basic YTpi",
            "Digest realm=\"here\"",
            "Digest realm=\"here\", username=\"ann\", nonce=\"\", uri=\"\", response=\"\", nc=, cnonce=, qop=auth",
            "Digest realm=\"here\", username=\"ann\", algorithm=MD5-sess, qop=auth-int, nc=0000000g",
            "Digest username=\"\\\\\\\"ann, realm=here",
        ] {
            let verdict = judge(
                &mut verifier,
                now,
                source(),
                format!("Authorization: {value}\r\n").as_bytes(),
            );
            assert!(matches!(verdict, Verdict::Wrong | Verdict::Missing), "{value}");
        }
    }
}
