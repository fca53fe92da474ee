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
