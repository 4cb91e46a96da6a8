//! To what a request belongs: the IDs of its headers, in the answer, in the log and on the calls that
//! are made for it.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;

use crate::support::{Server, Setup};

const ID: &str = "x-correlation-id";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = server.client().request(method, server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Under which ID the server answers a request with these.
async fn answered(server: &Server, ids: &[&str]) -> String {
    let headers: Vec<_> = ids.iter().map(|id| (ID, *id)).collect();
    let response = ask(server, Method::GET, "/api/cloud/jobs", &headers).await;
    let mut values = response.headers().get_all(ID).iter();
    let only = values.next().unwrap().to_str().unwrap().to_owned();
    assert_eq!(values.next(), None);
    only
}

fn of_id(lines: &[Value], id: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["correlation_id"] == id).cloned().collect()
}

#[tokio::test]
async fn a_hostile_correlation_id_is_replaced_and_a_good_one_kept() {
    let server = Server::start(Setup::default()).await;
    assert_eq!(answered(&server, &["good-1"]).await, "good-1");
    for hostile in ["x\", \"level\": \"CRITICAL", "two words", "", &"x".repeat(129)] {
        let id = answered(&server, &[hostile]).await;
        assert_eq!(id.len(), 12, "{hostile} became {id}");
        let lines = of_id(&server.log(), &id);
        assert_eq!(lines[0]["extra"]["longest"], hostile.len(), "{lines:?}");
    }
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(!log.contains("\"level\": \"CRITICAL\"") && !log.contains("two words"));
}

#[tokio::test]
async fn two_equal_ids_are_one_and_two_different_ones_are_none() {
    let server = Server::start(Setup::default()).await;
    assert_eq!(answered(&server, &["same", "same"]).await, "same");
    let id = answered(&server, &["one", "other"]).await;
    assert!(id != "one" && id != "other", "{id}");
}

#[tokio::test]
async fn every_answer_says_its_id() {
    let server = Server::start(Setup::default()).await;
    for (number, (method, path, status)) in [
        (Method::GET, "/health", 200),
        (Method::HEAD, "/health", 200),
        (Method::GET, "/api/nothing", 404),
        (Method::PUT, "/api/queue/stats", 405),
        (Method::POST, "/api/cloud/jobs/submit?provider=local", 415),
        (Method::GET, "/api/events", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("answer-{number}");
        let response = ask(&server, method, path, &[(ID, &id)]).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()[ID], id.as_str(), "{path}");
        assert_eq!(of_id(&server.log(), &id).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_stream_is_read_under_the_id_of_its_request() {
    let server = Server::start(Setup::default()).await;
    let config = json!({"command": "example", "steps": 1, "seconds": 0});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "completed").await;
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    database.execute_batch("ALTER TABLE events RENAME TO gone").unwrap();

    let headers = [(ID, "stream-1"), ("last-event-id", "0")];
    let stream = ask(&server, Method::GET, "/api/events", &headers).await;
    assert!(stream.text().await.unwrap().contains("\"type\":\"connection\""));

    let lines = of_id(&server.log(), "stream-1");
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(
        messages,
        ["GET /api/events", "Event stream ended: the log could not be read"],
        "{lines:?}"
    );
}

/// Has a provider asked, by a request that belongs to a trace. Gives what the provider was sent and
/// what the server logged.
async fn traced(logging: &str) -> (Vec<Option<String>>, Vec<Value>) {
    let replicate = FakeReplicate::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), logging).unwrap();
    let setup = Setup::default().replicate(&replicate.base_url());
    let server = Server::start_in(dir, setup).await;
    let headers = [(ID, "traced-1"), ("traceparent", PARENT), ("tracestate", "vendor=1")];
    let path = "/api/cloud/providers/replicate/validate";
    assert_eq!(ask(&server, Method::GET, path, &headers).await.status(), 200);
    let requests = replicate.world().requests();
    let call = requests.iter().find(|it| it.header(ID) == Some("traced-1")).unwrap();
    let sent = ["traceparent", "tracestate"].map(|name| call.header(name).map(str::to_owned));
    (sent.to_vec(), of_id(&server.log(), "traced-1"))
}

#[tokio::test]
async fn a_trace_is_in_the_log_and_on_calls_where_that_is_switched_on() {
    let (sent, lines) = traced("logging: { trace_context: true }\n").await;
    assert_eq!(sent, [Some(PARENT.to_owned()), Some("vendor=1".to_owned())]);
    let messages: Vec<_> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["HTTP request answered", "GET /api/cloud/providers/replicate/validate"]);
    for line in lines {
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["span_id"], "00f067aa0ba902b7");
    }
}

#[tokio::test]
async fn a_trace_is_nowhere_where_it_is_not_switched_on() {
    let (sent, lines) = traced("").await;
    assert_eq!(sent, [None, None]);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!((line.get("trace_id"), line.get("span_id")), (None, None));
    }
}

#[tokio::test]
async fn errors_carry_their_stack_where_that_is_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let logging = "logging: { include_stack_info: true }\n";
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), logging).unwrap();
    let server = Server::start_in(dir, Setup::default()).await;
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    database.execute_batch("ALTER TABLE jobs RENAME TO gone").unwrap();

    let answer = ask(&server, Method::GET, "/api/cloud/jobs", &[(ID, "failed-1")]).await;

    assert_eq!(answer.status(), 500);
    let lines = of_id(&server.log(), "failed-1");
    let [failed, answered] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(failed["message"], "Request failed");
    assert_eq!(failed["extra"]["method"], "GET");
    assert_eq!(failed["extra"]["path"], "/api/cloud/jobs");
    assert_eq!(
        (&failed["extra"]["status"], &answered["extra"]["status"]),
        (&500.into(), &500.into())
    );
    assert!(failed["stack_info"].as_str().unwrap().contains("middleware.rs"), "{failed}");
    assert_eq!(answered.get("stack_info"), None);
}
