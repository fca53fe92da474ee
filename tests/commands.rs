//! The commands as a script sees them: output, exit codes, messages.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use std::process::{Command, Output};

fn trunkline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(arguments)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn configuration(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn documented_configuration_holds_every_key_and_passes_the_check() {
    let checked = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["check", "--config", "config/server.toml"])
        .env("TRUNK_PASSWORD", "secret")
        .output()
        .unwrap();
    assert_eq!(
        (checked.status.code(), out(&checked).contains("no problems found")),
        (Some(0), true),
        "{checked:?}"
    );
    assert!(
        trunkline(&["check", "--config", "config/bench.toml"])
            .status
            .success()
    );
}

#[test]
fn check_warns_of_calls_that_nobody_will_answer_and_of_a_unit_that_ends_them() {
    let (_folder, path) = configuration(
        "[limits]\ndrain_seconds = 301\n[[trunk]]\nname = \"a\"\nhost = \"a.invalid\"\n\
         [[trunk]]\nname = \"b\"\nhost = \"192.0.2.1\"\ntransport = \"tcp\"\n",
    );
    let checked = trunkline(&["check", "--config", &path]);
    assert_eq!(checked.status.code(), Some(0));
    let told = out(&checked);
    for warning in [
        "TimeoutStopSec",
        "[[trunk]] a: no addresses: calls that come from elsewhere than where a.invalid leads",
        "[[trunk]] b: no \"tcp:…\" in [sip] listen",
    ] {
        assert!(told.contains(warning), "{warning}: {told}");
    }
    assert!(!told.contains("b: no addresses"), "{told}");
}

#[test]
fn check_tells_every_problem_at_once_and_fails() {
    let (_folder, path) = configuration(
        "[media]\ntick_milliseconds = 9\n\
         [[trunk]]\nname = \"a\"\nhost = \"a.invalid\"\nregister = true\n\
         [[trunk]]\nname = \"a\"\nhost = \"b.invalid\"\ncodecs = []\n\
         [[number]]\npattern = \"+12025550100\"\n\
         [[number]]\npattern = \"+12025550101\"\nflow = \"echo\"\nfrom_trunk = \"c\"\n",
    );
    let checked = trunkline(&["check", "--config", &path]);
    assert_eq!(checked.status.code(), Some(1));
    let told = out(&checked);
    for problem in [
        "tick_milliseconds: 9",
        "two trunks have this name",
        "needs username and password",
        "codecs is empty",
        "give either campaign or flow",
        "from_trunk",
        "6 problems found",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    let json = out(&trunkline(&["check", "--json", "--config", &path]));
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["problems"].as_array().unwrap().len(), 6);
}

#[test]
fn unknown_key_is_refused_with_its_line_and_what_was_expected() {
    let (_folder, path) =
        configuration("[sip]\nlisten = [\"udp:127.0.0.1:5060\"]\n\n[limits]\nmax_cals = 5\n");
    let checked = trunkline(&["check", "--config", &path]);
    let told = out(&checked);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        told.contains("line 5") && told.contains("max_cals") && told.contains("calls"),
        "{told}"
    );
    let served = trunkline(&["serve", "--config", &path]);
    assert_eq!(served.status.code(), Some(1));
    assert!(err(&served).contains("max_cals") && out(&served).is_empty());
}

#[test]
fn flows_that_do_not_fit_are_found_before_a_call_comes() {
    let (folder, path) = configuration(
        "[flows]\ndirectory = \"flows\"\n\
         [[number]]\npattern = \"+12025550100\"\nflow = \"own\"\n\
         [[number]]\npattern = \"+12025550101\"\nflow = \"hotline\"\n\
         [[number]]\npattern = \"+12025550102\"\nflow = \"nowhere\"\n",
    );
    std::fs::create_dir(folder.path().join("flows")).unwrap();
    let own = "name = \"own\"\nversion = 1\nstart = \"a\"\n[step.a.play]\nprompts = [\"no_such_prompt\"]\nnext = \"b\"\n[step.b.hangup]\n";
    std::fs::write(folder.path().join("flows/own.toml"), own).unwrap();
    let told = out(&trunkline(&["check", "--config", &path]));
    for problem in [
        "needs a campaign",
        "there is no flow \"nowhere\"",
        "no_such_prompt",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
}

#[test]
fn simulation_tells_the_call_as_text_and_as_json_lines() {
    let arguments = [
        "simulate",
        "--keys",
        "94110 1 **",
        "--at",
        "2026-09-16T17:00:00Z",
        "--offices",
        "answer,busy",
    ];
    let text = trunkline(&arguments);
    assert!(text.status.success());
    let told = out(&text);
    for line in [
        "keys      94110",
        "Nancy Pelosi",
        "caller_ended_talk",
        "completed_some",
        "That line is busy",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let json = trunkline(&[&arguments[..], &["--json"]].concat());
    for line in out(&json).lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["seconds"].is_number(), "{line}");
    }
}

#[test]
fn simulation_of_a_number_that_nothing_answers_fails_with_the_reason() {
    let (_folder, path) = configuration("[[number]]\npattern = \"+12025550100\"\nflow = \"echo\"\n");
    let simulated = trunkline(&["simulate", "--number", "+12025550199", "--config", &path]);
    assert_eq!(simulated.status.code(), Some(1));
    assert!(
        err(&simulated).contains("no [[number]] matches"),
        "{}",
        err(&simulated)
    );
}

#[test]
fn wrong_use_exits_with_two_and_a_missing_file_with_one() {
    assert_eq!(
        trunkline(&["simulate", "--offices", "asleep"]).status.code(),
        Some(2)
    );
    assert_eq!(trunkline(&["no-such-command"]).status.code(), Some(2));
    let missing = trunkline(&["serve", "--config", "no-such-file.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("no-such-file.toml"));
}

#[test]
fn status_without_a_switch_says_that_none_answers() {
    let (_folder, path) = configuration("[web]\nlisten = \"127.83.12.9:1\"\n");
    let status = trunkline(&["status", "--config", &path]);
    assert_eq!(status.status.code(), Some(1));
    assert!(
        err(&status).contains("no switch answers at 127.83.12.9:1"),
        "{}",
        err(&status)
    );
}

/// A running switch; ended by its own id, never by name.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn running_switch_tells_its_state_and_ends_with_zero_when_asked() {
    let sip = std::net::UdpSocket::bind("127.84.7.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let web = std::net::TcpListener::bind("127.84.7.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_folder, path) = configuration(&format!(
        "[sip]\nlisten = [\"udp:{sip}\"]\n[web]\nlisten = \"{web}\"\n[store]\nurl = \"sqlite:calls.db\"\n\
         [[trunk]]\nname = \"peer\"\nhost = \"127.84.7.2\"\n\
         [[number]]\npattern = \"+12025550100\"\ncampaign = \"congress\"\n"
    ));
    let serve = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["serve", "--config", &path])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut serve = Running(serve);
    let wait = std::time::Duration::from_millis(100);
    let status = (0..300).find_map(|_| {
        std::thread::sleep(wait);
        let status = trunkline(&["status", "--json", "--config", &path]);
        let parsed: Option<serde_json::Value> = serde_json::from_str(&out(&status)).ok();
        // The first state is told within a heartbeat of the start.
        parsed.filter(|status| {
            status["trunks"]
                .as_array()
                .is_some_and(|trunks| !trunks.is_empty())
        })
    });
    let status = status.unwrap();
    assert_eq!(
        (&status["calls"], &status["trunks"][0]["name"]),
        (&0.into(), &"peer".into()),
        "{status}"
    );
    let text = out(&trunkline(&["status", "--config", &path]));
    assert!(text.contains("trunk peer: known by address, 0 calls"), "{text}");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&serve.0),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let ended = (0..100).find_map(|_| {
        std::thread::sleep(wait);
        serve.0.try_wait().unwrap()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

#[test]
fn check_tells_what_this_machine_lacks_and_numbers_that_stand_twice() {
    let (folder, path) = configuration(
        "[log]\nlevel = \"info\"\n[prompts]\ndirectory = \"recordings\"\n[flows]\ndirectory = \"flows\"\n\
         [sip]\nlisten = [\"udp:192.0.2.77:5060\"]\n[media]\naddress = \"192.0.2.78\"\n",
    );
    let told = out(&trunkline(&["check", "--config", &path]));
    let shown = folder.path().display();
    for expected in [
        &format!("problem: {path}: [prompts] directory: there is no folder {shown}/recordings"),
        &format!("problem: {path}: [flows] directory: there is no folder {shown}/flows"),
        &format!("warning: {path}: [sip] listen: 192.0.2.77 is not an address of this machine"),
        &format!("warning: {path}: [media] address: 192.0.2.78 is not an address of this machine"),
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let number = "[[number]]\npattern = \"+12025550100\"\nflow = \"echo\"\n";
    let (_folder, path) = configuration(&format!("[log]\nlevel = \"loud\"\n{number}{number}"));
    for command in ["check", "serve"] {
        let ran = trunkline(&[command, "--config", &path]);
        assert_eq!(ran.status.code(), Some(1));
        let told = out(&ran) + &err(&ran);
        assert!(
            told.contains("[[number]] +12025550100: the same pattern stands above"),
            "{told}"
        );
        assert_eq!(
            told.matches("[log] level: \"loud\" is neither").count(),
            1,
            "{told}"
        );
    }
}

#[test]
fn check_tells_certificates_that_are_not_yet_no_longer_or_not_for_long_valid() {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let certified = |from: i64, to: i64| {
        let day = |offset: i64| {
            let date = today + jiff::Span::new().days(offset);
            let number = |part: i8| u8::try_from(part).unwrap();
            rcgen::date_time_ymd(i32::from(date.year()), number(date.month()), number(date.day()))
        };
        let mut parameters = rcgen::CertificateParams::new(vec!["switch.example".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (day(from), day(to));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (folder, path) = configuration(
            "[sip]\nlisten = [\"tls:127.33.0.1:5061\"]\ntls_certificate = \"cert.pem\"\n\
             tls_key = { file = \"key.pem\" }\n",
        );
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let checked = trunkline(&["check", "--config", &path]);
        (checked.status.success(), out(&checked))
    };
    for (from, to, passes, words) in [
        (-10, 100, true, ""),
        (-10, 10, true, "expires on "),
        (-10, -2, false, "expired on "),
        (5, 100, false, "is not valid before "),
    ] {
        let (passed, told) = certified(from, to);
        assert_eq!(passed, passes, "{told}");
        let tells = told.contains(&format!("cert.pem {words}"));
        assert_eq!(tells, !words.is_empty(), "{told}");
    }
}

#[test]
fn unknown_key_that_is_nearly_right_is_told_what_was_meant() {
    let (_folder, path) = configuration("[[trunk]]\nname = \"a\"\nhots = \"a.invalid\"\n");
    let told = out(&trunkline(&["check", "--config", &path]));
    assert!(told.contains("did you mean host?"), "{told}");
}

#[test]
fn output_that_nobody_reads_ends_a_command_quietly_and_a_full_disk_with_a_reason() {
    let commands: [&[&str]; 4] = [
        &["lookup", "94110"],
        &["simulate", "--keys", "94110", "--at", "2026-09-16T17:00:00Z"],
        &["prompt", "list"],
        &["check", "--config", "config/bench.toml"],
    ];
    for command in commands {
        let mut child = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(command)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(
            (ended.status.code(), err(&ended)),
            (Some(0), String::new()),
            "{command:?}"
        );

        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(command)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(1), "{command:?}");
        let told = err(&ended);
        assert!(told.contains("No space left on device"), "{told}");
        assert!(!told.contains("panicked") && !told.contains("os error"), "{told}");
    }
}

/// What the README shows is what the program prints: lines there may be cut by "…".
#[test]
fn simulation_in_the_readme_is_what_the_program_prints() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, example) = readme.split_once("\n$ trunkline simulate ").unwrap();
    let (command, example) = example.split_once('\n').unwrap();
    let (example, _) = example.split_once("\n```").unwrap();
    // The arguments as a shell takes them: quotes keep words together.
    let words = command
        .split('"')
        .enumerate()
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
    let arguments: Vec<String> = ["simulate".to_owned()].into_iter().chain(words).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = out(&trunkline(&arguments));
    let mut lines = printed.lines();
    for shown in example.lines() {
        let line = lines.next().unwrap();
        match shown.split_once('…') {
            Some((beginning, _)) => assert!(line.starts_with(beginning), "{shown}\n{line}"),
            None => assert_eq!(shown, line),
        }
    }
}

#[test]
fn prompts_are_listed_where_the_configuration_names_no_folder_of_own_ones() {
    let (_folder, path) = configuration("");
    let listed = trunkline(&["prompt", "list", "--config", &path]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(out(&listed).contains("greeting"), "{listed:?}");
}

#[test]
fn status_needs_only_the_address_of_the_status_page() {
    let (_folder, path) = configuration(
        "[web]\nlisten = \"127.33.0.9:9\"\n[[trunk]]\nname = \"a\"\nhost = \"a.invalid\"\nregister = true\n",
    );
    let told = err(&trunkline(&["status", "--config", &path]));
    assert!(told.contains("no switch answers at 127.33.0.9:9"), "{told}");
}
