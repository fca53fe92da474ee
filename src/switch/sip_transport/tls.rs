//! Certificates: ours, those of trunks, and whom a verified name stands for.
//!
//! In: the configuration's files. Out: what rustls needs, or every fault of them. A trunk's certificate must bear the
//! trunk's name, whatever address it was reached at.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::validity::validity;
use super::words::words;
use crate::config::{Certificate, Config, Transport, TrunkConfig};
use crate::units::TrunkName;

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trunks = self.trunks.keys();
        f.debug_set().entries(trunks).finish()
    }
}

/// How connections to one trunk are made. Two are equal when connections of the one can serve the other.
pub struct TrunkTls {
    pub name: ServerName<'static>,
    pub config: Arc<ClientConfig>,
    /// What the configuration above was made from.
    roots: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
}

impl PartialEq for TrunkTls {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.roots, &self.chain) == (&other.name, &other.roots, &other.chain)
    }
}

/// All that TLS needs.
#[derive(Default)]
pub struct Tls {
    pub server: Option<Arc<ServerConfig>>,
    /// Whether those who connect must show a certificate, whose name tells which trunk they are.
    pub names_clients: bool,
    /// The authorities that vouch for them.
    pub client_roots: Vec<CertificateDer<'static>>,
    trunks: HashMap<TrunkName, Arc<TrunkTls>>,
}

impl Tls {
    /// Reads every file. Blocks.
    ///
    /// # Errors
    /// Every fault, with the table and key it belongs to.
    pub fn load(config: &Config) -> Result<Self, Vec<String>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut problems = Vec::new();
        let server = server(config, &provider).unwrap_or_else(|problem| {
            problems.push(format!("[sip] {problem}"));
            None
        });
        let over_tls = |trunk: &&TrunkConfig| trunk.transport == Transport::Tls;
        let mut system = None;
        let mut trunks = HashMap::new();
        for trunk in config.trunks.iter().filter(over_tls) {
            match trunk_tls(trunk, &provider, &mut system) {
                Ok(tls) => {
                    trunks.insert(trunk.name.clone(), Arc::new(tls));
                }
                Err(problem) => problems.push(format!("[[trunk]] {}: {problem}", trunk.name)),
            }
        }
        // What is wrong with them was told above.
        let client_roots = config.sip.tls_client_ca.as_deref().map(certificates);
        match problems.is_empty() {
            true => Ok(Self {
                server,
                client_roots: client_roots.and_then(Result::ok).unwrap_or_default(),
                names_clients: config.sip.tls_client_ca.is_some(),
                trunks,
            }),
            false => Err(problems),
        }
    }

    /// Takes what another reading of the files brought; what did not change goes on, so that connections are kept.
    pub fn renew(&mut self, mut newer: Self) {
        for (name, tls) in &mut newer.trunks {
            if let Some(known) = self.trunks.get(name).filter(|known| *known == tls) {
                *tls = Arc::clone(known);
            }
        }
        *self = newer;
    }

    pub fn trunk(&self, name: &TrunkName) -> Option<&Arc<TrunkTls>> {
        self.trunks.get(name)
    }

    /// The trunk whose name a certificate bears that our authority vouches for.
    pub fn trunk_of(&self, certificate: &CertificateDer<'_>) -> Option<TrunkName> {
        let certificate = ParsedCertificate::try_from(certificate).ok()?;
        let mut found: Vec<&TrunkName> = self
            .trunks
            .iter()
            .filter(|(_, tls)| verify_server_name(&certificate, &tls.name).is_ok())
            .map(|(name, _)| name)
            .collect();
        // A certificate of several trunks' names always stands for the same one.
        found.sort();
        found.first().map(|&name| name.clone())
    }
}

fn server(config: &Config, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<ServerConfig>>, String> {
    let Some(certificate) = config.sip.certificate() else {
        return Ok(None);
    };
    let (chain, key) = read(certificate)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls_certificate: {error}"))?;
    let builder = match &config.sip.tls_client_ca {
        Some(path) => {
            let located = |problem: String| format!("tls_client_ca: {problem}");
            let roots = Arc::new(store(&certificates(path).map_err(located)?).map_err(located)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let verifier = verifier.build().map_err(|error| located(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let server = builder.with_single_cert(chain, key);
    server
        .map(|server| Some(Arc::new(server)))
        .map_err(|error| format!("tls_certificate and tls_key: {}", words(&error.to_string())))
}

fn trunk_tls(
    trunk: &TrunkConfig,
    provider: &Arc<CryptoProvider>,
    system: &mut Option<Vec<CertificateDer<'static>>>,
) -> Result<TrunkTls, String> {
    let name = ServerName::try_from(trunk.certificate_name().to_owned()).map_err(|_| {
        format!(
            "{:?} cannot be the name of a certificate",
            trunk.certificate_name()
        )
    })?;
    let roots = match &trunk.tls_ca {
        Some(path) => certificates(path).map_err(|problem| format!("tls_ca: {problem}"))?,
        None => system
            .get_or_insert_with(|| rustls_native_certs::load_native_certs().certs)
            .clone(),
    };
    let trusted = match &trunk.tls_ca {
        Some(_) => store(&roots).map_err(|problem| format!("tls_ca: {problem}"))?,
        None => system_store(&roots)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(trusted);
    let (chain, config) = match trunk.certificate() {
        Some(certificate) => {
            let (chain, key) = read(certificate)?;
            let config = builder
                .with_client_auth_cert(chain.clone(), key)
                .map_err(|error| format!("tls_certificate and tls_key: {}", words(&error.to_string())))?;
            (chain, config)
        }
        None => (Vec::new(), builder.with_no_client_auth()),
    };
    Ok(TrunkTls {
        name,
        config: Arc::new(config),
        roots,
        chain,
    })
}

/// From when until when the first certificate of a file is valid.
#[derive(Debug, Clone)]
pub struct CertificateDates {
    /// The table and key that name the file.
    pub key: String,
    pub path: PathBuf,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// The dates of every certificate that the configuration names; a file that cannot be read is [`Tls::load`]'s to tell.
pub fn certificate_dates(config: &Config) -> Vec<CertificateDates> {
    let sip = &config.sip;
    let ours = [
        ("[sip] tls_certificate".to_owned(), sip.tls_certificate.as_deref()),
        ("[sip] tls_client_ca".to_owned(), sip.tls_client_ca.as_deref()),
    ];
    let of_trunks = config.trunks.iter().flat_map(|trunk| {
        let key = |key: &str| format!("[[trunk]] {}: {key}", trunk.name);
        let chain = trunk.certificate().map(|certificate| certificate.chain);
        [
            (key("tls_certificate"), chain),
            (key("tls_ca"), trunk.tls_ca.as_deref()),
        ]
    });
    let named = ours.into_iter().chain(of_trunks);
    let dated = named.filter_map(|(key, path)| {
        let path = path?;
        let read = certificates(path).ok()?;
        let (first, last) = validity(read.first()?)?;
        let path = path.to_owned();
        Some(CertificateDates {
            key,
            path,
            first,
            last,
        })
    });
    dated.collect()
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(certificate: Certificate<'_>) -> Result<Pair, String> {
    let chain = certificates(certificate.chain).map_err(|problem| format!("tls_certificate: {problem}"))?;
    let text = certificate
        .key
        .reveal()
        .map_err(|problem| format!("tls_key: {problem}"))?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        "tls_key: there is no private key in PEM form (a file is given as { file = \"…\" })".to_owned()
    })?;
    Ok((chain, key))
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{shown}: {}", words(&error.to_string())))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{shown}: there is no certificate in PEM form")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store
            .add(certificate.clone())
            .map_err(|error| error.to_string())?;
    }
    Ok(store)
}

/// The system's authorities; some of them may be odd.
fn system_store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned());
    match store.is_empty() {
        true => Err("this system trusts no authority: give tls_ca".to_owned()),
        false => Ok(store),
    }
}
