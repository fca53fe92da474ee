//! The demo's stage: private loopback addresses, a small invented directory, and the server's configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::directory::{
    Chamber, Dataset, District, OfficeKind, OfficeRow, ShareRow, TargetRow, ZipKind, ZipRow,
};
use crate::units::{OfficeId, PhoneNumber, State, TargetId, UnitError, Zip};

use super::office::{Conduct, Office};
use super::peer::{Account, Algorithm, Law, melody};
use super::trunk::TrunkPlan;

/// The number of the hotline, and the caller's; both are reserved for stories (555-01xx).
pub const HOTLINE: &str = "2025550100";
pub const CALLER: &str = "4155550123";

/// The ZIP code that the caller keys in.
pub const ZIP: &str = "94110";

const PASSWORD: &str = "only for the demo";

/// The three lawmakers: none of them exists.
pub const PEOPLE: [Person; 3] = [
    Person {
        key: "demo-house",
        name: "Alex Rivera",
        office: "Rivera",
        number: "2025550111",
        hours: None,
    },
    Person {
        key: "demo-senior",
        name: "Jordan Lee",
        office: "Lee",
        number: "2025550112",
        hours: None,
    },
    Person {
        key: "demo-junior",
        name: "Sam Okafor",
        office: "Okafor",
        number: "2025550113",
        hours: Some("Mon 9am-11am"),
    },
];

/// A lawmaker of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    pub key: &'static str,
    name: &'static str,
    /// The office's name in the timeline.
    pub office: &'static str,
    pub number: &'static str,
    /// Where they differ from Washington's usual ones.
    hours: Option<&'static str>,
}

/// Where everyone stands.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    pub server: SocketAddr,
    pub trunk: SocketAddr,
    /// Where the callers' telephones listen.
    pub callers: IpAddr,
    /// Where the offices' telephones listen.
    pub offices: IpAddr,
}

impl Stage {
    /// Takes four neighbouring loopback addresses that nobody uses for SIP.
    ///
    /// # Errors
    /// When none of the addresses tried is free.
    pub fn pick() -> io::Result<Stage> {
        let first = std::process::id();
        let mut refused = io::Error::other("no free loopback address was found");
        for attempt in 0..200_u32 {
            let number = (first.wrapping_mul(7) + attempt) % 25_000;
            let (third, fourth) = ((number / 250) as u8, (number % 250) as u8);
            let address = |last: u8| IpAddr::V4(Ipv4Addr::new(127, 100 + third, fourth, last));
            let stage = Stage {
                server: SocketAddr::new(address(1), 5060),
                trunk: SocketAddr::new(address(2), 5060),
                callers: address(3),
                offices: address(4),
            };
            match UdpSocket::bind(stage.server).and_then(|_| UdpSocket::bind(stage.trunk)) {
                Ok(_) => return Ok(stage),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The server's configuration file; its records go to a database in `folder`.
    pub fn configuration(&self, folder: &Path) -> String {
        let (server, trunk) = (self.server, self.trunk);
        let database = toml::Value::String(format!("sqlite:{}", folder.join("trunkline.db").display()));
        format!(
            "# Written by `trunkline demo`: a server on loopback with a simulated trunk.\n\
             [sip]\nlisten = [\"udp:{server}\"]\n\n\
             [[trunk]]\nname = \"demo\"\nhost = \"{host}\"\nproxy = \"{trunk}\"\nregister = true\n\
             username = \"hotline\"\npassword = \"{PASSWORD}\"\ncaller_id = \"+1{HOTLINE}\"\n\n\
             # A softphone on this machine may call too.\n\
             [[trunk]]\nname = \"softphone\"\nhost = \"127.0.0.1\"\ndestinations = []\n\n\
             [[number]]\npattern = \"+1{HOTLINE}\"\ncampaign = \"congress\"\n\n\
             [store]\nurl = {database}\n\n\
             [web]\nlisten = \"\"\n\n\
             [log]\nlevel = \"warn\"\n",
            host = trunk.ip(),
        )
    }

    /// The simulated trunk with its three offices.
    pub fn trunk_plan(&self) -> TrunkPlan {
        let office = |person: Person, conduct| Office {
            name: person.office.to_owned(),
            number: person.number.to_owned(),
            conduct,
            media: self.offices,
            laws: vec![Law::Mu, Law::A],
            hasty: false,
        };
        let [answers, busy, closed] = PEOPLE;
        let ring = Duration::from_secs(2);
        let busy_here = Conduct::Refuses {
            ring: Duration::from_millis(300),
            status: (486, "Busy Here"),
            reason: Some("Q.850;cause=17;text=\"User busy\"".to_owned()),
        };
        TrunkPlan {
            address: self.trunk,
            media: self.callers,
            account: Some(Account {
                username: "hotline".to_owned(),
                password: PASSWORD.to_owned(),
                realm: "trunk.demo".to_owned(),
            }),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            longest: Duration::from_secs(600),
            offices: vec![
                office(
                    answers,
                    Conduct::Answers {
                        ring,
                        speech: office_speech(),
                        talk: None,
                    },
                ),
                office(busy, busy_here),
                office(closed, Conduct::RingsOn),
            ],
        }
    }
}

/// What the office that answers says, over and over.
pub fn office_speech() -> Arc<[i16]> {
    melody(2025, 3).into()
}

/// What the caller says to it.
pub fn caller_speech() -> Vec<i16> {
    melody(4155, 3)
}

/// The invented directory: one ZIP code, one seat of the House, two senators.
///
/// # Errors
/// Never, while the constants above are well-formed; a test keeps them so.
pub fn dataset() -> Result<Dataset, UnitError> {
    let state: State = "CA".parse()?;
    let washington: State = "DC".parse()?;
    let zip: Zip = ZIP.parse()?;
    let capitol: Zip = "20515".parse()?;
    let mut dataset = Dataset {
        zips: vec![
            ZipRow {
                zip: capitol,
                kind: ZipKind::Standard,
                state: washington,
                timezone: Some("America/New_York".into()),
                point: None,
            },
            ZipRow {
                zip,
                kind: ZipKind::Standard,
                state,
                timezone: Some("America/Los_Angeles".into()),
                point: None,
            },
        ],
        shares: vec![ShareRow {
            zip,
            district: District { state, number: 11 },
            share: Some(1.0),
        }],
        ..Dataset::default()
    };
    for (at, person) in PEOPLE.into_iter().enumerate() {
        let target = TargetId::new(format!("demo:person:{}", person.key));
        dataset.offices.push(OfficeRow {
            id: OfficeId::new(format!("{target}/dc")),
            target: target.clone(),
            kind: OfficeKind::Capitol,
            city: "Washington".to_owned(),
            state: washington,
            zip: Some(capitol),
            phone: Some(PhoneNumber::parse_us(person.number)?),
            hours_text: person.hours.map(str::to_owned),
            point: None,
        });
        dataset.targets.push(TargetRow {
            id: target,
            name: person.name.to_owned(),
            chamber: if at == 0 { Chamber::House } else { Chamber::Senate },
            state,
            district: (at == 0).then_some(11),
            party: "Independent".to_owned(),
            caucus: None,
            state_rank: None,
            since: None,
            expected_end: None,
        });
    }
    Ok(dataset)
}

/// The nearest Tuesday, noon in Washington, on which no holiday falls: when the demo's calls take place.
pub fn office_time(now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let zone = jiff::tz::TimeZone::get("America/New_York").ok()?;
    let mut day = now.to_zoned(zone.clone()).date();
    for _ in 0..60 {
        let tuesday = day.weekday() == jiff::civil::Weekday::Tuesday;
        if tuesday && crate::directory::federal_holiday(day).is_none() {
            return day
                .at(12, 0, 0, 0)
                .to_zoned(zone)
                .ok()
                .map(|zoned| zoned.timestamp());
        }
        day = day.tomorrow().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::directory::Directory;

    #[test]
    fn configuration_is_one_that_the_server_takes() {
        let stage = Stage::pick().unwrap();
        let folder = Path::new("a \"strange\" folder");
        let config = Config::parse(&stage.configuration(folder), Path::new("demo.toml")).unwrap();
        assert_eq!(config.trunks.len(), 2);
    }

    #[test]
    fn at_the_time_of_the_demo_two_offices_are_open_and_the_last_one_is_closed() {
        let directory = Directory::from_dataset(dataset().unwrap());
        let located = directory.locate(ZIP.parse().unwrap());
        for day in [
            "2026-11-25T23:00:00Z",
            "2026-12-24T01:00:00Z",
            "2027-03-14T05:00:00Z",
        ] {
            let at = office_time(day.parse().unwrap()).unwrap();
            let open: Vec<bool> = directory
                .targets_of(&located)
                .into_iter()
                .map(|target| directory.open_state(&target.offices[0], at).is_open())
                .collect();
            assert_eq!(open, [true, true, false], "{day}");
        }
    }
}
