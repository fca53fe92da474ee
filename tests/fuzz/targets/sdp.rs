//! A session description as an offer and as an answer: what we write back is readable and has a line for each of
//! theirs.

use std::net::SocketAddr;

use media::sdp::{Direction, Local, Session, address};
use media::{Codec, Law};

pub fn run(data: &[u8]) {
    let Ok(session) = Session::parse(data) else {
        return;
    };
    for media in &session.media {
        let _ = (
            session.direction(media),
            media.telephone_event(8000),
            media.codecs().count(),
        );
        if let Some(remote) = session.remote(media) {
            assert!(remote.port() != 0);
            let _ = address::refusal(remote);
        }
    }
    let ours = SocketAddr::from(([192, 0, 2, 1], 20_000));
    let (mu, a) = (Codec::G711(Law::Mu), Codec::G711(Law::A));
    for codecs in [&[mu, a][..], &[a], &[Codec::Opus, Codec::G722, mu]] {
        let mut local = Local::new(1, ours, codecs);
        if let Ok((agreed, body)) = local.answer(&session, Direction::SendReceive) {
            assert!(
                body.len() <= 2 * data.len() + 1024,
                "{} bytes answer {}",
                body.len(),
                data.len()
            );
            let Ok(back) = Session::parse(&body) else {
                panic!("our answer cannot be read: {}", String::from_utf8_lossy(&body))
            };
            assert_eq!(back.media.len(), session.media.len());
            assert_eq!(back.media.iter().filter(|media| media.port != 0).count(), 1);
            assert!(codecs.contains(&agreed.codec) && agreed.payload_type < 128);
        }
        let mut caller = Local::new(2, ours, codecs);
        caller.offer(Direction::SendReceive);
        if let Ok(agreed) = caller.accept_answer(&session) {
            assert!(codecs.contains(&agreed.codec));
        }
    }
}
