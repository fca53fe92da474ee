//! `scripts/install` and what it puts in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use trunkline::config::Config;

/// A file's mode, time and bytes.
type Found = (u32, SystemTime, Vec<u8>);

fn install(root: &Path, binary: &Path) -> Output {
    let done = Command::new("scripts/install")
        .args([
            "--root",
            root.to_str().unwrap(),
            "--binary",
            binary.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    done
}

fn files(folder: &Path, found: &mut BTreeMap<PathBuf, Found>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = path.metadata().unwrap();
        if about.is_dir() {
            files(&path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let mode = about.permissions().mode() & 0o777;
            found.insert(path, (mode, about.modified().unwrap(), bytes));
        }
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = BTreeMap::new();
    files(root, &mut found);
    found
        .into_iter()
        .map(|(path, about)| (path.strip_prefix(root).unwrap().to_owned(), about))
        .collect()
}

/// A small program in place of the large one.
fn program(folder: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("program");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn installing_twice_changes_nothing_the_second_time() {
    let (root, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let binary = program(made.path(), "#!/bin/sh\n");
    install(root.path(), &binary);
    let first = tree(root.path());
    let modes: Vec<_> = first
        .iter()
        .map(|(path, (mode, ..))| (path.to_str().unwrap(), *mode))
        .collect();
    assert_eq!(
        modes,
        [
            ("etc/trunkline/server.toml", 0o640),
            ("usr/local/bin/trunkline", 0o755),
            ("usr/local/lib/systemd/system/trunkline.service", 0o644),
            ("usr/local/lib/sysusers.d/trunkline.conf", 0o644),
            ("usr/local/lib/tmpfiles.d/trunkline.conf", 0o644),
        ]
    );
    install(root.path(), &binary);
    assert_eq!(tree(root.path()), first);
}

#[test]
fn newer_program_replaces_the_old_one_and_the_configuration_stays() {
    let (root, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    install(root.path(), &program(made.path(), "#!/bin/sh\n"));
    let config = root.path().join("etc/trunkline/server.toml");
    std::fs::write(&config, "# mine\n").unwrap();
    install(root.path(), &program(made.path(), "#!/bin/sh\necho newer\n"));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "# mine\n");
    let program = std::fs::read_to_string(root.path().join("usr/local/bin/trunkline")).unwrap();
    assert_eq!(program, "#!/bin/sh\necho newer\n");
}

#[test]
fn first_configuration_can_be_started_with() {
    let config = Config::load("systemd/server.toml".as_ref()).unwrap();
    assert!(config.trunks.is_empty() && config.numbers.is_empty());
    assert_eq!(
        config.store.url.path().to_str(),
        Some("/var/lib/trunkline/trunkline.db")
    );
    // What it shows as comments is right once the marks are taken away.
    let text: String = std::fs::read_to_string("systemd/server.toml")
        .unwrap()
        .lines()
        .skip_while(|line| *line != "# [[trunk]]")
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    let secret = tempfile::NamedTempFile::new().unwrap();
    let place = "/run/credentials/trunkline.service/trunk_provider";
    assert!(text.contains(place));
    let text = text.replace(place, secret.path().to_str().unwrap());
    let config = Config::parse(&text, "server.toml".as_ref()).unwrap();
    assert_eq!((config.trunks.len(), config.numbers.len()), (1, 1));
}

#[test]
fn unit_waits_longer_for_the_end_than_calls_may_be_drained() {
    let unit = std::fs::read_to_string("systemd/trunkline.service").unwrap();
    let stop: u64 = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .unwrap()
        .parse()
        .unwrap();
    let drain = Config::parse("", "".as_ref()).unwrap().limits.drain_seconds;
    assert!(stop >= drain + 25, "{stop} s for a drain of {drain} s");
}

#[test]
fn unit_is_exposed_by_no_more_than_one_and_a_half() {
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=15"])
        .arg("systemd/trunkline.service")
        .output();
    let Ok(judged) = judged else {
        println!("left out: systemd-analyze is not installed");
        return;
    };
    let told = String::from_utf8_lossy(&judged.stdout);
    assert!(
        judged.status.success() && told.contains("Overall exposure level"),
        "{told}{}",
        String::from_utf8_lossy(&judged.stderr)
    );
}

#[test]
fn unit_holds_nothing_that_systemd_does_not_know() {
    let root = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string("systemd/trunkline.service").unwrap();
    let path = root.path().join("trunkline.service");
    // Only the program is not where it will be.
    std::fs::write(&path, unit.replace("/usr/local/bin/trunkline", "/bin/true")).unwrap();
    let Ok(judged) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        println!("left out: systemd-analyze is not installed");
        return;
    };
    let told = String::from_utf8_lossy(&judged.stderr);
    let about_it: Vec<_> = told
        .lines()
        .filter(|line| line.contains("trunkline.service"))
        .collect();
    assert!(about_it.is_empty(), "{about_it:?}");
}
