//! Reading a job's log.

use st_http::StreamingResponse;
use tokio::time::{Instant, timeout_at};

use super::answers::Operation;
use super::call::{Call, Outgoing};
use super::connection::Answer;
use super::described::HttpProvider;
use super::json;
use super::logs::{Events, Form, Found, From, LONGEST_LOG, end_of};
use super::values::Values;
use crate::provider::rate::Purpose;
use crate::provider::{QueryError, RemoteJob};

/// A stream of events that never falls silent is read for as long.
const LONGEST_STREAM: std::time::Duration = std::time::Duration::from_secs(20);

impl HttpProvider {
    /// What the job printed so far.
    pub(super) async fn read_log(&self, job: &RemoteJob) -> Result<String, QueryError> {
        let Some(logs) = &self.description.logs else {
            return Err(QueryError::trouble(format!("no logs are described for {}", self.name)));
        };
        let values = Values::of_job(&self.description.vars, job);
        match &logs.from {
            From::Status => {
                self.log_of(Operation::Status, &self.description.status, &values, &logs.form).await
            }
            From::Call(call) => self.log_of(Operation::Logs, call, &values, &logs.form).await,
            From::Found(found) => {
                let Found { first, take, call } = found.as_ref();
                let judge = self.judge();
                let answer =
                    self.send((Operation::Logs, Purpose::Other), first, &values, &[]).await;
                let answer = answer.map_err(|why| judge.unanswered(why))?;
                let body = json::value(&answer.body);
                judge.answered(Operation::Logs, &answer, body.as_ref())?;
                let Some(taken) = body.as_ref().and_then(|body| take.text(body)) else {
                    // A job that has not begun has printed nothing; one that is not there has no log.
                    return self.job_status(job, Purpose::Other).await.map(|_| String::new());
                };
                let values = values.with("taken", taken.into());
                self.log_of(Operation::Logs, call, &values, &logs.form).await
            }
        }
    }

    async fn log_of(
        &self,
        operation: Operation,
        call: &Call,
        values: &Values<'_>,
        form: &Form,
    ) -> Result<String, QueryError> {
        let judge = self.judge();
        let outgoing = self.description.render(call, values, &[]);
        let outgoing = outgoing.map_err(|why| judge.unanswered(why.into()))?;
        let log = match form {
            Form::Rows { .. } => {
                let answer = self
                    .connection
                    .ask(&self.description, operation, Purpose::Other, outgoing)
                    .await;
                let answer = answer.map_err(|why| judge.unanswered(why))?;
                let body = json::value(&answer.body);
                judge.answered(operation, &answer, body.as_ref())?;
                let rows = body.as_ref().and_then(|body| form.in_rows(body));
                rows.ok_or_else(|| judge.unreadable("its rows are no list"))?
            }
            Form::Text | Form::Events { .. } => self.stream(operation, outgoing, form).await?,
        };
        Ok(self.connection.mask_result(&log))
    }

    /// Reads a log as it arrives and keeps its end.
    async fn stream(
        &self,
        operation: Operation,
        outgoing: Outgoing,
        form: &Form,
    ) -> Result<String, QueryError> {
        let judge = self.judge();
        let opened =
            self.connection.open(&self.description, operation, Purpose::Other, outgoing).await;
        let (mut response, _permit) = opened.map_err(|why| judge.unanswered(why))?;
        if !response.status().is_success() {
            let answer = whole(response).await.map_err(|why| judge.unanswered(why.into()))?;
            let body = json::value(&answer.body);
            judge.answered(operation, &answer, body.as_ref())?;
            return Ok(answer.body);
        }
        if let Form::Events { idle, line } = form {
            let mut events = Events::default();
            let ends = Instant::now() + LONGEST_STREAM;
            let mut silent_at = Instant::now() + *idle;
            // Such a stream has no end: silence is the end of what there is.
            while let Ok(chunk) = timeout_at(silent_at.min(ends), response.chunk()).await {
                match chunk {
                    Ok(Some(chunk)) if events.feed(&chunk, line) => {
                        silent_at = Instant::now() + *idle;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) if !events.log.is_empty() => break,
                    Err(why) => return Err(judge.unanswered(why.into())),
                }
            }
            return Ok(end_of(events.log));
        }
        let mut log = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|why| judge.unanswered(why.into()))?
        {
            log.extend_from_slice(&chunk);
            if log.len() > 2 * LONGEST_LOG {
                log.drain(..log.len() - LONGEST_LOG);
            }
        }
        Ok(end_of(String::from_utf8_lossy(&log).into_owned()))
    }
}

async fn whole(mut response: StreamingResponse) -> Result<Answer, st_http::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
}
