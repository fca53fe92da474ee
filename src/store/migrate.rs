//! Brings a database to the version this program knows, one numbered SQL file after the other.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::StoreError;
use super::sql::Sql;

/// A step from one version to the next.
pub(super) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal,)+) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("migrations/", $name, ".sql")),
        },)+]
    };
}

/// All steps, oldest first. A step that was released is never edited: a new one is added.
pub(super) const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_calls",
    2 "0002_settings",
    3 "0003_campaigns",
    4 "0004_directory",
    5 "0005_traces",
};

static TABLE: Sql = Sql::new(
    "CREATE TABLE IF NOT EXISTS migration (
        version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
);
static VERSION: Sql = Sql::new("SELECT COALESCE(MAX(version), 0) FROM migration");
static APPLIED: Sql = Sql::new("INSERT INTO migration (version, name, applied_at) VALUES ($1, $2, $3)");

/// The version that `migrations` lead to.
pub(super) fn known(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |last| last.version)
}

/// The version of a database; 0 when it is new.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'";
    let exists = connection.query_row(table, [], |_| Ok(())).optional()?.is_some();
    if !exists {
        return Ok(0);
    }
    Ok(connection.query_row(VERSION.sqlite(), [], |row| row.get(0))?)
}

/// Applies what is missing, each step in its own transaction; a second run changes nothing.
///
/// # Errors
/// [`StoreError::Newer`] when the database knows steps that this program does not.
pub(super) fn run(connection: &mut Connection, migrations: &[Migration], at: i64) -> Result<(), StoreError> {
    let (found, known) = (version(connection)?, known(migrations));
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        let failed = |error: rusqlite::Error| {
            let reason = error.to_string();
            match StoreError::from(error) {
                passing if passing.may_pass() => passing,
                _ => StoreError::Migration {
                    version: migration.version,
                    name: migration.name,
                    reason,
                },
            }
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(TABLE.sqlite())?;
        let now: i64 = transaction.query_row(VERSION.sqlite(), [], |row| row.get(0))?;
        if now >= migration.version {
            continue; // another process was first
        }
        transaction
            .execute_batch(&migration.sql.replace("-- sqlite: ", ""))
            .map_err(failed)?;
        transaction
            .execute(APPLIED.sqlite(), params![migration.version, migration.name, at])
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_from_one_without_a_gap() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, i64::try_from(at).unwrap() + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        }
    }

    #[test]
    fn second_run_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, MIGRATIONS, 1).unwrap();
        let before = dump(&connection);
        run(&mut connection, MIGRATIONS, 2).unwrap();
        assert_eq!(dump(&connection), before);
        assert_eq!(version(&connection).unwrap(), known(MIGRATIONS));
    }

    #[test]
    fn failed_step_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [
            Migration {
                version: 1,
                name: "0001_good",
                sql: "CREATE TABLE a (x TEXT);",
            },
            Migration {
                version: 2,
                name: "0002_bad",
                sql: "CREATE TABLE b (x TEXT); CREATE TABLE a (x TEXT);",
            },
        ];
        let error = run(&mut connection, &steps, 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("migration 2 (0002_bad) failed") && text.contains("a already exists"),
            "{text}"
        );
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(!dump(&connection).contains("TABLE b"));
    }

    #[test]
    fn database_from_a_newer_program_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, MIGRATIONS, 1).unwrap();
        let error = run(&mut connection, &MIGRATIONS[..1], 1).unwrap_err();
        assert!(matches!(error, StoreError::Newer { known: 1, .. }), "{error}");
    }

    fn dump(connection: &Connection) -> String {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_master ORDER BY name")
            .unwrap();
        let tables = statement
            .query_map([], |row| row.get::<_, Option<String>>(0))
            .unwrap();
        let mut text: String = tables.filter_map(|table| table.unwrap()).collect();
        let applied = "SELECT version || name || applied_at FROM migration";
        let mut statement = connection.prepare(applied).unwrap();
        text.extend(
            statement
                .query_map([], |row| row.get::<_, String>(0))
                .unwrap()
                .map(Result::unwrap),
        );
        text
    }
}
