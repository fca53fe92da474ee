//! baresip, a softphone that people use, calls the hotline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trunkline::command::demo::Sighting;
use trunkline::command::demo::peer::{find, find_rough, melody, write_wav};

use super::certificates::Certificates;
use super::hearing::{HEARD, SPEECH_SECONDS, is_heard_in_pieces};
use super::installed;
use super::kamailio::{listening_by_tls, tls};
use super::keys::{office, recording, trunk, tune};
use super::place::Place;
use super::server::{ASKING, HOTLINE, Server, Setup, end};
use super::sipp::Wire;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running baresip that is told what to do over its control connection.
struct Softphone {
    process: Child,
    control: TcpStream,
    folder: PathBuf,
}

impl Softphone {
    fn start(place: &Place) -> Softphone {
        Softphone::start_over(place, Wire::Udp, "")
    }

    /// `more` are further lines of its configuration.
    fn start_over(place: &Place, wire: Wire, more: &str) -> Softphone {
        let address = place.callers();
        let control = SocketAddr::new(address.ip(), 4444);
        let folder = place.file("baresip");
        let shown = folder.display().to_string();
        write_wav_into(place, "baresip/say.wav", &melody(31, SPEECH_SECONDS));
        let ports = 40_000 + u32::from(address.port()) % 100 + std::process::id() % 200 * 100;
        place.write(
            "baresip/config",
            &format!(
                "sip_listen {address}\ncall_local_timeout 120\ncall_max_calls 4\n\
                 audio_source aufile,{shown}/say.wav\naudio_player aubridge,nothing\naudio_alert aubridge,nothing\n\
                 ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n\
                 rtp_ports {ports}-{}\nmodule_path /usr/lib/baresip/modules\n\
                 module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule_tmp account.so\n\
                 module_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\nsnd_path {shown}\n{more}",
                ports + 98,
            ),
        );
        place.write(
            "baresip/accounts",
            &format!(
                "<sip:4155550123@{};transport={}>;regint=0;audio_codecs=pcmu/8000/1;dtmfmode=auto;catchall=yes\n",
                address.ip(),
                wire.name()
            ),
        );
        place.write("baresip/contacts", "");
        let output = std::fs::File::create(folder.join("output")).unwrap();
        let process = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let control = loop {
            match TcpStream::connect(control) {
                Ok(control) => break control,
                Err(error) => assert!(Instant::now() < deadline, "baresip's control connection: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        control
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        Softphone {
            process,
            control,
            folder,
        }
    }

    /// Sends one command, as a netstring of JSON.
    fn tell(&mut self, command: &str, parameters: &str) {
        let text = format!(r#"{{"command":"{command}","params":"{parameters}"}}"#);
        write!(self.control, "{}:{text},", text.len()).unwrap();
        let mut events = [0_u8; 4096];
        let _ = self.control.read(&mut events); // so that its answers do not pile up
    }

    /// Waits until it says something.
    fn says(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        let output = || std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        while !output().contains(words) {
            assert!(
                Instant::now() < deadline,
                "baresip did not say {words:?}:\n{}",
                output()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it has recorded of the other side so far.
    fn heard(&self) -> Vec<i16> {
        let recordings = std::fs::read_dir(&self.folder).unwrap().flatten();
        let path = recordings
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with("dec.wav"));
        let bytes = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        // The header's length is written at the end: the samples simply begin after 44 bytes.
        bytes
            .get(44..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// Waits until known audio can be found in what it heard.
    fn hears(&self, known: &[i16], what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard();
            let found = find(&heard, known).into_iter().chain(find_rough(&heard, known));
            let best = found.map(|found| found.score).fold(0.0, f64::max);
            if best > HEARD || is_heard_in_pieces(&heard, known) {
                return;
            }
            let output = std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "baresip did not hear {what} (best {best:.2}, {} samples)\n{output}",
                heard.len()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Softphone {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn write_wav_into(place: &Place, name: &str, samples: &[i16]) {
    let path = place.write(name, "");
    write_wav(&path, samples).unwrap();
}

#[test]
fn softphone_hears_the_welcome_of_the_hotline_and_is_asked_for_its_zip_code() {
    if !installed("baresip") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut phone = Softphone::start(&place);
    phone.tell("dial", &format!("sip:{HOTLINE}@{}", place.server()));
    phone.hears(&recording("msg_intro-plain"), "the welcome");
    phone.hears(&recording("msg_location"), "the question for the ZIP code");
    phone.tell("hangup", "");
    server.lives();
}

#[test]
fn softphone_calls_over_tcp_and_is_left_by_our_bye() {
    welcome_over(Wire::Tcp);
}

#[test]
fn softphone_calls_over_tls_and_verifies_our_certificate() {
    welcome_over(Wire::Tls);
}

/// A server that takes baresip over TCP and TLS: it binds neither a connection nor its sound to an address of its own, so
/// that both come from 127.0.0.1.
fn near(place: &Place, certificates: &Certificates) -> Setup {
    let mut setup = Setup {
        sip: listening_by_tls(place, certificates),
        ..Setup::new(place)
    };
    let also = "destinations = []\naddresses = [\"127.0.0.1\"]";
    setup.trunks = setup.trunks.replace("destinations = []", also);
    setup
}

fn welcome_over(wire: Wire) {
    if !installed("baresip") {
        return;
    }
    let place = Place::new();
    let certificates = Certificates::new(&place);
    let mut server = Server::start_as(&place, &near(&place, &certificates));
    let authority = format!(
        "sip_cafile {}\nsip_verify_server yes\n",
        certificates.authority.display()
    );
    let mut phone = Softphone::start_over(&place, wire, &authority);
    let address = match wire {
        Wire::Tls => tls(place.server()),
        _ => place.server(),
    };
    // The account's transport is added to what is dialled.
    phone.tell("dial", &format!("sip:{HOTLINE}@{address}"));
    phone.hears(&recording("msg_intro-plain"), "the welcome");
    server.lives();
    // The server ends the call, by the connection that it came by.
    drop(server);
    phone.says("terminated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn softphone_keys_five_digits_and_talks_with_the_office() {
    if !installed("baresip") {
        return;
    }
    let place = Place::new();
    let number = "2025550111";
    let mut network = trunk(place.offices(), vec![office(&place, number)]).await;
    // Its sound comes neither from where the call is signalled nor from the address that it describes.
    let mut server = Server::start(&place);
    let mut phone = Softphone::start(&place);
    let target = format!("sip:{ASKING}@{}", place.server());
    tokio::task::spawn_blocking(move || {
        phone.tell("dial", &target);
        phone.hears(&recording("msg_location"), "the question");
        for key in "50111".chars() {
            phone.tell("sndcode", &key.to_string());
            std::thread::sleep(Duration::from_millis(150));
        }
        phone.hears(&tune(number), "the office");
        std::thread::sleep(Duration::from_secs(2));
        phone.tell("hangup", "");
        std::thread::sleep(Duration::from_millis(500));
    })
    .await
    .unwrap();
    let talk = loop {
        match network.sighting(PATIENCE).await.expect("the talk ends") {
            Sighting::Ended { heard, .. } => break heard,
            Sighting::NoAck { .. } => panic!("the answer was not acknowledged"),
            _ => {}
        }
    };
    // The softphone has spoken since the beginning of the call; any part of it will do.
    assert!(
        is_heard_in_pieces(&talk.samples, &melody(31, SPEECH_SECONDS)),
        "the office did not hear the softphone in {} samples",
        talk.samples.len()
    );
    server.lives();
}
