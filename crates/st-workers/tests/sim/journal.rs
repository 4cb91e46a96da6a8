//! What happened in a simulated world, in order, for the person who reads about a violation.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many lines a failure shows of the whole world's last steps, and of one job's.
const TAIL: usize = 60;
const OF_JOB: usize = 120;

/// The steps of a run, with the simulated time that had passed.
#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    lines: Mutex<Vec<(Duration, String)>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), lines: Mutex::default() }
    }

    /// The simulated time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn note(&self, line: impl Into<String>) {
        let now = self.now();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push((now, line.into()));
    }

    /// Every step, one a line.
    pub(crate) fn whole(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (at, line) in lines.iter() {
            writeln!(text, "{} {line}", clock(*at)).unwrap();
        }
        text
    }

    /// The last steps of the world, and before them those of the job that is named.
    pub(crate) fn tail(&self, job: Option<&str>) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if let Some(job) = job {
            let of_job = |line: &&(Duration, String)| {
                line.1.split(|char: char| !char.is_ascii_alphanumeric()).any(|word| word == job)
            };
            let of_job: Vec<_> = lines.iter().filter(of_job).collect();
            let skipped = of_job.len().saturating_sub(OF_JOB);
            writeln!(text, "what concerned {job} ({skipped} steps before):").unwrap();
            for (at, line) in of_job.into_iter().skip(skipped) {
                writeln!(text, "  {} {line}", clock(*at)).unwrap();
            }
        }
        writeln!(text, "the last steps:").unwrap();
        for (at, line) in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            writeln!(text, "  {} {line}", clock(*at)).unwrap();
        }
        text
    }
}

/// A simulated time as hours, minutes and seconds.
pub(crate) fn clock(at: Duration) -> String {
    let seconds = at.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, at.subsec_millis())
}
