//! How calls grow with what is stored.

use std::task::Poll;

use st_store::{
    BudgetRepo as _, Group, JobFilter, JobRef, JobRepo as _, JobType, Owner, PageRequest,
    QueueRepo as _, SettingsRepo as _,
};
use st_testkit::suite::fake;

use crate::Scale;
use crate::history::claim_times;
use crate::measure::{median_of, ms};
use crate::report::Report;
use crate::submits::submit;
use crate::world::{self, World};

const CALLS: usize = 101;
const SUBMITS: u32 = 400;

pub(crate) async fn measure(scale: Scale, report: &mut Report) {
    for &size in scale.sizes {
        eprintln!("curves: {size}");
        let finished = World::finished(size).await;
        let page = PageRequest { limit: 50, offset: 0 };
        let filter = JobFilter::default();
        let list = async || drop(finished.store.list_jobs(&filter, page).await.unwrap());
        report.point("list of 50, beside finished jobs", size, median_of(CALLS, list).await);
        let took = claim_times(&finished.store).await;
        report.point("claim of one, beside finished jobs", size, took);
        drop(finished.close().await);
        waiting(size, report).await;
    }
}

async fn waiting(size: u32, report: &mut Report) {
    let world = World::waiting(size).await;
    let store = &world.store;
    let last = world::waiting_id(size - 1);
    let group = Group { owner: Owner::user("user-1"), job_type: JobType::Cloud, provider: fake() };
    let position = async || drop(store.standings(&[last]).await.unwrap());
    report.point("position of the last", size, median_of(CALLS, position).await);
    let statistics = async || drop(store.queue_stats().await.unwrap());
    report.point("statistics of the queue", size, median_of(CALLS, statistics).await);
    let facts = async || {
        store.find_job(&JobRef::Id(last)).await.unwrap();
        store.standings(&[last]).await.unwrap();
        store.queue_stats().await.unwrap();
        store.limit_uses(&group).await.unwrap();
        store.budgets_of(&group).await.unwrap();
        store.holds().await.unwrap();
    };
    report.point("facts of an explanation", size, median_of(CALLS, facts).await);
    let took = submit(store, 0..SUBMITS, 1).await;
    report.point("submit, beside waiting jobs", size, ms(took) / f64::from(SUBMITS));
    report.point("claim of one, beside waiting jobs", size, claim_times(store).await);
    drop(world.close().await);
}

/// Polls all of them until each is done.
pub(crate) async fn all(futures: Vec<impl Future<Output = ()>>) {
    let mut all: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
