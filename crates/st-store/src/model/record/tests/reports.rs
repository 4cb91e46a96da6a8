//! What providers report about their jobs.

use super::*;

fn reported(
    record: &mut JobRecord,
    report: &ProviderStatus,
    seconds: i64,
) -> Result<Settled, TransitionError> {
    let outcome = Outcome::Reported(report.clone());
    checked(record, (&Actor::Poller, seconds), |record| {
        record.settle(record.token(), &outcome, settling(&Actor::Poller, seconds))
    })
}

#[test]
fn a_submission_arrives_in_whatever_status_the_provider_reports() {
    let arrived = |status: Option<JobStatus>| {
        let mut record = claimed();
        let report = ProviderStatus { status, ..report(JobStatus::Queued) };
        settle(&mut record, &Outcome::Submitted(report), 9).unwrap();
        assert_eq!(record.stage().claimed(), None);
        assert_eq!(record.provider_job_id(), Some(&provider_job("p-1")));
        let account = record.stage().remote().and_then(|remote| remote.account.clone());
        assert_eq!(
            account,
            Some(AccountId::new("acc", None, None)),
            "the account that submitted it"
        );
        let over = record.status().is_terminal();
        assert_eq!(
            (record.job().completed_at.is_some(), record.ended_at().is_some()),
            (over, over)
        );
        let began = record.job().started_at.is_some();
        format!("{} {} {began}", record.queue_status(), record.status())
    };
    assert_eq!(arrived(None), "running queued false");
    let all = JobStatus::ALL.iter().map(|&status| arrived(Some(status)));
    let expected = [
        "running queued false",
        "running queued false",
        "running queued false",
        "running running true",
        "completed completed false",
        "failed failed false",
        "cancelled cancelled false",
    ];
    assert_eq!(all.collect::<Vec<_>>(), expected);
}

#[test]
fn a_late_report_changes_nothing_and_an_end_is_final() {
    let mut table = String::new();
    for (stage, record) in every_stage().into_iter().skip(5) {
        let mut effective = Vec::new();
        for &status in JobStatus::ALL {
            let mut after = record.clone();
            let report = ProviderStatus { cost_usd: Some(9.0), ..report(status) };
            // What the provider ends without a request, it ends itself.
            let outcome = Outcome::Reported(report);
            let settling = settling(&Actor::Poller, 9);
            let settled = after.settle(after.token(), &outcome, settling).unwrap();
            let after = stored(after);
            assert_eq!(settled == Settled::Changed, after != record, "{stage}, {status}");
            assert_eq!(after.job().cost_usd.is_some(), after != record, "{stage}, {status}");
            if after != record {
                effective.push(format!("{status} -> {}", after.status()));
            }
        }
        writeln!(table, "{stage}: {}", effective.join(", ")).unwrap();
    }
    assert_eq!(
        table,
        "queued: queued -> queued, running -> running, completed -> completed, failed -> failed, \
         cancelled -> cancelled\n\
         running: running -> running, completed -> completed, failed -> failed, \
         cancelled -> cancelled\n\
         completed: \nfailed: \ncancelled: \nnot approved: \n"
    );
}

#[test]
fn a_report_adds_what_it_contains_and_keeps_what_it_does_not() {
    let mut record = at_provider(JobStatus::Queued);
    let unknown_word =
        ProviderStatus { status: None, cost_usd: Some(1.5), ..report(JobStatus::Queued) };
    assert_eq!(reported(&mut record, &unknown_word, 10), Ok(Settled::Changed));
    assert_eq!((record.status(), record.job().cost_usd), (JobStatus::Queued, Some(1.5)));
    assert_eq!(reported(&mut record, &unknown_word, 11), Ok(Settled::Unchanged));
    reported(&mut record, &report(JobStatus::Running), 12).unwrap();
    assert_eq!((record.job().started_at, record.job().cost_usd), (Some(at(12)), Some(1.5)));
    for cost in [f64::NAN, f64::INFINITY, -1.0] {
        let no_cost = ProviderStatus { cost_usd: Some(cost), ..report(JobStatus::Running) };
        assert_eq!(reported(&mut record, &no_cost, 13), Ok(Settled::Unchanged), "{cost}");
    }
    let ended = ProviderStatus {
        completed_at: Some(at(14)),
        error_message: Some("out of\0memory".to_owned()),
        ..report(JobStatus::Failed)
    };
    reported(&mut record, &ended, 15).unwrap();
    assert_eq!((record.job().completed_at, record.ended_at()), (Some(at(14)), Some(at(15))));
    assert_eq!(record.job().started_at, Some(at(12)));
    assert_eq!(record.job().error_message.as_deref(), Some("out of\u{fffd}memory"));
}

#[test]
fn a_report_about_another_provider_job_is_refused() {
    let mut record = at_provider(JobStatus::Queued);
    let (known, reported_id) = (provider_job("p-1"), provider_job("p-2"));
    let other = ProviderStatus::new(reported_id.clone(), JobStatus::Running);
    let refused = TransitionError::OtherProviderJob { known, reported: reported_id };
    assert_eq!(reported(&mut record, &other, 9), Err(refused.clone()));
    assert_eq!(settle(&mut record, &Outcome::Submitted(other), 9), Err(refused));
}

#[test]
fn a_cancelled_job_was_ended_by_who_asked_or_else_by_the_provider() {
    let ended = |cancelled: bool, error: Option<&str>| {
        let mut record = at_provider(JobStatus::Running);
        if cancelled {
            record.cancel(&user("bob"), at(5)).unwrap();
        }
        let error_message = error.map(str::to_owned);
        let report = ProviderStatus { error_message, ..report(JobStatus::Cancelled) };
        let actor =
            if cancelled { user("bob") } else { Actor::Provider(ProviderName::new("fake")) };
        let outcome = Outcome::Reported(report);
        let step = |record: &mut JobRecord| {
            record.settle(record.token(), &outcome, settling(&Actor::Poller, 9))
        };
        checked(&mut record, (&actor, 9), step).unwrap();
        record.job().error_message.clone().unwrap()
    };
    assert_eq!(ended(true, None), "cancelled by user bob");
    assert_eq!(ended(false, None), "the provider ended it");
    assert_eq!(ended(false, Some("time limit")), "time limit");
}

#[test]
fn a_job_that_ends_otherwise_although_it_was_cancelled_ends_as_reported() {
    let mut record = at_provider(JobStatus::Running);
    record.cancel(&user("bob"), at(5)).unwrap();
    reported(&mut record, &report(JobStatus::Completed), 9).unwrap();
    assert_eq!(record.status(), JobStatus::Completed);
    assert_eq!(record.stage().cancellation().map(|it| it.by.clone()), Some(user("bob")));
    assert!(!record.cancel_requested());
}

#[test]
fn a_job_that_begins_is_a_change_though_its_beginning_was_reported_before() {
    let mut record = claimed();
    settle(&mut record, &Outcome::Submitted(report(JobStatus::Queued)), 9).unwrap();
    record.take_events();
    let early = ProviderStatus { started_at: Some(at(9)), ..report(JobStatus::Queued) };
    assert_eq!(reported(&mut record, &early, 10), Ok(Settled::Changed));
    let begun = ProviderStatus { started_at: Some(at(9)), ..report(JobStatus::Running) };
    assert_eq!(reported(&mut record, &begun, 11), Ok(Settled::Changed));
    assert_eq!(record.status(), JobStatus::Running);
    record.take_events();
    assert_eq!(reported(&mut record, &begun, 12), Ok(Settled::Unchanged));
}
