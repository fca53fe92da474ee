//! `lookup` and `directory` as scripts see them.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::published;

#[test]
fn lookup_answers_in_the_documented_form() {
    let answer = lookup(&["94110", "--json", "--at", "2026-06-15T14:00:00Z"]);
    assert_eq!(answer["zip"], "94110");
    assert_eq!(answer["kind"], "standard");
    assert_eq!(answer["states"], json!(["CA"]));
    assert_eq!(
        answer["districts"],
        json!([{"state":"CA","district":11,"share":1.0,"vacant":false}])
    );
    let targets = answer["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 3);
    let pelosi = &targets[0];
    let expected = json!({"id":"us:bioguide:P000197","title":"Representative","chamber":"house","state":"CA",
        "district":11,"party":"Democrat","name":"Nancy Pelosi"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&pelosi[key], value, "{key}");
    }
    let office = &pelosi["offices"][0];
    let expected = json!({"id":"us:bioguide:P000197/dc","name":"Washington","phone":"+12022254965",
        "timezone":"America/New_York","open":true,"until":"2026-06-15T17:30:00-04:00"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&office[key], value, "{key}");
    }
    assert_eq!(targets[1]["district"], Value::Null);
    assert_eq!(targets[1]["title"], "Senator");
}

#[test]
fn on_friday_evening_washington_is_closed_and_california_is_open() {
    let answer = lookup(&["94612", "--json", "--at", "2026-06-12T18:30:00-04:00"]);
    let offices = answer["targets"][0]["offices"].as_array().unwrap();
    assert_eq!(
        (&offices[0]["open"], &offices[0]["until"]),
        (&json!(false), &json!("2026-06-15T09:00:00-04:00"))
    );
    assert_eq!(
        (&offices[1]["open"], &offices[1]["until"]),
        (&json!(true), &json!("2026-06-12T17:00:00-07:00"))
    );
}

#[test]
fn unknown_zip_code_is_an_answer_and_a_malformed_one_is_wrong_use() {
    let answer = lookup(&["00000", "--json"]);
    let empty = json!([]);
    assert_eq!((&answer["kind"], &answer["states"]), (&json!("unknown"), &empty));
    assert_eq!((&answer["districts"], &answer["targets"]), (&empty, &empty));
    for wrong in [&["9411"][..], &["94110", "--at", "yesterday"], &["abcde"], &[]] {
        let output = run(&[&["lookup"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn store_that_is_no_database_fails_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    std::fs::write(&file, "not a database, but long enough to look at ".repeat(40)).unwrap();
    let output = run(&[
        "lookup",
        "94110",
        "--store",
        &format!("sqlite:{}", file.display()),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a database"));
}

#[test]
fn vacant_seat_is_told() {
    let output = run(&["lookup", "94536"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("district CA-14") && text.contains("(the seat is vacant)"),
        "{text}"
    );
    let military = String::from_utf8(run(&["lookup", "09012"]).stdout).unwrap();
    assert!(
        military.contains("Use the ZIP code of the address where you vote."),
        "{military}"
    );
}

#[test]
fn imported_number_is_answered_by_lookup_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("data/trunkline.db").display());
    let offices = folder.path().join("offices.csv");
    let header = "bioguide,thomas,govtrack,id,address,building,city,fax,hours,phone,state,suite,zip,latitude,longitude";
    let line = |phone: &str| {
        format!(
            "{header}\nP000197,,,P000197-test,1 Main St,,San Francisco,,M-F 8am-1pm,{phone},CA,,94103,,\n"
        )
    };
    std::fs::write(&offices, line("415-555-0199")).unwrap();
    let path = offices.to_str().unwrap();

    let diff = run(&[
        "directory",
        "diff",
        "offices",
        path,
        "--store",
        &store,
        "--allow-fewer",
    ]);
    let text = String::from_utf8(diff.stdout).unwrap();
    assert!(
        text.contains("new office: us:bioguide:P000197/P000197-test (San Francisco, CA)"),
        "{text}"
    );
    let refused = run(&["directory", "import", "offices", path, "--store", &store]);
    assert_eq!(refused.status.code(), Some(1), "one office in the place of 1,312");
    let import = run(&[
        "directory",
        "import",
        "offices",
        path,
        "--store",
        &store,
        "--allow-fewer",
    ]);
    assert!(
        import.status.success(),
        "{}",
        String::from_utf8_lossy(&import.stderr)
    );

    let phone = || {
        let at = "2026-06-15T14:00:00-07:00";
        let answer = lookup(&["94110", "--json", "--store", &store, "--at", at]);
        let office = answer["targets"][0]["offices"][1].clone();
        (
            office["phone"].clone(),
            office["open"].clone(),
            office["hours"].clone(),
        )
    };
    let imported = (json!("+14155550199"), json!(false), json!("mon-fri 08:00-13:00"));
    assert_eq!(phone(), imported);
    std::fs::write(&offices, line("415-555-01")).unwrap();
    let broken = run(&[
        "directory",
        "import",
        "offices",
        path,
        "--store",
        &store,
        "--allow-fewer",
    ]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&broken.stderr)
            .contains("offices.csv line 2: office P000197-test: \"415-555-01\"")
    );
    assert_eq!(phone(), imported);
}

#[test]
fn status_counts_and_names_the_vacant_seats() {
    let output = run(&["directory", "status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["vacancies"], json!(["CA-14", "FL-20", "GA-13", "TX-23"]));
    assert_eq!(status["counts"]["senators"], 100);
    assert_eq!(status["sources"].as_array().unwrap().len(), 5);
    let text = String::from_utf8(run(&["directory", "status"]).stdout).unwrap();
    assert!(
        text.contains("100 senators, 431 representatives, 6 delegates"),
        "{text}"
    );
}

#[test]
fn bundle_writes_the_table_that_is_built_in() {
    let Some(data) = published::folder() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (from, out) = (data.to_str().unwrap(), folder.path().to_str().unwrap());
    let output = run(&[
        "directory",
        "bundle",
        "--from",
        from,
        "--out",
        out,
        "--as-of",
        "2026-06-15",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/directory");
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let (new, old) = (folder.path().join(&name), built_in.join(&name));
        assert!(
            std::fs::read(new).unwrap() == std::fs::read(old).unwrap(),
            "{name:?} differs"
        );
        files += 1;
    }
    assert_eq!(files, 6);
}

fn lookup(arguments: &[&str]) -> Value {
    let output = run(&[&["lookup"], arguments].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(arguments)
        .output()
        .unwrap()
}
