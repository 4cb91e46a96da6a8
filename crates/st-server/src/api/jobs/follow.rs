//! Following what a job prints, as Server-Sent Events.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream;
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{JobId, JobRef, JobStatus, JobType};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{find, logs};
use crate::api::{Api, Caller, Place};
use crate::http::problem::Problem;
use crate::http::sse::event_stream;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// How often the log of a job on this machine is read.
const PERIOD: Duration = Duration::from_secs(1);
/// How often that of another is: each time is a call to its provider.
const PERIOD_OF_CALLS: Duration = Duration::from_secs(5);
/// How often something is sent while nothing is printed, so that a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After so many failures to read its log, the end of a job is reported without the rest of it.
const MISSES: u32 = 5;

/// One client that follows one job.
struct Follower {
    api: Api,
    job: JobId,
    period: Duration,
    sent: String,
    state: Phase,
    /// How many times the log could not be read.
    misses: u32,
    last_sent: Instant,
    _place: OwnedSemaphorePermit,
    _place_of_key: Place,
}

enum Phase {
    Running { first: bool },
    Over(JobStatus),
    Done,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&api, &caller, &name).await?;
    let place_of_key = api.place(&caller)?;
    let place = api
        .log_streams()
        .try_acquire_owned()
        .map_err(|_none_left| Problem::new(Code::TooManyStreams, "too many clients follow logs"))?;
    let follower = Follower {
        job: record.id(),
        period: match record.job().job_type {
            JobType::Local => PERIOD,
            JobType::Cloud => PERIOD_OF_CALLS,
        },
        sent: String::new(),
        state: Phase::Running { first: true },
        misses: 0,
        last_sent: Instant::now(),
        _place: place,
        _place_of_key: place_of_key,
        api,
    };
    Ok(event_stream(stream::unfold(follower, |mut follower| async {
        let frame = follower.next().await?;
        Some((frame, follower))
    })))
}

impl Follower {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.state {
                Phase::Running { first } => {
                    if !first {
                        let stopping = self.api.stopping();
                        tokio::select! {
                            () = stopping.cancelled() => return None,
                            () = tokio::time::sleep(self.period) => {}
                        }
                    }
                    self.state = Phase::Running { first: false };
                    if let Some(lines) = self.read().await {
                        self.last_sent = Instant::now();
                        return Some(lines);
                    }
                    if self.last_sent.elapsed() >= KEEP_ALIVE {
                        self.last_sent = Instant::now();
                        return Some(": keep-alive\n\n".to_owned());
                    }
                }
                Phase::Over(status) => {
                    self.state = Phase::Done;
                    return Some(format!("event: done\ndata: {status}\n\n"));
                }
                Phase::Done => return None,
            }
        }
    }

    /// What was printed since the last call. The status is read first: what a job prints before its end
    /// is in the log that is read after it.
    async fn read(&mut self) -> Option<String> {
        let record = match self.api.store.find_job(&JobRef::Id(self.job)).await {
            Ok(Some(record)) => record,
            // It was deleted.
            Ok(None) => {
                self.state = Phase::Done;
                return None;
            }
            // The next try may read it.
            Err(error) => {
                st_log::debug!(logger: LOG, job_id = self.job.to_string(), error, "Job that is followed cannot be read");
                return None;
            }
        };
        let ended = record.status().is_terminal().then(|| record.status());
        let log = match logs::of(&self.api, &record).await {
            Ok(log) => {
                self.state = ended.map_or(Phase::Running { first: false }, Phase::Over);
                log
            }
            Err(_) if ended.is_some() && self.misses >= MISSES => {
                self.state = ended.map_or(Phase::Done, Phase::Over);
                return None;
            }
            Err(problem) => {
                self.misses += 1;
                let reason = problem.detail().to_owned();
                st_log::debug!(logger: LOG, job_id = self.job.to_string(), reason, "Log that is followed cannot be read");
                return None;
            }
        };
        // A log that is not there for a moment is not a new one.
        if log.is_empty() {
            return None;
        }
        let is_over = matches!(self.state, Phase::Over(_));
        let new = news(&self.sent, &log);
        // A line that is not complete yet is sent with its end.
        let whole = if is_over { new.len() } else { new.rfind('\n').map_or(0, |end| end + 1) };
        let (lines, rest) = new.split_at_checked(whole)?;
        let frames = frames(lines);
        let seen = log.len() - rest.len();
        log.get(..seen).unwrap_or_default().clone_into(&mut self.sent);
        (!frames.is_empty()).then_some(frames)
    }
}

/// A frame for each line. A carriage return ends a line in the stream's format, too: a progress bar
/// writes one for each step, and nothing that a job prints may look like a frame of ours.
fn frames(lines: &str) -> String {
    let lines = lines.replace("\r\n", "\n").replace('\r', "\n");
    lines.lines().fold(String::new(), |frames, line| frames + "data: " + line + "\n\n")
}

/// How much of the beginning of a log is looked up in what was sent, in bytes.
const BEGINNING: usize = 256;

/// What of a log comes after what was sent. A provider that keeps only the end of a long log leaves out
/// its beginning: then the log begins somewhere in what was sent. One that does not is a new one.
fn news<'a>(sent: &str, log: &'a str) -> &'a str {
    if let Some(new) = log.strip_prefix(sent) {
        return new;
    }
    let mut end = log.len().min(BEGINNING);
    while !log.is_char_boundary(end) {
        end -= 1;
    }
    let Some(beginning) = log.get(..end) else { return log };
    let mut overlaps = sent.match_indices(beginning).filter_map(|(at, _)| sent.get(at..));
    let new = overlaps.find_map(|overlap| log.strip_prefix(overlap));
    new.unwrap_or(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_sent_again_though_the_beginning_is_gone() {
        assert_eq!(news("", "a\nb\n"), "a\nb\n");
        assert_eq!(news("a\nb\n", "a\nb\nc\n"), "c\n");
        let steps: Vec<String> = (0..500).map(|number| format!("step {number}\n")).collect();
        let sent = steps.concat();
        let kept = sent.get(2000..).unwrap().to_owned() + "new\n";
        assert_eq!(news(&sent, &kept), "new\n");
        assert_eq!(news("other\n", "begun anew\n"), "begun anew\n");
    }

    #[test]
    fn a_line_that_repeats_is_sent_each_time() {
        assert_eq!(news("a\n", "a\na\n"), "a\n");
        assert_eq!(news("a\na\n", "a\na\na\n"), "a\n");
    }

    #[test]
    fn nothing_that_is_printed_looks_like_a_frame() {
        let bar = "1%\r2%\r\nx\r\revent: done\rdata: completed\r\r\n";
        let text = frames(bar);
        assert!(!text.contains('\r'), "it ends a line, too: {text:?}");
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with("data: ")), "{text}");
        assert_eq!(frames("a\r\nb\n"), "data: a\n\ndata: b\n\n");
    }
}
