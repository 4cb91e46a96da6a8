//! Helpers that run code and return what it logged.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use st_log::{LogLayer, Settings};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

/// A thread-safe buffer of the lines that a layer writes.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn layer(&self, settings: &Settings) -> LogLayer {
        let lines = Arc::clone(&self.0);
        st_log::layer(settings, move |line| lines.lock().unwrap().extend_from_slice(line))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The text that `work` logs, unparsed.
pub(crate) fn text_of(settings: &Settings, work: impl FnOnce()) -> String {
    let captured = Captured::default();
    tracing::subscriber::with_default(Registry::default().with(captured.layer(settings)), work);
    captured.text()
}

/// The records that `work` logs, at all levels.
pub(crate) fn records_of(work: impl FnOnce()) -> Vec<Value> {
    records_at(st_log::Level::Debug, work)
}

/// The records that `work` logs with this filter.
pub(crate) fn records_at(level: st_log::Level, work: impl FnOnce()) -> Vec<Value> {
    parsed(&text_of(&Settings { level: level.into(), ..Settings::default() }, work))
}

/// The records that `work` and the tasks it spawns log, on one thread.
pub(crate) fn records_of_async(work: impl Future<Output = ()>) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    records_of(|| runtime.block_on(work))
}

pub(crate) fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The only record; panics if there are none or several.
pub(crate) fn only(records: Vec<Value>) -> Value {
    let [record] = <[Value; 1]>::try_from(records).unwrap();
    record
}

/// Creates a span whose module differs from that of the events in it.
pub(crate) fn foreign_span() -> tracing::Span {
    tracing::info_span!("foreign")
}
