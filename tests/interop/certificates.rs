//! A certificate authority of the test's own, and certificates of it.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use super::place::Place;

/// Files of one authority and of certificates by it: the server's, and the proxy's in `proxy.pem` and `proxy.key`.
pub struct Certificates {
    pub authority: PathBuf,
    pub server: (PathBuf, PathBuf),
}

impl Certificates {
    pub fn new(place: &Place) -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = place.write("authority.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        let issue = |name: &str, address: String| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![address]).unwrap();
            params.distinguished_name = named(name);
            let certificate = params.signed_by(&key, &issuer).unwrap();
            let certificate = place.write(&format!("{name}.pem"), &certificate.pem());
            (
                certificate,
                place.write(&format!("{name}.key"), &key.serialize_pem()),
            )
        };
        issue("proxy", place.proxy().ip().to_string());
        Certificates {
            authority,
            server: issue("server", place.server().ip().to_string()),
        }
    }
}

/// A subject. OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
