//! The operators: they resolve jobs of which the server cannot know what became of them, while it
//! still works on them, and end jobs right after a backup was put back.

use st_store::{
    Actor, Error, JobId, JobRecord, JobRef, JobRepo, ProviderJobId, Resolution, Stage, Verdict,
};

use crate::clients::Clients;
use crate::clocks::elapse;
use crate::draw::Draw;
use crate::jobs::EndedBy;
use crate::provider::OTHER_CREDENTIAL;
use crate::world::World;

/// How often an operator checks whether a job is to be resolved.
const CHECKS: usize = 12;

/// What an operator sees at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    There(ProviderJobId),
    /// Nothing, and nothing is on its way.
    Absent,
    /// Nothing, but a request may still arrive.
    Unclear,
}

impl Clients {
    /// Resolves a job once the outcome of its submission is unknown.
    pub(crate) async fn resolve_when_unknown(&self, id: JobId) {
        for _ in 0..CHECKS {
            let found =
                self.insist(|life| async move { life.store.find_job(&JobRef::Id(id)).await });
            let Ok(Some(record)) = found.await else { return };
            if record.status().is_terminal() {
                return;
            }
            if is_unknown(&record) {
                return self.resolve(id).await;
            }
            elapse(self.world.draw(|random| random.seconds(1.0..30.0))).await;
        }
    }

    /// Resolves what only another account's list could prove.
    pub(crate) async fn resolve_of_other_account(&self, records: &[JobRecord]) {
        let of_other_account = records.iter().filter(|record| {
            let claimed = record.stage().claimed();
            let account = claimed.and_then(|claimed| claimed.attempt.account.as_ref());
            account.is_some_and(|account| account.credential() == Some(OTHER_CREDENTIAL))
        });
        for record in of_other_account {
            self.resolve(record.id()).await;
        }
    }

    async fn resolve(&self, id: JobId) {
        let world = &self.world;
        let name = &world.name(id);
        let abandons = world.draw(|random| random.chance(0.2));
        let answer = self.insist(|life| async move {
            let resolution = match world.seen(id) {
                Seen::There(_) | Seen::Absent if abandons => Resolution::Abandon,
                Seen::There(id) => Resolution::AtProvider { id, account: None },
                Seen::Absent => Resolution::Absent,
                Seen::Unclear => Resolution::Abandon,
            };
            world.journal.note(format!("an operator resolves {name}: {resolution:?}"));
            if resolution == Resolution::Abandon
                && let Some(job) = world.state().jobs.get_mut(&id)
            {
                job.ended_by.insert(EndedBy::Operator);
            }
            life.tasks.resolve(id, resolution, None, &Actor::Operator).await
        });
        let answer = answer.await.map(|record| record.status());
        world.journal.note(format!("the resolution of {name}: {answer:?}"));
    }

    /// After each backup that is put back, some of the jobs that the lost life submitted are ended
    /// before the server searches for them.
    pub(crate) async fn end_jobs_after_restores(self) {
        loop {
            self.world.restored.notified().await;
            for id in self.world.of_lost_lives() {
                if !self.world.draw(|random| random.chance(0.3)) {
                    continue;
                }
                let name = self.world.name(id);
                self.world.count("job to end after a restore");
                self.world.journal.note(format!("{name} is to end after the restore"));
                let found =
                    self.insist(|life| async move { life.store.find_job(&JobRef::Id(id)).await });
                let Ok(Some(record)) = found.await else { continue };
                if matches!(record.stage(), Stage::Blocked(_)) {
                    self.decide(id, Verdict::Reject).await;
                } else {
                    self.cancel(id).await;
                }
            }
        }
    }
}

fn is_unknown(record: &JobRecord) -> bool {
    match record.stage() {
        Stage::Claimed(claimed) => claimed.unresolved_since.is_some(),
        Stage::Held(held) => held.claimed.unresolved_since.is_some(),
        Stage::Blocked(_) | Stage::Waiting(_) | Stage::AtProvider(_) | Stage::Finished(_) => false,
    }
}

impl World {
    /// What an operator sees of a job at its provider: after a restore it may well be there.
    fn seen(&self, job: JobId) -> Seen {
        let now = self.now();
        let state = self.state();
        let there = state.ledger.of_job(job).filter(|it| !it.is_copy());
        let mut there = there.filter(|it| !it.is_forgotten(now) && it.cancelled_at.is_none());
        match there.next() {
            Some(run) => Seen::There(run.id.clone()),
            None if state.on_their_way.get(&job).is_some_and(|count| *count > 0) => Seen::Unclear,
            None => Seen::Absent,
        }
    }

    /// Whether what a person says about a job is still so when the store hears it. If not, the
    /// person checks again.
    pub(crate) fn is_true(&self, job: JobId, resolution: &Resolution) -> Result<(), Error> {
        let is_true = match resolution {
            Resolution::AtProvider { id, .. } => self.seen(job) == Seen::There(id.clone()),
            Resolution::Absent => self.seen(job) == Seen::Absent,
            Resolution::Abandon => true,
        };
        if is_true { Ok(()) } else { Err(Error::Busy) }
    }

    /// Jobs that a life submitted which a restore undid, and that still run.
    fn of_lost_lives(&self) -> Vec<JobId> {
        let now = self.now();
        let state = self.state();
        let acknowledged = |id: &JobId| state.jobs[id].acknowledged_at.is_some();
        let runs = |id: &JobId| state.ledger.of_job(*id).any(|run| run.is_live(now));
        state.lost.iter().filter(|id| acknowledged(id) && runs(id)).copied().collect()
    }
}
