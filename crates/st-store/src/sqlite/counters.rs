//! The numbers that triggers keep, compared with what they count.
//!
//! Everything is counted here, which no call that people or workers wait for may do: it belongs to the
//! check of the file.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// A table of numbers, and how they are counted.
pub(super) struct Counter {
    pub(super) table: &'static str,
    /// What is kept: a text that names the row, and its number. Zero is the same as no row.
    pub(super) kept: &'static str,
    counted: &'static str,
    /// Whether it also counts what is no longer there.
    pub(super) outlives: bool,
}

pub(super) const COUNTERS: [Counter; 13] = [
    Counter {
        table: "job_counts",
        kept: "SELECT status || ' ' || provider || ' ' || job_type, jobs FROM job_counts",
        counted: "SELECT status || ' ' || provider || ' ' || job_type, COUNT(*) FROM jobs \
                  GROUP BY status, provider, job_type",
        outlives: false,
    },
    Counter {
        table: "user_job_counts",
        kept: "SELECT user_id || ' ' || status || ' ' || provider || ' ' || job_type, jobs \
               FROM user_job_counts",
        counted: "SELECT user_id || ' ' || status || ' ' || provider || ' ' || job_type, COUNT(*) \
                  FROM jobs GROUP BY user_id, status, provider, job_type",
        outlives: false,
    },
    Counter {
        table: "user_submissions",
        kept: "SELECT user_id, jobs FROM user_submissions",
        counted: "SELECT user_id, COUNT(*) FROM jobs GROUP BY user_id",
        outlives: true,
    },
    Counter {
        table: "approval_counts",
        kept: "SELECT status, requests FROM approval_counts",
        counted: "SELECT status, COUNT(*) FROM approvals GROUP BY status",
        outlives: false,
    },
    Counter {
        table: "user_approval_counts",
        kept: "SELECT user_id || ' ' || status, requests FROM user_approval_counts",
        counted: "SELECT j.user_id || ' ' || a.status, COUNT(*) FROM approvals a \
                  JOIN jobs j ON j.entry_id = a.entry_id GROUP BY 1",
        outlives: false,
    },
    Counter {
        table: "queue_counts",
        kept: "SELECT status, entries FROM queue_counts",
        counted: "SELECT status, COUNT(*) FROM queue_entries GROUP BY status",
        outlives: false,
    },
    Counter {
        table: "queue_users",
        kept: "SELECT user_id, entries FROM queue_users",
        counted: "SELECT user_id, COUNT(*) FROM queue_entries \
                  WHERE alive GROUP BY user_id",
        outlives: false,
    },
    Counter {
        table: "queue_blocked",
        kept: "SELECT user_id, entries FROM queue_blocked",
        counted: "SELECT user_id, COUNT(*) FROM queue_entries WHERE status = 'blocked' \
                  GROUP BY user_id",
        outlives: false,
    },
    Counter {
        table: "queue_depth",
        kept: "SELECT shift || ' ' || bucket, waiting FROM queue_depth",
        counted: "SELECT shift || ' ' || (deadline >> shift), COUNT(*) FROM queue_entries, \
                  (SELECT 5 AS shift UNION ALL SELECT 11 UNION ALL SELECT 17) \
                  WHERE claimable GROUP BY 1",
        outlives: false,
    },
    Counter {
        table: "queue_groups",
        kept: "SELECT user_id || ' ' || team_id || ' ' || org_id || ' ' || job_type || ' ' || provider, \
               waiting FROM queue_groups",
        counted: "SELECT user_id || ' ' || team_id || ' ' || org_id || ' ' || job_type || ' ' || provider, \
                  COUNT(*) FROM queue_entries WHERE claimable GROUP BY 1",
        outlives: false,
    },
    Counter {
        table: "budget_periods",
        kept: "SELECT budget_id || ' ' || start, CASE (SELECT measure FROM budgets b \
               WHERE b.budget_id = p.budget_id) WHEN 'cost' THEN reserved \
               WHEN 'concurrent_jobs' THEN jobs ELSE 0 END FROM budget_periods p",
        counted: "SELECT b.budget_id || ' ' || CASE WHEN b.measure <> 'cost' THEN '1970-01-01' \
                  ELSE CASE b.period WHEN 'daily' THEN date(j.created_at / 1000, 'unixepoch') \
                  WHEN 'weekly' THEN date(j.created_at / 1000, 'unixepoch', 'weekday 0', '-6 days') \
                  ELSE date(j.created_at / 1000, 'unixepoch', 'start of month') END END, \
                  SUM(CASE b.measure WHEN 'cost' \
                  THEN CAST(ROUND(q.estimated_cost * 1e6) AS INTEGER) ELSE 1 END) \
                  FROM budgets b, queue_entries q JOIN jobs j ON j.entry_id = q.entry_id \
                  WHERE q.alive AND b.measure <> 'jobs_per_day' AND (b.scope = 'all' OR (b.scope = 'user' AND q.user_id = b.scope_id) \
                  OR (b.scope = 'team' AND q.team_id = b.scope_id) \
                  OR (b.scope = 'org' AND q.org_id = b.scope_id) \
                  OR (b.scope = 'provider' AND q.provider = b.scope_id)) GROUP BY 1",
        outlives: false,
    },
    Counter {
        table: "daily_submissions",
        kept: "SELECT day || ' ' || user_id || ' ' || team_id || ' ' || org_id || ' ' || provider, jobs \
               FROM daily_submissions",
        // Days that are over are forgotten as a whole. What follows a run by itself was not submitted.
        counted: "SELECT date(created_at / 1000, 'unixepoch') || ' ' || user_id || ' ' \
                  || COALESCE(team_id, '') || ' ' || COALESCE(org_id, '') || ' ' || provider, COUNT(*) \
                  FROM jobs WHERE date(created_at / 1000, 'unixepoch') \
                  IN (SELECT day FROM daily_submissions) \
                  AND NOT (json_valid(metadata) AND json_extract(metadata, '$.run') IS NOT NULL) \
                  GROUP BY 1",
        outlives: true,
    },
    Counter {
        table: "budget_periods",
        // Of the days since the budget was made, and of those that are not forgotten.
        kept: "SELECT b.budget_id || ' ' || p.start, p.jobs FROM budgets b \
               JOIN budget_periods p ON p.budget_id = b.budget_id \
               WHERE b.measure = 'jobs_per_day' AND p.start >= date(b.created_at / 1000, 'unixepoch') \
               AND p.start IN (SELECT day FROM daily_submissions)",
        counted: "SELECT b.budget_id || ' ' || d.day, SUM(d.jobs) FROM budgets b, daily_submissions d \
                  WHERE b.measure = 'jobs_per_day' AND d.day >= date(b.created_at / 1000, 'unixepoch') \
                  AND (b.scope = 'all' OR (b.scope = 'user' AND d.user_id = b.scope_id) \
                  OR (b.scope = 'team' AND d.team_id = b.scope_id) \
                  OR (b.scope = 'org' AND d.org_id = b.scope_id) \
                  OR (b.scope = 'provider' AND d.provider = b.scope_id)) GROUP BY 1",
        outlives: false,
    },
];

/// The first number that is not what it counts, in words.
pub(super) fn first_wrong(connection: &Connection) -> rusqlite::Result<Option<String>> {
    // All of them are of one state of the database.
    let snapshot = connection.unchecked_transaction()?;
    let wrong = first_wrong_in(&snapshot)?;
    snapshot.commit()?;
    Ok(wrong)
}

/// The same in a transaction that is open.
pub(super) fn first_wrong_in(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for counter in &COUNTERS {
        let kept = numbers(connection, counter.kept)?;
        let counted = numbers(connection, counter.counted)?;
        for row in kept.keys().chain(counted.keys()) {
            let [kept, counted] = [&kept, &counted].map(|it| it.get(row).copied().unwrap_or(0));
            let is_right = if counter.outlives { kept >= counted } else { kept == counted };
            if !is_right {
                let row = String::from_utf8_lossy(row);
                let table = counter.table;
                return Ok(Some(format!("{table} {row}: {kept} is kept, {counted} are there")));
            }
        }
    }
    Ok(None)
}

fn numbers(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<Vec<u8>, i64>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        // A damaged text counts like any other.
        let name = row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default().to_vec();
        // A number that is lost is none.
        Ok((name, row.get::<_, Option<i64>>(1)?.unwrap_or(0)))
    })?;
    rows.collect()
}
