//! A description without its provider: every request as it would go out, and what a saved answer
//! would mean.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use st_log::{Chain, CorrelationId};
use st_store::{JobId, Marker, ProviderJobId, ProviderName, ProviderStatus};

use super::answers::{OPERATIONS, Operation};
use super::call::{Call, Outgoing};
use super::connection::Answer;
use super::description::Description;
use super::json;
use super::judge::{Asked, Judge, Refused, Submitted};
use super::list::List;
use super::logs::From;
use super::once::Once;
use super::template::RenderError;
use super::values::{Values, parse_marker};
use crate::provider::{ListQuery, RemoteJob, SubmitError};

/// A request of a description, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRequest {
    /// Which call it is, such as `submit`.
    pub operation: &'static str,
    /// The request with every secret masked, or why it cannot be made.
    pub text: Result<String, String>,
}

/// A saved answer.
#[derive(Debug, Clone, Copy)]
pub struct SavedAnswer<'a> {
    /// Which call it answers, such as `status`.
    pub operation: &'a str,
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: &'a str,
}

/// A saved answer that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotJudged {
    /// There is no such call.
    #[error("there is no call {given:?}, expected one of {}", operations())]
    Operation {
        /// What was asked for.
        given: String,
    },
    /// The description does not have that call.
    #[error("the description has no {0}")]
    NotDescribed(&'static str),
    /// No answer has such a status.
    #[error("{0} is no HTTP status")]
    Status(u16),
}

fn operations() -> String {
    let words: Vec<&str> = OPERATIONS.iter().map(|(word, _)| *word).collect();
    words.join(", ")
}

impl Description {
    /// Every request, for a made-up job. `input`: what the job asks for; without it each part that the
    /// submission needs is a placeholder.
    pub fn requests(&self, input: Option<&Value>) -> Vec<ShownRequest> {
        let placeholders = self.placeholders();
        let input = input.unwrap_or(&placeholders);
        let marker = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [0; 10]), attempt: 1 };
        let hardware = self.hardware.iter().next();
        let (name, sku) = hardware.map_or(("<hardware>", "<hardware>"), |(name, sku)| (name, sku));
        let attempt = Values::of_attempt(&self.vars, marker)
            .with_input(input)
            .with("hardware", json!({"name": name, "sku": sku}));
        let job = Values::of_job(&self.vars, &made_up(marker.job));
        let query = ListQuery { since: Some(Timestamp::UNIX_EPOCH), ..ListQuery::default() };
        let window = Values::new(&self.vars).with_window(&query);
        let mut shown = vec![(Operation::Submit, self.keyed(&attempt, marker))];
        let mut add = |operation, call: Option<&Call>, values: &Values<'_>| {
            shown.extend(call.map(|call| (operation, self.render(call, values, &[]))));
        };
        if let Once::Hold { release } = &self.once {
            add(Operation::Release, Some(release), &job);
        }
        add(Operation::Status, Some(&self.status), &job);
        add(Operation::List, self.list.as_ref().map(|list| &list.call), &window);
        add(Operation::Find, self.find.as_ref().map(|list| &list.call), &attempt);
        add(Operation::Cancel, self.cancel.as_ref().map(|cancel| &cancel.call), &job);
        match self.logs.as_ref().map(|logs| &logs.from) {
            Some(From::Call(call)) => add(Operation::Logs, Some(call), &job),
            Some(From::Found(found)) => {
                add(Operation::Logs, Some(&found.first), &job);
                add(
                    Operation::Logs,
                    Some(&found.call),
                    &job.clone().with("taken", "<taken>".into()),
                );
            }
            Some(From::Status) | None => {}
        }
        add(Operation::Sweep, self.sweep.as_ref().map(|sweep| &sweep.call), &job);
        add(Operation::Validate, self.validate.as_ref().map(|it| &it.call), &window);
        let shown = shown.into_iter().map(|(operation, outgoing)| ShownRequest {
            operation: operation.as_str(),
            text: outgoing
                .map(|outgoing| self.shown(&outgoing))
                .map_err(|error| Chain(&error).to_string()),
        });
        shown.collect()
    }

    fn keyed(&self, values: &Values<'_>, marker: Marker) -> Result<Outgoing, RenderError> {
        let mut outgoing = self.render(&self.submit, values, &[])?;
        if let Once::Key { header: Some(header), .. } = &self.once
            && let Ok(key) = marker.to_string().parse()
        {
            outgoing.headers.push((header.clone(), key));
        }
        Ok(outgoing)
    }

    fn shown(&self, outgoing: &Outgoing) -> String {
        let mut text = format!("{} {}\n", outgoing.method, self.base.url(&outgoing.path));
        let mut add = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
        if let Some(auth) = &self.auth {
            add(auth.header.as_str(), &auth.masked());
        }
        for (name, value) in &outgoing.headers {
            add(name.as_str(), value.to_str().unwrap_or("<not text>"));
        }
        if let Some((body, content_type)) = &outgoing.body {
            add("content-type", content_type.to_str().unwrap_or_default());
            text.push('\n');
            text.push_str(&serde_json::to_string_pretty(body).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// An input in which everything that a submission refers to is there.
    fn placeholders(&self) -> Value {
        let mut input = Value::Object(Map::new());
        for reference in self.submit.references() {
            let Some((root, path)) =
                reference.path.split_first().filter(|(root, _)| *root == "input")
            else {
                continue;
            };
            let text = format!("<{root}.{}>", path.join("."));
            let value =
                if reference.takes_an_object() { json!({"NAME": text}) } else { text.into() };
            put(&mut input, path, value);
        }
        input
    }

    /// What a saved answer means, line by line.
    pub fn judge(
        &self,
        name: &ProviderName,
        saved: SavedAnswer<'_>,
    ) -> Result<Vec<String>, NotJudged> {
        let known = OPERATIONS.iter().find(|(word, _)| *word == saved.operation);
        let (word, operation) =
            *known.ok_or_else(|| NotJudged::Operation { given: saved.operation.to_owned() })?;
        let status =
            StatusCode::from_u16(saved.status).map_err(|_range| NotJudged::Status(saved.status))?;
        let answer = Answer { status, headers: HeaderMap::new(), body: saved.body.to_owned() };
        let judge = Judge { name, description: self, connection: None };
        let missing = NotJudged::NotDescribed(word);
        let list = match operation {
            Operation::List => Some(self.list.as_ref().ok_or(missing)?),
            Operation::Find => Some(self.find.as_ref().ok_or(missing)?),
            Operation::Submit
            | Operation::Release
            | Operation::Status
            | Operation::Cancel
            | Operation::Logs
            | Operation::Validate
            | Operation::Sweep => None,
        };
        if let Some(list) = list {
            return Ok(self.judge_page(judge, operation, list, &answer));
        }
        let body = json::value(&answer.body);
        if operation == Operation::Submit {
            return Ok(self.judge_submission(judge, &answer, body.as_ref()));
        }
        let root = match (operation, &self.cancel) {
            (Operation::Cancel, Some(cancel)) => &cancel.call.root,
            _ => &self.status.root,
        };
        let mut lines = Vec::new();
        match judge.answered(operation, &answer, body.as_ref()) {
            Ok(Asked::Done) => lines.push("done: there is nothing to do any more".to_owned()),
            Ok(Asked::Answered) => {
                lines.push("answered".to_owned());
                let shown = body.as_ref().and_then(|body| root.get(body));
                match shown {
                    Some(job) => lines.extend(self.shown_job(job)),
                    None if operation == Operation::Status => {
                        lines.push("it shows no job: the status is not known".to_owned());
                    }
                    None => {}
                }
            }
            Err(refused) => lines.push(shown_refusal(&refused)),
        }
        Ok(lines)
    }

    fn judge_submission(
        &self,
        judge: Judge<'_>,
        answer: &Answer,
        body: Option<&Value>,
    ) -> Vec<String> {
        match judge.submitted(answer, body) {
            Ok(Submitted::Conflict) => {
                vec!["conflict: the job is there under our name, it is read and adopted".to_owned()]
            }
            Ok(Submitted::Accepted) => {
                let shown = body.map(|body| self.submit.root.get(body).unwrap_or(body));
                let Some(job) = shown.filter(|job| self.job.id(job).is_some()) else {
                    let what = "unknown: accepted without an id that can be read";
                    return vec![what.to_owned()];
                };
                let mut lines = vec!["accepted".to_owned()];
                lines.extend(self.shown_job(job));
                lines
            }
            Err(error) => {
                let word = match &error {
                    SubmitError::Rejected { .. } => "rejected: the job fails",
                    SubmitError::MissingSetting { .. } => "a setting is missing",
                    SubmitError::Unavailable(_) => {
                        "unavailable: it did not arrive, it is tried again"
                    }
                    SubmitError::Unknown { .. } => "unknown: it may have arrived",
                };
                vec![format!("{word}; {}", Chain(&error))]
            }
        }
    }

    fn judge_page(
        &self,
        judge: Judge<'_>,
        operation: Operation,
        list: &List,
        answer: &Answer,
    ) -> Vec<String> {
        let page = json::page(&answer.body, &list.rows);
        let rest = page.as_ref().map(|page| &page.rest);
        if let Err(refused) = judge.answered(operation, answer, rest) {
            return vec![shown_refusal(&refused)];
        }
        let Some((page, rows)) = page.and_then(|mut page| Some((page.rows.take()?, page.rest)))
        else {
            return vec!["it has no list of rows".to_owned()];
        };
        let (raw, rest) = (page, rows);
        let rows: Vec<Value> = raw.iter().filter_map(|row| json::value(row.get())).collect();
        let mut lines =
            vec![format!("{} rows, {} of them unreadable", raw.len(), raw.len() - rows.len())];
        for row in &rows {
            let marker = list.marker.as_ref().and_then(|at| at.text(row));
            let marker = marker.as_deref().and_then(parse_marker);
            let id = self.job.id(row).unwrap_or_else(|| "without a usable id".to_owned());
            let status = self.job.status(row).map_or("not known", st_store::JobStatus::as_str);
            let ours = marker.map_or("not ours".to_owned(), |marker| format!("marker {marker}"));
            lines.push(format!("  {id}: status {status}, {ours}"));
        }
        let position = (None, raw.len());
        let next = list
            .next
            .as_ref()
            .map_or(Ok(None), |next| next.after(&answer.headers, &rest, rows.last(), position));
        lines.push(match next {
            Ok(Some(next)) => format!("next page: {}", next.to_text()),
            Ok(None) => "this is the last page".to_owned(),
            Err(why) => format!("it proves the absence of no job: {why}"),
        });
        lines
    }

    fn shown_job(&self, job: &Value) -> Vec<String> {
        let id = self.job.id(job);
        let ProviderStatus {
            provider_job_id: _,
            status,
            started_at,
            completed_at,
            cost_usd,
            error_message,
            output_url,
            ending,
            results_kept_for: _,
        } = self.job.report(job, id.as_deref().unwrap_or_default(), &self.prices, None);
        let word = || self.job.word(job).unwrap_or_else(|| "none".to_owned());
        let status = status.map_or_else(
            || format!("not known, the provider's word is {}", word()),
            |status| status.as_str().to_owned(),
        );
        let mut lines = vec![format!("status: {status}")];
        let mut add = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("{name}: {value}")));
        };
        add("id", id);
        add("created_at", self.job.created_at(job).map(|time| time.to_string()));
        add("started_at", started_at.map(|time| time.to_string()));
        add("finished_at", completed_at.map(|time| time.to_string()));
        add("cost_usd", cost_usd.map(|cost| format!("{cost:.6}")));
        add("error", error_message);
        add("output", output_url);
        add("ended", ending.map(|ending| ending.to_string()));
        lines
    }
}

fn shown_refusal(refused: &Refused) -> String {
    match refused {
        Refused::Gone(after) => format!("gone: believed when it lasts for {after:?}"),
        Refused::Unavailable(unavailable) => {
            let wait = unavailable.retry_after.map(|wait| format!(", again after {wait:?}"));
            let wait = wait.unwrap_or_default();
            format!("{}{wait}: it says nothing about the job; {unavailable}", unavailable.cause)
        }
    }
}

fn made_up(job: JobId) -> RemoteJob {
    RemoteJob {
        id: job,
        provider_job_id: ProviderJobId::new("PROVIDER-ID"),
        account: None,
        correlation_id: CorrelationId::generate(),
        age: std::time::Duration::ZERO,
        hardware_type: None,
    }
}

/// Puts a value where a path leads; what is on the way there becomes an object.
fn put(into: &mut Value, path: &[String], value: Value) {
    let Some((first, below)) = path.split_first() else {
        // A part of it is needed as well, which says more.
        if !into.is_object() {
            *into = value;
        }
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    if let Some(members) = into.as_object_mut() {
        put(members.entry(first.clone()).or_insert(Value::Null), below, value);
    }
}
