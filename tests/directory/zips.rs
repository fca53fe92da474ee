//! All ZIP codes of the published tables.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::{Date, Weekday};
use trunkline::directory::{Directory, Rule, SourceKind, ZipKind, federal_holiday};
use trunkline::units::Zip;

use crate::published;

#[test]
fn every_zip_code_is_located_in_the_expected_kind_state_and_zone() {
    let Some(zips) = published::rows("zip/zips.csv") else {
        return;
    };
    let directory = Directory::bundled().unwrap();
    for row in &zips {
        let zip: Zip = row["zip"].parse().unwrap();
        let located = directory.locate(zip);
        let territory = ["PR", "VI", "GU", "AS", "MP"].contains(&row["state"].as_str());
        let expected = match row["kind"].as_str() {
            "military" => ZipKind::Military,
            "freely_associated" => ZipKind::FreelyAssociated,
            _ if territory => ZipKind::Territory,
            "zcta" => ZipKind::Standard,
            "other" => ZipKind::PoBox,
            kind => panic!("{kind}"),
        };
        assert_eq!(located.kind, expected, "{zip}");
        let zone = located.timezone.as_ref().and_then(|zone| zone.iana_name());
        assert_eq!(zone.unwrap_or_default(), row["timezone"], "{zip}");
        if expected == ZipKind::Military {
            assert!(located.states.is_empty() && located.districts.is_empty(), "{zip}");
            continue;
        }
        assert_eq!(located.states[0].as_str(), row["state"], "{zip}");
        let districts_known = expected == ZipKind::Standard || expected == ZipKind::Territory;
        assert!(!located.districts.is_empty() || !districts_known, "{zip}");
    }
}

#[test]
fn first_guess_is_right_for_at_least_94_8_percent_of_the_people() {
    let Some(rows) = published::rows("zip/zcta_cd119_population.csv") else {
        return;
    };
    let directory = Directory::bundled().unwrap();
    let (mut right, mut all, mut asked_right) = (0_u64, 0_u64, 0_u64);
    for row in &rows {
        let people: u64 = row["population"].parse().unwrap_or(0);
        let located = directory.locate(row["zcta"].parse().unwrap());
        let here = |district: &trunkline::directory::DistrictShare| {
            district.state.as_str() == row["state"] && district.district.to_string() == row["district"]
        };
        all += people;
        right += if here(&located.districts[0]) { people } else { 0 };
        asked_right += if located.asked(0.01).iter().any(here) {
            people
        } else {
            0
        };
    }
    assert!(all > 330_000_000, "{all}");
    let part = right as f64 / all as f64;
    assert!(part >= 0.948, "{part}");
    // Leaving out slivers of less than 1 % takes the choice from almost nobody.
    let offered = asked_right as f64 / all as f64;
    assert!(offered >= 0.998, "{offered}");
}

#[test]
fn every_part_of_the_population_table_is_listed_with_its_share() {
    let Some(rows) = published::rows("zip/zcta_cd119_population.csv") else {
        return;
    };
    let directory = Directory::bundled().unwrap();
    let mut cross_state = BTreeSet::new();
    for row in &rows {
        let located = directory.locate(row["zcta"].parse().unwrap());
        let part = located
            .districts
            .iter()
            .find(|part| part.state.as_str() == row["state"] && part.district.to_string() == row["district"]);
        let part =
            part.unwrap_or_else(|| panic!("{} lacks {}-{}", row["zcta"], row["state"], row["district"]));
        if let Ok(share) = row["share"].parse::<f64>() {
            assert!((part.share - share).abs() < 1e-9, "{}", row["zcta"]);
        }
        assert_eq!(located.rule, Rule::Exact);
        if located.states.len() > 1 {
            cross_state.insert(located.zip);
        }
    }
    assert_eq!(cross_state.len(), 135);
}

#[test]
fn first_three_digits_lead_to_the_state_that_nearly_all_zip_codes_with_them_have() {
    let Some(rows) = published::rows("zip/zip3_states.csv") else {
        return;
    };
    let mut by_prefix: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
    for row in &rows {
        by_prefix
            .entry(&row["zip3"])
            .or_default()
            .push((&row["state"], row["zips"].parse().unwrap()));
    }
    let directory = Directory::bundled().unwrap();
    let mut guessed = 0;
    for number in 0..100_000_u32 {
        let zip: Zip = format!("{number:05}").parse().unwrap();
        let located = directory.locate(zip);
        if located.rule != Rule::Prefix {
            continue;
        }
        guessed += 1;
        let known = &by_prefix[zip.prefix()];
        let total: usize = known.iter().map(|(_, count)| count).sum();
        let (_, count) = known
            .iter()
            .find(|(state, _)| *state == located.states[0].as_str())
            .unwrap();
        assert!(*count as f64 >= 0.9 * total as f64, "{zip}: {known:?}");
    }
    assert!(guessed > 40_000, "{guessed}");
}

#[test]
fn list_of_touching_districts_has_pairs_too_many_and_lacks_the_territories() {
    let Some(base) = published::everything() else {
        return;
    };
    let liberal = published::imported(SourceKind::ZipDistricts, "zip/zccd.csv", &base).unwrap();
    let directory = Directory::from_dataset(liberal.dataset);
    let districts = |zip: &str| directory.locate(zip.parse().unwrap()).districts.len();
    assert_eq!(districts("91711"), 6);
    assert_eq!(districts("60062"), 3);
    let samoa = directory.locate("96799".parse().unwrap());
    assert_eq!((samoa.kind, samoa.districts.len()), (ZipKind::Territory, 1));
    assert_eq!(directory.vacancies().len(), 4, "no seat is invented or lost");
}

#[test]
fn layout_of_the_census_bureau_is_read_with_its_mark_its_undefined_waters_and_its_delegates() {
    let Some(sample) = published::imported(
        SourceKind::CensusZcta,
        "zip/census_cd119_zcta_layout_sample.txt",
        &Default::default(),
    ) else {
        return;
    };
    let shares: Vec<_> = sample
        .dataset
        .shares
        .iter()
        .map(|row| (row.zip.to_string(), row.district.to_string()))
        .collect();
    let expected = [
        ("06437", "CT-3"),
        ("20001", "DC-0"),
        ("90210", "CA-32"),
        ("90210", "CA-36"),
        ("90210", "CA-30"),
    ];
    assert_eq!(
        shares,
        expected.map(|(zip, district)| (zip.to_owned(), district.to_owned()))
    );
    let beverly_hills: f64 = sample.dataset.shares[2..]
        .iter()
        .filter_map(|row| row.share)
        .sum();
    assert!((beverly_hills - 1.0).abs() < 1e-9);
}

#[test]
fn published_holidays_are_those_of_the_rule_and_no_others() {
    let Some(rows) = published::rows("calendar/federal_holidays_2026_2028.csv") else {
        return;
    };
    let mut observed: BTreeSet<Date> = BTreeSet::new();
    for row in &rows {
        let day: Date = row["observed"].parse().unwrap();
        assert_eq!(
            federal_holiday(day).map(|holiday| holiday.name()),
            Some(row["name"].as_str()),
            "{day}"
        );
        observed.insert(day);
    }
    let mut day = jiff::civil::date(2026, 1, 1);
    while day.year() < 2029 {
        let working_day = !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        if working_day {
            assert_eq!(federal_holiday(day).is_some(), observed.contains(&day), "{day}");
        }
        day = day.tomorrow().unwrap();
    }
}
