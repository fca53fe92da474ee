//! One result from every form, everything or nothing, and every problem told.

use trunkline::directory::{Change, Dataset, SourceKind, changes};

use crate::published::{self, import};

#[test]
fn json_yaml_and_csv_give_the_same_members_and_offices() {
    let Some(base) = published::everything() else {
        return;
    };
    for (kind, name) in [
        (SourceKind::Congress, "current"),
        (SourceKind::Offices, "district-offices"),
    ] {
        for form in ["json", "yaml", "csv"] {
            let path = format!("congress/legislators-{name}.{form}");
            let again = published::imported(kind, &path, &base).unwrap().dataset;
            assert!(again.targets == base.targets, "{path}: members differ");
            assert!(again.offices == base.offices, "{path}: offices differ");
        }
    }
}

#[test]
fn csv_alone_gives_the_members_without_what_csv_lacks() {
    let Some(base) = published::everything() else {
        return;
    };
    let path = "congress/legislators-current.csv";
    let from_csv = published::imported(SourceKind::Congress, path, &Dataset::default())
        .unwrap()
        .dataset;
    let mut expected = base.targets;
    for row in &mut expected {
        (row.caucus, row.state_rank, row.since, row.expected_end) = (None, None, None, None);
    }
    assert!(from_csv.targets == expected);
}

#[test]
fn importing_twice_is_importing_once() {
    let Some(once) = published::everything() else {
        return;
    };
    for source in &once.sources {
        let twice = published::imported(source.kind, &source.name, &once)
            .unwrap()
            .dataset;
        assert!(twice == once, "{}", source.kind);
    }
}

#[test]
fn order_of_imports_does_not_matter_for_what_is_located() {
    let Some(once) = published::everything() else {
        return;
    };
    let mut dataset = Dataset::default();
    for kind in [
        SourceKind::Offices,
        SourceKind::Congress,
        SourceKind::ZipDistricts,
        SourceKind::Zips,
    ] {
        let path = &once
            .sources
            .iter()
            .find(|source| source.kind == kind)
            .unwrap()
            .name;
        dataset = published::imported(kind, path, &dataset).unwrap().dataset;
    }
    assert!(dataset.targets == once.targets && dataset.offices == once.offices);
    assert!(dataset.zips == once.zips && dataset.shares == once.shares);
}

#[test]
fn all_problems_of_a_file_are_told_with_their_lines_and_nothing_is_imported() {
    let base = Dataset::bundled().unwrap();
    let csv = "bioguide_id,full_name,first_name,last_name,type,state,district,party,phone\n\
        A000001,Ann Lee,Ann,Lee,rep,ZZ,1,Democrat,202-555-0100\n\
        a1,Bo Lee,Bo,Lee,gov,OH,,Democrat,202-555-0101\n\
        A000002,Cy Lee,Cy,Lee,rep,OH,,Democrat,202-555-0102\n\
        A000003,Di Lee,Di,Lee,sen,OH,,Democrat,555-0103\n\
        A000004,Ed Lee,Ed,Lee,rep,OH,1,Democrat,202-555-0104\n\
        A000005,Flo Lee,Flo,Lee,rep,OH,1,Democrat,202-555-0105\n\
        A000004,Ed Lee,Ed,Lee,rep,OH,2,,202-555-0104\n\
        A000006,Gus Lee\n";
    let error = import(SourceKind::Congress, "members.csv", csv.as_bytes(), &base).unwrap_err();
    let told: Vec<_> = error.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "members.csv line 2: \"ZZ\" is not a state",
            "members.csv line 3: \"a1\" is not a Bioguide id: a capital letter and six digits are needed",
            "members.csv line 3: \"gov\" is not a kind of term: rep or sen",
            "members.csv line 4: a representative needs a district",
            "members.csv line 5: \"555-0103\" is not a telephone number: \"+\", then 4 to 15 digits (E.164) are needed",
            "members.csv line 8: has no party",
            "members.csv line 9: has 2 fields where the first line has 9",
            "members.csv line 7: Flo Lee and Ed Lee both hold the seat OH-1",
        ]
    );
    assert!(
        error
            .to_string()
            .starts_with("nothing was imported: 8 problems\n  members.csv line 2: ")
    );
}

#[test]
fn records_of_the_wrong_shape_are_told_one_by_one() {
    let json = r#"[{"id":{"bioguide":"A000001"},"name":{"first":"Ann","last":"Lee"},"terms":[]},
        {"id":{"bioguide":"A000002"},"name":{"first":"Bo"},"terms":[]}, 7,
        {"id":{"bioguide":"A000003"},"name":{"first":"Cy","last":"Lee"},
         "terms":[{"type":"rep","start":"2025-13-03","state":"OH","district":1,"party":"Democrat"}]}]"#;
    let error = import(
        SourceKind::Congress,
        "members.json",
        json.as_bytes(),
        &Dataset::default(),
    )
    .unwrap_err();
    let told: Vec<_> = error.0.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0], "members.json record 1 (A000001): has no term of office");
    assert_eq!(told[1], "members.json record 2 (A000002): missing field `last`");
    assert!(
        told[2].starts_with("members.json record 3: invalid type"),
        "{}",
        told[2]
    );
    assert!(
        told[3].starts_with("members.json record 4 (A000003): "),
        "{}",
        told[3]
    );
}

#[test]
fn files_of_another_kind_and_broken_files_are_refused_with_a_reason() {
    let base = Dataset::bundled().unwrap();
    let billion_laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
        c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n\
        f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    for (kind, name, bytes, reason) in [
        (
            SourceKind::Congress,
            "x.csv",
            b"a,b\n1,2\n".as_slice(),
            "the first line lacks the columns bioguide_id",
        ),
        (SourceKind::Congress, "x.json", b"{\"a\":1}", "is not a JSON list"),
        (SourceKind::Congress, "x.json", b"[]", "holds no records"),
        (SourceKind::Congress, "x.json", b"\xff\xfe", "is not UTF-8 text"),
        (SourceKind::Congress, "x.yaml", b"- id: [\n", "is not a YAML list"),
        (
            SourceKind::Congress,
            "x.yaml",
            billion_laughs.as_bytes(),
            "is not a YAML list",
        ),
        (
            SourceKind::Offices,
            "x.csv",
            b"",
            "the first line lacks the columns",
        ),
        (
            SourceKind::Zips,
            "x.csv",
            b"zip,kind,state,lat,lon,timezone\n1,zcta,OH,0,0,UTC\n",
            "\"1\" is not a ZIP code",
        ),
        (
            SourceKind::Zips,
            "x.csv",
            b"zip,kind,state,lat,lon,timezone\n44101,zcta,OH,0,0,Mars/Base\n",
            "\"Mars/Base\" is not a time zone",
        ),
        (
            SourceKind::Zips,
            "x.csv",
            b"zip,kind,state,lat,lon,timezone\n44101,zcta,OH,91,0,UTC\n",
            "no such place",
        ),
        (
            SourceKind::ZipDistricts,
            "x.csv",
            b"zcta,state_fips,state_abbr,cd\n44101,39,CA,1\n",
            "\"39\" is not the federal code of \"CA\"",
        ),
        (
            SourceKind::ZipDistricts,
            "x.csv",
            b"zcta,state_fips,state_abbr,cd\n44101,39,OH,1\n44101,39,OH,01\n",
            "44101 and OH-1 are listed twice",
        ),
        (
            SourceKind::ZipDistricts,
            "x.csv",
            b"zcta,state_fips,state,district,share\n44101,39,OH,1,0.7\n44101,39,OH,2,0.7\n",
            "the shares add up to 1.40000, not 1",
        ),
        (
            SourceKind::ZipDistricts,
            "x.csv",
            b"zcta,state_fips,state,district,share\n44101,39,OH,1,NaN\n",
            "\"NaN\" is not a share",
        ),
        (
            SourceKind::CensusZcta,
            "x.txt",
            b"GEOID_CD119_20|GEOID_ZCTA5_20|AREALAND_PART\n9\xc3\xa9|44101|5\n",
            "is not a state's federal code",
        ),
        (
            SourceKind::Holidays,
            "x.csv",
            b"observed,date,name,scope\n2026-02-30,2026-02-30,X,us\n",
            "\"2026-02-30\" is not a date",
        ),
        (
            SourceKind::Holidays,
            "x.csv",
            b"observed,date,name,scope\n2026-02-20,2026-02-20,X,moon\n",
            "is not a scope",
        ),
    ] {
        let error = import(kind, name, bytes, &base).unwrap_err().to_string();
        assert!(error.contains(reason), "{kind} {name}: {error}");
    }
}

#[test]
fn file_that_lost_most_of_its_rows_is_refused_unless_allowed() {
    use trunkline::directory::import::{Import, InputFile};
    let base = Dataset::bundled().unwrap();
    let files = [InputFile {
        name: "x.csv",
        bytes: b"zcta,state_fips,state_abbr,cd\n44101,39,OH,11\n",
    }];
    let mut import = Import {
        kind: SourceKind::ZipDistricts,
        files: &files,
        as_of: jiff::civil::date(2026, 6, 15),
        licence: "",
        allow_fewer: false,
    };
    let error = import.run(&base, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("leaves 1 rows of 39707"), "{error}");
    import.allow_fewer = true;
    assert_eq!(import.run(&base, &mut |_| {}).unwrap().dataset.shares.len(), 1);
}

#[test]
fn closed_days_beyond_the_rule_close_the_offices_of_their_place() {
    let csv = "observed,date,name,scope\n2026-12-25,2026-12-25,Christmas Day,us\n\
        2026-12-24,2026-12-24,Executive order,us\n2026-03-02,2026-03-02,Texas Independence Day,TX\n";
    let base = Dataset::bundled().unwrap();
    let dataset = import(SourceKind::Holidays, "days.csv", csv.as_bytes(), &base)
        .unwrap()
        .dataset;
    assert_eq!(dataset.holidays.len(), 2, "the rule gives the third");
    let directory = trunkline::directory::Directory::from_dataset(dataset);
    let cornyn = directory.senators("TX".parse().unwrap()).next().unwrap();
    let open = |at: &str| -> Vec<bool> {
        let at = at.parse().unwrap();
        cornyn
            .offices
            .iter()
            .take(2)
            .map(|office| directory.open_state(office, at).is_open())
            .collect()
    };
    assert_eq!(
        open("2026-03-02T12:00:00-06:00"),
        [true, false],
        "Washington is open, Texas is closed"
    );
    assert_eq!(open("2026-12-24T12:00:00-06:00"), [false, false]);
    assert_eq!(open("2026-12-23T12:00:00-06:00"), [true, true]);
}

#[test]
fn diff_says_who_joins_leaves_moves_and_changes_number() {
    let before = Dataset::bundled().unwrap();
    let mut after = before.clone();
    let left = after.targets.remove(0);
    after.targets[0].district = Some(1);
    after.targets[0].chamber = trunkline::directory::Chamber::House;
    after.offices[5].phone = Some("+12025550100".parse().unwrap());
    after.shares.remove(0);
    let told = changes(&before, &after);
    assert!(matches!(&told[0], Change::Left(row) if row.id == left.id));
    let shown: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "leaves: Maria Cantwell (Senate, WA)");
    assert_eq!(
        shown[1],
        "changes seat: Amy Klobuchar (Senate, MN to House, MN-1)"
    );
    assert!(
        shown[2].starts_with("changes number: ") && shown[2].ends_with(" to +12025550100)"),
        "{}",
        shown[2]
    );
    assert_eq!(shown[3], "changes districts or shares of 1 ZIP codes: 00601");
    assert_eq!(
        changes(&after, &before)[0].to_string(),
        "joins: Maria Cantwell (Senate, WA)"
    );
    assert!(changes(&before, &before).is_empty());
}
