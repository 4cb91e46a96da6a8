//! Identifiers: each is read back from its text and from its number, also at the ends of its range.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[test]
fn job_ids_sort_by_creation_time_and_survive_text() {
    let early = JobId::new(Timestamp::from_millisecond(1_000).unwrap(), [0xff; 10]);
    let late = JobId::new(Timestamp::from_millisecond(1_001).unwrap(), [0; 10]);
    assert!(early < late);
    assert!(early.to_string() < late.to_string());
    assert_eq!(late.to_string().parse::<JobId>().unwrap(), late);
}

#[test]
fn ids_pad_like_text() {
    assert_eq!(format!("[{:>6}]", UserId::new("ann")), "[   ann]");
    assert_eq!(format!("[{:>4}]", EventId(7)), "[   7]");
    assert_eq!(format!("[{:<5}]", AttemptToken::NONE.next(Epoch::FIRST)), "[1.1  ]");
}

#[test]
fn tokens_rise_and_never_repeat_across_epochs() {
    let first = AttemptToken::NONE.next(Epoch::FIRST);
    let second = first.next(Epoch::FIRST);
    assert!(AttemptToken::NONE < first && first < second);
    assert_eq!(second.to_string(), "1.2");
    let restored = first.next(Epoch(2));
    assert!(restored > second && restored != second);
    assert_eq!(restored.next(Epoch(1)), AttemptToken((2 << 32) | 3), "an epoch never falls");
    assert_eq!(AttemptToken::from_number(second.to_number()), second);
}

#[test]
fn markers_survive_text_and_nothing_else_is_one() {
    let job = JobId::new(Timestamp::from_millisecond(1_000).unwrap(), [7; 10]);
    let marker = Marker { job, attempt: 12 };
    assert_eq!(marker.to_string().parse(), Ok(marker));
    let bad = [
        String::new(),
        ".".to_owned(),
        ".1".to_owned(),
        "x.1".to_owned(),
        job.to_string(),
        format!("{job}."),
        format!("{job}.0"),
        format!("{job}.+1"),
        format!("{job}.-1"),
        format!("{job}.1.1"),
        format!("{job}.1 "),
        format!(" {job}.1"),
        format!("{job}.4294967296"),
        format!("{job}.١"),
        format!("{job}x.1"),
        format!("x{job}.1"),
    ];
    for bad in bad {
        assert_eq!(bad.parse::<Marker>(), Err(InvalidMarker), "{bad}");
    }
    assert_eq!(InvalidMarker.to_string(), "not a marker, expected <job id>.<attempt>");
}

#[test]
fn a_job_id_can_be_made_at_any_time() {
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        for random in [[0; 10], [0xff; 10]] {
            let id = JobId::new(now, random);
            assert_eq!(id.as_uuid().get_version_num(), 7, "{now}");
            assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        }
    }
    let before = JobId::new(Timestamp::MIN, [5; 10]);
    assert_eq!(before, JobId::new(Timestamp::UNIX_EPOCH, [5; 10]), "there is no time before");
}

#[test]
fn holders_of_different_bytes_differ_and_survive_text() {
    let holders = [[0; 16], [1; 16], [0xff; 16]].map(Holder::new);
    assert!(holders[0] != holders[1] && holders[1] != holders[2]);
    for holder in holders {
        assert_eq!(holder.to_string().parse::<Holder>().unwrap(), holder);
    }
}

#[test]
fn numbers_survive_text_and_nothing_else_is_one() {
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert_eq!(EventId(number).to_string().parse(), Ok(EventId(number)));
        assert_eq!(RuleId(number).to_string().parse(), Ok(RuleId(number)));
        assert_eq!(ApprovalId(number).to_string().parse(), Ok(ApprovalId(number)));
        assert_eq!(QueueEntryId(number).to_string().parse(), Ok(QueueEntryId(number)));
        assert_eq!(AttemptToken::from_number(number).to_number(), number);
    }
    for bad in ["", " 1", "1.0", "0x1", "9223372036854775808"] {
        assert!(bad.parse::<EventId>().is_err(), "{bad}");
    }
}

#[test]
fn an_epoch_rises_to_the_last_and_stays_there() {
    assert_eq!((Epoch::FIRST.next(), Epoch(7).next().to_string()), (Epoch(2), "8".to_owned()));
    assert_eq!(Epoch(u32::MAX).next(), Epoch(u32::MAX));
}

#[test]
fn a_token_of_the_last_epochs_is_still_the_greatest() {
    let before = AttemptToken::NONE.next(Epoch(1)).next(Epoch(0x7fff_fffe));
    for epoch in [0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let token = before.next(Epoch(epoch));
        assert!(token > before, "{token} in epoch {epoch}");
        assert!(token.next(Epoch(epoch)) > token, "{token} in epoch {epoch}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    })]

    #[test]
    fn job_ids_and_markers_of_any_time_and_bytes_survive_text(
        millis in 0..=Timestamp::MAX.as_millisecond(),
        later in 0..1000_i64,
        random in any::<[u8; 10]>(),
        other in any::<[u8; 10]>(),
        attempt in 1..=u32::MAX,
    ) {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        let job = JobId::new(at(millis), random);
        prop_assert_eq!(job.to_string().parse::<JobId>().unwrap(), job);
        let marker = Marker { job, attempt };
        prop_assert_eq!(marker.to_string().parse::<Marker>(), Ok(marker));
        let after = JobId::new(at(millis + later), other);
        if at(millis + later) > at(millis) {
            prop_assert!(after > job && after.to_string() > job.to_string());
        }
    }

    #[test]
    fn a_token_rises_with_every_claim_in_whatever_epoch(epochs in prop::collection::vec(1..9_u32, 1..40)) {
        let mut token = AttemptToken::NONE;
        for epoch in epochs {
            let next = token.next(Epoch(epoch));
            prop_assert!(next > token, "{next} after {token}");
            prop_assert_eq!(AttemptToken::from_number(next.to_number()), next);
            token = next;
        }
    }

    #[test]
    fn any_text_that_is_read_as_a_marker_names_the_job_and_the_attempt(text in ".{0,60}") {
        if let Ok(marker) = text.parse::<Marker>() {
            let again = marker.to_string().parse::<Marker>();
            prop_assert_eq!(again, Ok(marker));
        }
    }
}
