//! What relaying a packet costs, next to a reference relay that does nothing but relay.
//!
//! `cargo bench --bench media_relay -- --calls 1000 --seconds 4 --runs 5` runs the media driver and the reference in
//! turn, each in its own process, under the same load from this process, and prints the CPU microseconds of each
//! per packet sent, with their ratio. The ratio survives a busy machine, the microseconds do not. A run in which less
//! than 99.9 % of the packets were relayed, or in which the load was late, is not counted.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use media::rtp::Header;
use media::sdp::Negotiated;
use media::{DigitSet, Law, SourceRule, Start, StreamConfig, StreamId};
use rustix::time::{ClockId, clock_gettime};
use trunkline::switch::media_driver::{self, DriverCommand, DriverConfig, MediaDriver};
use trunkline::switch::port_pool::MediaSocket;

#[path = "media_relay/reference.rs"]
mod reference;

const OURS: Ipv4Addr = Ipv4Addr::new(127, 77, 20, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(127, 77, 20, 2);
const FIRST_PORT: u16 = 12_000;
const FRAME: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    media_driver::raise_file_limit();
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    let legs = number("--calls", 200) as u16 * 2;
    match arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("--relay="))
    {
        Some("product") => product(legs),
        Some("reference") => reference::run(legs),
        _ => compare(
            legs,
            Duration::from_secs(number("--seconds", 3)),
            number("--runs", 3),
        ),
    }
}

/// Runs both relays in turn and prints the medians.
fn compare(legs: u16, duration: Duration, runs: u64) -> Result<(), Box<dyn std::error::Error>> {
    let load = Load::new(legs)?;
    let (mut product, mut reference) = (Vec::new(), Vec::new());
    println!(
        "{} calls, {duration:?} a run, load average {}",
        legs / 2,
        load_average()
    );
    for run in 0..runs {
        for (name, figures) in [("reference", &mut reference), ("product", &mut product)] {
            match measure(name, &load, legs, duration)? {
                Run {
                    valid: true, micros, ..
                } => figures.push(micros),
                bad => println!("run {run} of {name} not counted: {bad:?}"),
            }
        }
    }
    let (product, reference) = (median(&mut product), median(&mut reference));
    println!(
        "reference {reference:.2} us a packet, product {product:.2}, ratio {:.2}",
        product / reference
    );
    Ok(())
}

#[derive(Debug)]
struct Run {
    valid: bool,
    micros: f64,
    #[expect(dead_code, reason = "printed when the run does not count")]
    delivered: f64,
}

fn measure(
    name: &str,
    load: &Load,
    legs: u16,
    duration: Duration,
) -> Result<Run, Box<dyn std::error::Error>> {
    let mut relay = Relay::start(name, legs)?;
    load.run(WARM_UP);
    let (cpu_before, sent_before) = relay.totals()?;
    let (offered, on_time) = load.run(duration);
    let (cpu, sent) = relay.totals()?;
    relay.stop()?;
    let (cpu, sent) = (cpu - cpu_before, sent - sent_before);
    let delivered = sent as f64 / offered as f64;
    let micros = cpu as f64 / 1000.0 / sent as f64;
    println!(
        "  {name:9} {micros:.2} us a packet, {:.3} % relayed",
        delivered * 100.0
    );
    // What was on its way at either end of the time counts as neither lost nor found.
    Ok(Run {
        valid: on_time && (0.999..1.001).contains(&delivered),
        micros,
        delivered,
    })
}

/// A relay in a process of its own, which answers every line with its CPU nanoseconds and packets sent.
struct Relay {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Relay {
    fn start(name: &str, legs: u16) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([&format!("--relay={name}"), "--calls", &(legs / 2).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut relay = Self { child, answers };
        relay.totals()?;
        Ok(relay)
    }

    fn totals(&mut self) -> io::Result<(u64, u64)> {
        let stdin = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(b"\n")?;
        stdin.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line
            .split_whitespace()
            .map(|word| word.parse::<u64>().unwrap_or_default());
        Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()))
    }

    fn stop(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().map(drop)
    }
}

/// Answers lines on standard input until it closes.
fn answer_totals(sent: impl Fn() -> u64) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        line?;
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        println!(
            "{} {}",
            cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
            sent()
        );
    }
    Ok(())
}

/// The far ends of all legs: they send, and let what they receive overflow.
struct Load {
    sockets: Vec<UdpSocket>,
    order: Vec<usize>,
}

impl Load {
    fn new(legs: u16) -> io::Result<Self> {
        let sockets = (0..legs).map(|leg| {
            let socket = UdpSocket::bind(far(leg))?;
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 0)?;
            Ok(socket)
        });
        let mut order: Vec<usize> = (0..usize::from(legs)).collect();
        let mut state = 88_172_645_463_325_252u64;
        for index in (1..order.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            order.swap(index, state as usize % (index + 1));
        }
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
            order,
        })
    }

    /// Sends 50 packets a second on every leg, evenly spread. Returns how many, and whether they were on time.
    fn run(&self, duration: Duration) -> (u64, bool) {
        let start = Instant::now();
        let frames = (duration.as_millis() / FRAME.as_millis()) as u32;
        let mut late = Duration::ZERO;
        let mut packet = [0xd5; 172];
        for frame in 0..frames {
            for (position, leg) in self.order.iter().enumerate() {
                let share = FRAME * position as u32 / self.order.len() as u32;
                late = late.max(wait_until(start + FRAME * frame + share));
                let header = Header {
                    marker: false,
                    payload_type: 0,
                    sequence: frame as u16,
                    timestamp: frame * 160,
                    ssrc: *leg as u32 + 1,
                };
                packet[..12].copy_from_slice(&header.bytes());
                let _ = self.sockets[*leg].send_to(&packet, ours(*leg as u16));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        (
            u64::from(frames) * self.order.len() as u64,
            late < Duration::from_millis(10),
        )
    }
}

/// Returns how late it is.
fn wait_until(due: Instant) -> Duration {
    loop {
        let now = Instant::now();
        match due.checked_duration_since(now) {
            None => return now - due,
            Some(rest) if rest > Duration::from_micros(200) => std::thread::sleep(Duration::from_micros(100)),
            Some(rest) if rest.is_zero() => return Duration::ZERO,
            Some(_) => std::hint::spin_loop(),
        }
    }
}

fn ours(leg: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(OURS, FIRST_PORT + leg))
}

fn far(leg: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(FAR, FIRST_PORT + leg))
}

/// The media driver with every two legs bridged.
fn product(legs: u16) -> Result<(), Box<dyn std::error::Error>> {
    let config = DriverConfig {
        threads: 1,
        tick: TICK,
        longest_tick: TICK,
        commands: usize::from(legs) * 2,
        ..DriverConfig::default()
    };
    let (driver, _events) = MediaDriver::start(&config)?;
    for leg in 0..legs {
        let socket = MediaSocket::try_from(UdpSocket::bind(ours(leg))?)?;
        let stream = StreamId(u32::from(leg));
        driver.send(
            0,
            DriverCommand::Open {
                stream,
                socket,
                config: stream_config(leg),
            },
        )?;
        if leg % 2 == 1 {
            let (a, b) = (StreamId(u32::from(leg) - 1), stream);
            let bridge = media::Command::Bridge {
                a,
                b,
                withhold: DigitSet::NONE,
            };
            driver.send(0, DriverCommand::Media(bridge))?;
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    answer_totals(|| driver.counters().sent.load(std::sync::atomic::Ordering::Relaxed))?;
    Ok(())
}

fn stream_config(leg: u16) -> StreamConfig {
    StreamConfig {
        agreed: Negotiated::plain(Law::Mu.into(), Some(far(leg))),
        source: SourceRule::default(),
        start: Start {
            ssrc: u32::from(leg),
            sequence: 0,
            timestamp: 0,
        },
        silence_after: Some(Duration::from_secs(30)),
        fill_silence: true,
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .unwrap_or("?")
        .to_owned()
}
