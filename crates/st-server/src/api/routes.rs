//! Which handler serves which operation.

use std::sync::LazyLock;

use serde_json::Value;
use st_api::accounts as login;
use st_api::webhooks as hook;
use st_api::{approvals as approval, configs as config, events as event, jobs as job};
use st_api::{local as on_this_machine, metrics as metric, providers as provider};
use st_api::{polling as poll, queue as entry, quotas as quota, received as webhook, system};

use super::{
    account, approvals, audit, background, configs, events, health, jobs, keys, local, logging,
    metrics, polling, prometheus, providers, queue, quotas, received, webhooks,
};
use crate::http::problem::Problem;
use crate::http::route::{Call, Routes};

/// All operations, in the order of the reference.
pub(crate) fn routes() -> Routes {
    let routes = jobs_and_queue(Routes::default());
    let routes = approvals_and_quotas(routes);
    operation(webhooks_out(routes))
}

fn jobs_and_queue(routes: Routes) -> Routes {
    routes
        .on(&job::SUBMIT, jobs::submit::submit)
        .on(&job::CHECK, jobs::check)
        .on(&job::ESTIMATE, jobs::estimate_cost)
        .on(&job::LIST, jobs::list)
        .on(&job::SHOW, jobs::show)
        .on(&job::CANCEL, jobs::cancel)
        .on(&job::RESOLVE, jobs::resolve)
        .on(&job::EXPLAIN, jobs::explain)
        .on(&job::HISTORY, jobs::history)
        .on(&job::LOGS, jobs::logs)
        .on(&job::PROGRESS, jobs::progress)
        .on(&job::RETRY, jobs::retry)
        .on(&job::DELETE, jobs::delete)
        .on(&job::SYNC, jobs::sync)
        .raw(&job::FOLLOW_LOGS, jobs::follow_logs)
        .on(&entry::LIST, queue::list)
        .on(&entry::STATS, queue::stats)
        .on(&entry::POSITION, queue::position)
        .on(&entry::CANCEL, jobs::cancel)
        .on(&entry::LIMITS, queue::limits)
        .on(&entry::SET_LIMITS, queue::set_limits)
        .on(&entry::PAUSE, queue::holds::pause)
        .on(&entry::RESUME, queue::holds::resume)
        .on(&entry::HOLDS, queue::holds::list)
        .on(&entry::WEIGHTS, queue::weights::list)
        .on(&entry::SET_WEIGHT, queue::weights::set)
        .on(&entry::ME, queue::control::me)
        .on(&entry::USER_QUEUE, queue::control::of)
        .on(&entry::PRIORITY, queue::control::set_priority)
        .on(&entry::PROCESS, queue::control::process)
        .on(&entry::CLEANUP, queue::control::clean_up)
        .on(&on_this_machine::SUBMIT, local::submit)
        .on(&approval::APPROVE_JOB, approvals::brief::approve_job)
        .on(&approval::REJECT_JOB, approvals::brief::reject_job)
}

fn approvals_and_quotas(routes: Routes) -> Routes {
    routes
        .on(&approval::RULES, approvals::rules::list)
        .on(&approval::ADD_RULE, approvals::rules::add)
        .on(&approval::RULE, approvals::rules::show)
        .on(&approval::CHANGE_RULE, approvals::rules::change)
        .on(&approval::DELETE_RULE, approvals::rules::delete)
        .on(&approval::CONDITIONS, approvals::conditions)
        .on(&approval::REQUESTS, approvals::requests)
        .on(&approval::MY_REQUESTS, approvals::my_requests)
        .on(&approval::MY_REQUESTS_SHORT, approvals::my_requests)
        .on(&approval::PENDING_COUNT, approvals::brief::pending_count)
        .on(&approval::OF_JOB, approvals::brief::of_job)
        .on(&approval::BULK_APPROVE, approvals::brief::approve_many)
        .on(&approval::BULK_REJECT, approvals::brief::reject_many)
        .on(&approval::REQUEST, approvals::request)
        .on(&approval::APPROVE, approvals::approve)
        .on(&approval::REJECT, approvals::reject)
        .on(&approval::CANCEL, approvals::cancel)
        .on(&approval::EXPIRE, approvals::brief::expire)
        .on(&approval::APPROVALS, approvals::brief::list)
        .on(&approval::APPROVE_BRIEFLY, approvals::approve)
        .on(&approval::REJECT_BRIEFLY, approvals::brief::reject)
        .on(&quota::LIST, quotas::list)
        .on(&quota::STATUS, quotas::list)
        .on(&quota::TYPES, quotas::types)
        .on(&quota::ADD, quotas::add)
        .on(&quota::CHANGE, quotas::change)
        .on(&quota::DELETE, quotas::remove)
}

fn webhooks_out(routes: Routes) -> Routes {
    routes
        .on(&hook::LIST, webhooks::list)
        .on(&hook::ADD, webhooks::add)
        .on(&hook::SHOW, webhooks::show)
        .on(&hook::CHANGE, webhooks::change)
        .on(&hook::DELETE, webhooks::remove)
        .on(&hook::TEST_ONE, webhooks::test)
        .on(&hook::EVENTS, webhooks::events)
        .on(&hook::HISTORY, webhooks::history)
        .on(&hook::HISTORY_OF_ONE, webhooks::history_of_one)
}

fn operation(routes: Routes) -> Routes {
    routes
        .on(&provider::LIST, providers::list)
        .on(&provider::CONFIG, providers::config)
        .on(&provider::SET_CONFIG, providers::set_config)
        .on(&provider::VALIDATE, providers::validate)
        .on(&provider::VALIDATE_SHORT, providers::validate)
        .on(&provider::REPLICATE_STATUS, providers::replicate_status)
        .on(&provider::VERSIONS, providers::versions)
        .on(&provider::SET_TOKEN, providers::token::set)
        .on(&provider::DELETE_TOKEN, providers::token::delete)
        .on(&provider::COST_LIMIT, providers::cost_limit::status)
        .on(&provider::RETRY, providers::retry)
        .raw(&webhook::REPLICATE, received::replicate)
        .raw(&webhook::REPLICATE_OF_CLOUD, received::replicate)
        .on(&config::LIST, configs::list)
        .on(&config::SHOW, configs::show)
        .on(&config::CHECK, configs::check)
        .on(&poll::STATUS, polling::status)
        .on(&poll::SET, polling::set)
        .on(&login::KEYS, keys::list)
        .on(&login::CREATE_KEY, keys::create)
        .on(&login::REVOKE_KEY, keys::revoke)
        .on(&login::ME, account::me)
        .raw(&login::CHECK, account::check)
        .raw(&login::SIGN_IN, account::sign_in)
        .raw(&login::SIGN_OUT, account::sign_out)
        .on(&login::AUDIT, audit::list)
        .raw(&event::STREAM, events::stream)
        .on(&event::BROADCAST, events::broadcast)
        .on(&metric::JOBS, metrics::jobs)
        .on(&metric::JOBS_OF_PAGE, metrics::jobs)
        .on(&metric::COSTS, metrics::costs)
        .on(&metric::USAGE, metrics::usage)
        .on(&metric::HEALTH, metrics::parts)
        .raw(&metric::PROMETHEUS, prometheus::text)
        .raw(&metric::PROMETHEUS_OF_CLOUD, prometheus::text)
        .raw(&metric::PROMETHEUS_OR_JSON, prometheus::text_or_json)
        .on(&metric::STATUS, prometheus::status)
        .on(&metric::PROMETHEUS_INFO, prometheus::info)
        .on(&system::PLAIN, health::plain)
        .on(&system::HEALTH, health::full)
        .on(&system::LIVE, health::live)
        .on(&system::READY, health::ready)
        .on(&system::TASKS, background::list)
        .on(&system::TASK, background::show)
        .on(&system::ACTIVATE_TASK, background::activate)
        .on(&system::BREAKERS, background::breakers)
        .on(&system::SHUTDOWN, health::shut_down)
        .on(&system::LOG_LEVEL, logging::level)
        .on(&system::SET_LOG_LEVEL, logging::set_level)
        .on(&system::OPENAPI, openapi_json)
}

/// The OpenAPI document of the interface.
pub(crate) fn openapi() -> Value {
    st_api::document(routes().operations(), env!("CARGO_PKG_VERSION"))
}

/// The reference of the interface, as Markdown.
pub(crate) fn reference() -> String {
    st_api::reference(routes().operations())
}

async fn openapi_json((): (), _call: Call) -> Result<Value, Problem> {
    // It never changes, and making it costs more than a request of a stranger may.
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi);
    Ok(DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_reference_is_the_documents() {
        let document = include_str!("../../../../docs/api.md");
        assert!(document.contains(&reference()), "run `st-server api reference` into docs/api.md");
        let committed: Value =
            serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
        assert_eq!(committed, openapi(), "run `st-server api openapi` into docs/openapi.json");
    }

    #[test]
    fn each_operation_has_a_name_of_its_own_and_says_what_it_does() {
        let routes = routes();
        let names: BTreeSet<&str> = routes.operations().iter().map(|it| it.about.id).collect();
        assert_eq!(names.len(), routes.operations().len());
        for operation in routes.operations() {
            let about = operation.about;
            assert!(!about.summary.is_empty() && !about.summary.ends_with('.'), "{}", about.id);
            let body = about.example_body;
            let required = operation.body.required().next().is_some();
            assert!(!required || !body.is_empty(), "{} needs an example", about.id);
            assert!(!body.contains('\''), "{}: the body stands between quotes", about.id);
            assert!(body.is_empty() || serde_json::from_str::<Value>(body).is_ok(), "{}", about.id);
        }
    }
}
