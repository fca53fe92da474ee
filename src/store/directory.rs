//! The directory that an operator imported, as the texts of its compact table: a whole edition is read in the time of
//! one query, and replaced in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use super::error::StoreError;
use super::sql::Sql;
use super::sqlite::SqliteStore;
use crate::call::record::UtcMicros;
use crate::directory::{BundleError, Dataset, Directory};

static EDITION: Sql =
    Sql::new("SELECT edition, imported_at FROM directory_edition ORDER BY edition DESC LIMIT 1");
static PARTS: Sql = Sql::new("SELECT name, text FROM directory_part");
static PUT_EDITION: Sql = Sql::new("INSERT INTO directory_edition (edition, imported_at) VALUES ($1, $2)");
static DROP_EDITIONS: Sql = Sql::new("DELETE FROM directory_edition WHERE edition < $1");
static DROP_PARTS: Sql = Sql::new("DELETE FROM directory_part");
static PUT_PART: Sql = Sql::new("INSERT INTO directory_part (name, text) VALUES ($1, $2)");

/// A directory as stored. Editions count up from 1 with every import.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDirectory {
    pub edition: i64,
    pub imported_at: UtcMicros,
    pub dataset: Dataset,
}

/// The imported directory.
pub trait DirectoryStore {
    /// None until the first import: the built-in directory is used then.
    fn directory(&self) -> Result<Option<StoredDirectory>, StoreError>;

    /// The edition kept now, without reading it; 0 before the first import.
    fn directory_edition(&self) -> Result<i64, StoreError>;

    /// Keeps a data set in place of edition `replaces` (0: of none), all or nothing, and returns its edition.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when another import came between.
    fn put_directory(&self, dataset: &Dataset, replaces: i64, at: UtcMicros) -> Result<i64, StoreError>;

    /// The directory that calls use: the imported one, else the built-in one.
    fn current_directory(&self) -> Result<Arc<Directory>, StoreError> {
        match self.directory()? {
            Some(stored) => Ok(Arc::new(Directory::from_dataset(stored.dataset))),
            None => Directory::bundled().map_err(unreadable),
        }
    }
}

impl DirectoryStore for SqliteStore {
    fn directory(&self) -> Result<Option<StoredDirectory>, StoreError> {
        let read = self.read(|reading| {
            let Some((edition, imported_at)) = edition(reading)? else {
                return Ok(None);
            };
            let mut statement = reading.prepare_cached(PARTS.sqlite())?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let parts = rows.collect::<Result<HashMap<String, String>, _>>()?;
            Ok(Some((edition, imported_at, parts)))
        })?;
        let Some((edition, imported_at, parts)) = read else {
            return Ok(None);
        };
        let text_of = |name: &str| parts.get(name).map_or("", String::as_str);
        let dataset = Dataset::from_bundle(text_of).map_err(unreadable)?;
        Ok(Some(StoredDirectory {
            edition,
            imported_at,
            dataset,
        }))
    }

    fn directory_edition(&self) -> Result<i64, StoreError> {
        self.read(|reading| Ok(edition(reading)?.map_or(0, |(edition, _)| edition)))
    }

    fn put_directory(&self, dataset: &Dataset, replaces: i64, at: UtcMicros) -> Result<i64, StoreError> {
        let parts = dataset
            .to_bundle()
            .map_err(|error| StoreError::Io(error.to_string()))?;
        let new = replaces + 1;
        self.write(|writing| {
            let found = edition(writing)?.map_or(0, |(edition, _)| edition);
            if found != replaces {
                let reason = format!("the directory was changed meanwhile (edition {found}): import again");
                return Err(StoreError::Refused(reason));
            }
            writing.execute(PUT_EDITION.sqlite(), params![new, at.0])?;
            writing.execute(DROP_EDITIONS.sqlite(), params![new])?;
            writing.execute(DROP_PARTS.sqlite(), [])?;
            let mut put = writing.prepare_cached(PUT_PART.sqlite())?;
            for part in &parts {
                put.execute(params![part.name, part.text])?;
            }
            Ok(new)
        })
    }
}

fn edition(reading: &Transaction<'_>) -> Result<Option<(i64, UtcMicros)>, StoreError> {
    let mut statement = reading.prepare_cached(EDITION.sqlite())?;
    Ok(statement
        .query_row([], |row| Ok((row.get(0)?, UtcMicros(row.get(1)?))))
        .optional()?)
}

fn unreadable(error: BundleError) -> StoreError {
    StoreError::Unreadable(format!("directory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreUrl;

    #[test]
    fn directory_comes_back_as_it_was_kept() {
        let (_folder, store) = store();
        assert_eq!(store.directory().unwrap(), None);
        let dataset = Dataset::bundled().unwrap();
        assert_eq!(store.put_directory(&dataset, 0, UtcMicros(7)).unwrap(), 1);
        let stored = store.directory().unwrap().unwrap();
        assert!(stored.dataset == dataset);
        assert_eq!((stored.edition, stored.imported_at), (1, UtcMicros(7)));
    }

    #[test]
    fn second_of_two_imports_at_once_is_refused_and_changes_nothing() {
        let (_folder, store) = store();
        let dataset = Dataset::bundled().unwrap();
        store.put_directory(&dataset, 0, UtcMicros(1)).unwrap();
        let error = store
            .put_directory(&Dataset::default(), 0, UtcMicros(2))
            .unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        assert_eq!(store.directory_edition().unwrap(), 1);
        assert_eq!(store.current_directory().unwrap().targets().len(), 537);
    }

    #[test]
    fn built_in_directory_is_used_until_the_first_import() {
        let (_folder, store) = store();
        assert_eq!(store.current_directory().unwrap().targets().len(), 537);
        store.put_directory(&Dataset::default(), 0, UtcMicros(1)).unwrap();
        assert_eq!(store.current_directory().unwrap().targets().len(), 0);
    }

    fn store() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&StoreUrl::sqlite(folder.path().join("trunkline.db"))).unwrap();
        (folder, store)
    }
}
