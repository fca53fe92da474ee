//! The tables for known providers in `config/trunks/`.

use trunkline::call::number::{FromUser, IdentityForm, NumberFormat};
use trunkline::config::{Codec, Config, TrunkConfig};

/// A table as somebody would fill it in.
fn filled_in(name: &str) -> TrunkConfig {
    let path = format!("config/trunks/{name}.toml");
    let mut text = String::new();
    let secret = tempfile::NamedTempFile::new().unwrap();
    let marks = [
        ("<+12025550100>", "+12025550100"),
        ("<first address>", "192.0.2.1"),
        ("<second address>", "192.0.2.2"),
        ("<its address>", "192.0.2.3"),
        ("<prefix>", "123456"),
    ];
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        // Tables that need no account show its lines as comments; with those they must be right too.
        let line = line
            .strip_prefix("# ")
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .unwrap_or(line);
        let filled = marks
            .iter()
            .fold(line.to_owned(), |line, (mark, value)| line.replace(mark, value));
        text.push_str(&filled.replace(['<', '>'], ""));
        text.push('\n');
    }
    let place = format!("/run/credentials/trunkline.service/trunk_{name}");
    let text = text.replace(&place, secret.path().to_str().unwrap());
    let text = text.replace("host of the point of presence", "pop.example.com");
    let mut config = Config::parse(&text, path.as_ref()).unwrap();
    assert_eq!(config.trunks.len(), 1, "{path}");
    config.trunks.remove(0)
}

#[test]
fn every_table_is_right_once_filled_in_and_bears_its_files_name() {
    let mut names: Vec<String> = std::fs::read_dir("config/trunks")
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    let expected = [
        "asterisk",
        "bandwidth",
        "flowroute",
        "sipgate",
        "telnyx",
        "twilio",
        "voipms",
    ];
    assert_eq!(names, expected);
    for name in &names {
        assert_eq!(filled_in(name).name.as_str(), name);
    }
}

#[test]
fn tables_hold_what_each_provider_insists_on() {
    let twilio = filled_in("twilio");
    assert!(!twilio.register && twilio.host.ends_with(".pstn.twilio.com"));
    let sipgate = filled_in("sipgate");
    assert_eq!(
        (&sipgate.identity[..], sipgate.from_user, sipgate.number_format),
        (&[IdentityForm::Ppi][..], FromUser::Account, NumberFormat::E164)
    );
    assert_eq!(sipgate.codecs[0], Codec::Pcma);
    let bandwidth = filled_in("bandwidth");
    assert!(!bandwidth.register && bandwidth.username.is_none() && bandwidth.addresses.len() == 2);
    assert!(filled_in("telnyx").addresses.len() == 2);
    assert!(filled_in("voipms").register);
}
