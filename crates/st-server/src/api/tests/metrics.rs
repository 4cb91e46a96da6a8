//! What Prometheus and the original's command line read.

#![expect(clippy::float_cmp, reason = "whole numbers are exact")]

use std::collections::BTreeSet;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use st_store::{Error, SettingsRepo, UserId};
use st_testkit::receiver::{Receiver, Reply};
use tokio::sync::Semaphore;

use super::*;
use crate::metrics::tests::exposition::{Exposition, Labels};
use crate::metrics::{GROUPS, KEEP_FOR};

impl Harness {
    async fn metrics(&self, accept: &str, path: &str) -> (String, String) {
        let request = self.client.get(format!("{}{path}", self.url)).header(ACCEPT, accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (kind, response.text().await.unwrap())
    }

    pub(super) async fn scrape(&self) -> Exposition {
        Exposition::read(&self.metrics("*/*", "/metrics").await.1)
    }

    /// The same after what was read last is too old to be shown.
    async fn scrape_later(&self) -> Exposition {
        tokio::time::pause();
        tokio::time::advance(KEEP_FOR).await;
        tokio::time::resume();
        self.scrape().await
    }
}

#[tokio::test]
async fn a_scrape_after_real_jobs_shows_what_happened() {
    let api = Harness::serving().await;
    for _ in 0..2 {
        let id = api.submit("alpha").await;
        api.until(&format!("/api/cloud/jobs/{id}"), |it| it["job"]["status"] == "queued").await;
    }
    let (status, _) = api.get("/api/cloud/jobs/nothing").await;
    assert_eq!(status, 404);
    let read = api.scrape().await;
    let alpha = ("provider", "alpha");
    assert_eq!(read.value("st_jobs", [alpha, ("status", "queued")]), 2.0);
    assert_eq!(read.value("st_queue_entries", [("status", "running")]), 2.0);
    assert_eq!(read.value("st_queue_wait_seconds_count", []), 2.0);
    assert_eq!(read.value("st_dispatch_seconds_count", []), 2.0);
    let submits = [alpha, ("operation", "submit"), ("outcome", "ok")];
    assert_eq!(read.value("st_provider_call_duration_seconds_count", submits), 2.0);
    for provider in ["alpha", "beta"] {
        assert_eq!(read.value("st_stray_jobs", [("provider", provider)]), 0.0);
    }
    assert_eq!(read.value("st_provider_gate_open", [alpha]), 1.0);
    let requests = |operation, method, status| {
        [("operation", operation), ("method", method), ("status", status)]
    };
    let count = "st_http_request_duration_seconds_count";
    assert_eq!(read.value(count, requests("submit_job", "POST", "2xx")), 2.0);
    assert_eq!(read.value(count, requests("get_job", "GET", "4xx")), 1.0);
    assert_eq!(read.value("st_http_requests_in_flight", [("lane", "vital")]), 1.0);
    let runs = [("task", "queue_processing"), ("outcome", "done")];
    assert!(read.value("st_task_runs_total", runs) > 0.0);
    assert_eq!(read.value("simpletuner_jobs_active", []), 2.0);
    assert_eq!(read.value("simpletuner_jobs_by_status", [("status", "queued")]), 2.0);
    assert_eq!(read.value("simpletuner_cost_usd_total", []), 0.0);
    let submit = [("endpoint", "POST_/api/cloud/jobs/submit")];
    assert_eq!(read.value("simpletuner_http_requests_total", submit), 2.0);
    assert_eq!(read.value("simpletuner_circuit_breaker_state", [("breaker", "alpha")]), 0.0);

    api.alpha.set_all(JobStatus::Completed);
    let (status, _) =
        api.post("/api/background/tasks/job_status_polling/activate", json!({})).await;
    assert_eq!(status, 200);
    api.until("/api/cloud/jobs?status=completed", |it| it["total"] == 2).await;
    let read = api.scrape_later().await;
    assert_eq!(read.value("st_jobs", [alpha, ("status", "completed")]), 2.0);
    assert_eq!(read.value("st_provider_polled_jobs_total", [alpha, ("outcome", "ok")]), 2.0);
    assert_eq!(read.value("simpletuner_jobs_by_status", [("status", "completed")]), 2.0);
    assert_eq!(read.value("simpletuner_jobs_active", []), 0.0);
    assert_eq!(read.value("simpletuner_jobs_total", []), 2.0);
}

#[tokio::test]
async fn what_people_make_a_provider_be_asked_is_counted_too() {
    let api = Harness::serving().await;
    let id = api.submit("alpha").await;
    api.until(&format!("/api/cloud/jobs/{id}"), |it| it["job"]["status"] == "queued").await;
    api.get(&format!("/api/cloud/jobs/{id}/logs")).await;
    assert_eq!(api.get("/api/cloud/providers/alpha/validate").await.0, 200);
    let read = api.scrape().await;
    for operation in ["logs", "credential_test"] {
        let labels = [("provider", "alpha"), ("operation", operation), ("outcome", "ok")];
        assert_eq!(read.value("st_provider_call_duration_seconds_count", labels), 1.0);
    }
}

#[tokio::test]
async fn an_event_that_a_webhook_was_not_delivered_is_shown_with_its_age() {
    let api = Harness::start().await;
    let receiver = Receiver::start().await;
    let new = json!({"name": "a", "url": receiver.url(), "events": ["job.pending"]});
    assert_eq!(api.post("/api/webhooks", new).await.0, 200);
    receiver.plan([Reply::Status(500)]);
    api.submit("alpha").await;
    let retrying = [("outcome", "retrying")];
    while api.scrape().await.value("st_webhook_events_total", retrying) < 1.0 {}
    let read = api.scrape().await;
    assert!(read.value("st_webhook_oldest_undelivered_seconds", [("webhook", "1")]) > 0.0);
    assert_eq!(read.value("st_webhook_events_total", [("outcome", "delivered")]), 0.0);
}

#[tokio::test]
async fn jobs_wait_for_what_explain_says_they_wait_for() {
    let api = Harness::serving().await;
    let store = api.store.inner();
    store.pause(st_store::Scope::All, None, &Actor::Operator).await.unwrap();
    api.submit("alpha").await;
    api.submit_to_absent("gone").await;
    let read = api.scrape().await;
    let waiting = |reason| read.value("st_queue_waiting_jobs", [("reason", reason)]);
    assert_eq!((waiting("hold"), waiting("provider"), waiting("next")), (1.0, 1.0, 0.0));
    assert!(read.value("st_queue_oldest_waiting_seconds", []) >= 0.0);
}

/// The series, without how many there are of what, and without classes that time decides about.
fn shape(read: &Exposition) -> BTreeSet<(String, Labels)> {
    read.series.keys().cloned().collect()
}

#[tokio::test]
async fn neither_jobs_nor_users_nor_unknown_paths_add_a_series() {
    let api = Harness::start().await;
    api.submit("alpha").await;
    for path in ["/nothing", "/api/cloud/jobs/nothing"] {
        assert_eq!(api.get(path).await.0, 404);
    }
    api.scrape().await;
    let before = shape(&api.scrape_later().await);
    for number in 0..1000 {
        let store = api.store.inner();
        let id =
            JobId::new(store.now(), fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap());
        let place = (JobType::Cloud, ProviderName::new("alpha"));
        let owner = Owner { user: UserId::new(format!("user-{number}")), ..Owner::user("x") };
        let new = NewJob::new(id, place, owner, Role::Researcher, CorrelationId::generate());
        store.submit(new).await.unwrap();
    }
    for number in 0..300 {
        for path in ["/nothing", "/api/cloud/jobs/nothing", "/api/nothing/at"] {
            assert_eq!(api.get(&format!("{path}-{number}")).await.0, 404);
        }
    }
    let after = api.scrape_later().await;
    let jobs = [("provider", "alpha"), ("status", "pending")];
    assert_eq!(after.value("st_jobs", jobs), 1001.0);
    let added: Vec<_> = shape(&after).difference(&before).cloned().collect();
    assert_eq!(added, []);
}

#[tokio::test]
async fn a_storm_of_scrapes_reads_the_store_once() {
    let api = Harness::start().await;
    let before = api.store.figure_reads();
    for _ in 0..50 {
        api.scrape().await;
    }
    assert_eq!(api.store.figure_reads() - before, 1);
    api.scrape_later().await;
    assert_eq!(api.store.figure_reads() - before, 2);
}

#[tokio::test]
async fn while_the_store_cannot_be_read_the_rest_is_shown() {
    let api = Harness::start().await;
    api.store.faults().figures = Some(|| Error::Busy);
    let read = api.scrape().await;
    assert_eq!(read.value("st_store_readable", []), 0.0);
    assert!(!read.has("st_jobs") && !read.has("simpletuner_jobs_total"));
    assert!(read.has("st_task_lag_seconds") && read.has("st_http_connections"));
    api.store.faults().figures = None;
    let read = api.scrape_later().await;
    assert_eq!(read.value("st_store_readable", []), 1.0);
    assert!(read.has("simpletuner_jobs_total"));
}

#[tokio::test]
async fn what_was_read_last_is_shown_until_the_store_can_be_read_again() {
    let api = Harness::start().await;
    api.submit("alpha").await;
    api.scrape().await;
    api.store.faults().figures = Some(|| Error::Busy);
    let jobs = [("provider", "alpha"), ("status", "pending")];
    for _ in 0..2 {
        let read = api.scrape_later().await;
        assert_eq!(read.value("st_store_readable", []), 0.0);
        assert_eq!(read.value("st_jobs", jobs), 1.0);
    }
    let read = api.scrape().await;
    assert!(read.value("st_store_read_age_seconds", []) >= 2.0 * KEEP_FOR.as_secs_f64());
    assert!(read.value("st_queue_oldest_waiting_seconds", []) >= 2.0 * KEEP_FOR.as_secs_f64());
    let database = [("component", "database")];
    assert_eq!(read.value("simpletuner_health_component_status", database), 2.0);
}

#[tokio::test]
async fn a_reading_goes_on_when_its_client_does_not_wait() {
    let api = Harness::start().await;
    let wait = Arc::new(Semaphore::new(0));
    api.store.faults().figures_wait = Some(Arc::clone(&wait));
    let (before, request) =
        (api.store.figure_reads(), api.client.get(format!("{}/metrics", api.url)));
    let client = st_log::spawn(request.send());
    while api.store.figure_reads() == before {
        tokio::task::yield_now().await;
    }
    client.abort();
    client.await.expect_err("the client was stopped");
    wait.add_permits(1);
    let read = api.scrape().await;
    assert_eq!(read.value("st_store_readable", []), 1.0);
    assert_eq!(api.store.figure_reads() - before, 1, "nothing was read again");
}

#[tokio::test]
async fn each_path_answers_in_the_form_that_its_client_accepts() {
    let api = Harness::start().await;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for path in ["/metrics", "/api/cloud/metrics/prometheus", "/api/metrics/prometheus"] {
        assert_eq!(api.metrics("text/plain", path).await.0, text, "{path}");
        let (kind, body) = api.metrics("application/openmetrics-text;version=1.0.0", path).await;
        assert_eq!((kind.as_str(), body.ends_with("# EOF\n")), (open, true), "{path}");
    }
    assert_eq!(api.metrics("application/json", "/metrics").await.0, text);
    let (kind, body) = api.metrics("application/json", "/api/metrics/prometheus").await;
    assert_eq!(kind, "application/json");
    let within: Value = serde_json::from_str(&body).unwrap();
    assert!(Exposition::read(within["metrics"].as_str().unwrap()).has("st_build_info"));
}

#[tokio::test]
async fn the_families_that_are_listed_are_those_that_are_shown() {
    let api = Harness::start().await;
    let read = api.scrape().await;
    let (_, info) = api.get("/api/metrics/prometheus/info").await;
    let first = info["metric_families"][0].as_str().unwrap();
    assert!(first.starts_with("simpletuner_"), "the original's command line lists the first ones");
    assert_eq!((&info["enabled"], &info["endpoint"]), (&json!(true), &json!("/metrics")));
    let listed: BTreeSet<&str> =
        info["metric_families"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let shown: BTreeSet<&str> = read.types.keys().map(String::as_str).collect();
    assert_eq!(listed, shown);
    let families = GROUPS.iter().flat_map(|group| group.families);
    for family in families {
        let of_family = |name: &str| {
            let stem = name.strip_prefix(family.name);
            stem.is_some_and(|stem| matches!(stem, "" | "_bucket" | "_sum" | "_count"))
        };
        for (_, labels) in read.series.keys().filter(|(name, _)| of_family(name)) {
            let names: Vec<_> = labels.keys().filter(|name| *name != "le").collect();
            let mut expected = family.labels.to_vec();
            expected.sort_unstable();
            assert_eq!(names, expected, "{}", family.name);
        }
    }
    let (_, status) = api.get("/api/metrics/status").await;
    assert_eq!(status["prometheus_endpoint"], "/metrics");
    assert!(status["collectors"].as_array().unwrap().contains(&json!("providers")));
}
