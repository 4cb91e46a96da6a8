//! The level of the log, changed while the server runs.

use serde_json::json;

use crate::support::{Server, Setup};

const PATH: &str = "/api/logging/level";

/// Whether an access line of a GET, which is at DEBUG, is in the log after a request.
async fn shows_debug(server: &Server, id: &str) -> bool {
    let request = server.client().get(server.url("/api/queue")).header("x-correlation-id", id);
    request.send().await.unwrap();
    let is_access = |line: &serde_json::Value| {
        line["correlation_id"] == id && line["message"] == "GET /api/queue"
    };
    server.log().iter().any(is_access)
}

#[tokio::test]
async fn the_level_changes_at_once_and_back() {
    let server =
        Server::start(Setup::default().with("SIMPLETUNER_LOG_LEVEL", "info,hyper=error")).await;
    assert_eq!(server.get(PATH).await.body, json!({"level": "INFO,hyper=ERROR"}));
    assert!(!shows_debug(&server, "before").await);

    let answer = server.put(PATH, json!({"level": "ERROR,simpletuner.cloud.api=DEBUG"})).await;
    assert_eq!(
        (answer.status, &answer.body["level"]),
        (200, &json!("ERROR,simpletuner.cloud.api=DEBUG"))
    );
    assert!(shows_debug(&server, "while").await);
    let told = server.log().into_iter().find(|it| it["message"] == "Log level changed").unwrap();
    assert_eq!(told["extra"], json!({"log_level": "ERROR,simpletuner.cloud.api=DEBUG"}));

    // One that hides the line that tells of it is told of before.
    server.put(PATH, json!({"level": "ERROR"})).await;
    let told = server.log().into_iter().rfind(|it| it["message"] == "Log level changed").unwrap();
    assert_eq!(told["extra"], json!({"log_level": "ERROR"}));

    server.put(PATH, json!({"level": "INFO"})).await;
    assert!(!shows_debug(&server, "after").await);
}

#[tokio::test]
async fn a_level_that_is_none_is_refused_and_changes_nothing() {
    let server = Server::start(Setup::default()).await;
    let before = server.get(PATH).await.body;
    for body in [json!({}), json!({"level": "LOUD"}), json!({"level": 3}), json!({"levle": "INFO"})]
    {
        let answer = server.put(PATH, body).await;
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(answer.body["errors"][0]["pointer"].as_str().unwrap().get(..4), Some("/lev"));
    }
    assert_eq!(server.get(PATH).await.body, before);
}
