//! How many jobs may have slots, over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Limit, Limits, LimitsPatch, Role, ShareTime};

use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};

/// The limits and the settings of fair share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsView {
    /// How many jobs may have slots.
    pub max_concurrent: u32,
    /// How many of one user.
    pub user_max_concurrent: u32,
    /// How many of one team.
    pub team_max_concurrent: u32,
    /// How many of one organization.
    pub org_max_concurrent: u32,
    /// Whether slots are shared out between owners in turn.
    pub enable_fair_share: bool,
    /// How many graphics cards jobs on this machine share, by the configuration; `null` where they are not
    /// managed.
    pub local_gpu_max_concurrent: Option<u64>,
    /// How many jobs may run on this machine.
    pub local_job_max_concurrent: u32,
    /// Under fair share, how long an owner with a waiting job is granted nothing before it goes first.
    pub starvation_seconds: u32,
    /// Under fair share, after how long what an owner used counts half.
    pub usage_half_life_hours: u32,
}

impl LimitsView {
    /// `devices`: how many graphics cards are managed on this machine.
    pub fn new(limits: &Limits, devices: usize) -> Self {
        Self {
            max_concurrent: limits.get(Limit::Global),
            user_max_concurrent: limits.get(Limit::User),
            team_max_concurrent: limits.get(Limit::Team),
            org_max_concurrent: limits.get(Limit::Org),
            enable_fair_share: limits.fair_share,
            // Where they are not managed there is no such limit.
            local_gpu_max_concurrent: Some(devices as u64).filter(|devices| *devices > 0),
            local_job_max_concurrent: limits.get(Limit::Local),
            starvation_seconds: limits.time(ShareTime::Starvation),
            usage_half_life_hours: limits.time(ShareTime::HalfLife),
        }
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

const GPUS: &str = "local_gpu_max_concurrent";

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
        if !fields.is_null(GPUS) && fields.has(GPUS) {
            fields.fault(GPUS, "cannot be set here; it is the number of providers.local.devices in the configuration");
        }
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
