//! What the server shows to Prometheus.
//!
//! Every part of the server counts for itself, in plain numbers; here they get their names. What the store
//! holds is read at most every few seconds, however often it is asked for. No label has a value that a
//! client can choose.

mod family;
mod http;
mod jobs;
mod original;
mod page;
mod process;
mod providers;
mod store;
mod stored;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod webhooks;

use std::sync::Arc;

use crate::api::Api;
use crate::http::front::Front;
use family::Family;
pub(crate) use page::{Format, Page};
#[cfg(test)]
pub(crate) use stored::KEEP_FOR;
pub(crate) use stored::Kept;

/// The families of one part of the server.
#[derive(Debug)]
pub(crate) struct Group {
    /// The group's name.
    pub(crate) name: &'static str,
    pub(crate) families: &'static [&'static Family],
}

/// All families that the server ever shows. Those of the original are first: its command line lists twenty.
pub(crate) const GROUPS: [Group; 8] = [
    Group { name: "original", families: &original::FAMILIES },
    Group { name: "jobs", families: &jobs::FAMILIES },
    Group { name: "providers", families: &providers::FAMILIES },
    Group { name: "http", families: &http::FAMILIES },
    Group { name: "store", families: &store::FAMILIES },
    Group { name: "tasks", families: &tasks::FAMILIES },
    Group { name: "webhooks", families: &webhooks::FAMILIES },
    Group { name: "process", families: &process::FAMILIES },
];

/// Everything as it is now.
pub(crate) async fn page(api: &Api, front: &Front) -> Page {
    let shown = api.kept().read(api).await;
    let stored = &shown.stored;
    let mut page = Page::default();
    jobs::add(&mut page, api, stored);
    providers::add(&mut page, api, stored);
    http::add(&mut page, api, front);
    store::add(&mut page, api, &shown);
    tasks::add(&mut page, api);
    webhooks::add(&mut page, api);
    process::add(&mut page, api).await;
    original::add(&mut page, api, front, &shown);
    page
}

/// What the store holds; nothing before it could be read once.
type Stored = Option<Arc<stored::Stored>>;
