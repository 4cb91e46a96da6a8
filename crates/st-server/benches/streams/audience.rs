//! Another process with many open event streams. It prints when all are open, and when all have an
//! event.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::{now, server};

pub(crate) const VERB: &str = "audience";

pub(crate) struct Audience {
    child: Option<Child>,
    lines: Receiver<(i64, Duration)>,
    /// When all streams had an event, in microseconds since 1970.
    seen: BTreeMap<i64, Duration>,
    pub(crate) opened_in: Duration,
}

impl Drop for Audience {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Audience {
    /// Opens the streams, and waits until they are open.
    pub(crate) fn open(address: &str, streams: usize, after: Option<i64>) -> Self {
        let began = Instant::now();
        let mut audience = Self::begin(address, streams, after);
        if streams > 0 {
            audience.all_have(0);
        }
        audience.opened_in = began.elapsed();
        audience
    }

    /// Begins to open them.
    pub(crate) fn begin(address: &str, streams: usize, after: Option<i64>) -> Self {
        let (sender, lines) = channel();
        let opened_in = Duration::ZERO;
        if streams == 0 {
            return Self { child: None, lines, seen: BTreeMap::new(), opened_in };
        }
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([VERB, address, &streams.to_string(), &after])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || forward(stdout, &sender));
        Self { child: Some(child), lines, seen: BTreeMap::new(), opened_in }
    }

    /// When all streams had this event; event 0 is that they are open.
    pub(crate) fn all_have(&mut self, event: i64) -> Duration {
        while !self.seen.contains_key(&event) {
            let (id, at) = self.lines.recv_timeout(Duration::from_mins(1)).unwrap();
            self.seen.insert(id, at);
        }
        self.seen.get(&event).copied().unwrap()
    }

    pub(crate) fn is_open(&mut self) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.contains_key(&0)
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.child.as_ref().map(|child| server::cpu(child.id())).unwrap_or_default()
    }
}

fn forward(stdout: ChildStdout, sender: &std::sync::mpsc::Sender<(i64, Duration)>) {
    for line in BufReader::new(stdout).lines() {
        let line = line.unwrap();
        let (id, at) = line.split_once(' ').unwrap();
        let at = Duration::from_micros(at.parse().unwrap());
        // Nobody listens any more when the benchmark ends.
        if sender.send((id.parse().unwrap(), at)).is_err() {
            return;
        }
    }
}

/// The other process: on one thread, so that it takes as little as possible.
pub(crate) fn listen(address: &str, streams: usize, after: &str) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (sender, mut ids) = mpsc::unbounded_channel();
        for _ in 0..streams {
            let stream = read(address.to_owned(), after.to_owned(), sender.clone());
            tokio::spawn(stream);
        }
        let mut counts = BTreeMap::<i64, usize>::new();
        while let Some(id) = ids.recv().await {
            let count = counts.entry(id).or_default();
            *count += 1;
            if *count == streams {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{id} {}", now().as_micros()).unwrap();
                out.flush().unwrap();
            }
        }
    });
}

/// Reads a stream until it ends, and reports the ID of each event; 0 for what has none and is not a
/// heartbeat.
async fn read(address: String, after: String, ids: mpsc::UnboundedSender<i64>) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request =
        format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: {after}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        stream.readable().await.unwrap();
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the server ended a stream");
        text.extend_from_slice(buffer.get(..count).unwrap());
        let Some(end) = text.windows(2).rposition(|pair| pair == b"\n\n") else { continue };
        let rest = text.split_off(end + 2);
        let whole = std::str::from_utf8(&text).unwrap();
        for line in whole.lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                ids.send(id.parse().unwrap()).unwrap();
            } else if line.contains("\"connection\"") {
                ids.send(0).unwrap();
            }
        }
        text = rest;
    }
}
