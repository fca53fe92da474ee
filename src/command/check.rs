//! `trunkline check`: everything that would go wrong, before it does.

mod machine;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::output::{plain, say};
use crate::config::{Config, ConfigError};
use crate::directory::Directory;
use crate::store::{DirectoryStore, SqliteStore};
use crate::switch::prompt_library::PromptLibrary;
use crate::switch::{Tls, campaigns_of, flows_of, missing_prompts, routes_of};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Findings {
    /// What keeps the switch from working as configured.
    problems: Vec<String>,
    /// What works and may surprise.
    warnings: Vec<String>,
}

/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = findings(args);
    if args.json {
        say!("{}", serde_json::to_string(&findings)?)?;
    } else {
        for problem in &findings.problems {
            say!("problem: {problem}")?;
        }
        for warning in &findings.warnings {
            say!("warning: {warning}")?;
        }
        match findings.problems.len() {
            0 => say!("{}: no problems found", args.config.display())?,
            1 => say!("{}: 1 problem found", args.config.display())?,
            count => say!("{}: {count} problems found", args.config.display())?,
        }
    }
    Ok(if findings.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn findings(args: &Args) -> Findings {
    let mut findings = Findings::default();
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(ConfigError::Invalid { problems }) => return Findings { problems, ..findings },
        Err(error) => {
            return Findings {
                problems: vec![error.to_string()],
                ..findings
            };
        }
    };
    // A store that does not exist yet is made at the first start.
    let store = match config.store.url.path().exists() {
        true => match SqliteStore::open_existing(&config.store.url) {
            Ok(store) => Some(store),
            Err(error) => {
                findings.problems.push(error.to_string());
                None
            }
        },
        false => None,
    };
    let campaigns = match campaigns_of(&config, store.as_ref().map(|store| store as _)) {
        Ok(campaigns) => campaigns,
        Err(error) => {
            findings.problems.push(error.to_string());
            return findings;
        }
    };
    let (flows, problems) = flows_of(&config, &campaigns);
    findings.problems.extend(problems);
    if let Err(problems) = routes_of(&config, &campaigns, &flows) {
        findings.problems.extend(problems);
    }
    check_prompts(&config, &flows, &mut findings);
    if let Err(problems) = Tls::load(&config) {
        findings.problems.extend(problems);
    }
    let directory = match &store {
        Some(store) => store
            .current_directory()
            .map(drop)
            .map_err(|error| error.to_string()),
        None => Directory::bundled().map(drop).map_err(|error| error.to_string()),
    };
    if let Err(error) = directory {
        findings.problems.push(format!("directory: {error}"));
    }
    machine::check(&config, jiff::Timestamp::now(), &mut findings);
    warn(&config, &mut findings);
    // What the configuration's own reading told has the file's name already.
    let shown = args.config.display();
    for text in findings.problems.iter_mut().chain(&mut findings.warnings) {
        *text = plain(&format!("{shown}: {text}"));
    }
    findings
}

fn check_prompts(
    config: &Config,
    flows: &std::collections::BTreeMap<String, std::sync::Arc<crate::flow::Flow>>,
    findings: &mut Findings,
) {
    let languages = config.prompts.languages();
    let Some(&first) = languages.first() else { return };
    match PromptLibrary::open(config.prompts.directory.as_deref(), first) {
        Ok(library) => {
            for &language in &languages {
                findings
                    .problems
                    .extend(missing_prompts(flows, &library, language));
            }
            for (language, id) in library.unknown() {
                findings.warnings.push(format!(
                    "prompts: {language}/{id} is not a prompt that anything plays"
                ));
            }
        }
        Err(error) => findings.problems.push(format!("[prompts] directory: {error}")),
    }
}

/// Seconds that the unit of this repository leaves calls to end: its TimeoutStopSec, less what the end itself takes.
const UNIT_DRAIN: u64 = 300;

fn warn(config: &Config, findings: &mut Findings) {
    if config.trunks.is_empty() {
        findings
            .warnings
            .push("no [[trunk]]: no call can come in or go out".to_owned());
    }
    if config.numbers.is_empty() {
        findings
            .warnings
            .push("no [[number]]: every call is answered 404".to_owned());
    }
    if config.limits.drain_seconds > UNIT_DRAIN {
        findings.warnings.push(format!(
            "[limits] drain_seconds = {}: systemd/trunkline.service ends the switch after 330 s: give the unit a TimeoutStopSec \
             of 30 s more than that",
            config.limits.drain_seconds
        ));
    }
    for trunk in &config.trunks {
        let transport = trunk.transport;
        if !config
            .sip
            .listen
            .iter()
            .any(|listen| listen.transport == transport)
        {
            let name = &trunk.name;
            findings.warnings.push(format!(
                "[[trunk]] {name}: no \"{transport}:…\" in [sip] listen: the trunk can only use connections that we open"
            ));
        }
        if trunk.is_known_by_names_alone() {
            let name = &trunk.name;
            findings.warnings.push(format!(
                "[[trunk]] {name}: no addresses: calls that come from elsewhere than where {} leads are not answered",
                trunk.places().join(", ")
            ));
        }
        if trunk.caller_id.is_none() && !trunk.destinations.is_empty() {
            let name = &trunk.name;
            findings.warnings.push(format!(
                "[[trunk]] {name}: no caller_id: calls show the account's name"
            ));
        }
    }
}
