//! The event log.

use st_store::{EventId, EventPage};

use super::{Harness, id, job};

pub async fn events_resume_without_a_gap_or_a_repeat(harness: &Harness) {
    for number in 0..5 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    harness.claim().await;
    let all = harness.store.events_after(EventId(0), 1000).await.unwrap();
    assert!(!all.resync && all.damaged.is_empty());
    let mut seen = Vec::new();
    let mut last = EventId(0);
    loop {
        let page = harness.store.events_after(last, 3).await.unwrap();
        assert_eq!(page.next, page.events.last().map(|event| event.id));
        let Some(next) = page.next else { break };
        last = next;
        seen.extend(page.events);
    }
    assert_eq!(seen, all.events);
    assert_eq!(*harness.store.last_event().borrow(), last);
    let ids: Vec<_> = seen.iter().map(|event| event.id.0).collect();
    let expected: Vec<_> = (1..).take(seen.len()).collect();
    assert_eq!(ids, expected, "from 1 without a gap");
    assert!(seen.iter().all(|event| event.event.correlation_id.as_str().starts_with("c-")));
}

pub async fn a_waiter_is_woken_after_the_commit(harness: &Harness) {
    let mut events = harness.store.last_event();
    let before = *events.borrow_and_update();
    harness.submit(job(1, "ann")).await;
    events.changed().await.unwrap();
    let newest = *events.borrow_and_update();
    assert!(newest > before);
    let read = harness.store.events_after(before, 10).await.unwrap();
    assert_eq!(read.next, Some(newest), "what woke can be read");
}

pub async fn a_position_beyond_the_end_must_resync(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    let last = *harness.store.last_event().borrow();
    let at_end = harness.store.events_after(last, 10).await.unwrap();
    assert_eq!(at_end, EventPage::default(), "nothing new");
    let beyond = harness.store.events_after(EventId(last.0 + 1), 10).await.unwrap();
    assert_eq!(beyond, EventPage { resync: true, ..EventPage::default() });
    let job = harness.store.job_events(id(1), EventId(last.0 + 1), 10).await.unwrap();
    assert_eq!(job, EventPage::default());
}

pub async fn a_jobs_events_are_paged(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    harness.submit(job(2, "bob")).await;
    harness.claim().await;
    let page = async |after, max| {
        let page = harness.store.job_events(id(2), after, max).await.unwrap();
        assert!(page.events.iter().all(|event| event.event.change.job() == Some(id(2))));
        (page.events.iter().map(|event| event.id.0).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(page(EventId(0), 3).await, (vec![3, 4, 7], Some(EventId(7))));
    assert_eq!(page(EventId(7), 3).await, (vec![8], Some(EventId(8))));
    assert_eq!(page(EventId(8), 3).await, (vec![], None));
    let none = harness.store.job_events(id(9), EventId(0), 3).await.unwrap();
    assert_eq!(none, EventPage::default());
}
