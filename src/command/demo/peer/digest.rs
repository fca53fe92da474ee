//! The registrar's side of digest authentication (RFC 8760 over RFC 7616), by hand: rsip counts `nc` in
//! decimal and cannot spell `SHA-256`.

use md5::Md5;
use sha2::{Digest, Sha256};

/// The digest algorithms that SIP peers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// As headers write it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// An account of the simulated trunk.
#[derive(Debug, Clone)]
pub struct Account {
    pub username: String,
    pub password: String,
    pub realm: String,
}

/// Why credentials were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A parameter is missing, or has a form that RFC 7616 does not allow.
    Malformed(&'static str),
    /// Another user, realm or address than the account's.
    Stranger,
    WrongResponse,
}

/// Credentials that proved the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub algorithm: Algorithm,
    pub nonce: String,
    /// The nonce count; a registrar must see it grow.
    pub count: u32,
}

/// The value of a WWW-Authenticate header.
pub fn challenge(realm: &str, nonce: &str, algorithm: Algorithm, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    format!(
        r#"Digest realm="{realm}", nonce="{nonce}", algorithm={}, qop="auth"{stale}"#,
        algorithm.name()
    )
}

/// Checks the value of an Authorization header for a request with this method and request URI.
pub fn verify(credentials: &str, method: &str, uri: &str, account: &Account) -> Result<Proof, Refused> {
    let parameters = parameters(credentials).ok_or(Refused::Malformed("scheme"))?;
    let find = |name: &'static str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(Refused::Malformed(name))
    };
    let algorithm = match find("algorithm") {
        Ok(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
        Ok(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
        Ok(_) => return Err(Refused::Malformed("algorithm")),
        Err(_) => Algorithm::Md5,
    };
    if find("username")? != account.username || find("realm")? != account.realm || find("uri")? != uri {
        return Err(Refused::Stranger);
    }
    if find("qop")? != "auth" {
        return Err(Refused::Malformed("qop"));
    }
    let (nonce, cnonce, nc) = (find("nonce")?, find("cnonce")?, find("nc")?);
    if nc.len() != 8 || cnonce.is_empty() {
        return Err(Refused::Malformed("nc"));
    }
    let count = u32::from_str_radix(nc, 16).map_err(|_| Refused::Malformed("nc"))?;
    let secret = algorithm.hash(&format!(
        "{}:{}:{}",
        account.username, account.realm, account.password
    ));
    let request = algorithm.hash(&format!("{method}:{uri}"));
    let expected = algorithm.hash(&format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{request}"));
    if find("response")? == expected {
        Ok(Proof {
            algorithm,
            nonce: nonce.to_owned(),
            count,
        })
    } else {
        Err(Refused::WrongResponse)
    }
}

/// Splits `Digest a=b, c="d, e"` into its parameters, names in lower case.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let (scheme, mut rest) = text.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let mut found = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        let name = name.trim_matches([',', ' ', '\t']).to_ascii_lowercase();
        found.push((name, value.trim().to_owned()));
        rest = after;
    }
    Some(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 §3.9.1.
    fn credentials(algorithm: &str, response: &str) -> String {
        format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
             algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    fn account() -> Account {
        Account {
            username: "Mufasa".to_owned(),
            password: "Circle of Life".to_owned(),
            realm: "http-auth@example.org".to_owned(),
        }
    }

    const SHA256: &str = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";

    #[test]
    fn both_examples_of_the_rfc_are_accepted() {
        for (algorithm, response) in [("MD5", "8ca523f5e9506fed4657c9700eebdbec"), ("SHA-256", SHA256)] {
            let text = credentials(algorithm, response);
            let proof = verify(&text, "GET", "/dir/index.html", &account()).unwrap();
            assert_eq!((proof.algorithm.name(), proof.count), (algorithm, 1));
        }
    }

    #[test]
    fn another_method_password_or_uri_is_refused() {
        let text = credentials("SHA-256", SHA256);
        assert_eq!(
            verify(&text, "PUT", "/dir/index.html", &account()),
            Err(Refused::WrongResponse)
        );
        assert_eq!(verify(&text, "GET", "/other", &account()), Err(Refused::Stranger));
        let account = Account {
            password: "guess".to_owned(),
            ..account()
        };
        assert_eq!(
            verify(&text, "GET", "/dir/index.html", &account),
            Err(Refused::WrongResponse)
        );
    }

    #[test]
    fn nonce_count_is_read_as_eight_hexadecimal_digits() {
        let text = credentials("SHA-256", SHA256).replace("00000001", "1");
        assert_eq!(
            verify(&text, "GET", "/dir/index.html", &account()),
            Err(Refused::Malformed("nc"))
        );
    }

    #[test]
    fn commas_inside_quotes_do_not_split_parameters() {
        let found = parameters("Digest a=\"x, y\", b=z").unwrap();
        assert_eq!(
            found,
            [
                ("a".to_owned(), "x, y".to_owned()),
                ("b".to_owned(), "z".to_owned())
            ]
        );
    }
}
