//! What `trunkline call` prints.

use clap::Parser;
use jiff::tz::TimeZone;
use trunkline::call::record::*;
use trunkline::command::call::{CallArgs, run_with};
use trunkline::store::*;

use crate::sample::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    call: CallArgs,
}

fn printed(store: &SqliteStore, words: &str) -> String {
    let words = std::iter::once("call").chain(words.split_whitespace());
    let args = Program::try_parse_from(words).unwrap().call;
    let zone = TimeZone::get("America/New_York").unwrap();
    let mut out = Vec::new();
    run_with(store, &args.command, &zone, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn empty_store_has_a_friendly_line_and_empty_json() {
    let (_directory, store) = new_store();
    assert_eq!(
        printed(&store, "list"),
        "No calls yet. They appear here from their first ring on.\n"
    );
    assert_eq!(printed(&store, "list --campaign congress"), "No call fits.\n");
    assert_eq!(printed(&store, "list --json"), "");
    assert_eq!(
        printed(&store, "export --csv").lines().count(),
        1,
        "the heading line"
    );
}

#[test]
fn list_tells_each_call_in_one_line_and_where_to_go_on() {
    let (_directory, store) = new_store();
    (0..3).for_each(|n| store.apply(&whole_call(id(n), hmac())).unwrap());
    store
        .apply(&[opened(id(3), UtcMicros(3_600_000_000), "state")])
        .unwrap();
    let text = printed(&store, "list --limit 2");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[1],
        format!(
            "1969-12-31 20:00:00        …  state             {}  still going on",
            id(3)
        )
    );
    assert_eq!(
        lines[2],
        format!(
            "1969-12-31 19:00:00     1:30  congress          {}  reached some of the offices",
            id(2)
        )
    );
    let next = lines[3].strip_prefix("More: ").unwrap();
    let rest = printed(&store, &format!("list --limit 2 {next}"));
    assert!(
        rest.contains(&id(1).to_string()) && rest.contains(&id(0).to_string()),
        "{rest}"
    );
    assert!(!rest.contains("More:"));
}

#[test]
fn list_as_json_is_one_object_a_line() {
    let (_directory, store) = new_store();
    (0..3).for_each(|n| store.apply(&whole_call(id(n), hmac())).unwrap());
    let text = printed(&store, "list --json");
    let calls: Vec<CallSummary> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        calls.iter().map(|call| call.id).collect::<Vec<_>>(),
        [id(2), id(1), id(0)]
    );
    assert!(text.contains("\"started_at\":\"1970-01-01T00:00:00Z\""), "{text}");
}

#[test]
fn show_tells_the_call_as_a_timeline_with_its_legs() {
    let (_directory, store) = new_store();
    store.apply(&whole_call(id(7), hmac())).unwrap();
    let expected = "\
Call CALL
  to us, began 1969-12-31 19:00:00 (America/New_York), lasted 1:30
  number +12025550199, trunk carrier, campaign congress, flow hotline version 1, language en, ZIP code 941..
  The call ended: reached some of the offices (completed_some), by the caller

What happened
    +0:00.000                          the call was taken on
    +0:01.000  caller                  answered
    +0:09.000  caller                  pressed 5 keys
    +0:20.000  us:bioguide:P000197/dc  dialling us:bioguide:P000197/dc
    +0:22.000  us:bioguide:P000197/dc  busy (SIP 486 Busy Here, Q.850 17)
    +1:30.000  caller                  the caller hung up
";
    let text = printed(&store, &format!("show {}", id(7)));
    let expected = expected.replace("CALL", &id(7).to_string());
    assert!(text.starts_with(&expected), "{text}");
    let legs = &text[expected.len()..];
    assert!(legs.contains("us:bioguide:P000197/dc  +12025550142"), "{legs}");
    assert!(
        legs.contains("4500      4498     2  busy (busy, SIP 486 Busy Here, Q.850 17), by the trunk"),
        "{legs}"
    );
    assert_eq!(printed(&store, "show last"), text);
}

#[test]
fn show_as_json_is_the_whole_record() {
    let (_directory, store) = new_store();
    store.apply(&whole_call(id(7), hmac())).unwrap();
    let read: CallRecord = serde_json::from_str(&printed(&store, "show last --json")).unwrap();
    assert_eq!(Some(read), store.call(id(7)).unwrap());
}

#[test]
fn export_has_one_line_per_dialled_office_and_no_formulas() {
    let (_directory, store) = new_store();
    let mut changes = whole_call(id(1), hmac());
    if let RecordChange::CallOpened(opened) = &mut changes[0] {
        opened.route.flow = Some("=HYPERLINK(\"http://x\")".to_owned());
    }
    store.apply(&changes).unwrap();
    store.apply(&[opened(id(2), UtcMicros(0), "state")]).unwrap();
    let text = printed(&store, "export --csv");
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let names = table.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let cell =
        |row: usize, name: &str| rows[row][names.iter().position(|found| found == name).unwrap()].to_owned();
    assert_eq!(rows.len(), 2);
    assert_eq!(cell(0, "call_id"), id(1).to_string());
    assert_eq!(cell(0, "flow"), "'=HYPERLINK(\"http://x\")");
    assert_eq!(
        (cell(0, "leg_disposition"), cell(0, "q850")),
        ("busy".to_owned(), "17".to_owned())
    );
    assert_eq!(
        (cell(0, "leg"), cell(0, "office_number")),
        ("1".to_owned(), "+12025550142".to_owned())
    );
    assert_eq!(
        (cell(1, "campaign"), cell(1, "leg")),
        ("state".to_owned(), String::new())
    );
}

#[test]
fn export_as_json_is_one_whole_record_a_line() {
    let (_directory, store) = new_store();
    (0..3).for_each(|n| store.apply(&whole_call(id(n), hmac())).unwrap());
    let text = printed(&store, "export --json");
    for (n, line) in (0..).zip(text.lines()) {
        let read: CallRecord = serde_json::from_str(line).unwrap();
        assert_eq!(Some(read), store.call(id(n)).unwrap());
    }
    assert_eq!(text.lines().count(), 3);
}
