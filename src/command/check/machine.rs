//! What a configuration asks of this machine: folders, the store's place, addresses, certificates in their time.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Findings;
use crate::config::Config;
use crate::switch::{CertificateDates, certificate_dates};

/// Certificates that end sooner are told.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

pub(super) fn check(config: &Config, now: Timestamp, findings: &mut Findings) {
    let folders = [
        ("[prompts] directory", config.prompts.directory.as_deref()),
        ("[flows] directory", config.flows.directory.as_deref()),
    ];
    for (key, folder) in folders {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let shown = folder.display();
            findings
                .problems
                .push(format!("{key}: there is no folder {shown}"));
        }
    }
    store(config.store.url.path(), findings);
    for listen in &config.sip.listen {
        address("[sip] listen", listen.address.ip(), findings);
    }
    if let Some(media) = config.media.address {
        address("[media] address", media, findings);
    }
    for dates in certificate_dates(config) {
        certificate(&dates, now, findings);
    }
}

/// The switch makes folders that are missing; what is there must let it.
fn store(path: &Path, findings: &mut Findings) {
    let there = |path: &&Path| path.as_os_str().is_empty() || path.exists();
    let Some(nearest) = path.ancestors().find(there) else {
        return;
    };
    let nearest = if nearest.as_os_str().is_empty() {
        Path::new(".")
    } else {
        nearest
    };
    if let Err(error) = rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK) {
        let error = std::io::Error::from(error).kind();
        let shown = nearest.display();
        findings.warnings.push(format!(
            "[store] url: {shown} cannot be written by this account ({error})"
        ));
    }
}

/// An address can be bound only where it is one of the machine's.
fn address(key: &str, address: IpAddr, findings: &mut Findings) {
    let is_foreign = |error: std::io::Error| error.kind() == ErrorKind::AddrNotAvailable;
    if UdpSocket::bind((address, 0)).is_err_and(is_foreign) {
        let told = format!("{key}: {address} is not an address of this machine");
        findings.warnings.push(told);
    }
}

fn certificate(dates: &CertificateDates, now: Timestamp, findings: &mut Findings) {
    let CertificateDates {
        key,
        path,
        first,
        last,
    } = dates;
    let day = |at: &Timestamp| at.strftime("%Y-%m-%d").to_string();
    let shown = path.display();
    if now < *first {
        let day = day(first);
        findings
            .problems
            .push(format!("{key}: {shown} is not valid before {day}"));
    } else if now > *last {
        let day = day(last);
        findings.problems.push(format!("{key}: {shown} expired on {day}"));
    } else if last.duration_since(now) < SOON {
        let day = day(last);
        findings.warnings.push(format!("{key}: {shown} expires on {day}"));
    }
}
