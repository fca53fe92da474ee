//! How callers and offices of the explorer behave: drawn at random from what trunks and telephones really do
//! (`sip.md` §3 and §6.6).

use std::time::Duration;

use super::chance::Chance;
use super::habits::{Acks, AfterCancel, Deed, Habits, Reply};
use super::message::Sdp;

/// Session timers of callers who stay.
const REFRESHED: [&str; 4] = [
    "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n",
    "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\nSupported: timer\r\nSession-Expires: 90;refresher=uas\r\n",
    "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n",
    "",
];

/// A caller who keys something and hangs up at any millisecond; one in three misbehaves.
pub fn caller(chance: &mut Chance) -> Habits {
    let mut habits = Habits::default();
    let deeds = &mut habits.deeds;
    let mut at = chance.between(200, 12_000);
    for key in "94110".chars() {
        at += chance.between(60, 900);
        let deed = if chance.hits(150) {
            Deed::InfoKey(key)
        } else {
            Deed::Key(key)
        };
        deeds.push((at, deed));
    }
    for _ in 0..chance.below(8) {
        let key = chance.pick(&['1', '2', '*', '*', '#', '0', '9', '5']);
        let again = chance.between(40, 70_000);
        deeds.push((again, Deed::Key(key)));
        if chance.hits(300) {
            deeds.push((again + chance.between(60, 400), Deed::Key(key)));
        }
    }
    let hangs_up = match chance.below(4) {
        0 => chance.between(0, 3_000),
        1 => chance.between(0, 20_000),
        _ => chance.between(10_000, 90_000),
    };
    // A few stay for so long that their sessions are refreshed.
    let is_patient = chance.hits(40);
    let hangs_up = if is_patient {
        chance.between(100_000, 400_000)
    } else {
        hangs_up
    };
    deeds.push((hangs_up, Deed::HangUp));
    if is_patient {
        habits.lines = chance.pick(&REFRESHED);
        habits.offers = chance.pick(&[
            Reply::Status(200),
            Reply::Status(200),
            Reply::Status(491),
            Reply::Status(500),
            Reply::Silence,
        ]);
        if chance.hits(300) {
            habits
                .deeds
                .push((chance.between(44_000, 47_000), Deed::Reinvite));
        }
    } else if chance.hits(400) {
        spoil_caller(chance, &mut habits, hangs_up);
    }
    habits
}

fn spoil_caller(chance: &mut Chance, habits: &mut Habits, hangs_up: Duration) {
    for _ in 0..=chance.below(3) {
        match chance.below(18) {
            0 => habits.acks = Acks::Never,
            1 => habits.acks = Acks::After(chance.between(1, 20_000)),
            2 => habits.bye = spoilt_reply(chance),
            3 => habits.offers = spoilt_reply(chance),
            4 => habits.others = spoilt_reply(chance),
            5 => {
                habits.sdp = chance.pick(&[
                    Sdp::Nothing,
                    Sdp::Fax,
                    Sdp::Video,
                    Sdp::Foreign,
                    Sdp::Garbage,
                    Sdp::Refused,
                    Sdp::NoEvents,
                    Sdp::Hold,
                ])
            }
            6 => {
                habits.lines = chance.pick(&[
                    "Supported: timer, 100rel\r\nSession-Expires: 90;refresher=uac\r\n",
                    "Supported: timer\r\nSession-Expires: 60\r\nMin-SE: 30\r\n",
                    "Supported: timer\r\nSession-Expires: 120;refresher=uas\r\n",
                    "Require: 100rel\r\nSupported: 100rel\r\n",
                    "Require: path, gruu\r\n",
                ])
            }
            7 => habits.deeds.push((chance.between(0, 10_000), Deed::Cancel)),
            8 => habits.deeds.push((chance.between(0, 8_000), Deed::EarlyBye)),
            9 => habits.deeds.push((chance.between(0, 1_000), Deed::Merged)),
            10 => habits.deeds.push((chance.between(0, 40_000), Deed::Vanish)),
            11 => habits.deeds.push((chance.between(0, 60_000), Deed::BreakOff)),
            12 => habits.deeds.push((chance.between(500, 60_000), Deed::Stale)),
            13 => habits.deeds.push((hangs_up, Deed::Reinvite)),
            _ => {
                for _ in 0..=chance.below(3) {
                    let deed = chance.pick(&[
                        Deed::Reinvite,
                        Deed::Hold,
                        Deed::LateReinvite,
                        Deed::SpoiltReinvite,
                        Deed::Move,
                        Deed::Mute,
                        Deed::Fax,
                        Deed::Film,
                        Deed::Update,
                        Deed::Options,
                        Deed::Refer,
                    ]);
                    habits.deeds.push((chance.between(300, 60_000), deed));
                }
            }
        }
    }
}

fn spoilt_reply(chance: &mut Chance) -> Reply {
    match chance.below(7) {
        0 | 1 => Reply::Silence,
        2 => Reply::Status(481),
        3 => Reply::Status(491),
        4 => Reply::Status(488),
        5 => Reply::Status(500),
        _ => Reply::Status(405),
    }
}

/// An office that rings and answers, refuses, or does one of the many things that offices and their trunks do.
pub fn office(chance: &mut Chance) -> Habits {
    let mut habits = Habits::default();
    if chance.hits(60) {
        // A silent target.
        return habits;
    }
    let first = chance.between(0, 800);
    let ring = first + chance.between(0, 9_000);
    let talk = ring + chance.between(0, 40_000);
    let mut deeds = vec![(first, provisional(100, 0, false))];
    if chance.hits(800) {
        let status = chance.pick(&[180, 180, 183, 181]);
        let sound = chance.hits(300);
        deeds.push((first + chance.between(0, 500), provisional(status, 0, sound)));
        if sound && chance.hits(800) {
            deeds.push((first + chance.between(500, 900), Deed::Speak));
        }
    }
    let status = if chance.hits(600) {
        200
    } else {
        chance.pick(&[
            486, 480, 603, 607, 608, 404, 503, 500, 408, 488, 302, 305, 600, 484, 403, 0,
        ])
    };
    if status != 0 {
        deeds.push((ring, Deed::Final { status, fork: 0 }));
    }
    if status == 200 {
        if chance.hits(900) {
            deeds.push((ring + Duration::from_millis(40), Deed::Speak));
        }
        if chance.hits(850) {
            deeds.push((talk, Deed::HangUp));
        }
    }
    if status >= 300 && chance.hits(500) {
        habits.failure_lines = chance.pick(&[
            "Retry-After: 20\r\n",
            "Reason: Q.850;cause=17;text=\"busy\"\r\n",
            "Reason: SIP;cause=603;text=\"v=analytics1;url=https://example.org\"\r\nReason: Q.850;cause=21\r\n",
            "Contact: <sip:5550199@example.net>, <tel:+12025550198>\r\n",
            "X-Twilio-Error: 32017 blocked\r\n",
        ]);
    }
    habits.deeds = deeds;
    if chance.hits(500) {
        for _ in 0..=chance.below(3) {
            spoil_office(chance, &mut habits, ring, talk);
        }
    }
    habits
}

fn spoil_office(chance: &mut Chance, habits: &mut Habits, ring: Duration, talk: Duration) {
    match chance.below(24) {
        choice @ 0..12 => spoil_answer(chance, habits, ring, talk, choice),
        choice => spoil_talk(chance, habits, ring, choice),
    }
}

/// What an office answers with, and what it does right after.
fn spoil_answer(chance: &mut Chance, habits: &mut Habits, ring: Duration, talk: Duration, choice: u64) {
    let deeds = &mut habits.deeds;
    match choice {
        0 => {
            for fork in 1..=1 + chance.below(3) as u8 {
                let sound = chance.hits(500);
                deeds.push((
                    chance.between(0, 6_000),
                    provisional(180 + 3 * u16::from(sound), fork, sound),
                ));
                if chance.hits(600) {
                    deeds.push((
                        ring + chance.between(0, 20_000),
                        Deed::Final { status: 200, fork },
                    ));
                }
            }
        }
        1 => habits.tagless = true,
        2 => {
            habits.sdp = chance.pick(&[
                Sdp::Nothing,
                Sdp::Fax,
                Sdp::Foreign,
                Sdp::Garbage,
                Sdp::Refused,
                Sdp::NoEvents,
                Sdp::Hold,
            ])
        }
        3 => habits.challenges = 1,
        4 => habits.challenges = chance.pick(&[2, 3, 200]),
        5 => habits.too_brief = true,
        6 => {
            habits.lines = chance.pick(&[
                "Require: timer\r\nSession-Expires: 1800;refresher=uas\r\n",
                "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
                "Require: timer\r\nSession-Expires: 90;refresher=uas\r\n",
                "Session-Expires: nonsense\r\n",
            ])
        }
        7 => deeds.push((ring, Deed::Reinvite)),
        8 => deeds.push((
            ring + chance.between(0, 300),
            chance.pick(&[
                Deed::Reinvite,
                Deed::Hold,
                Deed::LateReinvite,
                Deed::SpoiltReinvite,
                Deed::Move,
                Deed::Mute,
                Deed::Fax,
                Deed::Film,
                Deed::Update,
            ]),
        )),
        9 => deeds.push((talk, Deed::Reinvite)),
        10 => habits.bye = spoilt_reply(chance),
        11 => habits.cancel = spoilt_reply(chance),
        _ => {}
    }
}

fn spoil_talk(chance: &mut Chance, habits: &mut Habits, ring: Duration, choice: u64) {
    let deeds = &mut habits.deeds;
    match choice {
        12 => habits.after_cancel = chance.pick(&[AfterCancel::Answered, AfterCancel::Nothing]),
        13 => habits.offers = spoilt_reply(chance),
        14 => habits.others = spoilt_reply(chance),
        15 => deeds.push((
            chance.between(0, 2_000),
            Deed::Provisional {
                status: 183,
                fork: 0,
                sound: chance.hits(500),
                reliable: true,
            },
        )),
        16 => deeds.push((chance.between(0, 9_000), Deed::EarlyBye)),
        17 => deeds.push((ring + chance.between(0, 5), Deed::HangUp)),
        18 => deeds.push((chance.between(0, 40_000), Deed::Vanish)),
        19 => deeds.push((chance.between(0, 40_000), Deed::BreakOff)),
        20 => habits.lies = true,
        21 => deeds.push((ring + chance.between(0, 20_000), Deed::Echo)),
        22 => deeds.push((ring + chance.between(0, 20_000), Deed::Stale)),
        _ => {
            for _ in 0..=chance.below(3) {
                let deed = chance.pick(&[
                    Deed::Reinvite,
                    Deed::Hold,
                    Deed::LateReinvite,
                    Deed::SpoiltReinvite,
                    Deed::Move,
                    Deed::Mute,
                    Deed::Fax,
                    Deed::Film,
                    Deed::Update,
                    Deed::Options,
                    Deed::Refer,
                    Deed::InfoKey('7'),
                ]);
                deeds.push((ring + chance.between(0, 30_000), deed));
            }
        }
    }
}

fn provisional(status: u16, fork: u8, sound: bool) -> Deed {
    Deed::Provisional {
        status,
        fork,
        sound,
        reliable: false,
    }
}
