//! Jobs by the beginning of an identifier.

use st_store::{JobId, JobPrefix, JobStatus, Outcome, ProviderJobId, ProviderStatus};

use super::{Harness, at, id, job};

/// The jobs that are found, each with the identifier that begins so.
async fn found(harness: &Harness, prefix: &str, max: u32) -> Vec<(String, JobId)> {
    let prefix = JobPrefix::new(prefix).unwrap();
    let found = harness.store.jobs_with_prefix(&prefix, max).await.unwrap();
    found.into_iter().map(|it| (it.identifier, it.job)).collect()
}

/// So many characters of an identifier.
fn start(identifier: &str, count: usize) -> String {
    identifier.chars().take(count).collect()
}

/// A job of another time, whose identifier begins in another way.
async fn submit_later(harness: &Harness, number: u8) -> JobId {
    let later = JobId::new(at(365 * 24 * 3600), [number; 10]);
    let mut new = job(number, "ann");
    new.id = later;
    harness.submit(new).await.id()
}

/// A job that its provider has under this identifier.
async fn at_provider_as(harness: &Harness, number: u8, name: &str) {
    let claimed = harness.claimed(number).await;
    let status = ProviderStatus::new(ProviderJobId::new(name), JobStatus::Queued);
    harness.settle(&claimed, Outcome::Submitted(status)).await.unwrap();
}

pub async fn a_job_is_found_by_the_beginning_of_its_identifier(harness: &Harness) {
    for number in [1, 2] {
        harness.submit(job(number, "ann")).await;
    }
    let later = submit_later(harness, 3).await;
    let text = id(1).to_string();
    // The time of the two is the same, and one digit after it differs.
    assert_eq!(found(harness, &start(&text, 13), 9).await.len(), 2);
    for end in [18, 30, 36] {
        assert_eq!(found(harness, &start(&text, end), 9).await, [(text.clone(), id(1))]);
        let upper = start(&text, end).to_uppercase();
        assert_eq!(found(harness, &upper, 9).await, [(text.clone(), id(1))], "in either case");
    }
    assert_eq!(
        found(harness, &start(&later.to_string(), 8), 9).await,
        [(later.to_string(), later)]
    );
    assert_eq!(found(harness, &format!("{text}0"), 9).await, []);
    for none in ["ffffff", "zzzzzz", "%%%%%%", "______", "\u{10ffff}zzzzz"] {
        assert_eq!(found(harness, none, 9).await, [], "{none}");
    }
    for (bad, why) in [("01234", "too short"), ("äöüäö", "five characters")] {
        assert_eq!(JobPrefix::new(bad), None, "{why}");
    }
    assert_eq!(JobPrefix::new(&"a".repeat(201)), None, "too long");
}

pub async fn a_job_is_found_by_the_beginning_of_its_providers_identifier(harness: &Harness) {
    at_provider_as(harness, 1, "rmnv2h-one").await;
    at_provider_as(harness, 2, "rmnv2h-two").await;
    at_provider_as(harness, 3, "RMNV2H-three").await;
    assert_eq!(found(harness, "rmnv2h-o", 9).await, [("rmnv2h-one".to_owned(), id(1))]);
    assert_eq!(found(harness, "rmnv2h-one", 9).await, [("rmnv2h-one".to_owned(), id(1))]);
    assert_eq!(found(harness, "rmnv2h", 9).await.len(), 2);
    assert_eq!(found(harness, "RMNV2H", 9).await, [("RMNV2H-three".to_owned(), id(3))]);
    // A provider's identifier may be formed like ours, also like that of the very job.
    let own = id(4).to_string();
    at_provider_as(harness, 4, &own).await;
    assert_eq!(found(harness, &start(&own, 20), 9).await, [(own.clone(), id(4))], "each job once");
}

pub async fn matches_are_ordered_and_bounded(harness: &Harness) {
    for number in [5, 3, 9, 1, 7] {
        harness.submit(job(number, "ann")).await;
    }
    let text = id(1).to_string();
    let ids = |found: Vec<(String, JobId)>| found.into_iter().map(|(_, job)| job);
    let all: Vec<JobId> = ids(found(harness, &start(&text, 8), 9).await).collect();
    assert_eq!(all, [1, 3, 5, 7, 9].map(id));
    let first: Vec<JobId> = ids(found(harness, &start(&text, 8), 2).await).collect();
    assert_eq!(first, [1, 3].map(id));
}
