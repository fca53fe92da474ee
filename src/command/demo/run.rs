//! `trunkline demo`: builds the stage, starts the real server on it, plays the call, and judges what came of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::call::record::{CallRecord, Party};
use crate::command::call::{self, CallCommand, ShowArgs};
use crate::command::output::say;
use crate::config::Config;
use crate::directory::Directory;
use crate::store::{CallFilter, CallStore, SqliteStore};
use crate::switch::prompt_library::PromptLibrary;
use crate::switch::{Parts, Switch};
use crate::units::Language;

use super::checks::Checks;
use super::peer::Law;
use super::stage::{self, HOTLINE, PEOPLE, Stage, ZIP};
use super::story::Story;
use super::timeline::Timeline;
use super::trunk::Trunk;

/// How long registration and other steps without people may take.
const SOON: Duration = Duration::from_secs(10);

/// A whole hotline on this machine: a simulated trunk, a caller and three offices around the real server. Nothing
/// leaves the machine and no real number is dialled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for what the caller heard and the call records
    #[arg(long, value_name = "DIR", default_value = "trunkline-demo")]
    out: PathBuf,
    /// Afterwards, keep the hotline running for a softphone until Ctrl-C
    #[arg(long)]
    stay: bool,
}

/// Plays the demo. Exit 0 only if everything happened as it should.
///
/// # Errors
/// When the folder, the addresses or the server are not to be had.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(play(args))
}

async fn play(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = clean_folder(&args.out)?;
    let timeline = Timeline::starting_now();
    let mut checks = Checks::default();
    let stage = Stage::pick().context("the demo needs four free loopback addresses")?;
    let mut trunk = Trunk::open(stage.trunk_plan(), timeline)
        .await
        .context("the simulated trunk")?;
    timeline.tell("trunk", &format!("ready at {}, knows three offices", stage.trunk));
    let switch = start(&stage, &folder).await?;
    timeline.tell("trunkline", &format!("the server is ready at {}", stage.server));
    let registered = trunk.until(SOON, |customer| customer.bound.is_some()).await;
    checks.that(
        "the server registers with the trunk by digest",
        registered && trunk.customer().challenged > 0,
    );

    let library = PromptLibrary::open(None, Language::ENGLISH).context("the recordings")?;
    let recordings = |id: &str| {
        let clip = library.clip(Language::ENGLISH, id)?;
        Some(
            clip.bytes(media::Law::Mu)
                .iter()
                .map(|byte| Law::Mu.decode(*byte))
                .collect(),
        )
    };
    let mut story = Story {
        trunk: &mut trunk,
        server: stage.server,
        recordings: &recordings,
        timeline,
        checks: &mut checks,
    };
    story.tell(&folder).await?;

    switch.flush().await;
    let store = switch.store();
    let record = latest(Arc::clone(&store)).await?;
    judge(&record, &mut checks);
    checks.that(
        "an independent SIP reader understood every message",
        trunk.customer().unreadable == 0,
    );
    if args.stay && checks.all_hold() {
        show(&store, &checks)?;
        stay(&stage, &folder).await?;
        switch.shutdown(Duration::ZERO).await;
        return Ok(ExitCode::SUCCESS);
    }
    switch.shutdown(Duration::ZERO).await;
    let left = trunk.until(SOON, |customer| customer.removed > 0).await;
    checks.that("the server takes its registration back when it ends", left);
    show(&store, &checks)?;
    Ok(if checks.all_hold() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Makes the folder; call records of an earlier demo go.
fn clean_folder(out: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let folder = out.canonicalize().with_context(|| out.display().to_string())?;
    for name in ["trunkline.db", "trunkline.db-wal", "trunkline.db-shm"] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
    }
    Ok(folder)
}

async fn start(stage: &Stage, folder: &Path) -> anyhow::Result<Switch> {
    let path = folder.join("demo.toml");
    let text = stage.configuration(folder);
    std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
    let config = Config::parse(&text, &path)?;
    let directory = Arc::new(Directory::from_dataset(stage::dataset()?));
    let parts = Parts {
        directory: Some(directory),
        wall: stage::office_time(jiff::Timestamp::now()),
    };
    Switch::start(&config, parts)
        .await
        .context("the server did not start")
}

/// The record of the only call.
async fn latest(store: Arc<SqliteStore>) -> anyhow::Result<CallRecord> {
    let read = tokio::task::spawn_blocking(move || {
        let page = store.calls(&CallFilter::default())?;
        page.calls.first().map(|call| store.call(call.id)).transpose()
    });
    read.await??.flatten().context("there is no record of the call")
}

fn judge(record: &CallRecord, checks: &mut Checks) {
    let summary = &record.summary;
    checks.that(
        "the call record is complete: some offices reached",
        summary.disposition == Some(SessionDisposition::CompletedSome)
            && summary.ended_at.is_some()
            && summary.caller_hmac.is_some(),
    );
    let expected = [
        LegDisposition::CallerEndedTalk,
        LegDisposition::Busy,
        LegDisposition::ClosedHours,
    ];
    for (person, expected) in PEOPLE.into_iter().zip(expected) {
        let leg = record.legs.iter().find(|leg| match &leg.party {
            Party::Office {
                number: Some(number), ..
            } => number.digits().ends_with(person.number),
            Party::Office { target, .. } => target.as_str().ends_with(person.key),
            _ => false,
        });
        let found = leg.and_then(|leg| leg.end.as_ref()).map(|end| end.disposition);
        let words = format!(
            "the record says of {}'s office: {}",
            person.office,
            expected.as_str()
        );
        if !checks.that(words, found == Some(expected)) {
            let found = found.map_or("nothing", |found| found.as_str());
            // The sentence above is the verdict; this is only beside it.
            let _ = say!("(the record says {found})");
        }
    }
    let carried = record
        .legs
        .iter()
        .filter_map(|leg| leg.end.as_ref())
        .any(|end| end.media.packets_sent > 100 && end.media.packets_received > 100);
    checks.that("the record counts the audio packets", carried);
}

fn show(store: &SqliteStore, checks: &Checks) -> anyhow::Result<()> {
    say!("\nThe call record, as `trunkline call show last` shows it:\n")?;
    let last = CallCommand::Show(ShowArgs {
        id: "last".to_owned(),
        json: false,
        ..ShowArgs::default()
    });
    call::run_with(store, &last, &TimeZone::system(), &mut std::io::stdout().lock())?;
    say!("\nWhat had to happen:\n")?;
    checks.print()?;
    say!(
        "\n{}",
        if checks.all_hold() {
            "All of it happened."
        } else {
            "Not all of it happened."
        }
    )?;
    Ok(())
}

/// Keeps the hotline running and tells how to call it.
async fn stay(stage: &Stage, folder: &Path) -> anyhow::Result<()> {
    let server = stage.server;
    say!(
        "\nThe hotline is still running. Call it with a softphone on this machine (no account or registration needed):\n\
         \n    sip:{HOTLINE}@{server}\n\
         \nfor example:  baresip -e \"dial sip:{HOTLINE}@{server}\"\n\
         Key in {ZIP}; the first office answers, the second is busy, the third is closed.\n\
         \nA real trunk: copy config/server.toml, fill in [[trunk]] (host, username, password) and [[number]] with\n\
         what your provider gave you, then\n\
         \n    trunkline check --config server.toml\n    trunkline serve --config server.toml\n\
         \nThis demo's own configuration is {}. Ctrl-C ends it.",
        folder.join("demo.toml").display(),
    )?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
