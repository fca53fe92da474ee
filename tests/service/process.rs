//! The real program with a test in the place of systemd.

use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running server; it is ended when dropped.
pub struct Service {
    process: Child,
    notices: UnixDatagram,
    pub folder: tempfile::TempDir,
}

impl Service {
    /// Starts it with a configuration; it is not ready yet.
    pub fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.toml"), config).unwrap();
        let socket = folder.path().join("notify");
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(["serve", "--config"])
            .arg(folder.path().join("server.toml"))
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "2000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log_of(folder.path())).unwrap())
            .spawn()
            .unwrap();
        Self {
            process,
            notices,
            folder,
        }
    }

    pub fn configure(&self, config: &str) {
        std::fs::write(self.folder.path().join("server.toml"), config).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.folder.path())).unwrap()
    }

    /// Waits until the log holds a text.
    pub fn has_logged(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The next notice other than a sign of life.
    pub fn notice(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(Instant::now() < deadline, "no notice came:\n{}", self.log());
            match self.any_notice() {
                Some(text) if text.trim() != "WATCHDOG=1" => return text,
                _ => {}
            }
        }
    }

    /// A notice, if one comes soon.
    fn any_notice(&self) -> Option<String> {
        let mut bytes = [0; 1024];
        let length = self.notices.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Signs of life within a time.
    pub fn signs_of_life(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut signs = 0;
        while Instant::now() < until {
            signs += usize::from(self.any_notice().is_some_and(|text| text.trim() == "WATCHDOG=1"));
        }
        signs
    }

    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process.wait().unwrap()
    }

    /// Waits for the end that was asked for.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("server.log")
}
