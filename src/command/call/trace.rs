//! `trunkline call show ID --ladder` and `--pcap FILE`: the SIP messages of a call.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::ShowArgs;
use super::canvas::Screen;
use super::capture::capture;
use super::glance::{Glance, Start};
use super::ladder::ladder;
use super::words::who;
use crate::call::record::CallRecord;
use crate::call::trace::{Trace, TracedMessage};
use crate::store::Store;

pub(super) fn run(
    store: &dyn Store,
    call: &CallRecord,
    args: &ShowArgs,
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let id = call.summary.id;
    let Some(trace) = store.trace(id)? else {
        if call.summary.ended_at.is_none() {
            bail!("call {id} is still going on: its messages are kept when it ends");
        }
        bail!(
            "no messages of call {id} are kept: [trace] in the configuration says of which calls they are, for how \
             many days, and how many a second (`trunkline status` tells how many were left out)"
        );
    };
    if let Some(file) = &args.pcap {
        write_whole(file, &capture(&trace)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        serde_json::to_writer(&mut *out, &document(call, &trace))?;
        writeln!(out)?;
    } else if args.ladder || args.full {
        let screen = Screen {
            width: args.width.map_or(screen.width, usize::from),
            unicode: screen.unicode && !args.ascii,
            ..*screen
        };
        out.write_all(ladder(call, &trace, &screen, args.full).as_bytes())?;
    } else if let Some(file) = &args.pcap {
        let count: usize = trace
            .messages
            .iter()
            .map(|message| 1 + message.copies.len())
            .sum();
        writeln!(out, "{} holds {count} messages.", file.display())?;
        if trace
            .messages
            .iter()
            .any(|message| message.transport == sip::Transport::Tls)
        {
            writeln!(
                out,
                "What passed over TLS stands there open, over TCP; port 5061 is written as 5060."
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that appears complete or not at all, for its owner alone.
fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut open| open.write_all(bytes).and_then(|()| open.sync_all()))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    written
}

fn document(call: &CallRecord, trace: &Trace) -> Value {
    let messages: Vec<Value> = trace
        .messages
        .iter()
        .map(|message| entry(call, message))
        .collect();
    json!({
        "call": call.summary.id,
        "disposition": call.summary.disposition,
        "left_out": trace.left_out,
        "messages": messages,
    })
}

fn entry(call: &CallRecord, message: &TracedMessage) -> Value {
    let glance = Glance::of(&message.text);
    let (source, destination) = message.path();
    let mut entry = json!({
        "at": message.at,
        "leg": message.leg,
        "party": who(call, Some(message.leg)),
        "sent": message.sent,
        "transport": match message.transport {
            sip::Transport::Udp => "udp",
            sip::Transport::Tcp => "tcp",
            sip::Transport::Tls => "tls",
        },
        "source": source,
        "destination": destination,
        "copies": message.copies,
        "bytes": message.length,
        "cseq": glance.cseq.parse::<u32>().ok(),
        "method": glance.method,
        "text": String::from_utf8_lossy(&message.text),
    });
    if let Start::Response(status, _) = glance.start {
        entry["status"] = status.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("call.pcap");
        write_whole(&file, b"first").unwrap();
        write_whole(&file, b"second").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert!(write_whole(&folder.path().join("none/call.pcap"), b"x").is_err());
        // A folder stands where the file should be.
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_whole(&folder.path().join("taken"), b"x").is_err());
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no part is left"
        );
    }
}
