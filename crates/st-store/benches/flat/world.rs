//! Databases of some size: one job of each kind is made through the store and copied in SQL, with the
//! triggers that keep the numbers.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use st_log::CorrelationId;
use st_store::{
    Actor, ApprovalRepo as _, AtMostOnce, ClaimOptions, Condition, Holder, JobId, JobRepo as _,
    JobStatus, JobType, NewJob, NewRule, Opening, Outcome, Owner, ProviderJobId, ProviderName,
    ProviderStatus, QueueRepo as _, Role, Serving, Settlement, SqliteConfig, SqliteStore,
    StoreStatus as _, UserId,
};
use tempfile::TempDir;

pub(crate) const OWNER_OF_MOST: &str = "most";
pub(crate) const OWNER_OF_SOME: &str = "some";

pub(crate) struct World {
    pub(crate) store: SqliteStore,
    pub(crate) size: u32,
    folder: TempDir,
}

/// A submission of now.
pub(crate) fn job(number: u32, user: &str) -> NewJob {
    let [a, b, c, d] = number.to_be_bytes();
    let id = JobId::new(Timestamp::now(), [a, b, c, d, 0, 0, 0, 0, 0, 0]);
    let place = (JobType::Cloud, ProviderName::new("fake"));
    let correlation = CorrelationId::parse(&format!("c-{number}")).unwrap();
    NewJob::new(id, place, Owner::user(user), Role::Researcher, correlation)
}

/// The ID of a copy: copies are in order, and older than what is submitted.
fn copy_id(kind: u8, number: u32) -> String {
    format!("0190000{kind}-0000-7000-8000-{number:012x}")
}

pub(crate) fn finished_id(number: u32) -> JobId {
    copy_id(1, number).parse().unwrap()
}

pub(crate) fn waiting_id(number: u32) -> JobId {
    copy_id(2, number).parse().unwrap()
}

impl World {
    /// So many jobs that are over: completed, and some failed.
    pub(crate) async fn finished(size: u32) -> Self {
        let (folder, store) = open(None).await;
        let made = job(0, OWNER_OF_MOST);
        let id = made.id;
        store.submit(made).await.unwrap();
        complete(&store).await;
        store.close().await.unwrap();
        let status = "CASE WHEN i % 20000 = 7 THEN 'failed' ELSE status END";
        let user = format!("CASE WHEN i % 1000 = 3 THEN '{OWNER_OF_SOME}' ELSE user_id END");
        let own = [("status", status), ("user_id", &user), ("provider_job_id", "'copy-' || i")];
        copy(&folder, id, (1, size), &own, &own[..2]);
        let (folder, store) = open(Some(folder)).await;
        Self { store, size, folder }
    }

    /// So many jobs that wait, of a hundred users, submitted a thousand a second.
    pub(crate) async fn waiting(size: u32) -> Self {
        let (folder, store) = open(None).await;
        Self { store, size, folder }.with_waiting(size).await
    }

    /// So many jobs that wait beside what there is.
    pub(crate) async fn with_waiting(self, size: u32) -> Self {
        let made = job(0, OWNER_OF_MOST);
        let id = made.id;
        self.store.submit(made).await.unwrap();
        let folder = self.close().await;
        let since = format!("waits_since - {size} + i");
        let deadline = format!("deadline - {size} + i");
        let user = ("user_id", "'user-' || (i % 100)");
        let entry = [user, ("waits_since", since.as_str()), ("deadline", deadline.as_str())];
        copy(&folder, id, (2, size), &[user], &entry);
        let (folder, store) = open(Some(folder)).await;
        Self { store, size, folder }
    }

    /// Rules that apply to nobody, but ask for everything.
    pub(crate) async fn add_rules(&self) {
        for number in 0..10 {
            let condition = match number % 3 {
                0 => Condition::DailyJobsExceed,
                1 => Condition::FirstJob,
                _ => Condition::CostExceeds,
            };
            let rule = NewRule {
                name: format!("rule {number}"),
                description: String::new(),
                condition,
                threshold: (100 + number).to_string(),
                is_active: true,
                priority: number,
                applies_to_provider: None,
                applies_to_level: None,
                exempt_levels: vec![Role::Researcher],
                required_approver_level: Role::Lead,
                created_by: UserId::new("admin"),
            };
            self.store.add_rule(rule).await.unwrap();
        }
    }

    /// The folder of the database, closed.
    pub(crate) async fn close(self) -> TempDir {
        self.store.close().await.unwrap();
        self.folder
    }
}

/// The store in this folder, or in a new one.
async fn open(folder: Option<TempDir>) -> (TempDir, SqliteStore) {
    let folder = folder.unwrap_or_else(|| tempfile::tempdir().unwrap());
    let config = SqliteConfig::new(folder.path().join("cloud.db"));
    (folder, SqliteStore::open(config).await.unwrap())
}

/// Claims the only job and has its provider complete it.
async fn complete(store: &SqliteStore) {
    let serving = Serving {
        provider: ProviderName::new("fake"),
        account: None,
        guarantee: AtMostOnce::ListedMarker,
        provider_time: None,
        may_arrive_for: SignedDuration::from_secs(120),
        opening: Opening::Open,
    };
    let lease = std::time::Duration::from_secs(90);
    let options =
        ClaimOptions { holder: Holder::new([1; 16]), serving: vec![serving], max: 1, lease };
    let claims = store.claim(&options).await.unwrap().claims;
    let record = &claims.first().unwrap().record;
    let status = |status| ProviderStatus::new(ProviderJobId::new("p-0"), status);
    for outcome in [
        Outcome::Submitted(status(JobStatus::Queued)),
        Outcome::Reported(status(JobStatus::Completed)),
    ] {
        let (job, attempt, token) = (record.id(), record.entry().attempt, record.token());
        let settlement = Settlement { job, attempt, token, outcome, provider_time: None };
        store.settle(&Actor::Poller, vec![settlement]).await.unwrap().remove(0).unwrap();
    }
}

/// Copies the rows of a job; `own` is what each copy, number `i`, has of its own.
fn copy(
    folder: &TempDir,
    job: JobId,
    (kind, size): (u8, u32),
    of_job: &[(&str, &str)],
    of_entry: &[(&str, &str)],
) {
    let connection = Connection::open(folder.path().join("cloud.db")).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.execute_batch("BEGIN").unwrap();
    let last: i64 =
        connection.query_row("SELECT MAX(entry_id) FROM jobs", [], |row| row.get(0)).unwrap();
    let entry_id = format!("i + {}", last + 1);
    for (table, own) in [("jobs", of_job), ("queue_entries", of_entry)] {
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info(?1)")
            .unwrap()
            .query_map([table], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut values = String::new();
        for column in &columns {
            let found = own.iter().find(|(name, _)| name == column).map(|(_, value)| *value);
            let id = format!("'0190000{kind}-0000-7000-8000-' || printf('%012x', i)");
            let value = match column.as_str() {
                "job_id" => &id,
                "entry_id" => &entry_id,
                _ => found.unwrap_or(column),
            };
            write!(values, ", {value}").unwrap();
        }
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2) \
             INSERT INTO {table} ({}) SELECT {} FROM n, {table} WHERE entry_id = \
             (SELECT entry_id FROM jobs WHERE job_id = ?1)",
            columns.join(", "),
            values.trim_start_matches(", ")
        );
        connection.execute(&sql, params![job.to_string(), size]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}
