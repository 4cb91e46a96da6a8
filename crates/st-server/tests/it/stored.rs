//! Whatever is accepted is stored and given on as it came; what could not be is refused.

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::main_job::with_replicate;
use crate::support::{Answer, Server, Setup, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
const LOCAL: &str = "/api/cloud/jobs/submit?provider=local";
const REPLICATE: &str = "/api/cloud/jobs/submit?provider=replicate";
const GIVEN: &str = "[123456789012345678901234567890,0.1000000000000000055511151231257827,1E5,-0.0,\
                     1e-7,1e300,18446744073709551616,2.50,-0]";
/// The same but for the way of writing an exponent.
const STORED: &str = "[123456789012345678901234567890,0.1000000000000000055511151231257827,1e+5,-0.0,\
                      1e-7,1e+300,18446744073709551616,2.50,-0]";

fn pointers(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 422, "{:?}", answer.body);
    let faults = answer.body["errors"].as_array().unwrap().iter();
    faults.map(|fault| fault["pointer"].as_str().unwrap()).collect()
}

fn message(answer: &Answer) -> &str {
    answer.body["errors"][0]["message"].as_str().unwrap()
}

async fn no_job(server: &Server) {
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], 0);
}

fn stored(server: &Server) -> Vec<String> {
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    let mut select = database
        .prepare("SELECT input FROM jobs JOIN job_inputs USING (entry_id) ORDER BY job_id")
        .unwrap();
    let inputs = select.query_map([], |row| row.get(0)).unwrap();
    inputs.map(Result::unwrap).collect()
}

async fn given_on(replicate: &FakeReplicate) -> Vec<Value> {
    eventually("both jobs are there", async || replicate.world().jobs().len() == 2).await;
    replicate.world().jobs().into_iter().map(|job| job.input).collect()
}

#[tokio::test]
async fn numbers_go_digit_for_digit_from_a_body_and_a_file_to_the_store_and_the_provider() {
    let (replicate, server) = with_replicate().await;
    let body = format!(
        r#"{{"config": {{"--x": {GIVEN}}}, "dataloader_config": {GIVEN}, "idempotency_key": "k"}}"#
    );
    let first = server.post_raw(REPLICATE, &[JSON], body.clone()).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    std::fs::create_dir_all(server.config_dir()).unwrap();
    let file = server.config_dir().join("exact.json");
    std::fs::write(file, format!(r#"{{"--x": {GIVEN}}}"#)).unwrap();
    let named = server.post(REPLICATE, json!({"config_name_to_load": "exact"})).await;
    assert_eq!(named.status, 200, "{:?}", named.body);

    let config = format!(r#"{{"--x":{STORED}}}"#);
    assert_eq!(
        stored(&server),
        [
            format!(r#"{{"config":{config},"dataloader_config":{STORED}}}"#),
            format!(r#"{{"config":{config},"config_name":"exact"}}"#),
        ]
    );
    let mut inputs = given_on(&replicate).await;
    inputs.sort_by_key(|input| input.get("dataloader_json").is_none());
    assert_eq!(inputs[0]["dataloader_json"], STORED);
    for input in &inputs {
        assert_eq!(input["config_json"], config.as_str());
    }

    let other_words = body.replace("1E5", "1.0e5").replace("2.50", "25e-1");
    let again = server.post_raw(REPLICATE, &[JSON], other_words).await;
    assert_eq!(again.body["job_id"], first.body["job_id"], "{:?}", again.body);
    let other_number = body.replace("567890,", "567891,");
    let other = server.post_raw(REPLICATE, &[JSON], other_number).await;
    assert_eq!((other.status, &other.body["code"]), (409, &json!("idempotency_mismatch")));
}

#[tokio::test]
async fn a_number_that_a_job_would_read_as_infinity_is_refused_where_it_is() {
    let server = Server::start(Setup::default()).await;
    for (body, place) in [
        (r#"{"config": {"lr": [1, 1e400]}}"#, "/config/lr/1"),
        (r#"{"config": {}, "dataloader_config": [-1e309]}"#, "/dataloader_config/0"),
    ] {
        let answer = server.post_raw(LOCAL, &[JSON], body.to_owned()).await;
        assert_eq!(pointers(&answer), [place]);
        assert!(message(&answer).ends_with("about 1.8e308"), "{}", message(&answer));
    }
    std::fs::create_dir_all(server.config_dir()).unwrap();
    std::fs::write(server.config_dir().join("huge.json"), r#"{"--lr": 1e400}"#).unwrap();
    let named = server.post(LOCAL, json!({"config_name_to_load": "huge"})).await;
    assert_eq!(pointers(&named), ["/config_name_to_load"]);
    assert!(message(&named).contains("the file: \"/--lr\""), "{}", message(&named));
    no_job(&server).await;
}

#[tokio::test]
async fn a_job_with_a_number_that_an_older_version_accepted_can_be_retried() {
    let server = Server::start(Setup::default()).await;
    assert_eq!(server.post("/api/queue/pause", json!({"reason": "test"})).await.status, 200);
    let body = r#"{"config": {"command": "example", "lr": 1e300}}"#;
    let job = server.post_raw(LOCAL, &[JSON], body.to_owned()).await.body["job_id"].clone();
    let job = job.as_str().unwrap();
    assert_eq!(server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await.status, 200);
    let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
    let older = "UPDATE job_inputs SET input = replace(input, '1e+300', '1e+400')";
    assert_eq!(database.execute(older, []).unwrap(), 1);
    let retried = server.post(&format!("/api/cloud/jobs/{job}/retry"), json!({})).await;
    assert_eq!(retried.status, 200, "{:?}", retried.body);
    let inputs = stored(&server);
    assert_eq!(inputs.len(), 2);
    assert!(inputs.iter().all(|input| input.contains("1e+400")), "{inputs:?}");
}

#[tokio::test]
async fn u0000_is_refused_in_whatever_a_client_sends() {
    let server = Server::start(Setup::default()).await;
    for (body, place) in [
        (json!({"config": {}, "config_name": "a\0"}), "/config_name"),
        (json!({"config": {"a/b": [0, {"c": "\0"}]}}), "/config/a~1b/1/c"),
        (json!({"config": {"a\0": 1}}), "/config/a\0"),
        (json!({"config": {}, "dataloader_config": [["\0"]]}), "/dataloader_config/0/0"),
        (json!({"config": {}, "team_id": "\0"}), "/team_id"),
        (json!({"config": {}, "idempotency_key": "\0"}), "/idempotency_key"),
        (json!({"config": {}, "hardware_profile": "\0"}), "/hardware_profile"),
    ] {
        let answer = server.post(LOCAL, body).await;
        assert_eq!(pointers(&answer), [place]);
        assert_eq!(message(&answer), "may not contain the character U+0000");
    }
    no_job(&server).await;

    for (path, parameter) in [
        ("/api/cloud/jobs?status=%00", "status"),
        ("/api/cloud/jobs?user_id=a%00", "user_id"),
        ("/api/queue?%00=1", "\0"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 422, "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}");
    }
    let provider = server.post(&format!("{LOCAL}%00"), json!({})).await;
    assert_eq!(provider.body["errors"][0]["parameter"], "provider");
    for path in [
        "/api/cloud/jobs/a%00",
        "/api/cloud/jobs/%00/events",
        "/api/queue/position/%00",
        "/api/approvals/rules/%00",
        "/api/approvals/requests/1%00",
        "/api/cloud/providers/local%00/config",
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("bad_path")), "{path}");
    }
    assert_eq!(server.get("/api/cloud/jobs/%ff").await.status, 400);

    let rule = json!({"name": "a\0", "condition": "cost_exceeds", "threshold": "5\0",
                      "description": "\0"});
    let rule = server.post("/api/approvals/rules", rule).await;
    assert_eq!(pointers(&rule), ["/description", "/name", "/threshold"]);
    for (verdict, field) in [("approve", "notes"), ("reject", "reason")] {
        let path = format!("/api/approvals/requests/1/{verdict}");
        let answer = server.post(&path, json!({field: "a\0"})).await;
        assert_eq!(pointers(&answer), [format!("/{field}")]);
    }
    let settings = json!({"version_override": "\0", "webhook_url": "https://a/\0"});
    let settings = server.put("/api/cloud/providers/replicate/config", settings).await;
    let places = pointers(&settings);
    assert!(
        places.contains(&"/version_override") && places.contains(&"/webhook_url"),
        "{places:?}"
    );
}

#[tokio::test]
async fn u0000_in_a_header_is_no_request() {
    let server = Server::start(Setup::default()).await;
    let address = server.url("").replace("http://", "");
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "POST {LOCAL} HTTP/1.1\r\nHost: {address}\r\nIdempotency-Key: a\0b\r\n\
         Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{{\"config\": {{}}}}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "HTTP/1.1 400");
    no_job(&server).await;
}

#[tokio::test]
async fn an_input_that_is_nested_too_deeply_once_it_is_wrapped_is_refused() {
    let server = Server::start(Setup::default()).await;
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    // The input and the configuration are two levels of the hundred.
    let config =
        |levels| format!(r#"{{"command": "example", "seconds": 0, "x": {}}}"#, nested(levels));
    let body = |levels| format!(r#"{{"config": {}}}"#, config(levels));
    let deepest = server.post_raw(LOCAL, &[JSON], body(98)).await;
    assert_eq!(deepest.status, 200, "{:?}", deepest.body);
    server.until(deepest.body["job_id"].as_str().unwrap(), "completed").await;

    let deeper = server.post_raw(LOCAL, &[JSON], body(99)).await;
    assert_eq!(pointers(&deeper), ["/config"]);
    assert!(message(&deeper).contains("100 levels"), "{}", message(&deeper));
    let dataloader = format!(r#"{{"config": {{}}, "dataloader_config": {}}}"#, nested(100));
    let dataloader = server.post_raw(LOCAL, &[JSON], dataloader).await;
    assert_eq!(pointers(&dataloader), ["/dataloader_config"]);
    // More than the parser reads at all.
    assert_eq!(server.post_raw(LOCAL, &[JSON], body(200)).await.status, 400);

    std::fs::create_dir_all(server.config_dir()).unwrap();
    for (name, text, said) in [
        ("deep", config(99), "100 levels"),
        ("deepest", config(200), "recursion limit"),
        ("nul", r#"{"a": [{"b": "\u0000"}]}"#.to_owned(), "/a/0/b"),
        ("reserved", r#"{"a": {"$serde_json::private::Number": "1"}}"#.to_owned(), "begin"),
    ] {
        std::fs::write(server.config_dir().join(format!("{name}.json")), text).unwrap();
        let answer = server.post(LOCAL, json!({"config_name_to_load": name})).await;
        assert_eq!(pointers(&answer), ["/config_name_to_load"], "{name}");
        assert!(message(&answer).contains(said), "{}", message(&answer));
    }
    assert_eq!(server.get("/api/cloud/jobs").await.body["total"], 1);
}

#[tokio::test]
async fn what_the_parser_would_take_for_something_else_is_refused() {
    let server = Server::start(Setup::default()).await;
    for key in ["Number", "RawValue"] {
        let object = json!({format!("$serde_json::private::{key}"): "1"}).to_string();
        for body in [object.clone(), format!(r#"{{"config": {{"a": {object}}}}}"#)] {
            let answer = server.post_raw(LOCAL, &[JSON], body).await;
            assert_eq!((answer.status, &answer.body["code"]), (400, &json!("malformed_json")));
        }
    }
    for cost in ["1e309", "-1e-300", "-1", "1e10"] {
        let body = format!(r#"{{"config": {{}}, "estimated_cost": {cost}}}"#);
        assert_eq!(pointers(&server.post_raw(LOCAL, &[JSON], body).await), ["/estimated_cost"]);
    }
    no_job(&server).await;
}
