//! Files with bytes changed, cut or repeated: every one is imported or refused, none stops the program.

use proptest::prelude::*;
use trunkline::directory::{Dataset, Directory, SourceKind};

use crate::published::import;

const MEMBERS_JSON: &str = r#"[{"id":{"bioguide":"A000001"},"name":{"first":"Ann","last":"Lee","official_full":"Ann Lee"},
 "terms":[{"type":"rep","start":"2025-01-03","end":"2027-01-03","state":"OH","district":1,"party":"Democrat","phone":"202-555-0100"}]}]"#;
const MEMBERS_YAML: &str = "- id:\n    bioguide: A000001\n  name: {first: Ann, last: Lee}\n  terms:\n  - type: sen\n    \
    start: '2025-01-03'\n    state: OH\n    class: 1\n    state_rank: junior\n    party: Democrat\n    phone: 202-555-0100\n";
const MEMBERS_CSV: &str = "bioguide_id,full_name,first_name,last_name,type,state,district,party,phone\n\
    A000001,\"Ann Lee, Jr.\",Ann,Lee,rep,OH,1,Democrat,202-555-0100\n";
const OFFICES_CSV: &str = "bioguide,id,city,state,zip,phone,hours,latitude,longitude\n\
    A000001,A000001-kent,Kent,OH,44240,330-555-0100,\"M-F 9am-5:30pm, by appointment\",41.15,-81.35\n";
const OFFICES_YAML: &str = "- id:\n    bioguide: A000001\n  offices:\n  - id: A000001-kent\n    city: Kent\n    state: OH\n    \
    zip: 44240\n    phone: 330-555-0100\n    hours: 9am-5pm, M-F\n    latitude: 41.15\n    longitude: -81.35\n";
const ZIPS: &str = "zip,kind,state,county_fips,city,lat,lon,timezone\n44240,zcta,OH,39133,Kent,41.15,-81.35,America/New_York\n\
    09012,military,AE,,,,,\n96941,freely_associated,FM,,Pohnpei,6.9,158.2,Pacific/Pohnpei\n";
const POPULATION: &str =
    "zcta,state_fips,state,district,population,share\n44240,39,OH,14,30000,0.75\n44240,39,OH,13,10000,0.25\n";
const TOUCHING: &str = "state_fips,state_abbr,zcta,cd\n39,OH,44240,14\n11,DC,20001,98\n02,AK,99501,0\n";
const CENSUS: &str = "\u{feff}GEOID_CD119_20|GEOID_ZCTA5_20|AREALAND_PART\n3914|44240|5000\n1198|20001|9\n09ZZ|06437|0\n0101||7\n";
const HOLIDAYS: &str =
    "observed,date,name,scope\n2026-07-03,2026-07-04,Independence Day,us\n2026-03-02,2026-03-02,Texas,TX\n";

const FILES: [(SourceKind, &str, &str); 10] = [
    (SourceKind::Congress, "members.json", MEMBERS_JSON),
    (SourceKind::Congress, "members.yaml", MEMBERS_YAML),
    (SourceKind::Congress, "members.csv", MEMBERS_CSV),
    (SourceKind::Offices, "offices.csv", OFFICES_CSV),
    (SourceKind::Offices, "offices.yaml", OFFICES_YAML),
    (SourceKind::Zips, "zips.csv", ZIPS),
    (SourceKind::ZipDistricts, "population.csv", POPULATION),
    (SourceKind::ZipDistricts, "touching.csv", TOUCHING),
    (SourceKind::CensusZcta, "census.txt", CENSUS),
    (SourceKind::Holidays, "days.csv", HOLIDAYS),
];

#[test]
fn samples_are_imported_unspoiled() {
    for (kind, name, text) in FILES {
        let imported = import(kind, name, text.as_bytes(), &Dataset::default());
        assert!(imported.is_ok(), "{name}: {}", imported.unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn spoiled_file_is_imported_or_refused_and_what_is_imported_can_be_kept_and_used(
        file in 0..FILES.len(),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..6_u8), 1..5),
    ) {
        let (kind, name, text) = FILES[file];
        let mut bytes = text.as_bytes().to_vec();
        for (at, to, byte, spoil) in spoils {
            if bytes.is_empty() {
                break;
            }
            let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
            let (first, last) = (at.min(to), at.max(to));
            match spoil {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes[at] = b",|\"\n-0129: "[usize::from(byte) % 11],
                3 => drop(bytes.drain(first..last)),
                4 => {
                    let part = bytes[first..last].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.swap(at, to),
            }
        }
        if let Ok(imported) = import(kind, name, &bytes, &Dataset::default()) {
            let files = imported.dataset.to_bundle().unwrap();
            let text_of = |name: &str| files.iter().find(|file| file.name == name).map_or("", |file| file.text.as_str());
            let read = Dataset::from_bundle(text_of);
            prop_assert!(read.as_ref() == Ok(&imported.dataset), "{:?} is kept as {:?}", imported.dataset, read);
            let directory = Directory::from_dataset(imported.dataset);
            for zip in ["44240", "20001", "99501", "12345"] {
                let located = directory.locate(zip.parse().unwrap());
                directory.targets_of(&located);
            }
        }
    }
}
