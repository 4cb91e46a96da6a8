//! No secret is anywhere but where it must be: each is planted once, the server works and fails with all of
//! them at DEBUG, and then everything that it wrote or said is searched.
//!
//! By design the database has what a job asks for and the webhook URL of a provider's settings, tokens in them
//! included, because both are sent again; and `commands` of this machine are in the folders of their attempts,
//! which a restarted server reads. Answers show the webhook URL to those who may set it. No line of the log has any
//! of them.

use std::path::Path;

use serde_json::{Value, json};
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::{Server, Setup, eventually, free_port, refused};

/// Where each comes from.
const TOKEN: &str = "r8_planted0replicate0token";
const BEARER: &str = "planted-bearer-7f3a";
const PASSWORD: &str = "planted-password-91bc";
const HEADER: &str = "planted-header-55de";
const PROXY: &str = "planted-proxy-c0ffee";
const FILLED: &str = "planted-filled-aa17";
const COMMAND: &str = "planted-command-e9e9";
const IN_WEBHOOK: &str = "planted-webhook-3d3d";
const IN_JOB_WEBHOOK: &str = "planted-job-webhook-8181";
const IN_INPUT: &str = "planted-input-b4b4";
const KEY: &str = "planted-key-2121";

/// Those that nothing that the server writes or says may have.
const NOWHERE: [&str; 7] = [TOKEN, BEARER, PASSWORD, HEADER, PROXY, FILLED, COMMAND];
/// Those that are in the database and that its owner may see, but no log.
const NOT_IN_THE_LOG: [&str; 4] = [IN_WEBHOOK, IN_JOB_WEBHOOK, IN_INPUT, KEY];

/// "planter:planted-password-91bc" and "me:planted-proxy-c0ffee", as HTTP's Basic scheme writes them.
const ENCODED: [&str; 2] =
    ["cGxhbnRlcjpwbGFudGVkLXBhc3N3b3JkLTkxYmM", "bWU6cGxhbnRlZC1wcm94eS1jMGZmZWU"];

/// A description of a provider that asks for one job at a time.
fn described(name: &str, base_url: &str, auth: &str) -> String {
    format!(
        "  {name}:
    kind: http
    base_url: {base_url}
    vars: {{ extra: '${{FILLED}}' }}
    headers: {{ X-Extra: '{{{{ vars.extra }}}}' }}
    auth: {auth}
    at_most_once: {{ how: at_least_once, accepted: test }}
    submit: {{ post: /jobs, body: {{ marker: '{{{{ marker.text }}}}' }} }}
    status: {{ get: '/jobs/{{{{ job.provider_id }}}}' }}
    cancel: {{ delete: '/jobs/{{{{ job.provider_id }}}}' }}
    job:
      id: /id
      status:
        - {{ means: running, at: /status, is: running }}
        - {{ means: completed, at: /status, is: completed }}
        - {{ means: failed, at: /status, is: failed }}
    validate: {{ get: /account }}
"
    )
}

/// The four ways in which a provider is not reached: nothing listens, no TLS, a proxy that refuses, and one that
/// answers everything with an error which repeats what it was sent.
struct Around {
    refusing: String,
    no_tls: String,
    proxy: String,
    echoing: String,
}

impl Around {
    async fn start() -> Self {
        let refusing = format!("http://127.0.0.1:{}", free_port());
        let no_tls = listen("https", |_| "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned()).await;
        let proxy = listen("http", |_| {
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".to_owned()
        })
        .await;
        let echoing = listen("http", |head| {
            let body = json!({"message": format!("not you: {head}")}).to_string();
            format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
        .await;
        Self { refusing, no_tls, proxy, echoing }
    }

    fn file(&self, dir: &Path) -> String {
        let token = dir.join("token");
        std::fs::write(&token, format!("{BEARER}\n")).unwrap();
        let bearer = format!("{{ bearer: {{ file: {} }} }}", token.display());
        let basic = "{ basic: { user: planter, password: { env: PASSWORD } } }";
        let header = "{ header: X-Key, value: { env: HEADER } }";
        let local = "  local:\n    commands:\n      leaky:\n        program: /bin/sh\n        \
                     args: [-c, 'exit 3', '${COMMAND}']\n        env: { TOKEN: '${COMMAND}' }\n";
        let providers = [
            described("refusing", &self.refusing, &bearer),
            described("no_tls", &self.no_tls, basic),
            described("proxied", "https://provider.invalid", header),
            described("echoing", &self.echoing, &bearer),
            described("echoing_basic", &self.echoing, basic),
            described("echoing_header", &self.echoing, header),
        ];
        format!("providers:\n{local}{}", providers.concat())
    }
}

/// A server that answers whatever comes first on a connection, and ends it.
async fn listen(scheme: &str, answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    drop(st_log::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 16 * 1024];
            let Ok(length) = stream.read(&mut bytes).await else { continue };
            let head = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
            // Whether it is still there is the client's affair.
            drop(stream.write_all(answer(&head).as_bytes()).await);
        }
    }));
    url
}

fn setup(around: &Around, replicate: &str) -> Setup {
    Setup::default()
        .with("REPLICATE_API_TOKEN", TOKEN)
        .with("REPLICATE_API_BASE_URL", replicate)
        .with("HTTPS_PROXY", &around.proxy.replace("http://", &format!("http://me:{PROXY}@")))
        .with("PASSWORD", PASSWORD)
        .with("HEADER", HEADER)
        .with("FILLED", FILLED)
        .with("COMMAND", COMMAND)
}

/// Asserts that a text has none of them.
fn clean(what: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        let at = text.find(secret);
        let around = at.map(|at| {
            let begin = at.saturating_sub(300);
            text.get(begin..).unwrap_or(text).chars().take(500).collect::<String>()
        });
        assert!(at.is_none(), "{secret} is in {what}: {}", around.unwrap_or_default());
    }
}

fn nowhere() -> Vec<&'static str> {
    NOWHERE.into_iter().chain(ENCODED).collect()
}

/// Everything that may be asked for, as it is answered.
async fn answers(server: &Server, jobs: &[String]) -> String {
    let mut paths: Vec<String> = [
        "jobs",
        "providers",
        "health",
        "providers/replicate/config",
        "providers/echoing/config",
        "providers/replicate/validate",
        "providers/refusing/validate",
        "providers/no_tls/validate",
        "providers/proxied/validate",
        "providers/echoing/validate",
        "providers/echoing_basic/validate",
        "providers/echoing_header/validate",
    ]
    .map(|path| format!("/api/cloud/{path}"))
    .to_vec();
    paths.extend(
        ["queue", "queue/stats", "background/tasks", "quotas", "logging/level"]
            .map(|path| format!("/api/{path}")),
    );
    for job in jobs {
        let below = ["", "/explain", "/events", "/logs", "/inline-progress"];
        paths.extend(below.map(|below| format!("/api/cloud/jobs/{job}{below}")));
    }
    let mut text = String::new();
    for path in paths {
        let answer = server.get(&path).await;
        text.extend([format!("{path} {:?} {}\n", answer.headers, answer.body)]);
    }
    text
}

/// What the stream of events has said so far.
async fn events(server: &Server) -> String {
    let mut response = server
        .client()
        .get(server.url("/api/events"))
        .header("last-event-id", "0")
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let more = std::time::Duration::from_secs(2);
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(more, response.chunk()).await {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

/// The files below a folder but those of the attempts of jobs on this machine.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "local") {
                found.extend(files(&path));
            }
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    found
}

/// Jobs at each provider, with secrets wherever a request may have one.
async fn work(server: &Server) -> Vec<String> {
    let webhook = format!("https://u:{IN_WEBHOOK}@hooks.invalid/x?token={IN_WEBHOOK}");
    let set = server.put("/api/cloud/providers/replicate/config", json!({"webhook_url": webhook}));
    assert_eq!(set.await.status, 200);
    let config = json!({"--hf_token": IN_INPUT, "--model_type": "lora"});
    let job_webhook = format!("https://hooks.invalid/y?token={IN_JOB_WEBHOOK}");
    let body = json!({"config": config, "webhook_url": job_webhook, "idempotency_key": KEY});
    let mut jobs = vec![server.submit("replicate", body).await];
    for provider in ["refusing", "no_tls", "proxied", "echoing", "echoing_basic", "echoing_header"]
    {
        let body = json!({"config": {"--hf_token": IN_INPUT}, "webhook_url": job_webhook});
        jobs.push(server.submit(provider, body).await);
    }
    let leaky = json!({"config": {"command": "leaky"}});
    jobs.push(server.submit("local", leaky).await);
    jobs
}

/// Requests that are refused, with the answers.
async fn refusals(server: &Server) -> String {
    let submit = "/api/cloud/jobs/submit?provider=replicate";
    let bad_url = format!("ftp://u:{IN_JOB_WEBHOOK}@x/?token={IN_JOB_WEBHOOK}");
    let mut text = String::new();
    for (path, body) in [
        (submit, json!({"config": {}, "webhook_url": bad_url})),
        (submit, json!({"config": {}, "idempotency_key": [KEY]})),
        ("/api/cloud/providers/replicate/retry", json!({"token": TOKEN})),
    ] {
        let answer = server.post(path, body).await;
        text.extend([format!("{path} {} {}\n", answer.status, answer.body)]);
    }
    let answer =
        server.put("/api/cloud/providers/replicate/config", json!({"webhook_url": bad_url})).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    text + &answer.body.to_string()
}

#[tokio::test]
async fn what_the_server_writes_and_says_has_no_secret() {
    let fake = FakeReplicate::start().await;
    fake.world().add_account(TOKEN, "planter");
    let detail = "r8_planted0replicate0token is not known";
    fake.world().fault_on(Call::Create, Fault::Refused { status: 401, detail });
    let around = Around::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = around.file(dir.path());
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), file).unwrap();
    // What usually says nothing below WARNING says all it has as well.
    let everything = "DEBUG,h2=DEBUG,hyper=DEBUG,hyper_util=DEBUG,rustls=DEBUG,tokio=DEBUG";
    let setup = setup(&around, fake.base_url().as_str());
    let setup = setup.with("SIMPLETUNER_LOG_LEVEL", everything);
    let mut server = Server::start_in(dir, setup).await;

    let jobs = work(&server).await;
    let refused = refusals(&server).await;
    let tried = |log: &[Value], provider: &str| {
        log.iter().any(|line| line["extra"]["provider"] == provider)
    };
    eventually("all providers were tried", async || {
        let log = server.log();
        ["refusing", "no_tls", "proxied", "echoing", "echoing_basic", "echoing_header"]
            .iter()
            .all(|provider| tried(&log, provider))
    })
    .await;
    let answered = answers(&server, &jobs).await;
    let streamed = events(&server).await;
    assert!(streamed.contains(&jobs[0]), "{streamed}");
    let said = server.said();
    let (log, state) = (std::fs::read_to_string(server.log_file()).unwrap(), server.state_dir());

    clean("the answers", &answered, &nowhere());
    clean("the refusals", &refused, &[&nowhere()[1..], &[IN_JOB_WEBHOOK]].concat());
    clean("the events", &streamed, &[&nowhere()[..], &NOT_IN_THE_LOG].concat());
    clean("the log", &log, &[&nowhere()[..], &NOT_IN_THE_LOG].concat());
    clean("stderr", &said, &[&nowhere()[..], &NOT_IN_THE_LOG].concat());
    let kept = files(&state);
    assert!(kept.iter().any(|(path, _)| path.ends_with("cloud.db-wal")), "the log of the database");
    for (path, text) in kept {
        clean(&path, &text, &nowhere());
    }
    // What is searched is what was sent: without this the test could pass on nothing.
    let arrived = fake.world().requests();
    let bearer = format!("Bearer {TOKEN}");
    assert!(arrived.iter().any(|it| it.header("authorization") == Some(bearer.as_str())));
    assert!(server.stop().await.success());
    clean("stderr", &server.said(), &[&nowhere()[..], &NOT_IN_THE_LOG].concat());
}

#[tokio::test]
async fn a_configuration_that_is_refused_shows_no_secret() {
    let url = format!("https://me:{TOKEN}@api.example/v1");
    let no_url = format!("htp://me:{TOKEN}@api.example/v1");
    let inline = described("x", "https://api.example", &format!("{{ bearer: {BEARER} }}"));
    let files = [
        format!("providers:\n{inline}"),
        format!("providers: {{ replicate: {{ api_base_url: '{url}' }} }}\n"),
        "server: { port: '${FILLED}' }\n".to_owned(),
        "http: { ssl_verify: '${FILLED}', timeout_seconds: 'x${FILLED}' }\n".to_owned(),
        format!("providers:\n{}", described("x", "'https://a:${FILLED}@b.example'", "{}")),
        format!("providers:\n  x: {{ auth: {{ bearer: {BEARER}\n"),
        "providers: { local: { commands: { x: { program: '${COMMAND}', env: { A: '${COMMAND}' } } } } }\n".to_owned(),
    ];
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), &file).unwrap();
        for base_url in [url.as_str(), no_url.as_str(), "https://api.example/v1"] {
            let setup = Setup::default()
                .with("REPLICATE_API_TOKEN", TOKEN)
                .with("REPLICATE_API_BASE_URL", base_url)
                .with("HTTPS_PROXY", &format!("socks5://me:{PROXY}@p:1"))
                .with("FILLED", FILLED)
                .with("COMMAND", COMMAND);
            let refused = refused(&dir, &setup, free_port()).await;
            assert_eq!(refused.code, Some(64), "{}", refused.stderr);
            clean(&file, &refused.stderr, &nowhere());
        }
    }
}

#[tokio::test]
async fn the_check_of_a_provider_shows_no_secret() {
    let around = Around::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), around.file(dir.path()))
        .unwrap();
    let setup = setup(&around, "https://api.example/v1");
    for provider in ["echoing", "echoing_basic", "echoing_header"] {
        let shown = check(&dir, &setup, provider).await;
        assert!(shown.contains("***") && shown.contains("${FILLED}"), "{shown}");
        clean("the check", &shown, &nowhere());
    }
}

async fn check(dir: &TempDir, setup: &Setup, provider: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_st-server"))
        .args(["provider", "check", provider])
        .env_clear()
        .envs(&setup.env)
        .env("SIMPLETUNER_STATE_DIR", dir.path().join("state"))
        .current_dir(dir.path())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}
