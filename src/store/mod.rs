//! Keeps what happened and what people set: call records, settings, campaigns, the directory.
//!
//! Inputs: changes to records from call control (through [`Writer`], one thread with group commit), documents and
//! settings from pages and commands. Outputs: records and documents read back. All SQL is in the subset that
//! SQLite and PostgreSQL share; only `sqlite.rs`, `migrate.rs`, `backup.rs` and `error.rs` know which database it is.
//! The store decides nothing about calls and never sees a caller's number.
//!
//! One file per noun, each with its trait; [`Store`] is all of them.

mod backup;
mod call_event;
mod call_record;
mod call_trace;
mod campaign;
mod directory;
mod error;
mod leg_record;
mod migrate;
mod setting;
mod sql;
mod sqlite;
mod writer;

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

pub use backup::{BackupFacts, Restored, restore};
pub use call_record::{CallFilter, CallPage, CallStore, Cursor, NotACursor};
pub use call_trace::TraceStore;
pub use campaign::{CampaignDocument, CampaignStore};
pub use directory::{DirectoryStore, StoredDirectory};
pub use error::StoreError;
pub use setting::{CallerKey, SettingStore};
pub use sqlite::SqliteStore;
pub use writer::{FlushError, Health, NotTaken, Recorder, Writer, WriterConfig};

/// Everything that is kept. Calls block: use them from threads that may wait.
pub trait Store:
    CallStore + TraceStore + SettingStore + CampaignStore + DirectoryStore + Send + Sync
{
}

impl<T: CallStore + TraceStore + SettingStore + CampaignStore + DirectoryStore + Send + Sync> Store for T {}

/// Where records are kept: `[store]` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:PATH`; a relative path starts at the working directory.
    pub url: StoreUrl,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: StoreUrl {
                path: PathBuf::from("data/trunkline.db"),
            },
        }
    }
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StoreUrl {
    path: PathBuf,
}

impl StoreUrl {
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl FromStr for StoreUrl {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err(StoreError::NoPostgres(
                text.split('@').next_back().unwrap_or_default().to_owned(),
            ));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::sqlite(path)),
            _ => Err(StoreError::Url(text.to_owned())),
        }
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = StoreError;
    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_url_names_a_file() {
        let url: StoreUrl = "sqlite:/var/lib/trunkline/trunkline.db".parse().unwrap();
        assert_eq!(
            url.path(),
            std::path::Path::new("/var/lib/trunkline/trunkline.db")
        );
    }

    #[test]
    fn other_store_urls_are_refused_with_the_fix_and_without_the_password() {
        for text in ["", "trunkline.db", "sqlite:", "mysql:x"] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains("write \"sqlite:PATH\""), "{error}");
        }
        let error = "postgres://u:secret@db/x"
            .parse::<StoreUrl>()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("SQLite only") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn store_configuration_refuses_unknown_keys() {
        assert_eq!(toml::from_str::<StoreConfig>("").unwrap(), StoreConfig::default());
        assert!(
            toml::from_str::<StoreConfig>("path = \"x\"")
                .unwrap_err()
                .to_string()
                .contains("unknown field")
        );
        assert!(
            toml::from_str::<StoreConfig>("url = \"x\"")
                .unwrap_err()
                .to_string()
                .contains("sqlite:PATH")
        );
    }
}
