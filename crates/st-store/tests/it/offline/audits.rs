//! What an audit finds: nothing in what the store wrote, and each kind of damage by its name.

use std::fs;

use st_store::{Error, JobStatus, Outcome, offline};
use st_testkit::suite::{id, status};

use super::super::bench::Bench;
use super::super::schema::downgrade;
use super::filled;

/// What is found after a change that no store makes.
async fn found_after(sql: &str) -> Vec<String> {
    let bench = filled().await;
    bench.damage(sql);
    let audit = offline::audit(&bench.path()).unwrap();
    audit.findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn nothing_is_found_in_a_database_that_is_used() {
    let bench = filled().await;
    let record = bench.found(1).await;
    let report = Outcome::Reported(status(1, JobStatus::Completed));
    bench.settle(&record, report).await.unwrap();
    let audit = offline::audit(&bench.path()).unwrap();
    assert_eq!(audit.findings, []);
    assert_eq!((audit.jobs, audit.events), (6, 21));
}

#[tokio::test]
async fn more_jobs_than_are_read_at_once_are_all_checked() {
    let bench = Bench::new().await;
    for number in 0..120_u16 {
        let [low, high] = number.to_le_bytes();
        let mut new = st_testkit::suite::job(low, "ann");
        new.id = st_store::JobId::new(st_testkit::suite::at(i64::from(number)), [high; 10]);
        bench.submit(new).await;
    }
    bench.damage("UPDATE jobs SET metadata = '[]' WHERE job_id = (SELECT MAX(job_id) FROM jobs)");
    let audit = offline::audit(&bench.path()).unwrap();
    assert_eq!((audit.jobs, audit.findings.len()), (120, 1));
}

#[tokio::test]
async fn each_kind_of_damage_is_named() {
    let job = |number| id(number).to_string();
    let four = job(4);
    let of = |number| format!("(SELECT entry_id FROM jobs WHERE job_id = '{}')", job(number));
    let of_four = of(4);
    let cases = [
        (
            "UPDATE queue_counts SET entries = entries + 2 WHERE status = 'blocked'".to_owned(),
            vec!["counts blocked: 3 entries are counted, 1 are there".to_owned()],
        ),
        (
            "UPDATE queue_users SET entries = 7 WHERE user_id = 'ann'".to_owned(),
            vec!["counts: queue_users ann: 7 is kept, ".to_owned()],
        ),
        (
            format!("UPDATE queue_entries SET user_id = 'eve' WHERE entry_id = {of_four}"),
            vec![format!("job {four}: its queue entry names another owner, type or provider")],
        ),
        (
            format!(
                "UPDATE queue_entries SET held = 'damaged', held_reason = 'bad' \
                 WHERE entry_id = {of_four}"
            ),
            vec![format!("held {four}: set aside: bad")],
        ),
        (
            format!("UPDATE jobs SET created_at = {} WHERE job_id = '{four}'", i64::MAX),
            vec![format!("job {four}: jobs: created_at: ")],
        ),
        (
            format!(
                "DELETE FROM events WHERE subject = 'queue' AND to_status = 'ready' \
                 AND entry_id = {}",
                of(1)
            ),
            vec![format!(
                "events {}: event 6 goes from ready to running, but the one before led to pending",
                job(1)
            )],
        ),
        (
            format!(
                "DELETE FROM events WHERE subject = 'job' AND to_status = 'uploading' \
                 AND entry_id = {}",
                of(2)
            ),
            vec![format!(
                "events {}: its events end with the job as pending, but it is uploading",
                job(2)
            )],
        ),
        (
            format!(
                "UPDATE events SET actor = 'nobody' WHERE subject = 'queue' AND entry_id = {of_four}"
            ),
            vec![format!("events {four}: events ")],
        ),
    ];
    for (sql, expected) in cases {
        let found = found_after(&sql).await;
        assert_eq!(found.len(), expected.len(), "{sql}: {found:#?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.starts_with(expected.as_str()), "{sql}: {found}");
        }
    }
}

#[tokio::test]
async fn rows_without_their_other_half_are_named() {
    let four = id(4).to_string();
    let of_four = format!("(SELECT entry_id FROM jobs WHERE job_id = '{four}')");
    let found = found_after(&format!("DELETE FROM queue_entries WHERE entry_id = {of_four}")).await;
    assert_eq!(found, [format!("job {four}: it has no queue entry")]);
    let found = found_after(&format!("DELETE FROM job_inputs WHERE entry_id = {of_four}")).await;
    assert_eq!(found, [format!("job {four}: it has no input")]);
    let found = found_after(&format!("DELETE FROM jobs WHERE job_id = '{four}'")).await;
    assert!(found.iter().all(|it| it.starts_with("table ")), "{found:#?}");
    assert!(!found.is_empty());
}

#[tokio::test]
async fn a_damaged_file_is_named_and_not_read_further() {
    let kept = filled().await.closed().await;
    let path = kept.path().join("cloud.db");
    let mut bytes = fs::read(&path).unwrap();
    // All pages but the first, which holds the schema.
    for byte in bytes.iter_mut().skip(4096 * 2) {
        *byte = 0xa5;
    }
    fs::write(&path, bytes).unwrap();
    let audit = offline::audit(&path).unwrap();
    assert!(!audit.findings.is_empty());
    assert!(audit.findings.iter().all(|it| it.kind == "file"), "{:?}", audit.findings);
}

#[tokio::test]
async fn a_database_of_an_older_schema_is_not_judged_by_this_one() {
    let kept = filled().await.closed().await;
    downgrade(kept.path());
    let error = offline::audit(&kept.path().join("cloud.db")).unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error}");
    assert!(error.to_string().ends_with("start the server once to bring it up to date"), "{error}");
}
