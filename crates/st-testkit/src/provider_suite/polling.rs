//! The statuses of jobs, one or many.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use st_store::{JobId, JobStatus};
use st_workers::provider::{PolledJob, Provider, QueryError, RemoteJob};

use super::{
    Situation, Turn, World, assert_no_verdict, begun, begun_jobs, given, marker, must, soon,
    status_of, unknown, until,
};

/// How many jobs are polled when many are.
const MANY: usize = 300;
const ENDS: [Turn; 3] = [Turn::Completes, Turn::Fails, Turn::IsCancelled];

async fn poll(provider: &dyn Provider, jobs: &[RemoteJob]) -> Vec<PolledJob> {
    soon("a poll", provider.statuses(jobs).collect()).await
}

/// Each job has as many answers as it was asked about.
fn assert_one_answer_each(jobs: &[RemoteJob], answers: &[PolledJob]) {
    let count = |ids: Vec<JobId>| {
        let mut counts = BTreeMap::<JobId, usize>::new();
        for id in ids {
            *counts.entry(id).or_default() += 1;
        }
        counts
    };
    let wanted = count(jobs.iter().map(|job| job.id).collect());
    let given = count(answers.iter().map(|(id, _)| *id).collect());
    assert_eq!(given, wanted, "one answer for each job, and none about others");
    for (id, answer) in answers {
        let Ok(report) = answer else { continue };
        let job = jobs.iter().find(|job| job.id == *id).unwrap();
        assert_eq!(report.provider_job_id, job.provider_job_id, "the answer is about another job");
    }
}

pub async fn every_job_gets_one_answer(world: &dyn World) {
    let provider = world.provider();
    assert_eq!(poll(provider.as_ref(), &[]).await.len(), 0);
    let mut jobs = begun_jobs(world, world.scale().jobs).await;
    for few in 1..=4 {
        let answers = poll(provider.as_ref(), &jobs[..few]).await;
        assert_one_answer_each(&jobs[..few], &answers);
        assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
    }
    let there = jobs.len();
    // One of ours twice, two of ours that are one there, and what is not there.
    jobs.push(jobs[0].clone());
    let other_owner = marker().job;
    jobs.push(RemoteJob { id: other_owner, ..jobs[1].clone() });
    while jobs.len() < MANY {
        jobs.push(unknown(world));
    }
    fastrand::shuffle(&mut jobs);
    let mut answers = poll(provider.as_ref(), &jobs).await;
    assert_one_answer_each(&jobs, &answers);
    // Whose it is, some providers show and some do not.
    answers.retain(|(id, _)| *id != other_owner);
    let found = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert_eq!(found, there + 1, "each that is there, and no other");
    let is_denial = |answer: &&PolledJob| matches!(answer.1, Err(QueryError::NotFound));
    let absent = answers.iter().filter(is_denial).count();
    let denies = given(world.denies_what_it_does_not_have()).is_some();
    assert_eq!(absent, if denies { answers.len() - found } else { 0 }, "what is not there");
}

pub async fn a_job_is_followed_to_its_end(world: &dyn World) {
    let provider = world.provider();
    for end in ENDS {
        let job = begun(world, marker()).await;
        if given(world.turn(&job.provider_job_id, Turn::Runs).await).is_some() {
            until(provider.as_ref(), &job, JobStatus::Running).await;
        }
        if given(world.turn(&job.provider_job_id, end).await).is_some() {
            let over = until(provider.as_ref(), &job, end.status()).await;
            assert_eq!(over.provider_job_id, job.provider_job_id);
        }
    }
}

pub async fn what_is_over_stays_over(world: &dyn World) {
    let provider = world.provider();
    let mut over = Vec::new();
    for end in ENDS {
        let job = begun(world, marker()).await;
        if given(world.turn(&job.provider_job_id, end).await).is_some() {
            until(provider.as_ref(), &job, end.status()).await;
            over.push((job, end.status()));
        }
    }
    assert!(!over.is_empty(), "its jobs must be able to end");
    // Others come, so that it is asked in another way.
    let mut jobs: Vec<_> = over.iter().map(|(job, _)| job.clone()).collect();
    jobs.extend(begun_jobs(world, 3).await);
    for _ in 0..3 {
        for (id, answer) in poll(provider.as_ref(), &jobs).await {
            let Some((_, status)) = over.iter().find(|(job, _)| job.id == id) else { continue };
            assert_eq!(answer.unwrap().status, Some(*status));
        }
        for (job, status) in &over {
            assert_eq!(status_of(provider.as_ref(), job).await.unwrap().status, Some(*status));
        }
    }
}

pub async fn a_silent_job_holds_up_no_other(world: &dyn World) {
    let provider = world.provider();
    let jobs = begun_jobs(world, 5).await;
    if given(world.bring_about(Situation::SilentAnswer).await).is_none() {
        return;
    }
    let mut answers = provider.statuses(&jobs);
    for before in 1..jobs.len() {
        let (id, answer) = soon("an answer", answers.next()).await.unwrap();
        assert!(jobs.iter().any(|job| job.id == id));
        assert!(answer.is_ok(), "{before} answers come before that of the silent one: {answer:?}");
    }
}

pub async fn a_failing_answer_harms_no_other(world: &dyn World) {
    let provider = world.provider();
    let jobs = begun_jobs(world, 5).await;
    if given(world.bring_about(Situation::FailingAnswer).await).is_none() {
        return;
    }
    let answers = poll(provider.as_ref(), &jobs).await;
    assert_one_answer_each(&jobs, &answers);
    let failed = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    assert_eq!(failed, 1, "{answers:?}");
}

pub async fn an_unknown_job_is_not_found(world: &dyn World) {
    let provider = world.provider();
    begun(world, marker()).await;
    match status_of(provider.as_ref(), &unknown(world)).await {
        Err(QueryError::NotFound) => {}
        Err(QueryError::Unavailable(error)) => {
            let denies = given(world.denies_what_it_does_not_have());
            assert!(denies.is_none(), "it is not said that it is not there: {error:?}");
        }
        Ok(report) => panic!("there is no such job: {report:?}"),
    }
}

/// Asks all that can be asked about a job, and about the account.
async fn ask_all(provider: &dyn Provider, job: &RemoteJob) {
    assert_no_verdict("a status", status_of(provider, job).await);
    assert_no_verdict("a cancellation", soon("a call", provider.cancel(job)).await);
    assert_no_verdict("a log", soon("a call", provider.logs(job)).await);
    assert_no_verdict("a progress", soon("a call", provider.progress(job)).await);
}

pub async fn an_outage_says_nothing_about_a_job(world: &dyn World) {
    let provider = world.provider();
    let jobs = begun_jobs(world, 5).await;
    if given(world.bring_about(Situation::Outage).await).is_none() {
        return;
    }
    ask_all(provider.as_ref(), &jobs[0]).await;
    let answers = poll(provider.as_ref(), &jobs).await;
    assert_one_answer_each(&jobs, &answers);
    for (_, answer) in answers {
        assert_no_verdict("a status", answer);
    }
    must(world, Situation::Recovery).await;
    let answers = poll(provider.as_ref(), &jobs).await;
    let active = answers
        .into_iter()
        .all(|(_, answer)| answer.unwrap().status.is_none_or(JobStatus::is_active));
    assert!(active, "an outage ends no job");
}

pub async fn where_nobody_is_reached_nothing_is_said_about_a_job(world: &dyn World) {
    let jobs = begun_jobs(world, 5).await;
    let Some(nowhere) = given(world.nowhere().await) else { return };
    ask_all(nowhere.as_ref(), &jobs[0]).await;
    assert_no_verdict("a validation", soon("a call", nowhere.validate()).await);
    let answers = poll(nowhere.as_ref(), &jobs).await;
    assert_one_answer_each(&jobs, &answers);
    for (_, answer) in answers {
        assert_no_verdict("a status", answer);
    }
}

pub async fn the_end_of_a_job_is_announced(world: &dyn World) {
    let provider = world.provider();
    let Some(mut changes) = provider.changes() else {
        println!("not checked: it has to be asked");
        return;
    };
    let job = begun(world, marker()).await;
    changes.mark_unchanged();
    if given(world.turn(&job.provider_job_id, Turn::Completes).await).is_some() {
        soon("the news", changes.changed()).await.unwrap();
        until(provider.as_ref(), &job, JobStatus::Completed).await;
    }
}
