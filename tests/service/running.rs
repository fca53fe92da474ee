//! What the running program tells systemd.

use std::time::Duration;

use rustix::process::Signal;

use crate::process::Service;

/// A server on an address of its own, with nothing but these tables.
fn configuration(host: &str, tables: &str) -> String {
    format!(
        "[sip]\nlisten = [\"udp:{host}:5060\"]\n[web]\nlisten = \"\"\n[store]\nurl = \"sqlite:trunkline.db\"\n{tables}"
    )
}

#[test]
fn signs_of_life_come_while_the_loop_turns_and_stop_when_it_stands_still() {
    let service = Service::start(&configuration("127.81.0.1", ""));
    assert_eq!(service.notice().trim(), "READY=1");
    assert!(service.signs_of_life(Duration::from_secs(3)) >= 3);
    service.signal(Signal::STOP);
    // Those already sent are taken first.
    service.signs_of_life(Duration::from_millis(500));
    assert_eq!(service.signs_of_life(Duration::from_secs(2)), 0);
    service.signal(Signal::CONT);
    assert!(service.signs_of_life(Duration::from_secs(2)) >= 1);
    service.signal(Signal::TERM);
    assert_eq!(service.notice().trim(), "STOPPING=1");
    assert!(service.end().success());
}

#[test]
fn hangup_signal_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let number = "[[number]]\npattern = \"+12025550100\"\nflow = \"echo\"\n";
    let service = Service::start(&configuration("127.81.0.2", number));
    assert_eq!(service.notice().trim(), "READY=1");
    let reload = || {
        service.signal(Signal::HUP);
        let begun = service.notice();
        let mut lines = begun.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"));
        let since = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            since.is_some_and(|since| since.parse::<u64>().unwrap() > 0),
            "{begun}"
        );
        assert_eq!(service.notice().trim(), "READY=1");
    };
    service.configure(&configuration("127.81.0.2", &number.replace("echo", "nonsense")));
    reload();
    let log = service.log();
    assert!(
        log.contains("there is no flow") && log.contains("stays as it was"),
        "{log}"
    );
    assert!(!log.contains("was read again"), "{log}");
    service.configure(&configuration("127.81.0.3", &number.replace("0100", "0101")));
    reload();
    let log = service.log();
    assert!(
        log.contains("was read again") && log.contains("[sip] changed: that needs a restart"),
        "{log}"
    );
    service.signal(Signal::TERM);
    assert_eq!(service.notice().trim(), "STOPPING=1");
    assert!(service.end().success());
}
