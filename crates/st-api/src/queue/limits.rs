//! How many jobs may have slots, over HTTP.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Limit, Limits, LimitsPatch, Role, ShareTime};

use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};

/// The limits and the settings of fair share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsView {
    /// Each by its name.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, u32>,
    /// Whether slots are shared out between owners in turn.
    pub enable_fair_share: bool,
}

impl From<&Limits> for LimitsView {
    fn from(limits: &Limits) -> Self {
        let slots = Limit::ALL.iter().map(|&it| (it.as_str().to_owned(), limits.get(it)));
        let times = ShareTime::ALL.iter();
        let times = times.map(|&it| (it.as_str().to_owned(), limits.time(it)));
        Self { numbers: slots.chain(times).collect(), enable_fair_share: limits.fair_share }
    }
}

/// The limits after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// All limits as they are now.
    #[serde(flatten)]
    pub limits: LimitsView,
}

/// Limits to change; the others stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetLimits(pub LimitsPatch);

impl Input for SetLimits {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut patch = LimitsPatch::default();
        for &limit in Limit::ALL {
            let value = fields.integer(limit.as_str(), 1..=i64::from(limit.largest()));
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                patch.set(limit, value);
            }
        }
        patch.fair_share = fields.boolean("enable_fair_share");
        for &time in ShareTime::ALL {
            let (smallest, largest) = time.range().into_inner();
            let value = fields.integer(time.as_str(), i64::from(smallest)..=i64::from(largest));
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                patch.set_time(time, value);
            }
        }
        Some(Self(patch))
    }
}

/// Shows the limits.
pub const LIMITS: Operation<(), (), (), LimitsView> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/concurrency", "get_concurrency")
        .summary("Show the limits and the settings of fair share");

/// Changes limits.
pub const SET_LIMITS: Operation<(), (), SetLimits, LimitsChanged> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/concurrency", "set_concurrency")
        .summary("Change limits; the others stay")
        .description("Lowering a limit stops claims and ends nothing.")
        .role(Role::Admin)
        .example_body(r#"{"max_concurrent": 8, "enable_fair_share": true}"#);
