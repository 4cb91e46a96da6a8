//! The line that each request leaves. Logging is set up for the whole process, so this looks only at
//! lines with its own correlation ID.

use std::error::Error as _;
use std::time::Duration;

use serde_json::{Value, json};
use st_http::{Client, Config, Proxies};
use st_log::{CorrelationId, InScope as _, Settings};

use crate::server::{Reply, Server, ok};

/// "me:hunter2", as `base64` writes it.
const ENCODED: &str = "bWU6aHVudGVyMg";

/// A client with secrets wherever one can be.
fn proxied(proxy: &str) -> Client {
    let proxy = proxy.replace("http://", "http://me:hunter2@");
    let proxies = Proxies::from_values(Some(&proxy), Some(&proxy), None).unwrap();
    Client::builder().proxies(proxies).default_header("X-API-Key", "hunter2").build().unwrap()
}

#[tokio::test]
async fn each_request_leaves_one_debug_line_without_secrets() {
    let file = format!("{}/http.log", env!("CARGO_TARGET_TMPDIR"));
    drop(std::fs::remove_file(&file));
    let env = [("SIMPLETUNER_LOG_LEVEL", "DEBUG"), ("SIMPLETUNER_LOG_FILE", file.as_str())];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log = st_log::init(&Settings::from_env(env).unwrap()).unwrap();
    let server = Server::start(|request| {
        if request.head.starts_with("GET /hunter2 ") {
            let head = "HTTP/1.1 200 OK\r\nSet-Cookie: hunter2\r\nContent-Length: 9";
            Reply::Keep(format!("{head}\r\n\r\n\"hunter2\""))
        } else if request.head.starts_with("GET /v1") || request.head.starts_with("GET http://") {
            ok("{}")
        } else {
            Reply::Close(String::new())
        }
    })
    .await;
    let client = Client::new(Config::default()).unwrap();
    let proxied = proxied(&server.url(""));
    let url = server.url("/v1/jobs?token=hunter2");

    async {
        client.get(&url).bearer("hunter2").send().await.unwrap();
        client.post(&url).bearer("hunter2").send().await.unwrap_err();
    }
    .with_correlation_id(CorrelationId::parse("line-of-http").unwrap())
    .await;
    for url in ["http://a.example/?token=hunter2", "https://a.example/?token=hunter2"] {
        let request = proxied.get(url).basic_auth("me", "hunter2").query(&[("key", "hunter2")]);
        let outcome = request.secret_header("X-Token", "hunter2").send().await;
        let shown = format!("{outcome:?} {proxied:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(ENCODED), "{shown}");
    }
    let answered = client.get(&server.url("/hunter2")).secret_path().send().await.unwrap();
    let opened = client.get(&server.url("/hunter2")).secret_path().open().await.unwrap();
    let request = client.post(&server.url("/hunter2/broken")).secret_path();
    let shown_request = format!("{request:?}");
    let failed = request.send().await.unwrap_err();
    let malformed = answered.json::<u32>().unwrap_err();
    let cause = malformed.source().unwrap().to_string();
    assert!(cause.ends_with("at line 1 column 9"), "{cause}");
    let shown = format!("{answered:?} {opened:?} {shown_request} {malformed:?} {malformed}");
    let shown = format!("{shown} {cause} {failed:?} {failed}");
    assert!(!shown.contains("hunter2") && shown.contains("set-cookie"), "{shown}");
    assert!(log.flush(Duration::from_secs(10)));

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(ENCODED), "{text}");
    assert!(text.contains("https://a.example/"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["correlation_id"] == "line-of-http")
        .filter(|line| line["logger"] == "simpletuner.cloud.http")
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    let shown = server.url("/v1/jobs");
    for (line, method) in lines.iter().zip(["GET", "POST"]) {
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["extra"]["method"], method);
        assert_eq!(line["extra"]["url"], json!(shown));
        assert!(line["extra"]["elapsed_ms"].is_u64(), "{line}");
    }
    assert_eq!(lines[0]["extra"]["status"], 200);
    assert!(lines[1]["exception"]["message"].as_str().unwrap().contains("broke"), "{text}");
}
