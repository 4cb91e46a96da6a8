//! A process with clients of keep-alive connections, each of which sends its next request when it has the
//! answer to the last, or when it is due.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::server;

pub(crate) const VERB: &str = "clients";

/// What the clients do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) address: String,
    pub(crate) connections: usize,
    /// Of all connections together.
    pub(crate) requests: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
    /// Of all connections together; without it, as fast as they are answered.
    pub(crate) per_second: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// From when a request was due.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of the processor for each request.
    pub(crate) client_us: f64,
}

pub(crate) fn measure(load: &Load) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([VERB, &serde_json::to_string(load).unwrap()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousands")]
pub(crate) fn run(load: &Load) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (took, mut latencies) = runtime.block_on(all(load));
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies.get((latencies.len() - 1) * part / 100).unwrap().as_secs_f64() * 1000.0
    };
    let requests = latencies.len() as f64;
    let outcome = Outcome {
        per_second: requests / took.as_secs_f64(),
        p50_ms: at(50),
        p99_ms: at(99),
        client_us: server::cpu(std::process::id()).as_secs_f64() * 1e6 / requests,
    };
    println!("{}", serde_json::to_string(&outcome).unwrap());
}

async fn all(load: &Load) -> (Duration, Vec<Duration>) {
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        let stream = TcpStream::connect(&load.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.push(stream);
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (index, stream) in connections.into_iter().enumerate() {
        clients.spawn(one(stream, load.clone(), index, began));
    }
    let mut latencies = Vec::with_capacity(load.requests);
    while let Some(of_one) = clients.join_next().await {
        latencies.extend(of_one.unwrap());
    }
    (began.elapsed(), latencies)
}

async fn one(mut stream: TcpStream, load: Load, index: usize, began: Instant) -> Vec<Duration> {
    let Load { address, method, path, body, .. } = &load;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(64 * 1024);
    for turn in 0..load.requests / load.connections {
        let number = u32::try_from(turn * load.connections + index).unwrap();
        let due = match load.per_second {
            Some(rate) => {
                let due = began + Duration::from_secs_f64(1.0 / rate) * number;
                tokio::time::sleep_until(due.into()).await;
                due
            }
            None => Instant::now(),
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(&mut stream, &mut buffer).await;
        latencies.push(due.elapsed());
    }
    latencies
}

/// Reads one answer, which must be a success.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
        let end = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else { continue };
        let head = std::str::from_utf8(buffer.get(..end).unwrap()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(buffer));
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let whole = end + 4 + length.parse::<usize>().unwrap();
        while buffer.len() < whole {
            assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
        }
        return;
    }
}
