//! What SQLite keeps of the last grants: no more than the queue needs.

use st_store::{Actor, JobStatus, LimitsPatch, Outcome};
use st_testkit::suite::status;

use super::bench::Bench;

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn grants_of_users_with_nothing_in_the_queue_are_dropped_after_a_day() {
    let bench = Bench::new().await;
    let wide = LimitsPatch { global: Some(50), ..LimitsPatch::default() };
    bench.store.patch_limits(wide, &Actor::Operator).await.unwrap();
    // The jobs of the first three stay claimed.
    for number in 1..=6 {
        let claimed = bench.claimed(number).await;
        if number > 3 {
            let over = Outcome::Submitted(status(number, JobStatus::Completed));
            bench.settle(&claimed, over).await.unwrap();
        }
    }
    let users = async |seconds, number| {
        bench.go_to(seconds);
        bench.claimed(number).await;
        let users = bench.rows("SELECT user_id FROM user_grants ORDER BY user_id");
        users.replace("user_id=user-", "").replace('\n', " ")
    };
    assert_eq!(users(DAY - 1, 7).await, "1 2 3 4 5 6 7");
    assert_eq!(users(DAY, 8).await, "1 2 3 5 6 7 8", "two are kept, and the next two checked");
    assert_eq!(users(DAY, 9).await, "1 2 3 7 8 9", "those that are kept hide no other one");
    assert_eq!(users(DAY, 10).await, "1 10 2 3 7 8 9");
    assert_eq!(users(DAY, 11).await, "1 10 11 2 3 7 8 9", "the others are needed");
}
