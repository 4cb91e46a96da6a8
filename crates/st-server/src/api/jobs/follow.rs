//! Following what a job prints, as Server-Sent Events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{JobId, JobRef, JobStatus};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{find, logs};
use crate::api::Api;
use crate::http::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// How often the log is read.
const PERIOD: Duration = Duration::from_secs(1);
/// How often something is sent while nothing is printed, so that a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// By so many bytes at its end the log that was sent is found in the one that was read now: a provider
/// that keeps only the end of a long log leaves out its beginning.
const OVERLAP: usize = 1024;

/// One client that follows one job.
struct Follower {
    api: Api,
    job: JobId,
    sent: String,
    state: Phase,
    last_sent: Instant,
    _place: OwnedSemaphorePermit,
}

enum Phase {
    Running { first: bool },
    Over(JobStatus),
    Done,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&api, &name).await?;
    let place = api
        .log_streams()
        .try_acquire_owned()
        .map_err(|_none_left| Problem::new(Code::TooManyStreams, "too many clients follow logs"))?;
    let follower = Follower {
        job: record.id(),
        sent: String::new(),
        state: Phase::Running { first: true },
        last_sent: Instant::now(),
        _place: place,
        api,
    };
    let frames = stream::unfold(follower, |mut follower| async {
        let frame = follower.next().await?;
        Some((Ok::<_, Infallible>(frame), follower))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
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
                            () = tokio::time::sleep(PERIOD) => {}
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
        if record.status().is_terminal() {
            self.state = Phase::Over(record.status());
        }
        let log = match logs::of(&self.api, &record).await {
            Ok(log) => log,
            Err(problem) => {
                let reason = problem.detail().to_owned();
                st_log::debug!(logger: LOG, job_id = self.job.to_string(), reason, "Log that is followed cannot be read");
                return None;
            }
        };
        let is_over = matches!(self.state, Phase::Over(_));
        let new = news(&self.sent, &log);
        // A line that is not complete yet is sent with its end.
        let whole = if is_over { new.len() } else { new.rfind('\n').map_or(0, |end| end + 1) };
        let (lines, rest) = new.split_at_checked(whole)?;
        let frames =
            lines.lines().fold(String::new(), |frames, line| frames + "data: " + line + "\n\n");
        let seen = log.len() - rest.len();
        tail(log.get(..seen).unwrap_or_default()).clone_into(&mut self.sent);
        (!frames.is_empty()).then_some(frames)
    }
}

/// The end of a log, by which it is found again.
fn tail(log: &str) -> &str {
    let mut start = log.len().saturating_sub(OVERLAP);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    log.get(start..).unwrap_or_default()
}

/// What of a log comes after what was sent. A log that does not contain that is a new one.
fn news<'a>(sent: &str, log: &'a str) -> &'a str {
    match log.rfind(sent) {
        // Nothing was sent yet.
        Some(_) if sent.is_empty() => log,
        Some(at) => log.get(at + sent.len()..).unwrap_or_default(),
        None => log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_sent_again_though_the_beginning_is_gone() {
        assert_eq!(news("", "a\nb\n"), "a\nb\n");
        assert_eq!(news(tail("a\nb\n"), "a\nb\nc\n"), "c\n");
        let long = "x".repeat(3 * OVERLAP) + "\nlast\n";
        let kept = long.get(2 * OVERLAP..).unwrap().to_owned() + "new\n";
        assert_eq!(news(tail(&long), &kept), "new\n");
        assert_eq!(news(tail("other\n"), "begun anew\n"), "begun anew\n");
    }
}
