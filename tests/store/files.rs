//! Files that are not ours, damaged, or from another time.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use trunkline::call::record::UtcMicros;
use trunkline::store::*;

use crate::sample::*;

#[test]
fn database_is_readable_by_its_owner_alone() {
    let directory = TempDir::new().unwrap();
    let inner = directory.path().join("new/data");
    let store = open(&inner);
    store.apply(&whole_call(id(1), hmac())).unwrap();
    store.claim().unwrap();
    assert_eq!(
        std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let files: Vec<_> = std::fs::read_dir(&inner).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 4, "database, log, index, lock: {files:?}");
    for file in files {
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.path()
        );
    }
}

#[test]
fn file_that_is_no_database_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("trunkline.db");
    std::fs::write(
        &path,
        "these are not the records you are looking for\n".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&StoreUrl::sqlite(&path)).err().unwrap();
    assert!(matches!(error, StoreError::NotADatabase(_)), "{error}");
    assert!(
        error.to_string().contains("trunkline.db is not a database"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn database_of_another_program_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("trunkline.db");
    let recipes = rusqlite::Connection::open(&path).unwrap();
    recipes.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(recipes);
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&StoreUrl::sqlite(&path)).err().unwrap();
    assert!(matches!(error, StoreError::Foreign(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn damaged_database_says_so() {
    let (directory, store) = new_store();
    let changes: Vec<_> = (0..300).flat_map(|n| whole_call(id(n), hmac())).collect();
    store.apply(&changes).unwrap();
    drop(store);
    let path = directory.path().join("trunkline.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let quarter = bytes.len() / 4;
    bytes[quarter..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let store = SqliteStore::open(&StoreUrl::sqlite(&path));
    let read =
        |store: SqliteStore| store.export_calls(&CallFilter::default(), &mut |_| ControlFlow::Continue(()));
    let error = store.and_then(read).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn value_that_cannot_be_read_names_itself_and_hides_no_other_call() {
    let (directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    store.apply(&whole_call(id(2), hmac())).unwrap();
    let other = rusqlite::Connection::open(directory.path().join("trunkline.db")).unwrap();
    let spoil = "UPDATE leg_record SET disposition = 'eaten' WHERE call_id = ?1";
    other.execute(spoil, [id(1).to_string()]).unwrap();
    let error = store.call(id(1)).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("\"eaten\" is not a disposition of a leg"),
        "{error}"
    );
    assert!(store.call(id(2)).unwrap().is_some());
}

#[test]
fn database_from_a_newer_program_is_refused_in_words() {
    let (directory, store) = new_store();
    drop(store);
    let path = directory.path().join("trunkline.db");
    let future = rusqlite::Connection::open(&path).unwrap();
    future
        .execute("INSERT INTO migration VALUES (999, '0999_future', 0)", [])
        .unwrap();
    for open in [SqliteStore::open, SqliteStore::open_existing] {
        let error = open(&StoreUrl::sqlite(&path)).err().unwrap().to_string();
        assert!(error.contains("newer trunkline (version 999;"), "{error}");
    }
}

#[test]
fn opening_again_migrates_nothing() {
    let (directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    drop(store);
    let applied = || -> Vec<(i64, i64)> {
        let other = rusqlite::Connection::open(directory.path().join("trunkline.db")).unwrap();
        let mut statement = other
            .prepare("SELECT version, applied_at FROM migration ORDER BY version")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = applied();
    assert_eq!(count(&open(directory.path())), 1);
    assert_eq!(applied(), before);
}

#[test]
fn missing_database_is_not_made_by_reading() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("trunkline.db");
    assert!(matches!(
        SqliteStore::open_existing(&StoreUrl::sqlite(&path)),
        Err(StoreError::Missing(_))
    ));
    assert!(!path.exists());
}

#[test]
fn second_server_on_one_database_is_refused_and_closes_nothing() {
    let directory = TempDir::new().unwrap();
    let first = open(directory.path());
    first.claim().unwrap();
    first.apply(&[opened(id(1), UtcMicros(1), "a")]).unwrap();
    let second = open(directory.path());
    assert!(matches!(second.claim(), Err(StoreError::InUse(_))));
    assert!(matches!(
        second.close_open_calls(UtcMicros(9)),
        Err(StoreError::InUse(_))
    ));
    drop(first);
    assert_eq!(second.close_open_calls(UtcMicros(9)).unwrap(), 1);
}
