//! What it promises, rule by rule.

use jiff::{SignedDuration, Timestamp};
use st_store::{AccountId, JobId, JobStatus, Marker, ProviderJobId, ProviderStatus};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::{Depth, Finding, Search, Wanted, Window};
use crate::provider::{ListedJob, Trace};
use crate::served::Drift;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn job() -> JobId {
    JobId::new(at(0), [7; 10])
}

fn account(name: &str) -> AccountId {
    AccountId::new("https://example.com", Some(name), None)
}

/// An attempt that was claimed at 0 and could no longer arrive two minutes later.
fn wanted() -> Wanted {
    Wanted {
        job: job(),
        attempt: Some(1),
        account: Some(account("ours")),
        window: Window::of_attempt(at(0), Some(at(120)), Drift::default()),
        depth: Depth::Answer,
    }
}

fn row(id: &str, created: Option<i64>, trace: Trace) -> ListedJob {
    let status = ProviderStatus::new(ProviderJobId::new(id), JobStatus::Running);
    ListedJob { status, created_at: created.map(at), trace }
}

fn marked(id: &str, created: i64) -> ListedJob {
    let marker = Marker { job: job(), attempt: 1 };
    row(id, Some(created), Trace::Marker { marker, by_hand: false })
}

fn ids(finding: &Finding) -> Vec<String> {
    match finding {
        Finding::Found { jobs, .. } => {
            jobs.iter().map(|it| it.status.provider_job_id.to_string()).collect()
        }
        Finding::Absent { .. } | Finding::Unknown { .. } => Vec::new(),
    }
}

#[test]
fn a_job_is_found_by_its_marker_once_for_each_id_the_oldest_first_and_cancelled_ones_last() {
    let search = Search::default();
    let (mut found, begin) = search.join(wanted());
    assert!(begin);
    let other = Marker { job: job(), attempt: 2 };
    let mut cancelled = marked("z", 5);
    cancelled.status.status = Some(JobStatus::Cancelled);
    let rows = [
        cancelled,
        marked("c", 30),
        row("x", Some(20), Trace::Marker { marker: other, by_hand: false }),
        marked("b", 20),
        marked("a", 10),
        marked("b", 20),
        row("y", Some(20), Trace::Deleted),
    ];
    assert!(search.offer(&rows, Some(&account("ours"))).is_empty());
    assert_eq!(ids(&found.try_recv().unwrap()), ["a", "b", "c", "z"]);
}

#[test]
fn any_attempt_is_found_when_none_is_named() {
    let search = Search::default();
    let (mut found, _) = search.join(Wanted { attempt: None, ..wanted() });
    let marker = Marker { job: job(), attempt: 9 };
    search.offer(&[row("a", None, Trace::Marker { marker, by_hand: false })], None);
    assert_eq!(ids(&found.try_recv().unwrap()), ["a"]);
}

#[test]
fn of_any_attempt_one_that_ended_badly_is_an_answer_only_when_the_list_shows_no_other() {
    let attempt = |id: &str, attempt, status| {
        let marker = Marker { job: job(), attempt };
        let mut row = row(id, Some(10), Trace::Marker { marker, by_hand: false });
        row.status.status = Some(status);
        row
    };
    let search = Search::default();
    let any = || Wanted { attempt: None, ..wanted() };
    let ((mut alive, _), (mut over, _)) = (search.join(any()), search.join(any()));
    search.begin_walk();
    search.offer(&[attempt("c", 3, JobStatus::Cancelled)], None);
    search.offer(&[attempt("b", 2, JobStatus::Failed)], None);
    assert!(alive.try_recv().is_err() && over.try_recv().is_err());
    drop(over);
    search.offer(&[attempt("d", 1, JobStatus::Running)], None);
    assert_eq!(ids(&alive.try_recv().unwrap()), ["d", "b", "c"]);

    (over, _) = search.join(any());
    search.begin_walk();
    search.offer(&[attempt("c", 3, JobStatus::Cancelled)], None);
    search.read_until(None, Instant::now(), &[], None);
    assert_eq!(ids(&over.try_recv().unwrap()), ["c"]);
}

#[test]
fn a_search_of_the_whole_window_collects_what_all_pages_show() {
    let search = Search::default();
    let whole = || Wanted { depth: Depth::Window, ..wanted() };
    for complete in [true, false] {
        let (mut found, _) = search.join(whole());
        search.begin_walk();
        search.offer(&[marked("b", 20)], None);
        found.try_recv().unwrap_err();
        search.offer(&[marked("a", 10), marked("b", 20)], None);
        if complete {
            search.read_until(None, Instant::now(), &[], None);
        } else {
            search.incomplete("the next page cannot be read");
        }
        let finding = found.try_recv().unwrap();
        assert_eq!(ids(&finding), ["a", "b"]);
        assert!(matches!(finding, Finding::Found { complete: it, .. } if it == complete));
    }
}

#[test]
fn what_is_made_by_hand_or_too_late_is_a_copy_and_what_seems_too_early_is_not() {
    let search = Search::default();
    let (mut found, _) = search.join(wanted());
    let marker = Marker { job: job(), attempt: 1 };
    let hour = 3600;
    let rows = [
        row("hand", Some(10), Trace::Marker { marker, by_hand: true }),
        marked("late", 120 + hour + 1),
    ];
    let copies = search.offer(&rows, Some(&account("ours")));
    let copies: Vec<&str> = copies.iter().map(|it| it.status.provider_job_id.as_str()).collect();
    assert_eq!(copies, ["hand", "late"]);
    assert!(found.try_recv().is_err(), "none of them is an answer");
    search.offer(&[marked("last", 120 + hour), marked("early", -600)], Some(&account("ours")));
    assert_eq!(ids(&found.try_recv().unwrap()), ["early", "last"]);
}

#[test]
fn the_window_follows_the_clocks() {
    let drift = Drift { down: SignedDuration::from_hours(-2), up: SignedDuration::from_hours(3) };
    let window = Window::of_attempt(at(0), Some(at(120)), drift);
    assert_eq!(window.since, Some(at(-2 * 3600 - 15 * 60)));
    assert_eq!(window.until, None, "the list is not cut off above");
    assert!(window.is_ours(Some(at(-2 * 3600))) && window.is_ours(Some(at(4 * 3600))));
    let steady = Window::of_attempt(at(0), Some(at(120)), Drift::default());
    assert_eq!(steady.since, Some(at(-15 * 60)));
    assert!(steady.until.is_some());
    assert!(window.covers(&steady) && !steady.covers(&window));
    assert!(Window::default().covers(&window) && !window.covers(&Window::default()));
}

#[test]
fn absence_is_answered_with_the_beginning_of_a_walk_that_began_after_the_search() {
    let search = Search::default();
    let (mut first, first_walks) = search.join(wanted());
    assert!(first_walks);
    let window = search.begin_walk().unwrap();
    assert_eq!(window, wanted().window);
    let (mut second, second_walks) = search.join(wanted());
    assert!(!second_walks, "the walk goes on");
    let began = Instant::now();
    let deleted = [
        (ProviderJobId::new("early"), Some(at(-61))),
        (ProviderJobId::new("within"), Some(at(100))),
        (ProviderJobId::new("unknown"), None),
        (ProviderJobId::new("late"), Some(at(181))),
    ];
    search.read_until(None, began, &deleted, Some(&account("ours")));
    let deleted = ["within", "unknown"].map(ProviderJobId::new).to_vec();
    assert_eq!(first.try_recv().unwrap(), Finding::Absent { began, deleted });
    assert!(second.try_recv().is_err(), "it needs a walk of its own");
    assert!(search.begin_walk().is_some());
    search.read_until(None, began, &[], Some(&account("ours")));
    assert!(matches!(second.try_recv().unwrap(), Finding::Absent { .. }));
    assert!(search.begin_walk().is_none());
    assert!(search.join(wanted()).1, "the next search begins a walk");
}

#[test]
fn a_search_is_answered_when_its_own_window_was_read() {
    let search = Search::default();
    let older = Window::of_attempt(at(-10_000), Some(at(-9_000)), Drift::default());
    let (mut short, _) = search.join(wanted());
    let (mut long, _) = search.join(Wanted { window: older, ..wanted() });
    search.begin_walk();
    let began = Instant::now();
    search.read_until(Some(at(-15 * 60)), began, &[], Some(&account("ours")));
    assert!(short.try_recv().is_err(), "a row of its window may still come");
    search.read_until(Some(at(-15 * 60 - 1)), began, &[], Some(&account("ours")));
    assert!(matches!(short.try_recv().unwrap(), Finding::Absent { .. }));
    long.try_recv().unwrap_err();
    search.read_until(None, began, &[], Some(&account("ours")));
    assert!(matches!(long.try_recv().unwrap(), Finding::Absent { .. }));
}

#[test]
fn what_a_lost_life_submitted_was_created_after_its_job_was_queued() {
    let window = Window::of_lost_life(at(0), at(120));
    assert!(window.is_ours(Some(at(-3600))), "the marker says so");
    let candidates = [-61, -60, 180, 181].map(|seconds| window.may_be_lost(Some(at(seconds))));
    assert_eq!(candidates, [false, true, true, false]);
}

#[test]
fn a_search_that_joins_a_walk_is_answered_by_what_the_rest_of_it_shows() {
    let search = Search::default();
    let (_first, _) = search.join(Wanted { attempt: Some(5), ..wanted() });
    search.begin_walk();
    let (mut second, _) = search.join(wanted());
    search.offer(&[marked("a", 10)], Some(&account("ours")));
    assert_eq!(ids(&second.try_recv().unwrap()), ["a"]);
}

#[test]
fn the_list_of_another_account_answers_nothing() {
    let search = Search::default();
    let (mut found, _) = search.join(wanted());
    search.begin_walk();
    search.offer(&[marked("a", 10)], Some(&account("theirs")));
    search.read_until(None, Instant::now(), &[], Some(&account("theirs")));
    let Finding::Unknown { reason } = found.try_recv().unwrap() else {
        panic!("it says something")
    };
    assert!(reason.contains("account"), "{reason}");
}

#[test]
fn a_walk_is_abandoned_when_nothing_waits_for_it() {
    let search = Search::default();
    let (found, _) = search.join(wanted());
    search.begin_walk();
    assert!(!search.is_abandoned());
    drop(found);
    assert!(search.is_abandoned());
    assert!(search.begin_walk().is_none());
}

#[test]
fn a_walk_that_is_cut_off_leaves_the_way_free_for_the_next() {
    let search = Search::default();
    let (mut found, _) = search.join(wanted());
    let walk = search.walk();
    search.begin_walk();
    drop(walk);
    assert_eq!(found.try_recv(), Err(TryRecvError::Closed), "it is to search anew");
    assert!(search.join(wanted()).1, "the next search walks");
}

#[test]
fn a_copy_is_new_once() {
    let search = Search::default();
    let id = ProviderJobId::new("a");
    assert_eq!([search.is_new_copy(&id), search.is_new_copy(&id)], [true, false]);
}
