//! Copies of the database, and bringing them back.

use trunkline::store::*;

use crate::sample::*;

#[test]
fn backup_taken_while_calls_go_on_restores_what_was_there() {
    let (directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    let key = store.caller_key().unwrap();
    let copy = directory.path().join("copy.db");
    assert_eq!(store.backup(&copy).unwrap().calls, 1);
    store.apply(&whole_call(id(2), hmac())).unwrap();

    let url = StoreUrl::sqlite(directory.path().join("trunkline.db"));
    store.claim().unwrap();
    assert!(matches!(restore(&url, &copy), Err(StoreError::InUse(_))));
    drop(store);
    let restored = restore(&url, &copy).unwrap();
    assert_eq!(restored.facts.calls, 1);
    let store = SqliteStore::open(&url).unwrap();
    assert_eq!(count(&store), 1);
    assert_eq!(store.caller_key().unwrap(), key);
    let earlier = SqliteStore::open(&StoreUrl::sqlite(restored.earlier.unwrap())).unwrap();
    assert_eq!(count(&earlier), 2, "what was there before is kept");
}

#[test]
fn backup_goes_on_while_the_writer_writes() {
    let (directory, store) = new_store();
    let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
    let recorder = writer.recorder();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..2000).for_each(|n| recorder.record(whole_call(id(n), hmac())).unwrap()));
        for n in 0..5 {
            store
                .backup(&directory.path().join(format!("copy-{n}.db")))
                .unwrap();
        }
    });
    writer.flush(PATIENCE).unwrap();
    assert_eq!(count(&*store), 2000);
}

#[test]
fn backup_restores_where_nothing_was() {
    let (directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    let copy = directory.path().join("copy.db");
    store.backup(&copy).unwrap();
    let url = StoreUrl::sqlite(directory.path().join("other/place.db"));
    assert_eq!(restore(&url, &copy).unwrap().earlier, None);
    assert_eq!(count(&SqliteStore::open(&url).unwrap()), 1);
}

#[test]
fn damaged_backup_changes_nothing() {
    let (directory, store) = new_store();
    let changes: Vec<_> = (0..300).flat_map(|n| whole_call(id(n), hmac())).collect();
    store.apply(&changes).unwrap();
    let copy = directory.path().join("copy.db");
    store.backup(&copy).unwrap();
    drop(store);
    let mut bytes = std::fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0x5a);
    std::fs::write(&copy, bytes).unwrap();
    let url = StoreUrl::sqlite(directory.path().join("trunkline.db"));
    let error = restore(&url, &copy).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert_eq!(count(&SqliteStore::open(&url).unwrap()), 300);
}

#[test]
fn backup_that_cannot_be_written_leaves_no_part_behind() {
    let (directory, store) = new_store();
    let taken = directory.path().join("copy.db");
    std::fs::create_dir(&taken).unwrap();
    assert!(store.backup(&taken).is_err());
    assert!(!directory.path().join("copy.db.part").exists());
}
