//! Two user agents talk to each other over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::digest::{Account, Algorithm};
use super::registrar::{Registrar, Registration};
use super::user_agent::{Arrival, Call, CallEvent, Dial, UserAgent};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

struct Pair {
    caller: UserAgent,
    office: UserAgent,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Pair {
    async fn open() -> Pair {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (caller, _) = UserAgent::open(any, None).await.unwrap();
        let (office, arrivals) = UserAgent::open(any, None).await.unwrap();
        Pair {
            caller,
            office,
            arrivals,
        }
    }

    /// Both ends of a call that is not yet answered.
    async fn call(&mut self) -> (Call, Call) {
        let dial = Dial {
            server: self.office.address(),
            uri: None,
            number: "2025550101".to_owned(),
            caller: "4155550123".to_owned(),
            sdp: Some(SDP.to_owned()),
            headers: vec![("Privacy".to_owned(), "none".to_owned())],
        };
        let ours = self.caller.dial(dial).await;
        match self.arrivals.recv().await.unwrap() {
            Arrival::Call(theirs) => (ours, theirs),
            other => panic!("{other:?}"),
        }
    }
}

async fn next(call: &mut Call) -> CallEvent {
    timeout(Duration::from_secs(3), call.event())
        .await
        .expect("an event in time")
        .expect("an event")
}

#[tokio::test]
async fn call_is_answered_confirmed_and_ended() {
    let mut pair = Pair::open().await;
    let (mut ours, mut theirs) = pair.call().await;
    let invitation = theirs.invitation.clone().unwrap();
    assert_eq!(
        (invitation.number.as_str(), invitation.caller.as_str()),
        ("2025550101", "4155550123")
    );
    assert_eq!(invitation.header("privacy"), Some("none"));
    theirs.ring().await;
    assert_eq!(next(&mut ours).await, CallEvent::Ringing { status: 180 });
    theirs.progress(SDP.to_owned()).await;
    assert_eq!(next(&mut ours).await, CallEvent::Progress { sdp: SDP.to_owned() });
    theirs.answer(SDP.to_owned()).await;
    assert_eq!(next(&mut ours).await, CallEvent::Answered { sdp: SDP.to_owned() });
    assert_eq!(next(&mut theirs).await, CallEvent::Confirmed { sdp: None });
    ours.reoffer(SDP.to_owned()).await;
    assert_eq!(
        next(&mut theirs).await,
        CallEvent::Reoffered { sdp: SDP.to_owned() }
    );
    assert_eq!(next(&mut theirs).await, CallEvent::Confirmed { sdp: None });
    theirs.hangup().await;
    assert_eq!(next(&mut ours).await, CallEvent::Ended { reason: None });
}

#[tokio::test]
async fn refusal_carries_its_status_and_reason() {
    let mut pair = Pair::open().await;
    let (mut ours, theirs) = pair.call().await;
    theirs
        .reject((486, "Busy Here"), vec![("Reason", "Q.850;cause=17".to_owned())])
        .await;
    let reason = Some("Q.850;cause=17".to_owned());
    assert_eq!(next(&mut ours).await, CallEvent::Failed { status: 486, reason });
}

#[tokio::test]
async fn hanging_up_while_it_rings_cancels() {
    let mut pair = Pair::open().await;
    let (mut ours, mut theirs) = pair.call().await;
    theirs.ring().await;
    next(&mut ours).await;
    ours.hangup().await;
    assert_eq!(next(&mut theirs).await, CallEvent::Cancelled { reason: None });
    assert_eq!(
        next(&mut ours).await,
        CallEvent::Failed {
            status: 487,
            reason: None
        }
    );
}

#[tokio::test]
async fn answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut pair = Pair::open().await;
    let (ours, mut theirs) = pair.call().await;
    ours.hangup().await;
    theirs.answer(SDP.to_owned()).await;
    let mut seen = vec![next(&mut theirs).await];
    if seen[0] != (CallEvent::Cancelled { reason: None }) {
        seen.push(next(&mut theirs).await);
        assert_eq!(
            seen,
            [
                CallEvent::Confirmed { sdp: None },
                CallEvent::Ended { reason: None }
            ]
        );
    }
}

#[tokio::test]
async fn unreadable_datagram_is_told_and_stops_nothing() {
    let mut pair = Pair::open().await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger
        .send_to(b"hello\r\n\r\n", pair.office.address())
        .await
        .unwrap();
    assert!(matches!(
        pair.arrivals.recv().await,
        Some(Arrival::Unreadable { .. })
    ));
    pair.call().await;
}

#[tokio::test]
async fn registrar_challenges_with_both_algorithms_and_wants_a_growing_count() {
    let account = Account {
        username: "hotline".into(),
        password: "secret".into(),
        realm: "trunk.example".into(),
    };
    let offered = vec![Algorithm::Sha256, Algorithm::Md5];
    let registrar = Registrar::new(account, offered, Duration::from_secs(60));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (agent, mut arrivals) = UserAgent::open(any, Some(registrar)).await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let register = |credentials: &str, number: u32| {
        format!(
            "REGISTER sip:trunk.example SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK{number}\r\n\
             From: <sip:hotline@trunk.example>;tag=a\r\nTo: <sip:hotline@trunk.example>\r\nCall-ID: r\r\n\
             CSeq: {number} REGISTER\r\nContact: <sip:line7@127.0.0.1:5060>\r\nExpires: 3600\r\n{credentials}\
             Content-Length: 0\r\n\r\n",
            client.local_addr().unwrap()
        )
    };
    let mut buffer = [0_u8; 4096];
    client
        .send_to(register("", 1).as_bytes(), agent.address())
        .await
        .unwrap();
    let length = client.recv(&mut buffer).await.unwrap();
    let challenge = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(
        challenge.starts_with("SIP/2.0 401 Unauthorized\r\n"),
        "{challenge}"
    );
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    assert!(
        challenge.contains("algorithm=SHA-256") && challenge.contains("algorithm=MD5"),
        "{challenge}"
    );
    let proof = credentials(nonce);
    for number in [2, 3] {
        client
            .send_to(register(&proof, number).as_bytes(), agent.address())
            .await
            .unwrap();
        let length = client.recv(&mut buffer).await.unwrap();
        let reply = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let expected = if number == 2 { "expires=60" } else { "stale=true" };
        assert!(reply.contains(expected), "{reply}");
    }
    assert_eq!(told(&mut arrivals).await, Registration::Challenged);
    let accepted = told(&mut arrivals).await;
    assert!(
        matches!(accepted, Registration::Accepted { ref contact, algorithm: Algorithm::Sha256, .. }
        if contact == "sip:line7@127.0.0.1:5060")
    );
}

async fn told(arrivals: &mut mpsc::Receiver<Arrival>) -> Registration {
    match arrivals.recv().await {
        Some(Arrival::Registration(registration)) => registration,
        other => panic!("{other:?}"),
    }
}

/// The Authorization line of a client that knows the password.
fn credentials(nonce: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = |text: String| {
        Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let secret = hash("hotline:trunk.example:secret".to_owned());
    let request = hash("REGISTER:sip:trunk.example".to_owned());
    let response = hash(format!("{secret}:{nonce}:0000000a:c0:auth:{request}"));
    format!(
        "Authorization: Digest username=\"hotline\", realm=\"trunk.example\", nonce=\"{nonce}\", \
         uri=\"sip:trunk.example\", response=\"{response}\", algorithm=SHA-256, cnonce=\"c0\", qop=auth, \
         nc=0000000a\r\n"
    )
}
