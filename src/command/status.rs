//! `trunkline status`: the running switch's health, from its status page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::output::say;
use crate::config::WebConfig;

/// A status page is far shorter.
const LONGEST: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file of the running switch
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When no switch answers at the configured address.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let web = WebConfig::load(&args.config)?;
    let Some(address) = web.address() else {
        bail!(
            "{}: [web] listen is empty, so the switch has no status page",
            args.config.display()
        );
    };
    let body = fetch(address).with_context(|| format!("no switch answers at {address}"))?;
    let status: serde_json::Value = serde_json::from_str(&body).context("the answer is not a status")?;
    if args.json {
        say!("{status}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let count = |name: &str| status.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    if status.get("draining").and_then(serde_json::Value::as_bool) == Some(true) {
        say!("draining, {} calls left", count("calls"))?;
    }
    say!("calls            {}", count("calls"))?;
    say!("records waiting  {}", count("records_waiting"))?;
    say!("traces kept      {}", count("traces_kept"))?;
    say!("  left out       {}", count("traces_left_out"))?;
    say!("over the rate    {}", count("calls_over_rate"))?;
    say!("strangers seen   {}", count("sip_strangers"))?;
    say!(
        "  dropped unread {}",
        count("sip_throttled") + count("sip_banned")
    )?;
    say!("  bans           {}", count("bans"))?;
    if let Some(trouble) = status.get("records_trouble").and_then(serde_json::Value::as_str) {
        say!("records trouble  {trouble}")?;
    }
    for trunk in status
        .get("trunks")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = trunk
            .get("name")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("?");
        let resolved = trunk
            .get("resolved")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(false);
        let registered = trunk.get("registered").and_then(serde_json::Value::as_bool);
        let state = match (resolved, registered) {
            (false, _) => "address unknown",
            (true, None) => "known by address",
            (true, Some(true)) => "registered",
            (true, Some(false)) => "not registered",
        };
        let calls = trunk
            .get("calls")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0);
        say!("trunk {name}: {state}, {calls} calls{}", troubles(trunk))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What an operator should know of a trunk beside its state.
fn troubles(trunk: &serde_json::Value) -> String {
    let is = |name: &str| trunk.get(name).and_then(serde_json::Value::as_bool) == Some(true);
    let mut text = String::new();
    if is_unregistered(trunk)
        && let Some(why) = trunk
            .get("registration_trouble")
            .and_then(serde_json::Value::as_str)
    {
        text.push_str(&format!(", {why}"));
    }
    for (name, words) in [
        ("down", ", does not answer OPTIONS"),
        ("resting", ", asked not to be called for a while"),
        ("failing", ", its last call failed and went on over another trunk"),
    ] {
        text.push_str(if is(name) { words } else { "" });
    }
    if let Some(address) = trunk.get("seen_at").and_then(serde_json::Value::as_str) {
        text.push_str(&format!(", sees us at {address}"));
    }
    text
}

fn is_unregistered(trunk: &serde_json::Value) -> bool {
    trunk.get("registered").and_then(serde_json::Value::as_bool) == Some(false)
}

/// One GET, as small as HTTP allows.
fn fetch(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the answer is not HTTP")
    };
    if !head.starts_with("HTTP/1.") || head.split(' ').nth(1) != Some("200") {
        bail!("the answer was: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_of_a_trunk_are_told_in_words() {
        let trunk = serde_json::json!({
            "down": true, "resting": false, "seen_at": "203.0.113.9:5060",
            "registered": true, "registration_trouble": null,
        });
        assert_eq!(
            troubles(&trunk),
            ", does not answer OPTIONS, sees us at 203.0.113.9:5060"
        );
        let refused = "the trunk refuses the username or password";
        assert_eq!(
            troubles(&serde_json::json!({ "registered": false, "registration_trouble": refused })),
            format!(", {refused}")
        );
        assert_eq!(
            troubles(&serde_json::json!({ "down": false, "seen_at": null })),
            ""
        );
    }
}
