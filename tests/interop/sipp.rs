//! SIPp: runs a scenario of `scenarios/` once or many times.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place::Place;
use super::server::end;

/// A running scenario.
pub struct Sipp {
    name: String,
    process: Child,
    messages: std::path::PathBuf,
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

impl Sipp {
    pub fn start(place: &Place, scenario: &Scenario<'_>) -> Sipp {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/scenarios");
        let mut text = std::fs::read_to_string(format!("{folder}/{}.xml", scenario.name)).unwrap();
        for (word, by) in scenario.replace {
            text = text.replace(word, by);
        }
        let file = place.write(&format!("{}-{}.xml", scenario.name, scenario.number), &text);
        let messages = file.with_extension("log");
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(&file).arg(scenario.remote.to_string());
        command.args([
            "-i",
            &scenario.local.ip().to_string(),
            "-p",
            &scenario.local.port().to_string(),
        ]);
        command.args([
            "-s",
            scenario.number,
            "-m",
            &scenario.calls.to_string(),
            "-r",
            "10",
            "-nostdin",
        ]);
        command
            .args(["-timeout", "45s", "-timeout_error", "-trace_msg", "-message_file"])
            .arg(&messages);
        if scenario.lost > 0 {
            command.args(["-lost", &scenario.lost.to_string()]);
        }
        let screen = std::fs::File::create(file.with_extension("screen")).unwrap();
        let process = command
            .current_dir(file.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Sipp {
            name: scenario.name.to_owned(),
            process,
            messages,
        }
    }

    /// Waits until the scenario has ended; tells whether every call of it went as written.
    pub fn finish(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
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

    fn complaint(&self, what: &str) -> String {
        let messages = std::fs::read_to_string(&self.messages).unwrap_or_default();
        format!("SIPp as {} {what}. Its messages:\n{messages}", self.name)
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Runs a caller against an office, both for one call, and wants both to be content.
pub fn pair(place: &Place, caller: Scenario<'_>, office: Scenario<'_>) {
    let mut office = Sipp::start(place, &office);
    std::thread::sleep(Duration::from_millis(300)); // SIPp says nowhere when it listens
    let mut caller = Sipp::start(place, &caller);
    let (called, answered) = (caller.finish(), office.finish());
    let complaints: Vec<String> = [called, answered].into_iter().filter_map(Result::err).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
