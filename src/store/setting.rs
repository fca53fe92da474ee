//! Values that an installation keeps for itself.

use rusqlite::{OptionalExtension, params};

use super::error::StoreError;
use super::sql::Sql;
use super::sqlite::SqliteStore;

static SELECT: Sql = Sql::new("SELECT value FROM setting WHERE name = $1");
static PUT: Sql = Sql::new(
    "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);
static PUT_FIRST: Sql =
    Sql::new("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");

const CALLER_KEY: &str = "caller_key";

/// The key of the callers' pseudonyms. Whoever has it and the records can find a number by trying all of them, so
/// it never appears in logs or pages; it is part of backups.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerKey([u8; 32]);

impl CallerKey {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallerKey(…)")
    }
}

/// Settings by name.
pub trait SettingStore {
    fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;

    fn put_setting(&self, name: &str, value: &str) -> Result<(), StoreError>;

    /// The key of the callers' pseudonyms, made from the system's random source at the first call ever.
    fn caller_key(&self) -> Result<CallerKey, StoreError>;
}

impl SettingStore for SqliteStore {
    fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read(|reading| {
            let mut statement = reading.prepare_cached(SELECT.sqlite())?;
            Ok(statement.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    fn put_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write(|writing| {
            writing
                .prepare_cached(PUT.sqlite())?
                .execute(params![name, value])?;
            Ok(())
        })
    }

    fn caller_key(&self) -> Result<CallerKey, StoreError> {
        if self.setting(CALLER_KEY)?.is_none() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|error| StoreError::Random(error.to_string()))?;
            let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            self.write(|writing| {
                writing
                    .prepare_cached(PUT_FIRST.sqlite())?
                    .execute(params![CALLER_KEY, text])?;
                Ok(())
            })?;
        }
        let stored = self.setting(CALLER_KEY)?.unwrap_or_default();
        bytes_of(&stored).map(CallerKey).ok_or_else(|| {
            StoreError::Unreadable(format!("setting {CALLER_KEY} is not 64 hexadecimal digits"))
        })
    }
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}
