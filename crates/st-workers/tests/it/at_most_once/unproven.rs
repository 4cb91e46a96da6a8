//! What is not repeated, not released and not taken for absent, because that is not certain.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_repetition_that_may_still_arrive_is_waited_for_like_the_first_submission() {
    let workers = Workers::start(Form::Name);
    let lost = std::iter::repeat_n(Fault::LostRequest, 8);
    workers.place.plan(lost.chain(std::iter::repeat_n(Fault::Rejected, 40)));
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.submits == 8).await;
    let latest = Instant::now();
    let record = workers.until(job, |record| record.status().is_terminal()).await;
    assert_eq!((record.status(), workers.place.runs()), (JobStatus::Failed, 0));
    assert!(latest.elapsed() >= Duration::from_mins(2), "{:?}", latest.elapsed());
}

/// A submission whose reply was lost with the process; the next one begins after `meanwhile`.
async fn interrupted(form: Form, meanwhile: impl FnOnce(&Workers) + Send) -> (Workers, JobId) {
    let workers = Workers::start(form);
    workers.place.ledger().time = Some((workers.clock.wall(), Instant::now()));
    workers.place.plan([Fault::Silence]);
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.submits == 1).await;
    stop_background_tasks(&workers.tasks, Duration::ZERO).await;
    workers.place.ledger().hidden = true;
    meanwhile(&workers);
    let workers = workers.crash_and_restart().await;
    Workers::pass(Duration::from_mins(20)).await;
    (workers, job)
}

#[tokio::test(start_paused = true)]
async fn another_description_repeats_nothing_and_proves_no_absence() {
    for (before, now) in [
        (Form::Key, Form::Name),
        (Form::Name, Form::Key),
        (Form::Name, Form::Hold),
        (Form::Hold, Form::Name),
        (Form::Key, Form::Nothing(Undecided::IsRepeated)),
    ] {
        let (workers, job) =
            interrupted(before, |workers| *workers.place.form.lock().unwrap() = now).await;
        assert_eq!(workers.place.ledger().submits, 1, "{before:?} {now:?}");
        let record = workers.record(job).await;
        assert_eq!(record.queue_status(), QueueStatus::Ready, "{before:?} {now:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_clock_that_was_set_makes_an_old_key_a_fresh_one() {
    type Meanwhile = fn(&Workers);
    let table: [(&str, Meanwhile); 4] = [
        ("the store's clock is set back", |workers| {
            workers.clock.step(-SignedDuration::from_hours(2));
        }),
        ("the provider's clock is ahead of the store's", |workers| {
            let mut ledger = workers.place.ledger();
            let (time, at) = ledger.time.unwrap();
            ledger.time = Some((time + SignedDuration::from_hours(2), at));
        }),
        ("the provider's clock is set back", |workers| {
            let mut ledger = workers.place.ledger();
            let (time, at) = ledger.time.unwrap();
            ledger.time = Some((time - SignedDuration::from_hours(2), at));
        }),
        ("the provider's time is not known", |workers| workers.place.ledger().time = None),
    ];
    for (what, meanwhile) in table {
        let (workers, job) = interrupted(Form::Key, meanwhile).await;
        assert_eq!(workers.place.ledger().submits, 1, "{what}");
        let record = workers.record(job).await;
        assert_eq!(record.queue_status(), QueueStatus::Ready, "{what}: it waits for a person");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_account_holds_is_not_released() {
    let account = |name| Some(AccountId::new("https://place.example", Some(name), None));
    let workers = Workers::start(Form::Hold);
    workers.place.ledger().account = account("ann");
    workers.place.ledger().release_faults.push_back(Fault::Silence);
    let job = workers.submit().await;
    workers.until_ledger(|ledger| ledger.releases == 1).await;
    workers.place.ledger().account = account("bob");
    let workers = workers.crash_and_restart().await;
    Workers::pass(Duration::from_mins(5)).await;
    assert_eq!((workers.place.runs(), workers.place.ledger().releases), (0, 1));
    workers.place.ledger().account = account("ann");
    workers.until_running(job).await;
    assert_eq!((workers.place.runs(), workers.place.ledger().submits), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_is_searched_for_and_not_repeated() {
    for form in [Form::Key, Form::Name] {
        let workers = Workers::start(form);
        workers.place.plan([Fault::LostReply]);
        let job = workers.submit().await;
        workers.until_ledger(|ledger| ledger.submits == 1).await;
        workers.tasks.cancel(job, &Actor::User(UserId::new("ann"))).await.unwrap();
        let record = workers.until(job, |record| record.status().is_terminal()).await;
        assert_eq!(record.status(), JobStatus::Cancelled, "{form:?}");
        assert_eq!((workers.place.runs(), workers.place.ledger().submits), (0, 1), "{form:?}");
    }
}
