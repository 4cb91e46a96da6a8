//! Rows that cannot be read: what clients still get, and what the log says of them.

use serde_json::{Value, json};

use crate::events::Events;
use crate::support::{Server, Setup};

async fn completed_job(server: &Server) -> String {
    let config = json!({"command": "example", "steps": 1, "seconds": 0});
    let job = server.submit("local", json!({"config": config})).await;
    server.until(&job, "completed").await;
    job
}

fn change(server: &Server, statement: &str) {
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    assert_eq!(database.execute(statement, []).unwrap(), 1, "{statement}");
    database.close().map_err(|(_, error)| error).unwrap();
}

/// The log lines with this message.
fn lines(server: &Server, message: &str) -> Vec<Value> {
    server.log().into_iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_named_and_leaves_the_others_alone() {
    let server = Server::start(Setup::default()).await;
    let damaged = completed_job(&server).await;
    let sound = completed_job(&server).await;
    change(&server, &format!("UPDATE jobs SET metadata = '{{' WHERE job_id = '{damaged}'"));

    let listed = server.get("/api/cloud/jobs").await;
    assert_eq!(listed.status, 200, "{:?}", listed.body);
    let jobs = listed.body["jobs"].as_array().unwrap();
    let ids: Vec<&Value> = jobs.iter().map(|job| &job["job_id"]).collect();
    assert_eq!(ids, [&json!(sound)]);
    let [line] = &lines(&server, "Damaged rows are left out of the answer")[..] else {
        panic!("not one line for one list");
    };
    assert_eq!((&line["level"], &line["extra"]["count"]), (&json!("ERROR"), &json!(1)));
    assert!(line["extra"]["rows"].as_str().unwrap().contains(&damaged), "{line}");

    let asked = server.get(&format!("/api/cloud/jobs/{damaged}")).await;
    assert_eq!((asked.status, &asked.body["code"]), (500, &json!("damaged")));
    assert!(asked.body["detail"].as_str().unwrap().contains(&damaged), "{:?}", asked.body);
    let failed = lines(&server, "Request failed");
    assert_eq!(failed.len(), 1, "an error is logged once: {failed:?}");
    assert_eq!(
        (&failed[0]["extra"]["code"], &failed[0]["extra"]["status"]),
        (&json!("damaged"), &json!(500))
    );
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_skipped_by_every_stream_and_logged_once() {
    let server = Server::start(Setup::default()).await;
    let job = completed_job(&server).await;
    change(&server, "UPDATE events SET correlation_id = 'two words' WHERE event_id = 3");
    for _ in 0..2 {
        let events = Events::follow(&server, Some(0)).await;
        let last = |seen: &[crate::events::Seen]| {
            seen.iter().any(|it| it.kind == "job_status_changed" && it.data["to"] == "completed")
        };
        let seen = events.until(last).await;
        let ids: Vec<i64> = seen.iter().filter_map(|it| it.id).collect();
        assert!(ids.contains(&2) && !ids.contains(&3) && ids.contains(&4), "{ids:?}");
    }
    let history = server.get(&format!("/api/cloud/jobs/{job}/events")).await;
    assert_eq!(history.status, 200, "{:?}", history.body);
    let skipped = lines(&server, "Damaged event is left out of the event stream");
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["level"], "WARNING");
}
