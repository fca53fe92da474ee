//! Traces of calls are kept as configured, and leave the store when they are old or too many.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, TraceRules};
use crate::call::record::UtcMicros;
use crate::call::trace::{Keep, TraceConfig};
use crate::store::{SqliteStore, StoreError, TraceStore};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(600);

/// Tells the engine what is to be kept, and looks after the store. Must run inside the runtime.
pub(super) fn start(engine: &mut Engine, store: &Arc<SqliteStore>, config: &TraceConfig) {
    engine.keep_traces(TraceRules {
        keep: config.keep,
        most_per_second: config.most_per_second,
    });
    tokio::spawn(watch(Arc::downgrade(store), config.clone()));
}

/// Removes what is to go, now and every ten minutes, while the store is open.
async fn watch(store: Weak<SqliteStore>, config: TraceConfig) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        period.tick().await;
        let Some(store) = store.upgrade() else { return };
        let config = config.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&store, &config, Timestamp::now())).await;
        match swept {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "traces removed"),
            Ok(Err(error)) => tracing::warn!("traces could not be removed: {error}"),
            Err(error) => tracing::error!("removing traces failed: {error}"),
        }
    }
}

/// With nothing to be kept, nothing that was kept earlier stays.
fn sweep(store: &SqliteStore, config: &TraceConfig, now: Timestamp) -> Result<u64, StoreError> {
    if config.keep == Keep::None {
        return store.sweep_traces(UtcMicros(i64::MAX), 0);
    }
    let age = SignedDuration::from_hours(24 * i64::from(config.days));
    let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
    store.sweep_traces(before.into(), u64::from(config.megabytes) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::record::{RecordChange, TraceKept};
    use crate::call::trace::Trace;
    use crate::store::{CallStore, StoreUrl};
    use crate::units::CallId;

    const DAY: i64 = 86_400_000_000;

    fn kept(day: i64, bytes: usize) -> RecordChange {
        let mut trace = Trace::default().encode();
        trace.resize(bytes.max(trace.len()), 0);
        RecordChange::Traced(Box::new(TraceKept {
            call: CallId::new(day as u64, 0),
            at: UtcMicros(day * DAY),
            trace,
        }))
    }

    #[test]
    fn traces_go_by_age_and_by_size_and_all_of_them_when_none_are_to_be_kept() {
        let directory = tempfile::TempDir::new().unwrap();
        let url = StoreUrl::sqlite(directory.path().join("trunkline.db"));
        let store = SqliteStore::open(&url).unwrap();
        let changes: Vec<RecordChange> = (1..=500).map(|day| kept(day, 100_000)).collect();
        store.apply(&changes).unwrap();
        let there = |day: u64| store.trace(CallId::new(day, 0)).unwrap().is_some();
        let now = UtcMicros(500 * DAY).timestamp();
        let mut config = TraceConfig {
            days: 200,
            megabytes: 1000,
            ..TraceConfig::default()
        };
        assert_eq!(sweep(&store, &config, now).unwrap(), 299);
        assert!(!there(299) && there(300) && there(500));
        config.megabytes = 10;
        assert_eq!(sweep(&store, &config, now).unwrap(), 101);
        assert!(!there(400) && there(401));
        config.keep = Keep::None;
        assert_eq!(sweep(&store, &config, now).unwrap(), 100);
        assert_eq!(sweep(&store, &config, now).unwrap(), 0);
    }
}
