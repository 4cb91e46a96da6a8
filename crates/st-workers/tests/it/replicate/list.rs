//! The account's list as a search for markers reads it, page by page.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use st_store::Marker;
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{
    Cause, JobList, ListPage, ListQuery, ListedJob, Provider, QueryError, Trace,
};

use super::{add, marker, provider_at, provider_with, start, submission};

async fn first(provider: &Replicate) -> ListPage {
    provider.page(&ListQuery::default()).await.unwrap()
}

/// All pages.
async fn walk(provider: &Replicate, query: ListQuery) -> Vec<ListPage> {
    let mut pages = vec![provider.page(&query).await.unwrap()];
    while let Some(cursor) = pages.last().unwrap().next.clone() {
        let query = ListQuery { cursor: Some(cursor), ..query.clone() };
        pages.push(provider.page(&query).await.unwrap());
    }
    pages
}

fn markers(page: &ListPage) -> Vec<(Marker, bool)> {
    let of = |job: &ListedJob| match job.trace {
        Trace::Marker { marker, by_hand } => Some((marker, by_hand)),
        Trace::Deleted => None,
    };
    page.jobs.iter().filter_map(of).collect()
}

#[tokio::test]
async fn a_submission_whose_reply_was_lost_is_in_the_list_with_its_marker() {
    let (fake, provider) = start().await;
    let world = fake.world();
    add(world, 3);
    world.drop_next_reply();
    provider.submit(&submission()).await.unwrap_err();
    world.add(json!({"st_marker": "not ours"}));
    let page = first(&provider).await;
    assert_eq!((page.rows, page.unreadable, page.next.as_deref()), (5, 0, None));
    assert_eq!(markers(&page), [(marker(1), false)]);
    let lost = &world.jobs()[3];
    assert_eq!(page.jobs[0].status.provider_job_id.as_str(), lost.id);
    assert_eq!(page.newest, Some(world.jobs()[4].created_at));
    let close = page.jobs[0].created_at.unwrap().duration_since(lost.created_at);
    assert!(close.abs() < SignedDuration::from_micros(1), "{close:?}");
}

#[tokio::test]
async fn copies_made_by_hand_and_deleted_jobs_are_shown_as_what_they_are() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let copy = world.add(json!({"st_marker": marker(2).to_string()}));
    world.change(&copy, |job| job.source = "web");
    let deleted = world.add(json!({"st_marker": marker(3).to_string()}));
    world.hold("succeeded");
    world.change(&deleted, |job| job.data_removed = true);
    let page = first(&provider).await;
    assert_eq!(markers(&page), [(marker(2), true)]);
    assert_eq!(page.jobs.len(), 2);
    assert_eq!(
        (page.jobs[0].trace, page.jobs[0].status.provider_job_id.as_str()),
        (Trace::Deleted, &*deleted)
    );
}

#[tokio::test]
async fn every_page_is_read_and_the_window_stays_on_all_of_them() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let eldest = world.add(json!({"st_marker": marker(1).to_string()}));
    add(world, 220);
    let (oldest, newest) = (world.jobs()[1].created_at, world.jobs()[219].created_at);
    world.change(&eldest, |job| job.created_at = oldest - SignedDuration::from_hours(1));

    let all = walk(&provider, ListQuery::default()).await;
    let rows: Vec<usize> = all.iter().map(|page| page.rows).collect();
    assert_eq!(rows, [100, 100, 21]);
    assert_eq!(markers(&all[2]), [(marker(1), false)]);

    let query = ListQuery { since: Some(oldest), until: Some(newest), cursor: None };
    let window = walk(&provider, query).await;
    assert!(window.iter().all(|page| page.jobs.is_empty()), "{window:?}");
    let paths: Vec<String> = world.requests()[3..].iter().map(|it| it.path.clone()).collect();
    let filters =
        |path: &String| path.contains("created_after=") && path.contains("created_before=");
    assert!(paths.iter().all(filters), "{paths:?}");
    let late =
        ListQuery { until: Some(oldest - SignedDuration::from_mins(1)), ..ListQuery::default() };
    assert_eq!(markers(&provider.page(&late).await.unwrap()), [(marker(1), false)]);
}

#[tokio::test]
async fn a_list_that_lags_and_a_window_that_is_ignored_change_no_row() {
    let (fake, provider) = start().await;
    let world = fake.world();
    world.lag_list(std::time::Duration::from_secs(20));
    let id = world.add(json!({"st_marker": marker(1).to_string()}));
    assert_eq!(first(&provider).await, ListPage::default(), "not yet listed");
    world.change(&id, |job| job.created_at -= SignedDuration::from_secs(21));
    assert_eq!(markers(&first(&provider).await), [(marker(1), false)]);
    world.add_rows([
        r#"{"id": "f", "status": "x", "created_at": "2001-01-01T00:00:00Z"}"#.to_owned()
    ]);
    let since = Some("2020-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let page = provider.page(&ListQuery { since, ..ListQuery::default() }).await.unwrap();
    assert_eq!((page.rows, page.jobs.len()), (2, 1));
}

#[tokio::test]
async fn odd_rows_are_counted_and_hide_nothing() {
    let (fake, provider) = start().await;
    let world = fake.world();
    world.add(json!({"st_marker": marker(1).to_string()}));
    world.add_rows([
        "null".to_owned(),
        r#"{"id": "f1", "status": null, "created_at": "2026-01-01T00:00:00Z"}"#.to_owned(),
        r#"{"id": "f2", "status": "x", "input": {"prompt": "\ud800", "n": 1e400}}"#.to_owned(),
        format!(r#"{{"id": "{}", "status": "x"}}"#, "a".repeat(100_000)),
    ]);
    let page = first(&provider).await;
    assert_eq!((page.rows, page.unreadable, page.newest), (5, 3, None));
    assert_eq!(markers(&page), [(marker(1), false)]);
}

#[tokio::test]
async fn of_a_link_to_another_host_only_the_path_is_taken() {
    let fake = FakeReplicate::start().await;
    let thief = FakeReplicate::start().await;
    let provider = provider_at(&fake.base_url());
    add(fake.world(), 150);
    let next = format!("{}/predictions?cursor=100", thief.base_url());
    fake.world().fault_on(Call::List, Fault::NextAt(next));
    let pages = walk(&provider, ListQuery::default()).await;
    assert_eq!(pages[0].next.as_deref(), Some("/v1/predictions?cursor=100"));
    assert_eq!(pages.iter().map(|page| page.rows).sum::<usize>(), 150);

    fake.world().fault_on(Call::List, Fault::Redirect(thief.base_url()));
    provider.page(&ListQuery::default()).await.unwrap_err();
    assert!(thief.world().requests().is_empty());
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_neither_followed_nor_the_end() {
    let (fake, provider) = start().await;
    let world = fake.world();
    world.add(json!({"st_marker": marker(1).to_string()}));
    for next in ["https://thief.example/v2/x", "/admin", "predictions?cursor=1", "", "no link"] {
        world.fault_on(Call::List, Fault::NextAt(next.to_owned()));
        let before = world.requests().len();
        let page = first(&provider).await;
        assert_eq!(markers(&page), [(marker(1), false)], "its rows are good: {next}");
        assert!(page.next.is_some(), "{next}");
        let behind = provider.page(&ListQuery { cursor: page.next, ..ListQuery::default() }).await;
        match behind {
            Err(QueryError::Unavailable(error)) => {
                assert_eq!(error.cause, Cause::Trouble, "{next}");
            }
            other => panic!("{next}: {other:?}"),
        }
        assert_eq!(world.requests().len(), before + 1, "{next}");
    }
    // A list that leads back is the caller's to notice: the cursor repeats.
    let itself = format!("{}/predictions?cursor=0", fake.base_url());
    world.always(Call::List, Fault::NextAt(itself));
    let page = first(&provider).await;
    let again =
        provider.page(&ListQuery { cursor: page.next.clone(), ..ListQuery::default() }).await;
    assert_eq!(again.unwrap().next, page.next);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_an_error_and_not_an_empty_page() {
    let answer = |body: &str| Fault::Answer { status: 200, headers: vec![], body: body.to_owned() };
    for fault in
        [answer("{}"), answer(r#"{"results": {}}"#), answer(""), answer("<html>"), Fault::Garbage]
    {
        let (fake, provider) = start().await;
        fake.world().fault_on(Call::List, fault.clone());
        let error = provider.page(&ListQuery::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "replicate's answer cannot be read", "{fault:?}");
    }
}

#[tokio::test]
async fn an_account_has_a_witness_when_it_has_a_row_that_can_be_read() {
    let (fake, provider) = start().await;
    let world = fake.world();
    assert!(!provider.has_witness().await.unwrap());
    world.add_rows(["null".to_owned()]);
    assert!(!provider.has_witness().await.unwrap(), "what cannot be read proves nothing");
    let id = world.add(json!({}));
    world.change(&id, |job| job.created_at = Timestamp::UNIX_EPOCH);
    assert!(provider.has_witness().await.unwrap(), "however old it is");
    world.add_account("r8_another", "another");
    let another = provider_with(&fake.base_url(), "r8_another", std::time::Duration::from_secs(20));
    assert!(another.page(&ListQuery::default()).await.unwrap().jobs.is_empty());
    world.fault_on(Call::List, Fault::ServerError);
    provider.has_witness().await.unwrap_err();
}
