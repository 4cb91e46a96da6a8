//! What the errors of the store mean to a client. Exhaustive: a new error must be given a meaning.

use st_store::{
    Error, InvalidBudget, InvalidJob, InvalidLimits, InvalidSetting, InvalidText, InvalidWebhook,
    JobId, LONGEST_HTTP_TIMEOUT, MOST_PROVIDER_SLOTS, MOST_RUNTIME_MINUTES, OutOfRange,
    SHORTEST_HTTP_TIMEOUT, TransitionError,
};

use super::Problem;
use st_api::input::FieldFault;
use st_api::problem::Code;

const BUSY: &str = "too much waits to be stored, or the database is locked; try again shortly";
const DETACHED: &str =
    "the database file was moved, replaced or deleted; nothing can be stored until it is back";
const OUTCOME_UNKNOWN: &str =
    "whether the request was stored is not known; read the current state before repeating it";
const SUBMISSION_UNKNOWN: &str = "whether the request was stored is not known; repeat it with the \
     same idempotency key, or ask for the job by its ID";

impl Problem {
    /// The problem of a submission. Where its outcome is unknown, it names the job that may have
    /// been stored.
    pub(crate) fn of_submission(error: Error, job: JobId) -> Self {
        let unknown = matches!(error, Error::OutcomeUnknown { .. });
        let mut problem = Self::from(error);
        if unknown {
            problem.detail = SUBMISSION_UNKNOWN.into();
            problem = problem.with("job_id", job.to_string());
        }
        problem
    }

    /// The problem of a setting of a provider.
    fn of_setting(invalid: &InvalidSetting) -> Self {
        match invalid {
            InvalidSetting::Text(invalid) => Self::invalid(vec![text_fault(*invalid)]),
            InvalidSetting::Slots { found } => {
                let message = format!("expected 1 to {MOST_PROVIDER_SLOTS}, found {found}");
                Self::invalid_field("/max_concurrent", message)
            }
            InvalidSetting::Runtime { found } => {
                let message = format!("expected 1 to {MOST_RUNTIME_MINUTES}, found {found}");
                Self::invalid_field("/max_runtime_minutes", message)
            }
            InvalidSetting::Amount { found } => {
                let message = format!("must be at least 0, found {found}");
                Self::invalid_field("/cost_limit_amount", message)
            }
            InvalidSetting::Timeout { found } => {
                let (least, most) = (SHORTEST_HTTP_TIMEOUT, LONGEST_HTTP_TIMEOUT);
                let message = format!("expected {least:?} to {most:?}, found {found:?}");
                Self::invalid_field("/http_timeout", message)
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => Self::new(Code::StoreBusy, BUSY),
            Error::Closed => Self::new(Code::Stopping, "the server is stopping"),
            Error::Unavailable { .. } => Self::new(Code::StoreUnavailable, error.to_string()),
            Error::Detached { .. } => Self::new(Code::DatabaseDetached, DETACHED),
            Error::Timeout { .. } => {
                Self::new(Code::StoreTimeout, error.to_string()).caused_by(error)
            }
            Error::OutcomeUnknown { .. } => {
                Self::new(Code::OutcomeUnknown, OUTCOME_UNKNOWN).caused_by(error)
            }
            Error::NotFound { .. } => Self::not_found(error.to_string()),
            Error::Refused(refusal) => refusal.into(),
            Error::IdempotencyMismatch { .. } => {
                Self::new(Code::IdempotencyMismatch, error.to_string())
            }
            Error::DeletedSince { .. } => Self::new(Code::JobDeleted, error.to_string()),
            Error::InvalidJob(invalid) => Self::invalid(vec![job_fault(&invalid)]),
            Error::InvalidLimits(invalid) => Self::invalid(limit_faults(&invalid)),
            Error::InvalidRule(invalid) => Self::invalid_field("/threshold", invalid.to_string()),
            Error::InvalidBudget(invalid) => invalid.into(),
            Error::OverBudget(exceeded) => Self::exceeded(&exceeded),
            // Returned only for `no_wait`, whose handler answers it itself.
            Error::WouldWait(_) => Self::new(Code::Conflict, error.to_string()),
            Error::InvalidWebhook(
                conflict @ (InvalidWebhook::TooMany | InvalidWebhook::TooManySecrets { .. }),
            ) => Self::new(Code::Conflict, conflict.to_string()),
            Error::InvalidWebhook(InvalidWebhook::Text(invalid))
            | Error::InvalidSetting(InvalidSetting::Text(invalid))
            | Error::InvalidHold(invalid)
            | Error::InvalidKey(invalid)
            | Error::InvalidShare(invalid) => Self::invalid(vec![text_fault(invalid)]),
            Error::InvalidSetting(invalid) => Self::of_setting(&invalid),
            Error::Damaged(_) | Error::ManyDamaged { .. } => {
                Self::damaged(error.to_string()).caused_by(error)
            }
            Error::Database { .. }
            | Error::Open { .. }
            | Error::InUse { .. }
            | Error::NetworkFileSystem { .. }
            | Error::Missing { .. }
            | Error::Incomplete { .. }
            | Error::ForeignWal { .. }
            | Error::DamagedFile { .. }
            | Error::SchemaTooNew { .. }
            | Error::SchemaChanged { .. }
            | Error::SchemaGap { .. }
            | Error::NoDatabase { .. }
            | Error::OtherChecksum { .. }
            | Error::Exists { .. }
            | Error::Backup { .. }
            | Error::File { .. }
            | Error::SeveralNames { .. } => Self::internal().caused_by(error),
        }
    }
}

impl From<InvalidBudget> for Problem {
    fn from(invalid: InvalidBudget) -> Self {
        match invalid {
            InvalidBudget::Amount(amount) => {
                let message = format!("must be at least 0, found {amount}");
                Self::invalid_field("/limit_value", message)
            }
            InvalidBudget::OtherMeasure(_) => {
                Self::invalid_field("/limit_value", invalid.to_string())
            }
            InvalidBudget::StopsJobs(_) => Self::invalid_field("/action", invalid.to_string()),
            InvalidBudget::OfSettings { .. } => Self::new(Code::Conflict, invalid.to_string()),
            InvalidBudget::Text(invalid) => Self::invalid(vec![text_fault(invalid)]),
        }
    }
}

impl From<TransitionError> for Problem {
    fn from(refusal: TransitionError) -> Self {
        let code = match &refusal {
            TransitionError::AlreadyOver(_) => Code::JobOver,
            TransitionError::AlreadyDecided(_) => Code::AlreadyDecided,
            TransitionError::PastDeadline(_) => Code::PastDeadline,
            TransitionError::NoApproval => Code::NoApproval,
            TransitionError::NothingToResolve(_) => Code::NothingToResolve,
            TransitionError::NotOver(_) => Code::NotTerminal,
            TransitionError::StillOpen { .. } => Code::StillOpen,
            TransitionError::InvalidText(invalid) => {
                return Self::invalid(vec![text_fault(*invalid)]);
            }
            TransitionError::StaleAttempt { .. }
            | TransitionError::WrongStatus { .. }
            | TransitionError::OtherProviderJob { .. }
            | TransitionError::BelongsToOtherJob(_)
            | TransitionError::NotYetExpired(_) => Code::Conflict,
        };
        Self::new(code, refusal.to_string())
    }
}

fn job_fault(invalid: &InvalidJob) -> FieldFault {
    match invalid {
        InvalidJob::Text(invalid) => text_fault(*invalid),
        InvalidJob::Json { field, source } => {
            // The input has the request's fields at its top, so its pointers are the request's.
            let pointer = match (*field, source.pointer.as_str()) {
                ("input", "") => "/config".to_owned(),
                ("input", pointer) => pointer.to_owned(),
                (field, pointer) => format!("/{field}{pointer}"),
            };
            FieldFault { pointer, message: source.problem.to_string() }
        }
        InvalidJob::Cost(_) => {
            let message = "must be a finite amount of at least 0".to_owned();
            FieldFault { pointer: "/estimated_cost".to_owned(), message }
        }
        InvalidJob::OutOfRange { field, legal } => {
            let message = format!("is out of range: {legal}");
            FieldFault { pointer: request_field(field), message }
        }
    }
}

fn text_fault(invalid: InvalidText) -> FieldFault {
    let message = "contains NUL (U+0000), which cannot be stored".to_owned();
    FieldFault { pointer: request_field(invalid.field), message }
}

fn limit_faults(InvalidLimits(limits): &InvalidLimits) -> Vec<FieldFault> {
    let fault = |OutOfRange { name, value, legal }: &OutOfRange| FieldFault {
        pointer: format!("/{name}"),
        message: format!("expected {} to {}, found {value}", legal.start(), legal.end()),
    };
    limits.iter().map(fault).collect()
}

/// The pointer to a field of the store in the request that it came with.
fn request_field(field: &str) -> String {
    match field {
        "hardware_type" => "/hardware_profile".to_owned(),
        field => format!("/{field}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use st_log::CorrelationId;
    use st_store::{DamagedRow, InputProblem, InvalidInput};

    use super::*;

    /// Status, `Retry-After` and body.
    async fn rendered(problem: Problem) -> (u16, Option<String>, Value) {
        let router = ().into_response();
        let answer = problem.render("/x", &CorrelationId::generate(), &router);
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after");
        let retry_after = header.map(|it| it.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
        (status, retry_after, serde_json::from_slice(&body).unwrap())
    }

    fn source() -> Box<dyn std::error::Error + Send + Sync> {
        "disk I/O error at secret place".into()
    }

    fn row() -> DamagedRow {
        DamagedRow { table: "jobs", key: "k1".to_owned(), problem: "status is \"?\"".to_owned() }
    }

    #[tokio::test]
    async fn each_error_of_the_store_has_its_code() {
        let busy = (503, Some("1".to_owned()));
        let table = [
            (Error::Busy, busy.clone(), "store_busy"),
            (Error::Closed, busy.clone(), "stopping"),
            (Error::Unavailable { reason: "disk full".into() }, busy.clone(), "store_unavailable"),
            (Error::Detached { path: "/secret".into() }, busy.clone(), "database_detached"),
            (Error::Timeout { operation: "x" }, busy.clone(), "store_timeout"),
            (Error::OutcomeUnknown { operation: "x", source: source() }, busy, "outcome_unknown"),
            (Error::Damaged(row()), (500, None), "damaged"),
            (Error::ManyDamaged { count: 9, first: row() }, (500, None), "damaged"),
            (Error::Database { operation: "x", source: source() }, (500, None), "internal_error"),
            (Error::NotFound { what: "job", id: "7".into() }, (404, None), "not_found"),
            (Error::IdempotencyMismatch { key: "k".into() }, (409, None), "idempotency_mismatch"),
            (TransitionError::NoApproval.into(), (409, None), "no_approval"),
            (
                TransitionError::NothingToResolve("it waits").into(),
                (409, None),
                "nothing_to_resolve",
            ),
            (InvalidJob::Cost(-1.0).into(), (422, None), "invalid_request"),
        ];
        for (error, (status, retry_after), code) in table {
            let text = error.to_string();
            let (found, header, body) = rendered(error.into()).await;
            assert_eq!(
                (found, header, &body["code"]),
                (status, retry_after, &json!(code)),
                "{text}"
            );
            assert!(!body.to_string().contains("secret"), "{body}");
        }
    }

    #[tokio::test]
    async fn damage_names_the_row() {
        let (_, _, body) = rendered(Error::Damaged(row()).into()).await;
        assert_eq!(body["detail"], "damaged data: jobs row k1: status is \"?\"");
    }

    #[tokio::test]
    async fn a_submission_of_unknown_outcome_names_its_job_and_others_name_none() {
        let job = JobId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        let unknown = || Error::OutcomeUnknown { operation: "submit", source: source() };
        let (_, _, body) = rendered(Problem::of_submission(unknown(), job)).await;
        assert_eq!(body["job_id"], job.to_string());
        assert!(body["detail"].as_str().unwrap().contains("same idempotency key"), "{body}");
        let (_, _, body) = rendered(unknown().into()).await;
        assert_eq!(body.get("job_id"), None);
        let (_, _, body) = rendered(Problem::of_submission(Error::Busy, job)).await;
        assert_eq!(body.get("job_id"), None, "it was certainly not stored");
    }

    #[tokio::test]
    async fn invalid_jobs_and_limits_point_to_the_fields_of_the_request() {
        let json = |field, pointer: &str| InvalidJob::Json {
            field,
            source: InvalidInput { pointer: pointer.to_owned(), problem: InputProblem::Nul },
        };
        let text = |field| InvalidJob::Text(InvalidText { field });
        let table = [
            (json("input", ""), "/config"),
            (json("input", "/config/a~1b"), "/config/a~1b"),
            (json("metadata", "/x"), "/metadata/x"),
            (text("hardware_type"), "/hardware_profile"),
            (text("config_name"), "/config_name"),
            (InvalidJob::Cost(f64::NAN), "/estimated_cost"),
            (InvalidJob::OutOfRange { field: "run_after", legal: "10 years" }, "/run_after"),
        ];
        for (invalid, pointer) in table {
            let (status, _, body) = rendered(Error::from(invalid).into()).await;
            assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!(pointer)));
        }
        let out = |name| OutOfRange { name, value: 0, legal: 1..=9 };
        let names = ["max_concurrent", "user_max_concurrent"];
        let limits = InvalidLimits(names.map(out).into());
        let (_, _, body) = rendered(Error::from(limits).into()).await;
        assert_eq!(body["errors"][1]["pointer"], "/user_max_concurrent");
    }

    #[test]
    fn only_faults_of_ours_carry_a_cause_for_the_log() {
        let logged = |error: Error| Problem::from(error).source().map(ToString::to_string);
        assert_eq!(logged(Error::Busy), None);
        assert_eq!(logged(Error::NotFound { what: "job", id: "7".into() }), None);
        let database = Error::Database { operation: "list", source: source() };
        assert_eq!(logged(database).as_deref(), Some("list failed in the database"));
        assert!(logged(Error::Damaged(row())).is_some());
    }
}
