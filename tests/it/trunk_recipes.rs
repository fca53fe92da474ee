//! The tables of `config/trunks/` and other recipes: what the INVITE to each provider looks like, byte for byte where it
//! matters.

use std::time::Duration;

use trunkline::call::record::EventKind;
use trunkline::switch::engine::TrunkStatus;

use crate::lines::{DIALLED, LOCAL, Lines, header, trunk};
use crate::support::seconds;

/// A preset as an operator fills it in. Lines of an optional way (`# key = …`) are left out unless `with` names them.
fn preset(name: &str, with: &[&str]) -> String {
    let path = format!("config/trunks/{name}.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let secret = format!("password = {{ file = \"/run/credentials/trunkline.service/trunk_{name}\" }}");
    let wanted = |line: &&str| {
        line.strip_prefix("# ")
            .is_some_and(|line| with.iter().any(|key| line.starts_with(&format!("{key} = "))))
    };
    let lines = text
        .lines()
        .map(|line| if wanted(&line) { &line[2..] } else { line });
    let text = lines.fold(String::new(), |all, line| all + line + "\n");
    [
        (secret.as_str(), "password = \"secret\""),
        ("<+12025550100>", "+12025550100"),
        ("<example>", "example"),
        ("<user>", "user"),
        ("<account>", "account"),
        ("<endpoint>", "endpoint"),
        ("<connection user>", "connection"),
        ("<SIP-ID>", "1234567t0"),
        ("<host of the point of presence>", "pop.example.com"),
        ("<city>", "city"),
        ("<first address>", "192.0.2.1"),
        ("<second address>", "192.0.2.2"),
        ("<its address>", "192.0.2.3"),
        ("<prefix>", "123456"),
        ("<token>", "token"),
    ]
    .iter()
    .fold(text, |text, (mark, value)| text.replace(mark, value))
}

/// The INVITE of a call that goes out by these trunks.
fn invite_by(trunks: &str) -> String {
    let mut lines = Lines::new(trunks);
    lines.call(trunk(0));
    lines.invite()
}

/// Asserts the Request-URI and headers: a name with its value, or with none where it must not stand.
fn assert_invite(text: &str, uri: &str, headers: &[(&str, Option<&str>)]) {
    assert_eq!(
        text.lines().next(),
        Some(format!("INVITE {uri} SIP/2.0").as_str())
    );
    let to = header(text, "To");
    assert_eq!(to.as_deref(), Some(format!("<{uri}>").as_str()));
    for (name, value) in headers {
        let got = header(text, name);
        let got = got.as_deref().map(|got| match *name {
            "From" => got.split(";tag=").next().unwrap_or_default(),
            _ => got,
        });
        assert_eq!(got, *value, "{name} of\n{text}");
    }
}

/// The order of the codecs in the offer.
fn formats(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("m=audio ")).unwrap();
    line.split_once(" RTP/AVP ").unwrap().1
}

#[test]
fn twilio_gets_the_trunks_domain_and_the_number_in_from_alone() {
    let text = invite_by(&preset("twilio", &[]));
    assert_invite(
        &text,
        "sip:+12025550142@example.pstn.twilio.com",
        &[
            ("From", Some("<sip:+12025550100@example.pstn.twilio.com>")),
            ("P-Asserted-Identity", None),
            ("Remote-Party-ID", None),
            ("Privacy", None),
        ],
    );
    assert!(formats(&text).starts_with("0 8 "), "{}", formats(&text));
}

#[test]
fn telnyx_gets_e164_in_from_and_the_asserted_identity_and_its_token_where_there_is_one() {
    let text = invite_by(&preset("telnyx", &[]));
    let headers = [
        ("From", Some("<sip:+12025550100@sip.telnyx.com>")),
        ("P-Asserted-Identity", Some("<sip:+12025550100@sip.telnyx.com>")),
        ("X-Telnyx-Token", None),
    ];
    assert_invite(&text, "sip:+12025550142@sip.telnyx.com", &headers);
    let text = invite_by(&preset("telnyx", &["headers"]));
    assert_eq!(header(&text, "X-Telnyx-Token").as_deref(), Some("token"));
}

#[test]
fn telnyx_is_believed_from_both_addresses_of_a_region() {
    let mut lines = Lines::new(&preset("telnyx", &[]));
    for source in ["192.76.120.10:5060", "64.16.250.10:5060"] {
        let call = lines.call(source.parse().unwrap());
        assert_eq!(lines.told_caller(&call), 180, "{source}");
    }
}

#[test]
fn flowroute_by_address_gets_its_prefix_which_no_record_holds() {
    let text = preset("flowroute", &[]);
    let text = text
        .lines()
        .filter(|line| {
            !["username", "password", "register"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .fold(String::new(), |all, line| all + line + "\n");
    let mut lines = Lines::new(&format!("{text}dial_prefix = \"98765432*\"\n"));
    lines.call(trunk(0));
    let headers = [
        ("From", Some("<sip:+12025550100@pop.example.com>")),
        ("P-Asserted-Identity", Some("<sip:+12025550100@pop.example.com>")),
    ];
    assert_invite(
        &lines.invite(),
        "sip:98765432*+12025550142@pop.example.com",
        &headers,
    );
    lines.answer("INVITE", "404 Not Found", "", "");
    lines.pass(seconds(3));
    let told = format!("{:?}", lines.records);
    assert!(told.contains("Dialled") && !told.contains("98765432"), "{told}");
}

#[test]
fn voipms_gets_eleven_digits_of_mu_law_and_calls_in_are_found_by_the_registration() {
    let mut lines = Lines::new(&preset("voipms", &[]));
    lines.call(trunk(0));
    let text = lines.invite();
    let headers = [
        ("From", Some("<sip:12025550100@city.voip.ms>")),
        ("P-Asserted-Identity", Some("<sip:12025550100@city.voip.ms>")),
    ];
    assert_invite(&text, "sip:12025550142@city.voip.ms", &headers);
    assert!(formats(&text).starts_with("0 ") && !formats(&text).contains(" 8"));
    let register = &lines.all("REGISTER ")[0].1;
    assert!(
        register.starts_with("REGISTER sip:city.voip.ms SIP/2.0\r\n"),
        "{register}"
    );
    assert!(
        header(register, "From")
            .unwrap()
            .starts_with("<sip:account@city.voip.ms>;tag=")
    );
    // Its calls name our Contact, or the account, in the Request-URI and the number in To.
    let contact = header(register, "Contact").unwrap();
    let user = contact.split(['<', '@']).nth(1).unwrap().to_owned();
    let call = lines.call_to(trunk(0), &format!("{user}@127.0.10.1"));
    assert_eq!(lines.told_caller(&call), 404, "To names no number");
    for named in [format!("{user}@127.0.10.1"), "sip:account@127.0.10.1".to_owned()] {
        let before = lines.dialled().len();
        let call = lines.call_naming(trunk(0), &named, "sip:12025550142@city.voip.ms");
        assert!(
            lines.told_caller(&call) < 200,
            "{named}: {}",
            lines.told_caller(&call)
        );
        assert_eq!(lines.dialled().len(), before + 1, "{named}");
        assert_eq!(
            lines.invite().split(' ').nth(1),
            Some("sip:12025550142@city.voip.ms")
        );
    }
}

#[test]
fn bandwidth_gets_its_account_where_addresses_are_shared_and_calls_come_from_both() {
    let text = invite_by(&preset("bandwidth", &["headers"]));
    let headers = [
        ("From", Some("<sip:+12025550100@192.0.2.1>")),
        ("P-Asserted-Identity", Some("<sip:+12025550100@192.0.2.1>")),
        ("X-Account-Id", Some("account")),
        ("Authorization", None),
    ];
    assert_invite(&text, "sip:+12025550142@192.0.2.1", &headers);
    let text = invite_by(&preset("bandwidth", &["dial_prefix"]));
    assert!(
        text.starts_with("INVITE sip:123456+12025550142@192.0.2.1 SIP/2.0\r\n"),
        "{text}"
    );
    let mut lines = Lines::new(&preset("bandwidth", &[]));
    for source in ["192.0.2.1:5060", "192.0.2.2:5060"] {
        let call = lines.call(source.parse().unwrap());
        assert_eq!(lines.told_caller(&call), 180, "{source}");
    }
}

#[test]
fn sipgate_keeps_the_sip_id_in_from_and_gets_the_number_without_plus_as_preferred_identity() {
    let text = invite_by(&preset("sipgate", &[]));
    let headers = [
        ("From", Some("<sip:1234567t0@sipconnect.sipgate.de>")),
        (
            "P-Preferred-Identity",
            Some("<sip:12025550100@sipconnect.sipgate.de>"),
        ),
        ("P-Asserted-Identity", None),
        ("Privacy", None),
    ];
    assert_invite(&text, "sip:12025550142@sipconnect.sipgate.de", &headers);
    // A-law stands first by itself; this caller speaks µ-law, and nothing is to be converted.
    assert!(formats(&text).starts_with("0 8 "), "{}", formats(&text));
    let text = invite_by(&format!(
        "{}withhold = true\ndiversion = true\n",
        preset("sipgate", &[])
    ));
    let headers = [
        ("From", Some("<sip:1234567t0@sipconnect.sipgate.de>")),
        (
            "P-Preferred-Identity",
            Some("<sip:12025550100@sipconnect.sipgate.de>"),
        ),
        ("Privacy", Some("id")),
        (
            "Diversion",
            Some("<sip:12025550142@sipconnect.sipgate.de>;reason=unconditional"),
        ),
    ];
    assert_invite(&text, "sip:12025550142@sipconnect.sipgate.de", &headers);
}

#[test]
fn an_asterisk_gets_the_asserted_identity_and_is_pinged() {
    let mut lines = Lines::new(&preset("asterisk", &[]));
    lines.call(trunk(0));
    let headers = [
        ("From", Some("<sip:+12025550100@192.0.2.3>")),
        ("P-Asserted-Identity", Some("<sip:+12025550100@192.0.2.3>")),
        ("Supported", Some("timer, 100rel")),
    ];
    assert_invite(&lines.invite(), "sip:+12025550142@192.0.2.3", &headers);
    lines.pass(Duration::from_millis(100));
    assert_eq!(lines.all("OPTIONS ").len(), 1);
}

const BASE: &str = "[[trunk]]\nname = \"t\"\nhost = \"t.example\"\ncaller_id = \"+12025550100\"\n";

#[test]
fn a_withheld_number_is_told_to_the_trunk_only() {
    let text = invite_by(&format!(
        "{BASE}withhold = true\nidentity = [\"pai\", \"rpid\"]\n"
    ));
    let headers = [
        ("From", Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>")),
        ("P-Asserted-Identity", Some("<sip:+12025550100@t.example>")),
        (
            "Remote-Party-ID",
            Some("<sip:+12025550100@t.example>;party=calling;privacy=full;screen=no"),
        ),
        ("Privacy", Some("id")),
        ("Diversion", None),
    ];
    assert_invite(&text, "sip:+12025550142@t.example", &headers);
}

#[test]
fn name_host_and_user_phone_stand_where_the_recipe_says() {
    let text = invite_by(&format!(
        "{BASE}display_name = \"Action \\\"Line\\\"\"\nfrom_host = \"ours.example\"\nuser_phone = true\n\
         number_format = \"national\"\nheaders = {{ X-Account-Id = \"7\", X-Other = \"a b\" }}\n"
    ));
    let headers = [
        (
            "From",
            Some("\"Action \\\"Line\\\"\" <sip:+12025550100@ours.example;user=phone>"),
        ),
        ("P-Asserted-Identity", Some("<sip:+12025550100@ours.example>")),
        ("X-Account-Id", Some("7")),
        ("X-Other", Some("a b")),
    ];
    assert_invite(&text, "sip:2025550142@t.example;user=phone", &headers);
}

#[test]
fn a_port_of_the_host_is_no_part_of_who_we_are() {
    let account = "username = \"u\"\npassword = \"p\"\nregister = true\n";
    let mut lines = Lines::new(&format!(
        "{}{account}",
        BASE.replace("\"t.example\"", "\"t.example:5070\"")
    ));
    let register = lines.all("REGISTER ")[0].1.clone();
    assert_eq!(header(&register, "To").as_deref(), Some("<sip:u@t.example>"));
    lines.call(trunk(0));
    let text = lines.invite();
    assert!(
        text.starts_with("INVITE sip:+12025550142@t.example:5070 SIP/2.0\r\n"),
        "{text}"
    );
    let from = header(&text, "From").unwrap();
    assert!(from.starts_with("<sip:+12025550100@t.example>"), "{from}");
}

#[test]
fn an_outbound_proxy_stands_in_route_or_takes_the_request_uri_as_configured() {
    let proxy = "proxy = \"proxy.example\"\nproxy_route = ";
    let text = invite_by(&format!("{BASE}{proxy}\"loose\"\n"));
    assert!(text.starts_with("INVITE sip:+12025550142@t.example SIP/2.0\r\n"));
    assert_eq!(header(&text, "Route").as_deref(), Some("<sip:proxy.example;lr>"));
    let text = invite_by(&format!("{BASE}{proxy}\"strict\"\n"));
    assert!(text.starts_with("INVITE sip:proxy.example SIP/2.0\r\n"), "{text}");
    assert_eq!(
        header(&text, "Route").as_deref(),
        Some("<sip:+12025550142@t.example>")
    );
    assert_eq!(
        header(&invite_by(&format!("{BASE}proxy = \"proxy.example\"\n")), "Route"),
        None
    );
}

#[test]
fn numbers_come_in_as_tel_uris_with_portability_and_in_every_format() {
    for (keys, uri) in [
        ("", "tel:+12025550142"),
        ("", "tel:+1-202-555-0142;npdi"),
        ("", "sip:+12025550142;npdi;rn=+12025550199@127.0.10.1;user=phone"),
        ("", "sip:2025550142@127.0.10.1"),
        ("", "sip:12025550142@127.0.10.1"),
        ("number_format_in = \"E164\"", "sip:12025550142@127.0.10.1"),
        ("number_format_in = \"national\"", "sip:2025550142@127.0.10.1"),
    ] {
        let mut lines = Lines::new(&format!("{BASE}{keys}\n"));
        let call = lines.call_to(trunk(0), uri);
        assert_eq!(lines.told_caller(&call), 180, "{uri}");
        assert!(
            lines.invite().starts_with(&format!("INVITE sip:{DIALLED}@")),
            "{uri}"
        );
    }
}

/// A trunk on the open network that we register with.
fn registering() -> Lines {
    let mut lines = Lines::new(&format!(
        "{BASE}register = true\nusername = \"u\"\npassword = \"p\"\n"
    ));
    lines.resolve("t", vec!["198.51.100.1:5060".parse().unwrap()]);
    lines.pass(seconds(5));
    lines
}

/// Answers the last REGISTER, seen at an address.
fn granted(lines: &mut Lines, seen: &str) {
    let request = lines.all("REGISTER ").last().unwrap().1.clone();
    let (ip, port) = seen.rsplit_once(':').unwrap();
    let via = header(&request, "Via")
        .unwrap()
        .replace(";rport", &format!(";rport={port};received={ip}"));
    let kept = ["From", "To", "Call-ID", "CSeq", "Contact"];
    let head = kept.iter().fold(String::new(), |all, name| {
        all + name + ": " + &header(&request, name).unwrap() + "\r\n"
    });
    let text = format!("SIP/2.0 200 OK\r\nVia: {via}\r\n{head}Content-Length: 0\r\n\r\n");
    lines.hear("198.51.100.1:5060".parse().unwrap(), &text);
}

#[test]
fn the_address_that_a_trunk_sees_is_learnt_registered_and_offered_for_sound() {
    let mut lines = registering();
    let before = lines.all("REGISTER ").len();
    granted(&mut lines, "203.0.113.9:40000");
    let registers = lines.all("REGISTER ");
    assert_eq!(registers.len(), before + 1, "registered again at once");
    let contact = header(&registers.last().unwrap().1, "Contact").unwrap();
    assert!(contact.contains("@203.0.113.9:40000>"), "{contact}");
    granted(&mut lines, "203.0.113.9:40000");
    assert_eq!(lines.all("REGISTER ").len(), before + 1, "and only once");
    let seen = lines.engine.trunks()[0].seen_at.unwrap();
    assert_eq!(seen.to_string(), "203.0.113.9:40000");
    lines.call("198.51.100.1:5060".parse().unwrap());
    let invite = lines.invite();
    assert!(invite.contains("\r\nc=IN IP4 203.0.113.9\r\n"), "{invite}");
    assert!(header(&invite, "Via").unwrap().contains("203.0.113.9:40000"));
    assert!(header(&invite, "Contact").unwrap().contains("@203.0.113.9:40000"));
}

#[test]
fn a_change_of_our_address_while_calls_are_up_registers_again_and_ends_none() {
    let mut lines = registering();
    granted(&mut lines, "203.0.113.9:40000");
    granted(&mut lines, "203.0.113.9:40000");
    lines.call("198.51.100.1:5060".parse().unwrap());
    lines.pass(seconds(580));
    let before = lines.all("REGISTER ").len();
    granted(&mut lines, "203.0.113.77:5060");
    let registers = lines.all("REGISTER ");
    assert_eq!(registers.len(), before + 1);
    assert!(
        header(&registers.last().unwrap().1, "Contact")
            .unwrap()
            .contains("@203.0.113.77:5060")
    );
    let moves = lines
        .statuses
        .iter()
        .filter(|status| matches!(status, TrunkStatus::SeenAt { .. }));
    assert_eq!(moves.count(), 2);
}

#[test]
fn a_private_address_named_from_the_open_network_is_not_believed() {
    for seen in [
        "10.0.0.1:5060",
        "127.0.0.1:5060",
        "192.168.1.1:5060",
        "0.0.0.0:5060",
        "224.0.0.1:5060",
    ] {
        let mut lines = registering();
        let before = lines.all("REGISTER ").len();
        granted(&mut lines, seen);
        assert_eq!(lines.engine.trunks()[0].seen_at, None, "{seen}");
        assert_eq!(lines.all("REGISTER ").len(), before, "{seen}");
    }
}

#[test]
fn a_configured_address_is_kept_whatever_a_trunk_says() {
    let text = format!(
        "{BASE}register = true\nusername = \"u\"\npassword = \"p\"\n[sip]\npublic_address = \"203.0.113.5\"\n\
         [[number]]\npattern = \"+1XXXXXXXXXX\"\nflow = \"route\"\n"
    );
    let mut lines = Lines::with(&text);
    lines.resolve("t", vec!["198.51.100.1:5060".parse().unwrap()]);
    let contact = header(&lines.all("REGISTER ")[0].1, "Contact").unwrap();
    assert!(contact.contains("@203.0.113.5:5060"), "{contact}");
    granted(&mut lines, "203.0.113.9:40000");
    assert_eq!(lines.all("REGISTER ").len(), 1);
}

#[test]
fn a_nat_on_the_way_is_reminded_every_half_minute_and_no_other_is() {
    let mut lines = registering();
    granted(&mut lines, "203.0.113.9:40000");
    granted(&mut lines, "203.0.113.9:40000");
    lines.pass(seconds(300));
    let count = lines.all("\r\n\r\n").len();
    assert!((10..=12).contains(&count), "{count}");
    let mut lines = registering();
    granted(&mut lines, LOCAL);
    lines.pass(seconds(300));
    assert_eq!(lines.all("\r\n\r\n").len(), 0);
}

#[test]
fn no_phone_number_that_a_trunk_says_reaches_the_record() {
    let mut lines = Lines::new(BASE);
    lines.call(trunk(0));
    lines.answer(
        "INVITE",
        "480 Gone",
        "Reason: Q.850;cause=16;text=\"to +12025550142\"\r\n",
        "",
    );
    lines.pass(seconds(3));
    let said = lines.events().into_iter().find_map(|event| match event {
        EventKind::TrunkSaid { text } => Some(text.as_str().to_owned()),
        _ => None,
    });
    assert!(!said.unwrap().contains("2025550142"));
}

#[test]
fn a_trunk_that_calls_from_anywhere_is_asked_to_prove_itself() {
    let keys = "accept_username = \"them\"\naccept_password = \"secret\"\n";
    let elsewhere = "198.51.100.77:5060".parse().unwrap();
    let mut lines = Lines::new(&format!("{BASE}{keys}"));
    let call = lines.call(elsewhere);
    assert_eq!(lines.told_caller(&call), 401);
    assert_eq!(lines.dialled(), []);
    let mut lines = Lines::new(BASE);
    lines.call(elsewhere);
    assert_eq!(lines.all("SIP/2.0 ").len(), 0, "others are not answered");
}
