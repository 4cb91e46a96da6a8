//! What one user has in the queue.

use st_store::{NewJob, OrgId, Priority, ProviderName, TeamId, UserId, UserQueue, Verdict};

use super::{Harness, at, costs_more_than, decision, job, number};

async fn queue(harness: &Harness, max: u32) -> UserQueue {
    harness.store.user_queue(&UserId::new("ann"), max).await.unwrap()
}

fn counts(queue: &UserQueue) -> (u64, u64, u64, Option<u64>) {
    (queue.pending, queue.running, queue.blocked, queue.best_position)
}

pub async fn a_users_jobs_are_counted_by_where_they_are(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    assert_eq!(queue(harness, 9).await, UserQueue::default());
    let request = harness.blocked(1, 900).await;
    assert_eq!(counts(&queue(harness, 9).await), (0, 0, 1, None));
    harness.submit(job(2, "ann")).await;
    harness.claim().await;
    assert_eq!(counts(&queue(harness, 9).await), (0, 1, 1, None));
    harness.submit(NewJob { run_after: Some(at(1000)), ..job(3, "ann") }).await;
    assert_eq!(counts(&queue(harness, 9).await), (1, 1, 1, None), "it waits for its date");
    harness.submit(job(4, "bob")).await;
    harness.go_to(5);
    harness.store.decide(request, &decision(Verdict::Approve)).await.unwrap();
    let all = queue(harness, 9).await;
    assert_eq!(counts(&all), (2, 1, 0, Some(2)));
    assert_eq!(all.next.iter().map(number).collect::<Vec<_>>(), [1]);
    assert_eq!(all.in_slots.iter().map(number).collect::<Vec<_>>(), [2]);
}

pub async fn the_next_of_a_user_are_those_of_all_groups_in_the_order_of_the_queue(
    harness: &Harness,
) {
    for of in 1..=12_u8 {
        let mut new = job(of, "ann");
        new.owner.team = (of % 2 == 0).then(|| TeamId::new("team"));
        new.owner.org = (of % 3 == 0).then(|| OrgId::new("org"));
        new.provider = ProviderName::new(if of % 5 == 0 { "other" } else { "fake" });
        new.priority_override = Priority::new(i64::from(of)).ok();
        harness.submit(new).await;
        harness.submit(job(of + 100, "bob")).await;
    }
    let first = queue(harness, 5).await;
    assert_eq!(first.next.iter().map(number).collect::<Vec<_>>(), [12, 11, 10, 9, 8]);
    assert_eq!(counts(&first), (12, 0, 0, Some(1)));
    let all = queue(harness, 500).await;
    assert_eq!(all.next.iter().map(number).collect::<Vec<_>>(), (1..=12).rev().collect::<Vec<_>>());
    assert!(queue(harness, 0).await.next.is_empty());
}
