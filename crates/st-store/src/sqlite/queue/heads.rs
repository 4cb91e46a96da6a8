//! The first waiting jobs of groups: seeks in `queue_claimable`, each for one row.

use rusqlite::{Params, Row, params};

use crate::error::Result;
use crate::model::{
    Cost, Group, Head, JobType, OrgId, Owner, Position, ProviderName, QueueEntryId, TeamId, UserId,
};
use crate::sqlite::damage::Damage;
use crate::sqlite::query::{Columns, all};
use crate::sqlite::writer::Tx;

/// A query for the first of the entries that `$rest` selects.
macro_rules! heads {
    ($rest:literal) => {
        concat!(
            "SELECT entry_id, (SELECT job_id FROM jobs j WHERE j.entry_id = queue_entries.entry_id), \
             user_id, team_id, org_id, job_type, provider, deadline, waits_since, estimated_cost, \
             (SELECT granted_at FROM user_grants g \
             WHERE g.user_id = queue_entries.user_id) FROM queue_entries ",
            $rest
        )
    };
}

/// A group's columns as they are in the index.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    user: String,
    team: String,
    org: String,
    job_type: String,
    provider: String,
}

impl GroupKey {
    pub(super) fn of(group: &Group) -> Self {
        Self {
            user: group.owner.user.as_str().to_owned(),
            team: group.owner.team.as_ref().map_or("", TeamId::as_str).to_owned(),
            org: group.owner.org.as_ref().map_or("", OrgId::as_str).to_owned(),
            job_type: group.job_type.as_str().to_owned(),
            provider: group.provider.as_str().to_owned(),
        }
    }

    pub(super) fn new(
        user: String,
        team: String,
        org: String,
        job_type: String,
        provider: String,
    ) -> Self {
        Self { user, team, org, job_type, provider }
    }

    /// The group; `None` where the columns cannot be decoded.
    pub(super) fn group(&self) -> Option<Group> {
        Some(self.group_of_type(self.job_type.parse().ok()?))
    }

    pub(super) fn group_of_type(&self, job_type: JobType) -> Group {
        let provider = ProviderName::new(self.provider.as_str());
        Group { owner: self.owner(), job_type, provider }
    }

    pub(super) fn read(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            user: columns.plain("user_id")?,
            team: columns.plain("team_id")?,
            org: columns.plain("org_id")?,
            job_type: columns.plain("job_type")?,
            provider: columns.plain("provider")?,
        })
    }

    fn owner(&self) -> Owner {
        let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Owner {
            user: UserId::new(self.user.as_str()),
            team: named(&self.team).map(TeamId::new),
            org: named(&self.org).map(OrgId::new),
        }
    }
}

/// The first waiting job of the first group behind `behind`.
pub(super) fn first_of_next(
    tx: &Tx<'_>,
    behind: &GroupKey,
    damage: &mut Damage,
) -> Result<Option<(GroupKey, Head)>> {
    let sql = heads!(
        "WHERE claimable AND (user_id, team_id, org_id, job_type, provider) > (?1, ?2, ?3, ?4, ?5) \
         ORDER BY user_id, team_id, org_id, job_type, provider, deadline, entry_id LIMIT 1"
    );
    let bound = params![behind.user, behind.team, behind.org, behind.job_type, behind.provider];
    readable_head(tx, damage, sql, bound)
}

/// The first waiting job of one group.
pub(super) fn first_of(tx: &Tx<'_>, group: &Group, damage: &mut Damage) -> Result<Option<Head>> {
    later_than(tx, group, i64::MIN, damage)
}

/// The first waiting job of one group behind a position. Two seeks: SQLite does not compare the
/// entry of a row value in an index, and would read all jobs of one deadline.
pub(super) fn first_behind(
    tx: &Tx<'_>,
    group: &Group,
    behind: Position,
    damage: &mut Damage,
) -> Result<Option<Head>> {
    let key = GroupKey::of(group);
    let sql = heads!(
        "WHERE claimable AND user_id = ?1 \
         AND team_id = ?2 AND org_id = ?3 AND job_type = ?4 AND provider = ?5 \
         AND deadline = ?6 AND entry_id > ?7 ORDER BY entry_id LIMIT 1"
    );
    let (deadline, entry) = (behind.deadline.as_millisecond(), behind.entry.0);
    let bound = params![key.user, key.team, key.org, key.job_type, key.provider, deadline, entry];
    match readable_head(tx, damage, sql, bound)? {
        Some((_, head)) => Ok(Some(head)),
        None => later_than(tx, group, deadline, damage),
    }
}

fn later_than(
    tx: &Tx<'_>,
    group: &Group,
    deadline: i64,
    damage: &mut Damage,
) -> Result<Option<Head>> {
    let key = GroupKey::of(group);
    let sql = heads!(
        "WHERE claimable AND user_id = ?1 \
         AND team_id = ?2 AND org_id = ?3 AND job_type = ?4 AND provider = ?5 \
         AND deadline > ?6 ORDER BY deadline, entry_id LIMIT 1"
    );
    let bound = params![key.user, key.team, key.org, key.job_type, key.provider, deadline];
    Ok(readable_head(tx, damage, sql, bound)?.map(|(_, head)| head))
}

/// Runs a query for a head until it finds one that can be decoded; the others are set aside.
fn readable_head(
    tx: &Tx<'_>,
    damage: &mut Damage,
    sql: &str,
    bound: impl Params + Copy,
) -> Result<Option<(GroupKey, Head)>> {
    while let Some((entry, head)) = all(tx.connection, sql, bound, read_head)?.into_iter().next() {
        match head {
            Ok(head) => return Ok(Some(head)),
            Err(error) => damage.set_aside(tx.connection, entry, error.into_damaged()?)?,
        }
    }
    Ok(None)
}

/// An entry, and what can be decoded of it.
fn read_head(row: &Row<'_>) -> Result<(QueueEntryId, Result<(GroupKey, Head)>)> {
    let mut columns = Columns::new(row, "queue_entries");
    let entry = QueueEntryId(columns.plain("entry_id")?);
    Ok((entry, head(&mut columns, entry)))
}

fn head(columns: &mut Columns<'_>, entry: QueueEntryId) -> Result<(GroupKey, Head)> {
    columns.of_table("jobs");
    let job = columns.word_or_null("job_id")?;
    let job = job.ok_or_else(|| columns.damaged("the row is missing"))?;
    columns.of_table("queue_entries");
    let key = GroupKey::read(columns)?;
    let group = Group {
        owner: key.owner(),
        job_type: parse_type(columns, &key)?,
        provider: ProviderName::new(key.provider.as_str()),
    };
    let (deadline, waits_since) = (columns.time("deadline")?, columns.time("waits_since")?);
    let cost = Cost::from_usd(columns.plain("estimated_cost")?);
    // A time that cannot be decoded is not the job's fault: the next grant replaces it.
    let last_grant = columns.time_or_null("granted_at").unwrap_or_default();
    Ok((key, Head { deadline, entry, job, group, waits_since, cost, last_grant }))
}

pub(super) fn parse_type(columns: &Columns<'_>, key: &GroupKey) -> Result<JobType> {
    key.job_type.parse().map_err(|unknown| columns.damaged(format!("job_type: {unknown}")))
}
