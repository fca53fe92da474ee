//! What TLS libraries say in names of their own, in words.

/// What they say, and what it means to an operator.
const SAID: [(&str, &str); 12] = [
    (
        "UnknownIssuer",
        "the certificate is from no authority that is trusted here (tls_ca, tls_client_ca)",
    ),
    ("UnsupportedCertVersion", "the certificate is not of version 3"),
    (
        "NotValidForName",
        "the certificate does not bear the name that is expected (tls_name)",
    ),
    ("NotValidYet", "the certificate is not valid yet"),
    ("Expired", "the certificate has expired"),
    (
        "CaUsedAsEndEntity",
        "the certificate is an authority's own, not a server's",
    ),
    ("BadSignature", "the certificate's signature is wrong"),
    ("Revoked", "the certificate was revoked"),
    ("KeyMismatch", "the key does not belong to the certificate"),
    (
        "close_notify",
        "the other side closed the connection without a farewell",
    ),
    (
        "peer sent no certificates",
        "the other side showed no certificate",
    ),
    ("HandshakeFailure", "the other side refused our way of TLS"),
];

/// A reason in words: those of the table where it knows them, else as it came, without the system's error number.
pub(super) fn words(reason: &str) -> String {
    if let Some((_, words)) = SAID.iter().find(|(said, _)| reason.contains(said)) {
        return (*words).to_owned();
    }
    match reason.split_once(" (os error ") {
        Some((before, _)) => before.to_owned(),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustls_says_of_certificates_is_told_in_words() {
        use rustls::{CertificateError, Error, InconsistentKeys};
        for (error, expected) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "no authority that is trusted",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "has expired",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidYet),
                "not valid yet",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "name that is expected",
            ),
            (
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
                "key does not belong",
            ),
            (Error::NoCertificatesPresented, "showed no certificate"),
        ] {
            let told = words(&error.to_string());
            assert!(told.contains(expected), "{error}: {told}");
        }
        let refused = std::io::Error::from_raw_os_error(111).to_string();
        assert_eq!(words(&refused), "Connection refused");
    }
}
