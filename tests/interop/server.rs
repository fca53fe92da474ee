//! The server under test: the real program, as an operator starts it.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place::Place;
use super::sipp::Wire;

/// A running server; it is ended when dropped.
pub struct Server {
    process: Child,
    log: std::path::PathBuf,
}

/// The number whose flow asks for five digits and dials `20255` with them.
pub const ASKING: &str = "2025550160";
/// The number whose flow rings for two seconds at most.
pub const IMPATIENT: &str = "2025550150";
/// The number of the hotline itself.
pub const HOTLINE: &str = "2025550100";

const FLOWS: [(&str, &str); 2] = [
    (
        "ask",
        "name = \"ask\"\nversion = 1\nstart = \"greet\"\n\
         [step.greet.play]\nprompts = [\"msg_intro\"]\nnext = \"ask\"\n\
         [step.ask.gather]\nprompts = [\"msg_location\"]\ndigits = 5\nnext = \"dial\"\notherwise = \"end\"\n\
         [step.dial.dial]\nnumber = \"+120255{digits}\"\n[step.end.hangup]\n",
    ),
    (
        "impatient",
        "name = \"impatient\"\nversion = 1\nstart = \"dial\"\n\
         [step.dial.dial]\nnumber = \"{called}\"\nring_seconds = 5\n",
    ),
];

/// What differs between the servers of the tests.
pub struct Setup {
    /// Keys of `[sip]`.
    pub sip: String,
    /// The `[[trunk]]` tables.
    pub trunks: String,
    /// Keys of `[limits]`.
    pub limits: String,
    /// Address of the status page.
    pub web: String,
    /// Further tables.
    pub more: String,
}

impl Setup {
    /// Two trunks without registration: one that calls come from, one that leads to the offices.
    pub fn new(place: &Place) -> Setup {
        Setup::over(place, Wire::Udp)
    }

    /// The same, both over one transport.
    pub fn over(place: &Place, wire: Wire) -> Setup {
        let wire = wire.name();
        let (server, callers, offices) = (place.server(), place.callers(), place.offices());
        Setup {
            sip: format!("listen = [\"{wire}:{server}\"]\n"),
            trunks: format!(
                "[[trunk]]\nname = \"callers\"\nhost = \"{}\"\nproxy = \"{callers}\"\ntransport = \"{wire}\"\n\
                 destinations = []\n\
                 [[trunk]]\nname = \"offices\"\nhost = \"{}\"\nproxy = \"{offices}\"\ntransport = \"{wire}\"\n",
                callers.ip(),
                offices.ip(),
            ),
            limits: "drain_seconds = 1\n".to_owned(),
            web: String::new(),
            more: String::new(),
        }
    }

    fn configuration(&self) -> String {
        let Setup {
            sip,
            trunks,
            limits,
            web,
            more,
        } = self;
        format!(
            "[sip]\n{sip}{trunks}\
             [[number]]\npattern = \"+1202555010X\"\nflow = \"route\"\n\
             [[number]]\npattern = \"+1{HOTLINE}\"\ncampaign = \"congress\"\n\
             [[number]]\npattern = \"+1{ASKING}\"\nflow = \"ask\"\n\
             [[number]]\npattern = \"+1{IMPATIENT}\"\nflow = \"impatient\"\n\
             [flows]\ndirectory = \"flows\"\n\
             [store]\nurl = \"sqlite:trunkline.db\"\n\
             [web]\nlisten = \"{web}\"\n\
             [limits]\n{limits}{more}",
        )
    }
}

impl Server {
    /// Starts the server for a place and waits until it takes calls. Numbers `202555010X` lead to the same number
    /// at the offices' trunk.
    pub fn start(place: &Place) -> Server {
        Server::start_as(place, &Setup::new(place))
    }

    pub fn start_as(place: &Place, setup: &Setup) -> Server {
        for (name, text) in FLOWS {
            place.write(&format!("flows/{name}.toml"), text);
        }
        let config = place.write("server.toml", &setup.configuration());
        let log = place.file("server.log");
        let process = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Server { process, log };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.log().split_whitespace().any(|word| word == "ready") {
            let ended = server.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the server did not get ready:\n{}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a power cut would.
    pub fn crash(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end, which must be a good one.
    pub fn ends(mut self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => {
                    assert!(
                        status.success(),
                        "the server ended with {status}:\n{}",
                        self.log()
                    );
                    return;
                }
                None => assert!(
                    Instant::now() < deadline,
                    "the server did not end:\n{}",
                    self.log()
                ),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kilobytes of memory that are its own (the kernel's proportional set size).
    pub fn memory(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many calls are up, by its status page.
    pub fn calls(&self) -> u64 {
        let output = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(["status", "--json", "--config"])
            .arg(self.log.with_file_name("server.toml"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let calls = told.split("\"calls\":").nth(1).map(|rest| {
            let digits = rest.trim_start().chars().take_while(char::is_ascii_digit);
            digits.collect::<String>()
        });
        calls
            .and_then(|calls| calls.parse().ok())
            .unwrap_or_else(|| panic!("no status: {told}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Asserts that it still runs.
    pub fn lives(&mut self) {
        assert!(
            self.process.try_wait().unwrap().is_none(),
            "the server died:\n{}",
            self.log()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Ends a process that we started: politely, then not.
pub fn end(process: &mut Child) {
    let id = rustix::process::Pid::from_child(process);
    let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    for _ in 0..100 {
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = process.kill();
    let _ = process.wait();
}
