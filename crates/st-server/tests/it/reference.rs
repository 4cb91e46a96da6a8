//! docs/api.md: each of its curl lines runs against a server, and is answered as it says.

use std::process::Stdio;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;
use tokio::process::Command;

use crate::support::{Server, Setup, has};

const DOCUMENT: &str = include_str!("../../../../docs/api.md");

/// The lines whose example cannot succeed here: a part of the line, the status, and why.
const OTHER_ANSWERS: [(&str, u16, &str); 4] = [
    ("/resolve", 409, "the job is over, so nothing is unknown about it"),
    ("/api/webhooks/replicate", 401, "only the provider can sign"),
    ("/api/cloud/webhook/replicate", 401, "only the provider can sign"),
    ("-X POST \"$ST/api/auth/session\"", 401, "the key of the example is nobody's"),
];

/// Adds the key, ends what would go on, and prints the status below the answer.
const CURL: &str = r#"curl() { command curl -m 5 -w '\n%{http_code}' -H "Authorization: Bearer $ST_KEY" "$@" || [ $? = 28 ]; }"#;

fn lines() -> Vec<&'static str> {
    let after = DOCUMENT.split("\n```sh\n").skip(1);
    after.map(|rest| rest.split("\n```\n").next().unwrap()).collect()
}

/// What comes after all others: from the first key on, each request needs one; nothing follows the end.
fn comes_last(line: &str) -> bool {
    ["/api/keys", "/api/auth/session", "/api/system/shutdown"]
        .iter()
        .any(|path| line.contains(path))
}

#[tokio::test]
async fn each_line_of_the_reference_is_answered() {
    let must = std::env::var_os("CI").is_some();
    if !has("bash", must) || !has("curl", must) {
        return;
    }
    assert!(lines().len() > 110);
    let fake = FakeReplicate::start().await;
    let server = Server::start(Setup::default().replicate(&fake.base_url())).await;
    std::fs::create_dir_all(server.config_dir()).unwrap();
    let config = json!({"command": "example", "steps": 1, "seconds": 0}).to_string();
    std::fs::write(server.config_dir().join("demo.json"), config).unwrap();
    let (last, lines): (Vec<_>, Vec<_>) = lines().into_iter().partition(|line| comes_last(line));
    let mut wrong = Vec::new();
    for line in lines {
        let values = values(&server, line).await;
        wrong.extend(fault(line, &run(&server, line, "", &values).await));
    }
    let first = json!({"name": "first", "user": "ann", "role": "admin"});
    let made = server.post("/api/keys", first).await.body;
    let key = made["secret"].as_str().unwrap();
    let mut id = String::new();
    for line in last {
        let answer = run(&server, line, key, &[("ID", id.clone())]).await;
        if line.contains("-X POST \"$ST/api/keys\"") {
            let made: Value = serde_json::from_str(&answer.body).unwrap();
            id = made["key"]["id"].as_str().unwrap().to_owned();
        }
        wrong.extend(fault(line, &answer));
    }
    assert!(wrong.is_empty(), "{} lines:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

struct Answered {
    status: u16,
    body: String,
}

fn fault(line: &str, answer: &Answered) -> Option<String> {
    let other = OTHER_ANSWERS.iter().find(|(part, ..)| line.contains(part));
    let is_right = match other {
        Some((_, status, _)) => answer.status == *status,
        None => (200..300).contains(&answer.status),
    };
    (!is_right).then(|| format!("{line}\n-> {} {}", answer.status, answer.body))
}

async fn run(server: &Server, line: &str, key: &str, values: &[(&str, String)]) -> Answered {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{CURL}\n{line}")])
        .env("ST", server.url(""))
        .env("ST_KEY", key)
        .env("PROVIDER", "replicate")
        .env("USER", "ann")
        .env("NAME", "demo")
        .env("TASK", "job_status_polling")
        .envs(values.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    let (body, status) = text.rsplit_once('\n').unwrap();
    Answered { status: status.parse().unwrap(), body: body.to_owned() }
}

/// The job and the ID that a line is about, in a state in which it can succeed.
async fn values(server: &Server, line: &str) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if line.contains("$JOB") {
        values.push(("JOB", job(server, line).await));
    }
    if line.contains("$ID") {
        values.push(("ID", id(server, line).await));
    }
    values
}

async fn job(server: &Server, line: &str) -> String {
    let waits = ["/cancel", "/position/", "/priority"];
    if ["/approve", "/reject", "/requests/job/"].iter().any(|part| line.contains(part)) {
        awaiting_approval(server).await.0
    } else if waits.iter().any(|part| line.contains(part)) {
        waiting(server).await
    } else if line.contains("/retry") {
        let job = waiting(server).await;
        server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
        server.until(&job, "cancelled").await;
        job
    } else {
        let example = json!({"config": {"command": "example", "steps": 1, "seconds": 0}});
        let job = server.submit("local", example).await;
        server.until(&job, "completed").await;
        job
    }
}

#[expect(clippy::disallowed_methods, reason = "the server has the system's clock")]
async fn waiting(server: &Server) -> String {
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let config = json!({"command": "example"});
    server.submit("local", json!({"config": config, "run_after": tomorrow.to_string()})).await
}

/// A job, and the request for its approval.
async fn awaiting_approval(server: &Server) -> (String, String) {
    let rule = json!({"name": "costs", "condition": "cost_exceeds", "threshold": "100"});
    server.post("/api/approvals/rules", rule).await;
    let config = json!({"command": "example"});
    let job = server.submit("local", json!({"config": config, "estimated_cost": 500})).await;
    let request = server.get(&format!("/api/approvals/requests/job/{job}")).await.body;
    (job, request["id"].to_string())
}

async fn id(server: &Server, line: &str) -> String {
    if line.contains("/api/approvals/rules/") {
        let rule = json!({"name": "one", "condition": "cost_exceeds", "threshold": "9999"});
        server.post("/api/approvals/rules", rule).await.body["id"].to_string()
    } else if line.contains("/api/approvals/") {
        awaiting_approval(server).await.1
    } else if line.contains("/api/quotas/") {
        let quota = json!({"quota_type": "cost_daily", "limit_value": 1000, "action": "warn"});
        server.post("/api/quotas", quota).await.body["id"].to_string()
    } else {
        let hook = json!({"name": "hook", "url": "https://example.org/hook"});
        server.post("/api/webhooks", hook).await.body["id"].to_string()
    }
}
