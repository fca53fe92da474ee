//! SIPp: runs a scenario, once or many times.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place::{Place, listens};
use super::server::end;

/// A running scenario.
pub struct Sipp {
    name: String,
    process: Child,
    messages: PathBuf,
    patience: Duration,
}

/// What to run.
pub struct Scenario<'a> {
    /// The file's name without `.xml`.
    pub name: &'a str,
    /// Words of the file and what stands in their place.
    pub replace: &'a [(&'a str, &'a str)],
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The number called.
    pub number: &'a str,
    pub calls: u32,
    /// Percent of the datagrams that are lost, both ways.
    pub lost: u32,
}

impl Scenario<'_> {
    /// The scenario's text, with the words replaced.
    pub fn read(&self) -> Run {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/scenarios");
        let mut text = std::fs::read_to_string(format!("{folder}/{}.xml", self.name)).unwrap();
        for (word, by) in self.replace {
            text = text.replace(word, by);
        }
        Run {
            calls: self.calls,
            lost: self.lost,
            ..Run::new(self.name, text, self.local, self.remote, self.number)
        }
    }
}

/// A scenario's text and how to run it.
#[derive(Clone)]
pub struct Run {
    pub name: String,
    pub text: String,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub number: String,
    pub calls: u32,
    /// New calls each second.
    pub rate: u32,
    pub lost: u32,
    pub wire: Wire,
    /// Seconds that it may take.
    pub seconds: u64,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Udp,
    Tcp,
    /// Not by SIPp: Debian's is built without it.
    Tls,
}

impl Wire {
    /// As the configuration and URIs write it.
    pub fn name(self) -> &'static str {
        match self {
            Wire::Udp => "udp",
            Wire::Tcp => "tcp",
            Wire::Tls => "tls",
        }
    }
}

impl Run {
    pub fn new(name: &str, text: String, local: SocketAddr, remote: SocketAddr, number: &str) -> Run {
        Run {
            name: name.to_owned(),
            text,
            local,
            remote,
            number: number.to_owned(),
            calls: 1,
            rate: 10,
            lost: 0,
            wire: Wire::Udp,
            seconds: 60,
        }
    }
}

impl Sipp {
    pub fn start(place: &Place, scenario: &Scenario<'_>) -> Sipp {
        Sipp::run(place, &scenario.read())
    }

    pub fn run(place: &Place, run: &Run) -> Sipp {
        let file = place.write(&format!("{}-{}.xml", run.name, run.number), &run.text);
        let messages = file.with_extension("log");
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(&file).arg(run.remote.to_string());
        let (ip, port) = (run.local.ip().to_string(), run.local.port().to_string());
        command.args(["-i", &ip, "-p", &port, "-s", &run.number, "-nostdin"]);
        command.args(["-m", &run.calls.to_string(), "-r", &run.rate.to_string()]);
        if run.wire == Wire::Tcp {
            command.args(["-t", "t1"]);
        }
        command.args(["-l", "20000", "-timeout", &format!("{}s", run.seconds)]);
        command
            .args(["-timeout_error", "-trace_msg", "-message_file"])
            .arg(&messages);
        if run.lost > 0 {
            command.args(["-lost", &run.lost.to_string()]);
        }
        let screen = std::fs::File::create(file.with_extension("screen")).unwrap();
        let errors = std::fs::File::create(file.with_extension("errors")).unwrap();
        let process = command
            .current_dir(file.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(errors)
            .spawn()
            .unwrap();
        Sipp {
            name: run.name.clone(),
            process,
            messages,
            patience: Duration::from_secs(run.seconds + 15),
        }
    }

    /// Waits until the scenario has ended; tells whether every call of it went as written.
    pub fn finish(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => return Err(self.complaint("did not end")),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if status.success() {
            Ok(())
        } else {
            Err(self.complaint(&format!("ended with {status}")))
        }
    }

    /// Every message that it sent and received, as SIPp writes them down.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.messages).unwrap_or_default()).into_owned()
    }

    /// How many calls ended as written, and how many did not, once it has ended.
    pub fn tally(&self) -> (u32, u32) {
        let screen = std::fs::read(self.messages.with_extension("screen")).unwrap_or_default();
        let screen = String::from_utf8_lossy(&screen);
        let last = |title: &str| {
            let line = screen.lines().rev().find(|line| line.contains(title));
            let figure = line.and_then(|line| line.rsplit('|').next());
            figure.and_then(|figure| figure.trim().parse().ok()).unwrap_or(0)
        };
        (last("Successful call"), last("Failed call"))
    }

    fn complaint(&self, what: &str) -> String {
        let errors = std::fs::read_to_string(self.messages.with_extension("errors")).unwrap_or_default();
        let messages = self.messages();
        let tail = messages.len().saturating_sub(20_000);
        let tail = messages.get(tail..).unwrap_or(&messages);
        format!(
            "SIPp as {} {what}. It complained:\n{errors}\nIts messages:\n{tail}",
            self.name
        )
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Runs a caller against an office, both for one call, and wants both to be content.
pub fn pair(place: &Place, caller: Scenario<'_>, office: Scenario<'_>) {
    let (caller, office) = run_both(place, &caller.read(), &office.read());
    drop((caller, office));
}

/// Starts an office and waits until it listens.
pub fn start_office(place: &Place, office: &Run) -> Sipp {
    let sipp = Sipp::run(place, office);
    assert!(
        listens(office.wire.name(), office.local),
        "SIPp does not listen at {}",
        office.local
    );
    sipp
}

/// Runs a caller against an office and wants both to be content.
pub fn run_both(place: &Place, caller: &Run, office: &Run) -> (Sipp, Sipp) {
    let mut office = start_office(place, office);
    let mut caller = Sipp::run(place, caller);
    let (called, answered) = (caller.finish(), office.finish());
    let complaints: Vec<String> = [called, answered].into_iter().filter_map(Result::err).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    (caller, office)
}
