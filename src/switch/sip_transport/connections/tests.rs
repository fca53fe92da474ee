use std::future::poll_fn;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);

fn patience() -> Patience {
    Patience {
        connect: SECOND,
        handshake: Duration::from_millis(300),
        message: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        ping: Duration::from_millis(300),
        pong: Duration::from_millis(300),
        write: SECOND,
    }
}

fn connections() -> Connections {
    Connections::with_patience(Tls::default(), patience())
}

fn way(destination: SocketAddr, trunk: &str, transport: Transport) -> Way {
    Way {
        local: "127.93.20.1:5060".parse().unwrap(),
        destination,
        transport,
        trunk: Some(TrunkName::new(trunk)),
        connection: None,
    }
}

/// Takes what comes for a time; gives the messages.
async fn run(connections: &mut Connections, time: Duration) -> Vec<Vec<u8>> {
    let until = tokio::time::Instant::now() + time;
    let mut heard = Vec::new();
    while let Ok(notice) =
        tokio::time::timeout_at(until, poll_fn(|context| connections.poll_notice(context))).await
    {
        heard.extend(connections.take(notice).map(|heard| heard.bytes));
    }
    heard
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.93.20.2:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accepted(connections: &mut Connections, is_known: bool) -> TcpStream {
    let (listener, address) = listener().await;
    let far_end = TcpStream::connect(address).await.unwrap();
    let (stream, source) = listener.accept().await.unwrap();
    connections.accept(Transport::Tcp, stream, source, is_known);
    far_end
}

#[tokio::test]
async fn trunks_at_one_address_share_a_connection_over_tcp_and_never_over_tls() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
    let table = |name: &str, host: &str| {
        let ca = file.path().display();
        format!("[[trunk]]\nname = \"{name}\"\nhost = \"{host}\"\ntransport = \"tls\"\ntls_ca = \"{ca}\"\n")
    };
    let text = table("one", "sip.one.test") + &table("other", "sip.other.test");
    let load = || Tls::load(&Config::parse(&text, "server.toml".as_ref()).unwrap()).unwrap();
    let mut connections = Connections::with_patience(load(), patience());
    let (listener, address) = listener().await;
    let send = |connections: &mut Connections, trunk, transport| {
        connections.send(&way(address, trunk, transport), b"x".to_vec());
        connections.count()
    };
    assert_eq!(send(&mut connections, "one", Transport::Tls), 1);
    assert_eq!(send(&mut connections, "one", Transport::Tls), 1);
    assert_eq!(send(&mut connections, "other", Transport::Tls), 2);
    connections.renew(load());
    assert_eq!(
        send(&mut connections, "other", Transport::Tls),
        2,
        "kept when nothing changed"
    );
    assert_eq!(send(&mut connections, "one", Transport::Tcp), 3);
    assert_eq!(send(&mut connections, "other", Transport::Tcp), 3);
    // Whoever says nothing proves nothing.
    run(&mut connections, SECOND).await;
    assert_eq!(connections.count(), 1);
    let remote = address;
    let transport = Transport::Tls;
    let mut failed: Vec<_> = std::iter::from_fn(|| connections.next_lost()).collect();
    failed.sort_by_key(|lost| format!("{lost:?}"));
    let unreachable = |trunk: &str| Lost::Unreachable {
        trunk: way(remote, trunk, transport).trunk,
        remote,
        transport,
    };
    assert_eq!(
        failed,
        [unreachable("one"), unreachable("other")],
        "each for itself"
    );
    drop(listener);
}

#[tokio::test]
async fn a_connection_that_somebody_opened_serves_answers_and_no_request_of_another_call() {
    let mut connections = connections();
    let mut far_end = accepted(&mut connections, true).await;
    let source = far_end.local_addr().unwrap();
    far_end
        .write_all(b"OPTIONS sip:a@h SIP/2.0\r\nl: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(run(&mut connections, SECOND / 5).await.len(), 1);
    let request = way(source, "one", Transport::Tcp);
    let answer = Way {
        connection: Some(source),
        trunk: None,
        ..way("127.93.20.9:5060".parse().unwrap(), "one", Transport::Tcp)
    };
    connections.send(&answer, b"SIP/2.0 200".to_vec());
    let mut buffer = [0; 11];
    far_end.read_exact(&mut buffer).await.unwrap();
    assert_eq!((&buffer, connections.count()), (b"SIP/2.0 200", 1));
    connections.send(&request, b"request".to_vec());
    assert_eq!(connections.count(), 2, "a new one was begun");
    drop(far_end);
    run(&mut connections, SECOND / 5).await;
    let of_source = |lost: &Lost| matches!(lost, Lost::Connection { remote, .. } if *remote == source);
    let lost: Vec<Lost> = std::iter::from_fn(|| connections.next_lost()).collect();
    assert!(
        !lost.iter().any(of_source),
        "it carried no request of ours: {lost:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_connected_is_told_as_unreachable() {
    let (listener, address) = listener().await;
    drop(listener);
    let mut connections = connections();
    connections.send(&way(address, "one", Transport::Tcp), b"x".to_vec());
    run(&mut connections, SECOND / 5).await;
    let remote = address;
    let transport = Transport::Tcp;
    assert_eq!(
        connections.next_lost(),
        Some(Lost::Unreachable {
            trunk: None,
            remote,
            transport
        })
    );
    assert_eq!(connections.count(), 0);
    // Nobody is trusted to be reached over TLS whose name is not known, nor without anybody to reach.
    connections.send(&way(address, "one", Transport::Tls), b"x".to_vec());
    let nobody = Way {
        trunk: None,
        ..way(address, "one", Transport::Tcp)
    };
    connections.send(&nobody, b"x".to_vec());
    assert_eq!((connections.count(), connections.unsent()), (0, 2));
}

#[tokio::test]
async fn one_that_stops_answering_pings_is_closed_and_one_that_never_did_is_kept() {
    let (listener, address) = listener().await;
    let mut connections = connections();
    connections.send(&way(address, "one", Transport::Tcp), b"hello".to_vec());
    let (mut far_end, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 9];
    far_end.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello\r\n\r\n");
    run(&mut connections, SECOND).await;
    assert_eq!(connections.count(), 1, "it never answered one");
    far_end.write_all(b"\r\n").await.unwrap();
    run(&mut connections, 2 * SECOND).await;
    assert_eq!(connections.count(), 0, "it answered one, then none");
    let remote = address;
    let transport = Transport::Tcp;
    assert_eq!(
        connections.next_lost(),
        Some(Lost::Connection {
            trunk: None,
            remote,
            transport
        })
    );
}

#[tokio::test]
async fn strangers_must_speak_soon_whole_and_little_and_trunks_may_be_silent() {
    let message = b"OPTIONS sip:a@h SIP/2.0\r\nl: 0\r\n\r\n";
    let mut connections = connections();
    let silent = accepted(&mut connections, false).await;
    let mut idle = accepted(&mut connections, false).await;
    let mut halting = accepted(&mut connections, true).await;
    let trunk = accepted(&mut connections, true).await;
    idle.write_all(message).await.unwrap();
    halting.write_all(&message[..20]).await.unwrap();
    assert_eq!(run(&mut connections, 2 * SECOND).await.len(), 1);
    assert_eq!(connections.count(), 1, "the trunk that is silent");
    let mut greedy = accepted(&mut connections, false).await;
    let large = [
        b"MESSAGE sip:a@h SIP/2.0\r\nl: 60000\r\n\r\n".to_vec(),
        vec![b'x'; 60_000],
    ]
    .concat();
    // It is closed in the middle of this.
    for _ in 0..8 {
        let _ = greedy.write_all(&large).await;
    }
    let heard = run(&mut connections, SECOND / 5).await;
    assert!(heard.len() <= 4, "{}", heard.len());
    assert_eq!(connections.count(), 1);
    drop((silent, trunk));
}

#[tokio::test]
async fn one_source_has_room_for_sixteen_and_a_ban_closes_them() {
    let mut connections = connections();
    let mut far_ends = Vec::new();
    for _ in 0..20 {
        far_ends.push(accepted(&mut connections, false).await);
    }
    assert_eq!(connections.count(), MOST_OF_SOURCE);
    far_ends.push(accepted(&mut connections, true).await);
    assert_eq!(connections.count(), MOST_OF_SOURCE + 1);
    connections.close_strangers("127.0.0.1".parse().unwrap());
    assert_eq!(connections.count(), 1);
}
