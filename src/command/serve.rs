//! `trunkline serve`: the switch, until a signal ends it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Listen, LogConfig, LogFormat};
use crate::switch::{Parts, Switch, service_manager};
use crate::web;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// # Errors
/// When the configuration does not fit or something it names cannot be had (an address, the store).
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, &args.config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, path: &Path) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut reload = signal(SignalKind::hangup()).context("SIGHUP")?;
    let started = Switch::start(&config, Parts::default()).await;
    let switch = started.map_err(|error| anyhow::Error::msg(located(path, &error.to_string())))?;
    if let Some(address) = config.web.address() {
        web::serve(address, switch.status())
            .await
            .with_context(|| format!("[web] listen: {address}"))?;
    }
    for Listen { transport, address } in switch.listen() {
        tracing::info!(%address, "listening for SIP over {}", transport.to_string().to_uppercase());
    }
    tracing::info!("ready");
    service_manager::ready();
    let mut drain = config.limits.drain();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                service_manager::reloading();
                if let Some(newer) = reloaded(&switch, &config, path).await {
                    drain = newer.limits.drain();
                }
                service_manager::ready();
            }
        }
    }
    service_manager::stopping();
    // A second signal cuts the waiting short.
    let orders = switch.orders();
    let cut = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The switch may have ended meanwhile.
        let _ = orders
            .send(crate::switch::Order::Drain(std::time::Duration::ZERO))
            .await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = switch.shutdown(drain) => {}
        () = cut => {}
    }
    Ok(())
}

/// Reads the configuration again; one that does not fit is told and changes nothing.
async fn reloaded(switch: &Switch, started: &Config, path: &Path) -> Option<Config> {
    let refused = |problems: String| {
        for problem in problems.lines() {
            tracing::error!("{problem}");
        }
        tracing::error!("the configuration stays as it was");
    };
    let newer = Config::load(path)
        .map_err(|error| refused(error.to_string()))
        .ok()?;
    let taken = switch.reload(&newer).await;
    taken
        .map_err(|error| refused(located(path, &error.to_string())))
        .ok()?;
    for table in started.needs_restart(&newer) {
        tracing::warn!("{table} changed: that needs a restart");
    }
    tracing::info!("the configuration was read again");
    Some(newer)
}

/// The file's name before each problem.
fn located(path: &Path, problems: &str) -> String {
    let located = |problem: &str| format!("{}: {problem}", path.display());
    problems.lines().map(located).collect::<Vec<_>>().join("\n")
}

/// Sends log lines to standard error.
pub fn start_log(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(config.filter().map_err(anyhow::Error::msg)?)
        .with_context(|| format!("[log] level: {:?}", config.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("log: {error}"))
}
