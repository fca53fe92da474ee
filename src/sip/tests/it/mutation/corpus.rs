//! The good messages that mutation begins with: every method and kind of response, and the files of the fuzz target.

use std::path::Path;

use crate::net::{SDP_A, request, response};

pub fn corpus() -> Vec<Vec<u8>> {
    let sdp = std::str::from_utf8(SDP_A).unwrap();
    let invite = request(
        "INVITE",
        "c1",
        "Record-Route: <sip:127.0.1.2;lr>\r\nRequire: 100rel\r\nSupported: timer\r\nSession-Expires: 90\r\nAllow: UPDATE\r\n\
         P-Asserted-Identity: \"A\" <tel:+15550100>\r\nPrivacy: id\r\nDiversion: <sip:x@h>;reason=x\r\nX-Folded: a\r\n b\r\n",
        sdp,
    );
    let plain = request("INVITE", "c3", "Supported: timer\r\n", sdp);
    let mut texts = vec![invite.clone(), plain];
    for method in [
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "INFO",
        "UPDATE",
        "PRACK",
        "REGISTER",
        "REFER",
        "MESSAGE",
        "SUBSCRIBE",
        "NOTIFY",
        "PUBLISH",
        "XYZZY",
    ] {
        texts.push(request(
            method,
            "c2",
            "RAck: 1 1 INVITE\r\nReason: Q.850;cause=16;text=\"x\"\r\n",
            sdp,
        ));
        texts.push(request(method, "c4", "", ""));
    }
    for status in [
        "100 Trying",
        "183 Progress",
        "200 OK",
        "302 Moved",
        "401 Unauthorized",
        "487 Terminated",
        "503 Unavailable",
    ] {
        let lines = "Contact: <sip:b@[2001:db8::1]:5070>\r\nRSeq: 1\r\nRequire: 100rel\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth,auth-int\", algorithm=SHA-256\r\nRetry-After: 5 (x)\r\n";
        texts.push(response(&invite, status, "t", lines, sdp));
        texts.push(response(&invite, status, "t", "", ""));
    }
    let mut corpus: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    corpus.extend(files());
    corpus
}

/// The corpus of the fuzz target for messages.
fn files() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/message");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}
