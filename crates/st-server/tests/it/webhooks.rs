//! Webhooks through the built server, to a receiver on a real socket.

use serde_json::json;
use st_testkit::receiver::{Receiver, Reply};

use crate::support::{Server, Setup, eventually};

/// A server that may send to this machine.
async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "webhooks:\n  allowed_networks: [127.0.0.0/8]\n";
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    Server::start_in(dir, Setup::default()).await
}

#[tokio::test]
async fn events_go_out_under_their_correlation_id_also_after_a_crash() {
    let (server, receiver) = (server().await, Receiver::start().await);
    receiver.plan([Reply::Silence]);
    let new =
        json!({"name": "a", "url": receiver.url(), "events": ["job.pending", "job.completed"]});
    let added = server.post("/api/webhooks", new).await;
    assert_eq!(added.status, 200, "{:?}", added.body);
    let submission = json!({"config": {"command": "example", "steps": 1, "seconds": 0}});
    let job = server.submit("local", submission).await;
    // Woken by the event: the period is a minute.
    let first = receiver.wait_for(1).await.remove(0);
    let server = server.kill_and_restart().await;
    let messages = receiver.wait_for(3).await;
    assert_eq!(messages[1].header("webhook-id"), first.header("webhook-id"), "it is sent again");
    let types: Vec<_> = messages.iter().map(|it| it.json()["type"].clone()).collect();
    assert_eq!(types, ["job.pending", "job.pending", "job.completed"]);
    for message in &messages {
        assert_eq!(message.json()["data"]["job_id"], job);
        let correlation = message.json()["data"]["correlation_id"].clone();
        assert_eq!(message.header("x-correlation-id"), correlation);
    }
    eventually("all is settled", async || {
        let history = server.get("/api/webhooks/1/history").await.body;
        history["deliveries"].as_array().unwrap().iter().filter(|it| it["success"] == true).count()
            == 2
    })
    .await;
    let said = format!("{} {:?}", server.said(), server.log());
    let secret = added.body["secret"].as_str().unwrap();
    assert!(
        !said.contains(secret.trim_start_matches("whsec_")) && !said.contains("/hook"),
        "{said}"
    );
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_allowed() {
    let (server, receiver) = (Server::start(Setup::default()).await, Receiver::start().await);
    let new = json!({"name": "a", "url": receiver.url()});
    assert_eq!(server.post("/api/webhooks", new).await.status, 200);
    let tested = server.post("/api/webhooks/1/test", json!({})).await.body;
    assert_eq!(tested["success"], false);
    assert!(tested["error"].as_str().unwrap().contains("127.0.0.1"), "{tested}");
    assert_eq!(receiver.received().len(), 0);
}
