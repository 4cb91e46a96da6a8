//! What docs/logging.md says of the log, held against the log of a real run.
//!
//! Promises: each line obeys the published schema, each recipe of the document finds what it says,
//! each example file fits the record. Leaves out: the collectors themselves; only logrotate is run.

mod rotation;
mod shippers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::support::{Server, Setup, eventually, has};

/// The correlation ID of the job that runs.
const REQUEST: &str = "docs-0001";

/// Where the documents and examples say that the log is.
const DOCUMENTED: &str = "/var/log/simpletuner/cloud.log";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn read(name: &str) -> String {
    let path = docs().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The log of a run, whole: a job that was completed and one whose approval expired.
struct Run {
    server: Server,
    job: String,
    lines: Vec<Value>,
}

impl Run {
    async fn new() -> Self {
        let mut server = Server::start(Setup::default()).await;
        let rule = json!({"name": "high cost", "condition": "cost_exceeds", "threshold": "50"});
        assert_eq!(server.post("/api/approvals/rules", rule).await.status, 200);
        let config = json!({"command": "example", "steps": 2, "seconds": 0});
        let costly = json!({"config": config, "estimated_cost": 120.0});
        let held = server.submit("local", costly).await;
        let answer = server
            .client()
            .post(server.url("/api/cloud/jobs/submit?provider=local"))
            .header("X-Correlation-ID", REQUEST)
            .json(&json!({"config": config, "config_name": "docs"}))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let job = answer["job_id"].as_str().unwrap().to_owned();
        server.until(&job, "completed").await;
        // Nobody waits the 24 hours that an approval has.
        let database = rusqlite::Connection::open(server.state_dir().join("cloud.db")).unwrap();
        let lapsed = database.execute("UPDATE approvals SET expires_at = created_at", []).unwrap();
        assert_eq!(lapsed, 1);
        database.close().unwrap();
        server.until(&held, "cancelled").await;
        eventually("a cycle of the poller is told", async || {
            fs::read_to_string(server.log_file()).unwrap().contains("\"Synced 0 active jobs\"")
        })
        .await;
        assert!(server.stop().await.success());
        let lines = server.log();
        Self { server, job, lines }
    }

    fn count(&self, holds: impl Fn(&Value) -> bool) -> usize {
        self.lines.iter().filter(|line| holds(line)).count()
    }

    fn of_request(&self) -> usize {
        self.count(|line| line["correlation_id"] == REQUEST)
    }

    fn of_job(&self) -> usize {
        self.count(|line| line["extra"]["job_id"] == self.job.as_str())
    }

    /// How often the message comes that comes most.
    fn most_common(&self) -> usize {
        let counts =
            self.lines.iter().map(|line| self.count(|it| it["message"] == line["message"]));
        counts.max().unwrap()
    }

    fn saying(&self, part: &str) -> usize {
        self.count(|line| line["message"].as_str().unwrap().contains(part))
    }
}

/// A record with everything that one may have.
fn full_record() -> Value {
    json!({
        "timestamp": "2026-01-15T10:30:00.000Z",
        "level": "ERROR",
        "logger": "simpletuner.cloud.dispatch",
        "message": "Submission failed for good",
        "correlation_id": "AZaz09._-+/=:",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "source": {"file": "dispatch.rs", "line": 354, "function": "give_back"},
        "exception": {"type": "Transient", "message": "no answer", "chain": ["connection reset"]},
        "stack_info": "0: here\n1: there",
        "extra": {"job_id": "019bc123", "nested": {"a": [1, null, "x"]}, "truncated": true},
    })
}

/// Says what is wrong with a record.
struct Judge {
    schemas: Schemas,
    record: boon::SchemaIndex,
}

impl Judge {
    fn new() -> Self {
        let schema: Value = serde_json::from_str(&read("logging/record.schema.json")).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("record.schema.json", schema).unwrap();
        let record = compiler.compile("record.schema.json", &mut schemas).unwrap();
        Self { schemas, record }
    }

    fn fault(&self, record: &Value) -> Option<String> {
        self.schemas.validate(record, self.record).err().map(|error| format!("{error:#}"))
    }
}

#[tokio::test]
async fn every_line_of_a_real_log_obeys_the_schema() {
    let run = Run::new().await;
    let judge = Judge::new();
    assert!(run.lines.len() > 20, "only {} lines", run.lines.len());
    for line in &run.lines {
        assert_eq!(judge.fault(line), None, "{line}");
    }
    let text = fs::read_to_string(run.server.log_file()).unwrap();
    let longest = text.lines().map(|line| line.len() + 1).max();
    assert!(longest <= Some(16 * 1024), "{longest:?}");
    for level in ["DEBUG", "INFO", "WARNING"] {
        assert!(run.count(|line| line["level"] == level) > 0, "{level} does not occur");
    }
}

#[test]
fn the_examples_in_the_documents_obey_the_schema() {
    let judge = Judge::new();
    assert_eq!(judge.fault(&full_record()), None);
    for document in ["logging.md", "../README.md"] {
        let text = read(document);
        let example = text.lines().map(str::trim).find(|line| line.starts_with("{\"timestamp\": "));
        let example: Value = serde_json::from_str(example.unwrap()).unwrap();
        assert_eq!(judge.fault(&example), None, "{document}");
    }
}

#[test]
fn the_schema_refuses_what_is_no_record() {
    let judge = Judge::new();
    let bad: [(&str, Value); 20] = [
        ("/timestamp", json!("2026-01-15 10:30:00.000Z")),
        ("/timestamp", json!("2026-01-15T10:30:00Z")),
        ("/timestamp", json!("2026-01-15T10:30:00.000+01:00")),
        ("/timestamp", json!("2026-13-15T10:30:00.000Z")),
        ("/level", json!("WARN")),
        ("/logger", json!("simpletuner::cloud jobs")),
        ("/logger", json!("")),
        ("/message", json!(null)),
        ("/correlation_id", json!("")),
        ("/correlation_id", json!("two words")),
        ("/correlation_id", json!("x".repeat(129))),
        ("/trace_id", json!("4BF92F3577B34DA6A3CE929D0E0E4736")),
        ("/trace_id", json!("0".repeat(32))),
        ("/span_id", json!("00f067aa")),
        ("/source/line", json!("354")),
        ("/source/file", json!("src/dispatch.rs")),
        ("/exception/chain", json!("connection reset")),
        ("/exception", json!({"type": "x", "message": "y"})),
        ("/stack_info", json!(["here"])),
        ("/extra", json!({})),
    ];
    for (at, value) in bad {
        let mut record = full_record();
        *record.pointer_mut(at).unwrap() = value.clone();
        assert!(judge.fault(&record).is_some(), "{at} = {value} was accepted");
    }
    for key in ["timestamp", "level", "logger", "message", "correlation_id", "source", "span_id"] {
        let mut record = full_record();
        record.as_object_mut().unwrap().remove(key).unwrap();
        assert!(judge.fault(&record).is_some(), "a record without {key} was accepted");
    }
    let mut record = full_record();
    record["user"] = json!("ada");
    assert!(judge.fault(&record).is_some(), "a key beside the known ones was accepted");
}

/// The recipes that users were promised, word for word.
const PROMISED: [&str; 5] = [
    "grep '\"correlation_id\": \"abc123\"' /var/log/simpletuner/cloud.log\n",
    "cat /var/log/simpletuner/cloud.log | jq 'select(.correlation_id == \"abc123\")'\n",
    "cat /var/log/simpletuner/cloud.log | \\\n  jq 'select(.extra.job_id == \"xyz789\")'\n",
    concat!(
        "cat /var/log/simpletuner/cloud.log | \\\n",
        "  jq 'select(.message | contains(\"polling\")) | {timestamp, message}'\n",
    ),
    concat!(
        "cat /var/log/simpletuner/cloud.log | \\\n",
        "  jq 'select(.message | contains(\"expired\"))'\n",
    ),
];

/// The commands in the document's blocks for a shell.
fn recipes() -> Vec<String> {
    let text = read("logging.md");
    let blocks = text.split("```bash\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands = Vec::new();
    for block in blocks {
        let mut command = String::new();
        for line in block.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            command += line;
            command.push('\n');
            if !line.ends_with('\\') {
                commands.push(std::mem::take(&mut command));
            }
        }
        assert_eq!(command, "", "a command without an end");
    }
    commands
}

/// Runs a recipe on the run's log and gives what it prints.
fn cook(recipe: &str, run: &Run) -> String {
    let command = recipe
        .replace(DOCUMENTED, &run.server.log_file().display().to_string())
        .replace("abc123", REQUEST)
        .replace("xyz789", &run.job);
    let done = Command::new("sh").args(["-c", &command]).output().unwrap();
    let complaints = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && complaints.is_empty(), "{command}\n{complaints}");
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(!printed.is_empty(), "{command}\nprints nothing");
    printed
}

/// Counts what a recipe prints.
type Measure = fn(&str) -> usize;

/// How many JSON values there are, on however many lines.
fn values(printed: &str) -> usize {
    let values = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
    values.map(Result::unwrap).count()
}

fn lines(printed: &str) -> usize {
    printed.lines().count()
}

/// The largest of the numbers that lines begin with.
fn largest(printed: &str) -> usize {
    let first = |line: &str| line.split_whitespace().next()?.parse().ok();
    printed.lines().filter_map(first).max().unwrap()
}

#[tokio::test]
async fn every_recipe_finds_what_it_says() {
    if !has("grep", true) || !has("jq", std::env::var_os("CI").is_some()) {
        return;
    }
    let run = Run::new().await;
    let grave = ["WARNING", "ERROR", "CRITICAL"];
    let graver = run.count(|line| grave.iter().any(|it| line["level"] == *it));
    let requests = run.count(|line| {
        line["logger"] == "simpletuner.cloud.api" && line["extra"]["elapsed_ms"].is_u64()
    });
    let expected: [(&str, Measure, usize); 10] = [
        (PROMISED[0], lines, run.of_request()),
        (PROMISED[1], values, run.of_request()),
        (PROMISED[2], values, run.of_job()),
        (PROMISED[3], values, run.saying("polling")),
        (PROMISED[4], values, run.saying("expired")),
        ("| .correlation_id'", lines, 1),
        ("| @tsv", lines, run.of_job()),
        ("IN(", values, graver),
        ("uniq -c", largest, run.most_common()),
        ("sort_by", values, requests.min(10)),
    ];
    let recipes = recipes();
    assert_eq!(recipes.len(), expected.len());
    for (part, measure, count) in expected {
        let found: Vec<&String> = recipes.iter().filter(|it| it.contains(part)).collect();
        let [recipe] = found[..] else { panic!("{part} stands {} times", found.len()) };
        assert!(count > 0, "the run has nothing for {recipe}");
        assert_eq!(measure(&cook(recipe, &run)), count, "{recipe}");
    }
    let id = recipes.iter().find(|it| it.contains("| .correlation_id'")).unwrap();
    assert_eq!(cook(id, &run), format!("{REQUEST}\n"));
}
