//! Idempotency keys: how long one is remembered, and what an unconfirmed clock may not forget.

use super::*;

const DAY: i64 = 24 * 3600 * 1000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000 + millis).unwrap()
}

fn job() -> JobId {
    JobId::new(at(0), [1; 10])
}

fn key(digest: &str) -> Idempotency {
    Idempotency { key: "k".into(), digest: digest.into() }
}

#[test]
fn a_key_repeats_until_it_expires_by_a_confirmed_clock() {
    let job = job();
    let stored = StoredKey::new(&key("a"), job, at(0));
    let (same, other, new) = (KeyVerdict::Repeated(job), KeyVerdict::Mismatch, KeyVerdict::New);
    let table = [
        ("a", 0, true, same),
        ("b", 0, true, other),
        ("a", DAY - 1, true, same),
        ("b", DAY - 1, true, other),
        ("a", DAY, true, new),
        ("b", DAY, true, new),
        ("a", DAY, false, same),
        ("b", DAY, false, other),
        ("a", 400 * DAY, false, same),
        ("b", 400 * DAY, false, other),
        ("a", -400 * DAY, true, same),
        ("b", -400 * DAY, true, other),
        ("a", -400 * DAY, false, same),
        ("A", 0, true, other),
        ("", 0, true, other),
    ];
    for (digest, millis, confirmed, expected) in table {
        let verdict = key(digest).verdict(Some(&stored), at(millis), confirmed);
        assert_eq!(verdict, expected, "{digest:?} after {millis} ms, confirmed {confirmed}");
    }
}

#[test]
fn a_key_that_is_not_stored_makes_a_job_whatever_the_clock_shows() {
    for now in [Timestamp::MIN, at(0), Timestamp::MAX] {
        for confirmed in [false, true] {
            assert_eq!(key("a").verdict(None, now, confirmed), KeyVerdict::New);
        }
    }
}

#[test]
fn what_is_stored_of_a_key_is_its_digest_its_job_and_a_day() {
    let expected = StoredKey { digest: "d".to_owned(), job: job(), expires_at: at(DAY + 7) };
    assert_eq!(StoredKey::new(&key("d"), job(), at(7)), expected);
    let last = StoredKey::new(&key("d"), job(), Timestamp::MAX).expires_at;
    assert_eq!(last.as_second(), Timestamp::MAX.as_second(), "the last that there is");
    let first = StoredKey::new(&key("d"), job(), Timestamp::MIN).expires_at;
    assert_eq!(first.as_millisecond(), Timestamp::MIN.as_millisecond() + DAY);
}

#[test]
fn a_key_at_the_end_of_time_is_remembered_before_it_and_forgotten_at_it() {
    let stored = StoredKey::new(&key("a"), job(), Timestamp::MAX);
    let verdict = |now, confirmed| key("a").verdict(Some(&stored), now, confirmed);
    assert_eq!(verdict(at(0), true), KeyVerdict::Repeated(job()));
    assert_eq!(verdict(Timestamp::MAX, false), KeyVerdict::Repeated(job()));
    assert_eq!(verdict(Timestamp::MAX, true), KeyVerdict::New);
}
