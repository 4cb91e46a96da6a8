//! What a prediction means, however odd it is.

use st_store::JobStatus;

use super::*;

const OURS: &str = "019c0000-0000-7000-8000-000000000000.3";

fn status(json: &str) -> ProviderStatus {
    Row::read(json).unwrap().to_status(&Prices::default(), None).unwrap()
}

/// What a row is to us, in one line.
fn sorted(json: &str) -> String {
    match Row::read(json).map_or(Sorted::Unreadable, |row| row.sorted(&Prices::default(), None)) {
        Sorted::Unreadable => "unreadable".to_owned(),
        Sorted::Foreign => "foreign".to_owned(),
        Sorted::Candidate(job) => {
            let ListedJob { status, trace, .. } = *job;
            let word = status.status.map_or("unknown", JobStatus::as_str);
            match trace {
                Trace::Deleted => format!("deleted {word}"),
                Trace::Marker { marker, by_hand } => {
                    format!("{marker} {word}{}", if by_hand { " by hand" } else { "" })
                }
            }
        }
    }
}

#[test]
fn an_early_reply_with_most_fields_missing_is_read() {
    let early = status(r#"{"id": "a1", "status": "starting", "webhook_completed": null}"#);
    assert_eq!(early, ProviderStatus::new(ProviderJobId::new("a1"), JobStatus::Queued));
    assert_eq!(Row::read(r#"{"id": "a1"}"#).unwrap().created_at(), None);
}

#[test]
fn a_real_reply_is_read_whatever_its_precision() {
    let json = r#"{"id": "a1", "status": "succeeded", "version": "hidden", "logs": null,
        "model": "simpletuner/advanced-trainer-h100", "created_at": "2023-10-05T12:23:08.36078514Z", "error": null,
        "started_at": "2023-10-05T12:23:15.329Z", "completed_at": "not a time",
        "metrics": {"predict_time": 3e-06, "total_time": 1.5},
        "output": ["https://replicate.delivery/x.tar", "y"], "data_removed": false}"#;
    let done = status(json);
    assert!(Row::read(json).unwrap().created_at().is_some() && done.started_at.is_some());
    assert_eq!((done.completed_at, done.error_message), (None, None));
    assert_eq!(done.output_url.as_deref(), Some("https://replicate.delivery/x.tar"));
    assert!((done.cost_usd.unwrap() - 3e-06 * 0.001_525).abs() < 1e-15);
}

#[test]
fn what_a_cancellation_answers_is_read() {
    let json = r#"{"completed_at": "2023-08-16T19:33:27.215203Z", "error": null, "id": "xxi2",
        "created_at": "2023-08-16T19:33:27.135361Z", "input": {"a": true}, "logs": null,
        "metrics": {"predict_time": 3e-06}, "output": null, "status": "canceled",
        "started_at": "2023-08-16T19:33:27.215200Z", "webhook_completed": null,
        "urls": {"get": "https://api.replicate.com/v1/predictions/xxi2"}}"#;
    let over = status(json);
    assert_eq!(over.status, Some(JobStatus::Cancelled));
    assert!(over.started_at < over.completed_at);
}

#[test]
fn a_field_of_an_odd_type_is_missing_and_spoils_nothing_else() {
    let json = r#"{"id": "a1", "status": "succeeded", "model": 7, "logs": ["x"], "input": "none",
        "metrics": {"predict_time": 1e400}, "data_removed": "yes", "created_at": 12,
        "error": {"a":1}, "output": [null, {"a": 1e400}, "https://replicate.delivery/x.tar"]}"#;
    let (odd, row) = (status(json), Row::read(json).unwrap());
    assert_eq!((odd.status, odd.cost_usd), (Some(JobStatus::Completed), None));
    assert_eq!(odd.error_message.as_deref(), Some("{\"a\":1}"));
    assert_eq!(odd.output_url.as_deref(), Some("https://replicate.delivery/x.tar"));
    assert_eq!((row.created_at(), row.is_deleted()), (None, false));
}

#[test]
fn an_error_that_is_cut_inside_a_character_is_still_an_error() {
    let json = r#"{"id": "a1", "status": "failed", "error": "\udc00!"}"#;
    assert!(status(json).error_message.unwrap().ends_with('!'));
}

#[test]
fn only_an_address_is_shown_as_one() {
    let data = format!("\"data:image/png;base64,{}\"", "A".repeat(5000));
    let long = format!("\"https://x/{}\"", "A".repeat(5000));
    for output in [&*data, &*long, "\"Yes, \"", "[\"Yes\"]", "7", "{}", "[]", "[[\"https://x/\"]]"]
    {
        let json = format!(r#"{{"id": "a", "status": "failed", "output": {output}}}"#);
        assert_eq!(status(&json).output_url, None, "{output}");
    }
    let weights =
        r#"{"id": "a", "status": "x", "output": {"weights": "https://x/w", "version": 1}}"#;
    assert_eq!(status(weights).output_url.as_deref(), Some("https://x/w"));
}

#[test]
fn only_what_it_gave_up_before_its_time_was_ended_by_the_provider_itself() {
    let past = r#""deadline": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z""#;
    for (word, more, ending) in [
        ("aborted", past, Some(ProviderEnding::Aborted)),
        ("canceled", past, None),
        ("canceled", r#""a": 1"#, None),
        ("failed", r#""a": 1"#, None),
    ] {
        let status = status(&format!(r#"{{"id": "a", "status": "{word}", {more}}}"#));
        assert_eq!(status.ending, ending, "{word}, {more}");
    }
}

#[test]
fn an_id_that_could_leave_its_place_is_none() {
    assert!(is_safe_id("abc-12_X"));
    let long = "a".repeat(100_000);
    for bad in ["", "../x", "a/b", "a?b", "ä", "a.b", "dp:abc", "a b", &long] {
        assert!(!is_safe_id(bad), "{bad}");
        let json = serde_json::json!({"id": bad, "status": "starting"}).to_string();
        assert_eq!(Row::read(&json).unwrap().to_status(&Prices::default(), None), None, "{bad}");
    }
    let escaped = r#"{"id": "\u0061\u0062", "status": "starting"}"#;
    assert_eq!(Row::read(escaped).unwrap().id().as_deref(), Some("ab"));
}

#[test]
fn a_row_is_sorted_by_its_marker_and_nothing_odd_beside_it_hides_that() {
    let ours = format!(r#""input": {{"config_json": "{{}}", "st_marker": "{OURS}"}}"#);
    let table = [
        (format!(r#"{{"id": "a", "status": "starting", {ours}}}"#), format!("{OURS} queued")),
        (
            format!(r#"{{"id": "a", "status": "starting", "source": "web", {ours}}}"#),
            format!("{OURS} queued by hand"),
        ),
        (
            format!(r#"{{"id": "a", "status": "resting", "source": "api", {ours}}}"#),
            format!("{OURS} unknown"),
        ),
        (format!(r#"{{"id": "a", "status": null, {ours}}}"#), format!("{OURS} unknown")),
        (format!(r#"{{"id": "a", {ours}, "output": 1e400}}"#), format!("{OURS} unknown")),
        (
            format!(r#"{{"id": "a", "status": "failed", "data_removed": true, {ours}}}"#),
            format!("{OURS} failed"),
        ),
        (format!(r#"{{"id": "a.b", "status": "starting", {ours}}}"#), "unreadable".to_owned()),
    ];
    for (json, expected) in table {
        assert_eq!(sorted(&json), expected, "{json}");
    }
}

#[test]
fn a_row_of_a_stranger_is_foreign_deleted_or_unreadable() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let long = "a".repeat(100_000);
    let table = [
        (r#"{"id": "a", "status": "starting"}"#.to_owned(), "foreign"),
        (r#"{"id": "a", "status": "x", "input": {"st_marker": "not ours"}}"#.to_owned(), "foreign"),
        (r#"{"id": "a", "status": "x", "input": {"st_marker": "\ud800"}}"#.to_owned(), "foreign"),
        (r#"{"id": "a", "status": "x", "input": {"\ud800": 1e400}}"#.to_owned(), "foreign"),
        (format!(r#"{{"id": "a", "status": "x", "input": {deep}, "logs": {deep}}}"#), "foreign"),
        (r#"{"id": "a", "status": "failed", "data_removed": true}"#.to_owned(), "deleted failed"),
        (
            r#"{"id": "a", "status": 7, "data_removed": true, "input": {}}"#.to_owned(),
            "deleted unknown",
        ),
        (r#"{"id": "a", "status": null}"#.to_owned(), "unreadable"),
        (r#"{"id": "a", "status": 7}"#.to_owned(), "unreadable"),
        (r#"{"id": "a", "status": "\ud800"}"#.to_owned(), "unreadable"),
        (r#"{"id": "a"}"#.to_owned(), "unreadable"),
        (r#"{"id": 7, "status": "x"}"#.to_owned(), "unreadable"),
        (r#"{"id": "", "status": "x"}"#.to_owned(), "unreadable"),
        (r#"{"id": "dp:a.b", "status": "x"}"#.to_owned(), "unreadable"),
        (format!(r#"{{"id": "{long}", "status": "x"}}"#), "unreadable"),
        (r#"{"status": "x", "data_removed": true}"#.to_owned(), "unreadable"),
        ("null".to_owned(), "unreadable"),
        ("[]".to_owned(), "unreadable"),
        ("1e400".to_owned(), "unreadable"),
    ];
    for (json, expected) in table {
        assert_eq!(sorted(&json), expected, "{}", json.chars().take(100).collect::<String>());
    }
}

#[test]
fn results_are_kept_for_an_hour_from_the_end_by_the_providers_own_times() {
    let now: Timestamp = "2026-11-25T22:00:00Z".parse().unwrap();
    let kept = |fields: &str, now| {
        let json = format!(r#"{{"id": "a1", {fields}}}"#);
        let status = Row::read(&json).unwrap().to_status(&Prices::default(), now).unwrap();
        status.results_kept_for.map(|kept| kept.as_secs())
    };
    let ended = |at: &str| format!(r#""status": "failed", "completed_at": "2026-11-25T{at}Z""#);
    for (fields, seconds) in [
        (ended("21:59:30.5"), Some(3570)),
        (ended("21:00:00"), Some(0)),
        (ended("12:00:00"), Some(0)),
        // Two clocks of the provider's: not more than there is.
        (ended("22:00:07"), Some(3600)),
        (r#""status": "canceled""#.to_owned(), Some(3600)),
        (r#""status": "succeeded", "data_removed": true"#.to_owned(), Some(0)),
        (r#""status": "processing", "completed_at": "2026-11-25T21:00:00Z""#.to_owned(), None),
        (r#""status": "new word""#.to_owned(), None),
    ] {
        assert_eq!(kept(&fields, Some(now)), seconds, "{fields}");
    }
    assert_eq!(kept(&ended("12:00:00"), None), Some(3600), "no time of the provider is known");
}
