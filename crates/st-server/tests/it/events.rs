//! A reader of the event stream that knows only the SSE format.

use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server};

/// An event as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: Option<i64>,
    /// The name of the event, which is `message` where it has none.
    pub(crate) name: String,
    /// The type in its data.
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// An open stream and all that came over it.
pub(crate) struct Events {
    seen: watch::Receiver<Vec<Seen>>,
    reader: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Events {
    /// Opens a stream, after the event `last` or for new ones only; returns when it is open.
    pub(crate) async fn follow(server: &Server, last: Option<i64>) -> Self {
        let mut request = server.client().get(server.url("/api/events"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let (sender, seen) = watch::channel(Vec::new());
        let reader = st_log::spawn(async move {
            let mut body = response.bytes_stream();
            let mut text = String::new();
            while let Some(Ok(bytes)) = body.next().await {
                text.push_str(std::str::from_utf8(&bytes).unwrap());
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let event = parse(event);
                    text = rest.to_owned();
                    sender.send_modify(|seen| seen.extend(event));
                }
            }
        });
        let mut events = Self { seen, reader };
        let open = events.seen.wait_for(|seen| seen.iter().any(|it| it.kind == "connection"));
        drop(timeout(PATIENCE, open).await.unwrap().unwrap());
        events
    }

    /// Waits until what came so far is as wanted, and gives it.
    pub(crate) async fn until(&self, done: impl Fn(&[Seen]) -> bool + Send + Sync) -> Vec<Seen> {
        let mut seen = self.seen.clone();
        let wait = seen.wait_for(|seen| done(seen));
        timeout(PATIENCE, wait).await.unwrap().unwrap().clone()
    }
}

fn parse(event: &str) -> Option<Seen> {
    let (name, kind) = ("message".to_owned(), String::new());
    let mut seen = Seen { id: None, name, kind, data: Value::Null };
    let mut has_data = false;
    for line in event.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => seen.id = id.parse().ok(),
            Some(("event", name)) => name.clone_into(&mut seen.name),
            Some(("data", data)) => {
                seen.data = serde_json::from_str(data).unwrap();
                seen.data["type"].as_str().unwrap().clone_into(&mut seen.kind);
                has_data = true;
            }
            Some(_) | None => {}
        }
    }
    has_data.then_some(seen)
}
