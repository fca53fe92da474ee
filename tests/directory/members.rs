//! All members and offices, one by one.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use trunkline::directory::{Chamber, Dataset, Directory, HoursBasis, OfficeKind, StateRank, Target, Title};
use trunkline::units::PhoneNumber;

use crate::published;

#[test]
fn built_in_table_is_what_the_importer_makes_of_the_published_files() {
    let Some(fresh) = published::everything() else {
        return;
    };
    let built_in = Dataset::bundled().unwrap();
    assert!(fresh.targets == built_in.targets, "members differ");
    assert!(fresh.offices == built_in.offices, "offices differ");
    assert!(fresh.zips == built_in.zips, "ZIP codes differ");
    assert!(fresh.shares == built_in.shares, "districts differ");
    assert_eq!(fresh.holidays, built_in.holidays);
}

#[test]
fn there_are_as_many_members_and_offices_as_published() {
    let counts = Directory::bundled().unwrap().counts();
    assert_eq!(
        (counts.senators, counts.representatives, counts.delegates),
        (100, 431, 6)
    );
    assert_eq!((counts.capitol_offices, counts.district_offices), (537, 1312));
    // 32 offices at home without a number, and the Washington office of CA-1.
    assert_eq!(counts.offices_without_phone, 33);
    assert_eq!(counts.zips, 41_986);
}

#[test]
fn every_published_member_is_a_target_with_name_seat_party_and_number() {
    let Some(bytes) = published::bytes("congress/legislators-current.json") else {
        return;
    };
    let directory = Directory::bundled().unwrap();
    let members: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(members.len(), 537);
    for member in &members {
        let bioguide = member["id"]["bioguide"].as_str().unwrap();
        let term = member["terms"].as_array().unwrap().last().unwrap();
        let target = by_bioguide(&directory, bioguide);
        assert_eq!(target.key(), bioguide);
        assert_eq!(
            target.state.as_str(),
            term["state"].as_str().unwrap(),
            "{bioguide}"
        );
        assert_eq!(target.party, term["party"].as_str().unwrap(), "{bioguide}");
        assert_eq!(target.caucus.as_deref(), term["caucus"].as_str(), "{bioguide}");
        assert_eq!(
            target.district.map(u64::from),
            term["district"].as_u64(),
            "{bioguide}"
        );
        let senator = term["type"] == "sen";
        assert_eq!(
            target.chamber,
            if senator { Chamber::Senate } else { Chamber::House },
            "{bioguide}"
        );
        if let Some(name) = member["name"]["official_full"].as_str() {
            assert_eq!(target.name, name);
        }
        let phone = term["phone"]
            .as_str()
            .map(|text| PhoneNumber::parse_us(text).unwrap());
        assert_eq!(target.capitol_office().unwrap().phone, phone, "{bioguide}");
        match senator {
            true => assert!(
                directory
                    .senators(target.state)
                    .any(|other| other.id == target.id)
            ),
            false => {
                let holder = directory.representative(target.state, target.district.unwrap());
                assert_eq!(holder.map(|holder| &holder.id), Some(&target.id));
            }
        }
    }
}

#[test]
fn every_published_office_has_its_number_city_and_the_zone_of_its_own_zip_code() {
    let Some(bytes) = published::bytes("congress/legislators-district-offices.json") else {
        return;
    };
    let Some(zips) = published::rows("zip/zips.csv") else {
        return;
    };
    let zones: HashMap<_, _> = zips
        .iter()
        .map(|row| (row["zip"].as_str(), row["timezone"].as_str()))
        .collect();
    let directory = Directory::bundled().unwrap();
    let members: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    let (mut offices, mut without_zip) = (0, Vec::new());
    for member in &members {
        let target = by_bioguide(&directory, member["id"]["bioguide"].as_str().unwrap());
        for published in member["offices"].as_array().unwrap() {
            offices += 1;
            let key = published["id"].as_str().unwrap();
            let id = format!("{}/{key}", target.id);
            let office = target
                .district_offices()
                .find(|office| office.id.as_str() == id)
                .unwrap();
            let phone = published["phone"]
                .as_str()
                .map(|text| PhoneNumber::parse_us(text).unwrap());
            assert_eq!(office.phone, phone, "{key}");
            assert_eq!(office.city, published["city"].as_str().unwrap().trim(), "{key}");
            assert_eq!(
                office.state.as_str(),
                published["state"].as_str().unwrap(),
                "{key}"
            );
            let zip = published["zip"]
                .as_str()
                .unwrap_or_default()
                .get(..5)
                .unwrap_or_default();
            match zones.get(zip) {
                Some(zone) => assert_eq!(office.timezone_name(), *zone, "{key}"),
                None => without_zip.push((key, office.timezone_name())),
            }
        }
    }
    assert_eq!(offices, 1312);
    assert_eq!(
        without_zip,
        [
            ("C001075-monroe", "America/Chicago"),
            ("J000305-san_diego", "America/Los_Angeles"),
            ("M001222-parma", "America/New_York"),
            ("M001222-medina", "America/New_York"),
            ("S001196-herkimer", "America/New_York"),
        ]
    );
}

#[test]
fn seats_without_a_member_are_vacant_and_one_member_has_no_number() {
    let directory = Directory::bundled().unwrap();
    let vacant: Vec<_> = directory.vacancies().iter().map(ToString::to_string).collect();
    assert_eq!(vacant, ["CA-14", "FL-20", "GA-13", "TX-23"]);
    let gallagher = directory.representative("CA".parse().unwrap(), 1).unwrap();
    assert_eq!(gallagher.name, "James Gallagher");
    assert_eq!(gallagher.capitol_office().unwrap().phone, None);
    assert_eq!(gallagher.district_offices().count(), 0);
}

#[test]
fn appointed_senators_stay_when_their_expected_end_has_passed() {
    let directory = Directory::bundled().unwrap();
    for (bioguide, state) in [("H001104", "OH"), ("M001244", "FL")] {
        let senator = by_bioguide(&directory, bioguide);
        assert_eq!(senator.expected_end, Some(jiff::civil::date(2026, 11, 3)));
        assert!(
            directory
                .senators(state.parse().unwrap())
                .any(|other| other.key() == bioguide)
        );
    }
}

#[test]
fn independents_are_named_with_the_party_they_sit_with() {
    let directory = Directory::bundled().unwrap();
    let independents = directory
        .targets()
        .iter()
        .filter(|target| target.party == "Independent");
    let mut named: Vec<_> = independents
        .map(|target| (target.name.as_str(), target.caucus.as_deref().unwrap()))
        .collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            ("Angus S. King, Jr.", "Democrat"),
            ("Bernard Sanders", "Democrat"),
            ("Kevin Kiley", "Republican")
        ]
    );
}

#[test]
fn capital_and_each_territory_have_one_delegate_and_no_senator() {
    let directory = Directory::bundled().unwrap();
    for state in ["AS", "DC", "GU", "MP", "PR", "VI"] {
        let state = state.parse().unwrap();
        let title = directory.representative(state, 0).unwrap().title;
        assert_eq!(
            title,
            if state.as_str() == "PR" {
                Title::ResidentCommissioner
            } else {
                Title::Delegate
            }
        );
        assert_eq!(directory.senators(state).count(), 0);
    }
}

#[test]
fn senator_who_leaves_leaves_an_empty_seat() {
    let mut dataset = Dataset::bundled().unwrap();
    assert!(
        Directory::from_dataset(dataset.clone())
            .senate_vacancies()
            .is_empty()
    );
    dataset.targets.retain(|row| row.name != "Maria Cantwell");
    let vacant = Directory::from_dataset(dataset).senate_vacancies();
    assert_eq!(vacant, ["WA".parse().unwrap()]);
}

#[test]
fn every_state_has_a_senior_and_a_junior_senator_in_this_order() {
    let directory = Directory::bundled().unwrap();
    let states: BTreeSet<_> = directory
        .targets()
        .iter()
        .filter(|target| target.title == Title::Representative)
        .map(|t| t.state)
        .collect();
    assert_eq!(states.len(), 50);
    for state in states {
        let ranks: Vec<_> = directory
            .senators(state)
            .map(|senator| senator.state_rank.unwrap())
            .collect();
        assert_eq!(ranks, [StateRank::Senior, StateRank::Junior], "{state}");
    }
}

#[test]
fn accents_survive() {
    let directory = Directory::bundled().unwrap();
    let accented: BTreeSet<_> = directory
        .targets()
        .iter()
        .filter(|target| !target.name.is_ascii())
        .map(|target| target.name.as_str())
        .collect();
    assert!(accented.contains("Nydia M. Velázquez"), "{accented:?}");
    assert!(accented.iter().all(|name| {
        name.chars()
            .all(|letter| letter.is_alphabetic() || " .-'’,\"".contains(letter))
    }));
}

#[test]
fn spoken_names_have_no_marks_and_keep_the_last_name() {
    for target in Directory::bundled().unwrap().targets() {
        let spoken = target.spoken_name();
        assert!(
            !spoken.contains(['"', ',', '“', '”']) && !spoken.contains("  "),
            "{spoken:?}"
        );
        assert!(spoken.split(' ').count() >= 2, "{spoken:?}");
    }
}

#[test]
fn washington_offices_keep_washington_hours_and_clear_texts_are_read() {
    let directory = Directory::bundled().unwrap();
    for office in directory.targets().iter().flat_map(|target| &target.offices) {
        if office.kind == OfficeKind::Capitol {
            assert_eq!(office.hours.to_string(), "mon-fri 09:00-17:30");
            assert_eq!(office.timezone_name(), "America/New_York");
        }
    }
    let counts = directory.counts();
    let offices = || directory.targets().iter().flat_map(Target::district_offices);
    let appointment =
        offices().filter(|office| office.by_appointment && office.hours_basis == HoursBasis::Default);
    // The 253 published texts: read, not clear, or only about appointments.
    assert_eq!(
        (
            counts.offices_with_stated_hours,
            counts.offices_with_unclear_hours
        ),
        (145, 20)
    );
    assert_eq!(appointment.count(), 253 - 145 - 20);
}

fn by_bioguide<'a>(directory: &'a Directory, bioguide: &str) -> &'a Target {
    let id = trunkline::units::TargetId::new(format!("us:bioguide:{bioguide}"));
    directory
        .target(&id)
        .unwrap_or_else(|| panic!("{bioguide} is no target"))
}
