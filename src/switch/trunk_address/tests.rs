//! Look-ups against a name server of the test, over real UDP on loopback.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record as Resource, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::*;

type Zone = HashMap<(String, RecordType), Vec<(u32, RData)>>;

/// A name server that answers from a table, and counts what it was asked.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
    silent: Arc<Mutex<bool>>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.53.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            zone: Arc::default(),
            asked: Arc::default(),
            silent: Arc::default(),
        };
        let (zone, asked, silent) = (
            Arc::clone(&server.zone),
            Arc::clone(&server.asked),
            Arc::clone(&server.silent),
        );
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let question = query.queries[0].clone();
                let key = (question.name().to_string().to_lowercase(), question.query_type());
                asked.lock().unwrap().push(key.clone());
                if *silent.lock().unwrap() {
                    continue;
                }
                let mut answer = Message::response(query.metadata.id, OpCode::Query);
                answer.metadata.message_type = MessageType::Response;
                answer.metadata.recursion_desired = true;
                answer.metadata.recursion_available = true;
                answer.add_query(question.clone());
                let alias = (key.0.clone(), RecordType::CNAME);
                let found = {
                    let zone = zone.lock().unwrap();
                    zone.get(&key).or_else(|| zone.get(&alias)).cloned()
                };
                for (ttl, data) in found.iter().flatten() {
                    answer.add_answer(Resource::from_rdata(question.name().clone(), *ttl, data.clone()));
                }
                if found.is_none() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                let bytes = answer.to_vec().unwrap();
                socket.send_to(&bytes, source).await.unwrap();
            }
        });
        server
    }

    fn set(&self, name: &str, kind: RecordType, records: Vec<(u32, RData)>) {
        let key = (format!("{name}."), kind);
        self.zone.lock().unwrap().insert(key, records);
    }

    fn host(&self, name: &str, ttl: u32, addresses: &[[u8; 4]]) {
        let records = addresses
            .iter()
            .map(|octets| (ttl, RData::A(A(Ipv4Addr::from(*octets)))));
        self.set(name, RecordType::A, records.collect());
    }

    fn services(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let records = records.iter().map(|&(priority, weight, port, host)| {
            let target = Name::from_ascii(host).unwrap();
            (300, RData::SRV(SRV::new(priority, weight, port, target)))
        });
        self.set(name, RecordType::SRV, records.collect());
    }

    fn was_asked(&self, kind: RecordType) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(_, asked)| *asked == kind).count()
    }

    fn dns(&self) -> Dns {
        Dns::new(&[self.address], (true, false)).unwrap()
    }

    async fn find(&self, place: &str, transport: Transport) -> Result<Answer, LookUpError> {
        let place = Place::parse(place, transport).unwrap();
        self.dns().find(&place, transport, &mut |most| most).await
    }
}

fn texts(targets: &[SocketAddr]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn srv_records_are_followed_by_priority_with_their_ports_and_hosts_without_address_passed_over() {
    let server = NameServer::start().await;
    server.services(
        "_sip._udp.sip.example.com",
        &[
            (20, 1, 5062, "c.example.com."),
            (10, 1, 5061, "b.example.com."),
            (5, 1, 5060, "gone.example.com."),
        ],
    );
    server.host("b.example.com", 300, &[[192, 0, 2, 2], [192, 0, 2, 3]]);
    server.host("c.example.com", 300, &[[192, 0, 2, 4]]);
    let found = server.find("sip.example.com", Transport::Udp).await.unwrap();
    let mut best = texts(&found.targets[..2]);
    best.sort();
    assert_eq!(best, ["192.0.2.2:5061", "192.0.2.3:5061"]);
    assert_eq!(texts(&found.targets[2..]), ["192.0.2.4:5062"]);
    let shares = found.shares.iter().map(|share| (share.group, share.weight));
    // The first record led nowhere; the two addresses of the second share its weight.
    assert_eq!(shares.collect::<Vec<_>>(), [(0, 32), (0, 32), (1, 64)]);
}

#[tokio::test]
async fn each_transport_asks_for_its_own_service() {
    let server = NameServer::start().await;
    for (prefix, port) in [("_sip._udp", 5070), ("_sip._tcp", 5071), ("_sips._tcp", 5072)] {
        server.services(&format!("{prefix}.t.example"), &[(1, 1, port, "h.t.example.")]);
    }
    server.host("h.t.example", 300, &[[192, 0, 2, 1]]);
    for (transport, port) in [
        (Transport::Udp, 5070),
        (Transport::Tcp, 5071),
        (Transport::Tls, 5072),
    ] {
        let found = server.find("t.example", transport).await.unwrap();
        assert_eq!(texts(&found.targets), [format!("192.0.2.1:{port}")]);
    }
}

#[tokio::test]
async fn a_name_without_srv_takes_the_usual_port_and_a_written_port_asks_for_no_srv() {
    let server = NameServer::start().await;
    server.host("sip.example.com", 300, &[[192, 0, 2, 1]]);
    let found = server.find("sip.example.com", Transport::Udp).await.unwrap();
    assert_eq!(texts(&found.targets), ["192.0.2.1:5060"]);
    let found = server.find("sip.example.com", Transport::Tls).await.unwrap();
    assert_eq!(texts(&found.targets), ["192.0.2.1:5061"]);
    let before = server.was_asked(RecordType::SRV);
    let found = server.find("sip.example.com:5080", Transport::Udp).await.unwrap();
    assert_eq!(texts(&found.targets), ["192.0.2.1:5080"]);
    assert_eq!(server.was_asked(RecordType::SRV), before);
    let found = server.find("192.0.2.77", Transport::Udp).await.unwrap();
    assert_eq!(texts(&found.targets), ["192.0.2.77:5060"]);
    assert_eq!(server.was_asked(RecordType::SRV), before);
}

#[tokio::test]
async fn a_service_that_is_declared_absent_and_a_name_that_is_not_there_are_told() {
    let server = NameServer::start().await;
    server.services("_sip._udp.no.example", &[(0, 0, 0, ".")]);
    server.host("no.example", 300, &[[192, 0, 2, 1]]);
    let told = server.find("no.example", Transport::Udp).await.unwrap_err();
    assert!(matches!(told, LookUpError::NoAddress), "{told}");
    let told = server.find("absent.example", Transport::Udp).await.unwrap_err();
    assert!(matches!(told, LookUpError::NoAddress), "{told}");
}

#[tokio::test]
async fn times_of_answers_are_kept_between_five_seconds_and_an_hour() {
    let server = NameServer::start().await;
    server.host("short.example", 0, &[[192, 0, 2, 1]]);
    server.host("long.example", 999_999, &[[192, 0, 2, 1]]);
    server.host("usual.example", 60, &[[192, 0, 2, 1]]);
    let lifetime = async |name: &str| {
        server
            .find(name, Transport::Udp)
            .await
            .unwrap()
            .lifetime
            .as_secs()
    };
    assert_eq!(lifetime("short.example:5060").await, 5);
    assert!((3590..=3600).contains(&lifetime("long.example:5060").await));
    assert!((58..=60).contains(&lifetime("usual.example:5060").await));
}

#[tokio::test]
async fn a_flood_of_records_is_cut_and_aliases_that_turn_in_circles_end() {
    let server = NameServer::start().await;
    let many: Vec<[u8; 4]> = (0..60).map(|last| [198, 51, 100, last]).collect();
    server.host("many.example", 300, &many);
    let found = server.find("many.example:5060", Transport::Udp).await.unwrap();
    assert_eq!(found.targets.len(), 16);
    let alias = |to: &str| vec![(300, RData::CNAME(CNAME(Name::from_ascii(to).unwrap())))];
    server.set("a.example", RecordType::CNAME, alias("b.example."));
    server.set("b.example", RecordType::CNAME, alias("a.example."));
    let began = std::time::Instant::now();
    assert!(server.find("a.example:5060", Transport::Udp).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(9));
    assert!(server.asked.lock().unwrap().len() < 100);
    server.set("c.example", RecordType::CNAME, alias("many.example."));
    let found = server.find("c.example:5060", Transport::Udp).await.unwrap();
    assert_eq!(found.targets.len(), 16, "one alias is followed");
}

fn trunk(keys: &str) -> TrunkConfig {
    let text = format!("[[trunk]]\nname = \"t\"\nhost = \"sip.example.com\"\n{keys}\n");
    Config::parse(&text, "t.toml".as_ref()).unwrap().trunks.remove(0)
}

/// Begins to watch a trunk; tells what is found.
fn watching(server: &NameServer, keys: &str) -> mpsc::Receiver<Found> {
    let (told, found) = mpsc::channel(8);
    let listen = vec!["127.0.10.1:5060".parse().unwrap()];
    tokio::spawn(watch(trunk(keys), listen, Some(server.dns()), [7; 32], told));
    found
}

async fn next(found: &mut mpsc::Receiver<Found>) -> Found {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, found.recv())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_time_is_over_and_a_failed_look_up_changes_nothing() {
    let server = NameServer::start().await;
    server.host("sip.example.com", 1, &[[192, 0, 2, 1]]);
    let mut found = watching(&server, "");
    assert_eq!(texts(&next(&mut found).await.targets), ["192.0.2.1:5060"]);
    server.host("sip.example.com", 1, &[[192, 0, 2, 9]]);
    assert_eq!(texts(&next(&mut found).await.targets), ["192.0.2.9:5060"]);
    // Nobody answers any more, or the name is gone: nothing is told, so what was found stays.
    *server.silent.lock().unwrap() = true;
    let quiet = tokio::time::timeout(Duration::from_secs(8), found.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn several_proxies_come_in_their_order_and_registrars_apart() {
    let server = NameServer::start().await;
    server.host("one.example.com", 300, &[[192, 0, 2, 1]]);
    server.host("two.example.com", 300, &[[192, 0, 2, 2]]);
    server.host("reg.example.com", 300, &[[192, 0, 2, 3]]);
    let keys = "proxy = [\"two.example.com\", \"absent.example.com\", \"one.example.com:5070\"]\n\
                registrar = [\"reg.example.com\"]\nregister = true\nusername = \"u\"\npassword = \"p\"";
    let found = next(&mut watching(&server, keys)).await;
    assert_eq!(texts(&found.targets), ["192.0.2.2:5060", "192.0.2.1:5070"]);
    assert_eq!(texts(&found.registrars), ["192.0.2.3:5060"]);
    assert!(
        found.shares[0].group < found.shares[1].group,
        "one proxy is better than the next"
    );
    assert_eq!(found.local.to_string(), "127.0.10.1:5060");
}

#[test]
fn address_that_reaches_a_target_is_concrete() {
    let listen = ["0.0.0.0:5070".parse().unwrap()];
    let local = local_for(&listen, "127.0.0.1:5060".parse().unwrap());
    assert_eq!(local.to_string(), "127.0.0.1:5070");
}

#[test]
fn listening_address_of_the_targets_kind_is_chosen() {
    let listen = ["[::1]:5060".parse().unwrap(), "127.0.10.1:5060".parse().unwrap()];
    let local = local_for(&listen, "127.0.12.1:5060".parse().unwrap());
    assert_eq!(local.to_string(), "127.0.10.1:5060");
}
