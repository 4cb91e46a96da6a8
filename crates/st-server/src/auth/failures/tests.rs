//! Failures are slowed by address and by key, and forgotten.

use tokio::time::advance;

use super::*;

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn key(name: &str) -> KeyId {
    KeyId::new(name)
}

fn millis(failures: &Failures, address: Option<IpAddr>, key: Option<KeyId>) -> u128 {
    failures.wait(address, key).unwrap().delay.as_millis()
}

#[tokio::test(start_paused = true)]
async fn the_delay_doubles_up_to_eight_seconds_and_is_forgotten() {
    let failures = Failures::default();
    let ann = address("192.0.2.7");
    let delays: Vec<u128> = (0..11).map(|_| millis(&failures, ann, None)).collect();
    assert_eq!(delays, [0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    assert_eq!(millis(&failures, address("192.0.2.8"), None), 0, "another address");
    assert_eq!(millis(&failures, address("::ffff:192.0.2.7"), None), 8000, "the same one");
    advance(MEMORY).await;
    assert_eq!(millis(&failures, ann, None), 0);
}

#[tokio::test(start_paused = true)]
async fn guesses_at_one_key_are_slowed_wherever_they_come_from() {
    let failures = Failures::default();
    for last in 1..=FREE {
        assert_eq!(millis(&failures, address(&format!("192.0.2.{last}")), Some(key("k1"))), 0);
    }
    assert_eq!(millis(&failures, address("192.0.2.99"), Some(key("k1"))), 250);
    assert_eq!(millis(&failures, address("192.0.2.98"), Some(key("k2"))), 0);
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv6_is_one_client() {
    let failures = Failures::default();
    for last in 1..=FREE {
        millis(&failures, address(&format!("2001:db8:1:2::{last}")), None);
    }
    assert_eq!(millis(&failures, address("2001:db8:1:2:ffff::1"), None), 250);
    assert_eq!(millis(&failures, address("2001:db8:1:3::1"), None), 0);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_answers_to_one_address_are_held_back() {
    let failures = Failures::default();
    let ann = address("192.0.2.7");
    assert!(!failures.is_full(ann));
    let waiting: Vec<_> = (0..MOST_WAITING).map(|_| failures.wait(ann, None).unwrap()).collect();
    assert!(failures.is_full(ann) && !failures.is_full(address("192.0.2.8")));
    assert!(failures.wait(ann, None).is_none());
    drop(waiting);
    assert!(!failures.is_full(ann));
    assert!(failures.wait(ann, None).is_some());
}

#[tokio::test(start_paused = true)]
async fn no_number_of_addresses_fills_the_memory() {
    let failures = Failures::default();
    for number in 0..u32::try_from(2 * MOST).unwrap() {
        drop(failures.wait(Some(std::net::Ipv4Addr::from(number).into()), None));
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(lock(&failures.counts).len(), MOST);
}

#[test]
fn a_flood_of_refusals_is_a_few_entries() {
    let failures = Failures::default();
    let from = |last: u32| Refusal {
        operation: "auth.failed",
        status: 401,
        peer: Some(std::net::Ipv4Addr::from(last).into()),
        actor: None,
        key: Some(key("k1")),
    };
    for _ in 0..100 {
        for last in 0..20 {
            failures.report(&from(last));
        }
    }
    let entries = failures.take_refusals();
    assert_eq!(entries.len(), WRITTEN + 1);
    assert_eq!(entries.iter().map(|entry| entry.times).sum::<u32>(), 2000);
    assert_eq!((entries[0].times, &entries[0].key), (100, &Some(key("k1"))));
    assert_eq!((entries[WRITTEN].peer, entries[WRITTEN].times), (None, 1200));
    assert_eq!(failures.take_refusals(), []);
}
