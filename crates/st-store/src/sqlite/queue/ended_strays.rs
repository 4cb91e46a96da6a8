//! The identifiers of strays that ended within about a day.

use rusqlite::params;

use crate::error::Result;
use crate::model::{MOST_FORGOTTEN, ProviderJobId, ProviderName, STRAY_MEMORY, after};
use crate::sqlite::query::change;
use crate::sqlite::writer::Tx;

/// Remembers a stray that has ended as one of ours, and forgets the oldest.
pub(in crate::sqlite) fn remember(
    tx: &Tx<'_>,
    provider: &ProviderName,
    id: &ProviderJobId,
) -> Result<()> {
    change(
        tx.connection,
        "remember a stray",
        "INSERT INTO ended_strays (provider, provider_job_id, ended_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (provider, provider_job_id) DO UPDATE SET ended_at = excluded.ended_at",
        params![provider.as_str(), id.as_str(), tx.now.as_millisecond()],
    )?;
    if !tx.clock_confirmed {
        return Ok(());
    }
    let oldest = after(tx.now, -STRAY_MEMORY).as_millisecond();
    change(
        tx.connection,
        "forget strays",
        "DELETE FROM ended_strays WHERE (provider, provider_job_id) IN \
         (SELECT provider, provider_job_id FROM ended_strays WHERE ended_at <= ?1 \
         ORDER BY ended_at, provider, provider_job_id LIMIT ?2)",
        params![oldest, MOST_FORGOTTEN],
    )
    .map(drop)
}
