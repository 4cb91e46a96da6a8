//! The event stream: its formats, where it begins, and what it leaves out.

use futures_util::StreamExt;
use jiff::SignedDuration;
use serde_json::{Value, json};
use st_store::{Actor, DamagedRow, HistoryRepo, JobRepo};
use tokio::time::{Duration, timeout};

use super::Harness;

/// Far longer than anything takes; a test that needs it has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One event: the values of its lines by their names.
#[derive(Debug)]
struct Frame {
    id: Option<String>,
    event: Option<String>,
    data: Value,
}

impl Frame {
    fn of(text: &str) -> Self {
        let line = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let data = serde_json::from_str(&line("data").unwrap()).unwrap();
        Self { id: line("id"), event: line("event"), data }
    }
}

impl Harness {
    /// The first `count` events of a stream.
    async fn stream(&self, query: &str, header: Option<&str>, count: usize) -> Vec<Frame> {
        let mut request = self.client.get(format!("{}/api/events{query}", self.url));
        if let Some(header) = header {
            request = request.header("Last-Event-ID", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.bytes_stream();
        let mut text = String::new();
        let read = async {
            while text.matches("\n\n").count() < count {
                text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
            }
        };
        timeout(TIMEOUT, read).await.unwrap();
        text.split_terminator("\n\n").take(count).map(Frame::of).collect()
    }
}

#[tokio::test]
async fn events_have_no_name_unless_names_are_asked_for() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    for query in ["?last_event_id=0", "?lastEventId=0&format=message&t=1234"] {
        let frames = api.stream(query, None, 3).await;
        assert!(frames.iter().all(|frame| frame.event.is_none()), "{frames:?}");
        assert_eq!((&frames[0].id, &frames[0].data), (&None, &json!({"type": "connection"})));
        assert_eq!(frames[1].id.as_deref(), Some("1"));
        assert_eq!(frames[1].data["type"], "job_status_changed");
        assert_eq!(frames[1].data["job_id"], job);
        assert_eq!(
            (&frames[1].data["status"], &frames[1].data["to"]),
            (&json!("pending"), &json!("pending"))
        );
    }
    let frames = api.stream("?last_event_id=0&format=named", None, 3).await;
    let names: Vec<_> = frames.iter().map(|frame| frame.event.as_deref()).collect();
    assert_eq!(names, [Some("connection"), Some("job_status_changed"), Some("queue_changed")]);
}

#[tokio::test]
async fn the_header_counts_more_than_the_query_and_an_empty_position_is_none() {
    let api = Harness::start().await;
    api.submit("alpha").await;
    let frames = api.stream("?last_event_id=0", Some("1"), 2).await;
    assert_eq!(frames[1].id.as_deref(), Some("2"));
    let frames = api.stream("?last_event_id=&lastEventId=1", Some(""), 2).await;
    assert_eq!(frames[1].id.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused() {
    let api = Harness::start().await;
    for (query, code) in [
        ("?format=xml", "unknown_format"),
        ("?last_event_id=x", "bad_event_id"),
        ("?lastEventId=-1", "bad_event_id"),
    ] {
        let (status, body) = api.get(&format!("/api/events{query}")).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}");
    }
    let (status, _) = api.get("/api/events?job_id=none").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_position_that_the_log_does_not_have_gets_resync_and_then_what_is_new() {
    let api = Harness::start().await;
    api.submit("alpha").await;
    let streamed = api.stream("", Some("1000"), 3);
    let submitted = async {
        // A stream that is open gets it; one that opens later begins with the newest event.
        loop {
            api.submit("alpha").await;
            tokio::task::yield_now().await;
        }
    };
    let frames = tokio::select! {
        frames = streamed => frames,
        () = submitted => panic!("submits until the stream has read enough"),
    };
    assert_eq!((&frames[1].id, &frames[1].data), (&None, &json!({"type": "resync"})));
    assert_eq!(frames[2].data["type"], "job_status_changed", "{frames:?}");
}

#[tokio::test]
async fn a_position_from_before_a_deleted_event_gets_resync() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    api.submit("alpha").await;
    let frames = api.stream("?last_event_id=1", None, 2).await;
    assert_eq!(frames[1].id.as_deref(), Some("2"), "{frames:?}");
    api.store.cancel_job(job.parse().unwrap(), &Actor::Operator).await.unwrap();
    let pruned = api.store.prune(Some(SignedDuration::ZERO), 9).await.unwrap();
    assert_eq!(pruned.jobs.len(), 1);
    for position in ["0", "1"] {
        let frames = api.stream("", Some(position), 2).await;
        let notice = (&frames[1].id, &frames[1].data);
        assert_eq!(notice, (&None, &json!({"type": "resync"})), "{frames:?}");
    }
}

#[tokio::test]
async fn a_stream_can_be_about_one_job_and_skips_what_is_damaged() {
    let api = Harness::start().await;
    let _other = api.submit("alpha").await;
    let job = api.submit("alpha").await;
    let problem = "unknown subject".to_owned();
    api.store.faults().damaged = vec![DamagedRow { table: "events", key: "9".to_owned(), problem }];
    let frames = api.stream(&format!("?last_event_id=0&job_id={job}"), None, 3).await;
    assert_eq!((&frames[1].data["job_id"], &frames[2].data["job_id"]), (&json!(job), &json!(job)));
}

#[tokio::test]
async fn changed_limits_and_settings_name_who_changed_them_and_no_job() {
    let api = Harness::start().await;
    let (status, _) = api.post("/api/queue/concurrency", json!({"max_concurrent": 9})).await;
    assert_eq!(status, 200);
    let url = format!("{}/api/cloud/providers/alpha/config", api.url);
    let body = json!({"webhook_url": "https://hooks.example/x"});
    let put = api.client.put(url).json(&body).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let frames = api.stream("?last_event_id=0", None, 3).await;
    let types: Vec<&Value> = frames.iter().map(|frame| &frame.data["type"]).collect();
    assert_eq!(types, ["connection", "limits_changed", "provider_changed"]);
    for frame in &frames[1..] {
        assert_eq!(frame.data["actor"], json!({"kind": "user", "name": "local"}));
        assert_eq!(frame.data.get("job_id"), None);
    }
}

#[tokio::test]
async fn one_key_has_so_many_streams_and_others_have_theirs() {
    let keyed = super::auth::Keyed::start().await;
    let (ann, ben) = (keyed.key("ann", "viewer").await, keyed.key("ben", "viewer").await);
    let open = async |path: &str, key: &str| {
        keyed.request(reqwest::Method::GET, path).bearer_auth(key).send().await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..64 {
        let stream = open("/api/events", &ann).await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    for path in ["/api/events", "/broadcast?last_event_index=0"] {
        let refused = open(path, &ann).await;
        assert_eq!(refused.status(), 503, "{path}");
        assert_eq!(refused.headers()["retry-after"], "1");
        let body: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(body["code"], "too_many_streams");
    }
    assert_eq!(open("/api/events", &ben).await.status(), 200);
    streams.pop();
    // It is noticed when the next frame cannot be sent to who is gone.
    while open("/api/events", &ann).await.status() != 200 {
        tokio::task::yield_now().await;
    }
}
