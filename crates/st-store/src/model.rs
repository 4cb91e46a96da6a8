//! The domain: what a job, its place in the queue and its approval are, and which steps they take.
//!
//! Pure: no IO, no clock, no randomness. Every rule is here, once, so that every backend decides
//! the same: transitions, admission, claim order, idempotency, approval rules, blame, reclaiming.

mod account;
mod actor;
mod admission;
mod approval;
mod at_once;
mod audit;
pub(crate) mod blame;
mod bounds;
pub(crate) mod budget;
#[cfg(feature = "sqlite")]
mod claim_index;
mod claim_order;
mod cost;
mod event;
pub(crate) mod history;
mod hold;
mod idempotency;
mod ids;
mod input;
mod job;
mod key;
mod limits;
mod opening;
mod owner;
mod page;
mod priority;
mod queue;
mod received;
mod reclaim;
mod record;
mod refused;
mod rerun;
pub(crate) mod results;
pub(crate) mod rule;
mod ruling;
mod scope;
mod settings;
pub(crate) mod share;
mod sighting;
mod stage;
mod status;
mod submission;
pub(crate) mod text;
mod transition;
mod webhook;

pub use account::{AccountId, InvalidAccount};
pub use actor::{Actor, ActorKind};
pub use admission::{Admission, HeldBy, LimitUse, MOST_PROVIDER_SLOTS, SlotLimit, Usage};
pub use approval::{
    APPROVAL_TTL, Approval, ApprovalOutcome, ApprovalRequest, Decision, RequiredBy, Requirement,
    Review, SettledApproval, Verdict,
};
pub use at_once::{ServedProviders, WouldWait};
pub use audit::{Audit, AuditCursor, AuditFilter, AuditPage, InvalidCursor, NewAudit};
pub use blame::Acceptances;
pub(crate) use bounds::MOST_FORGOTTEN;
pub use bounds::{
    GRANT_MEMORY, IDEMPOTENCY_TTL, MAX_APPROVAL_TTL, MAX_LEASE, MAX_PAUSE, MAX_RECHECK,
    MAX_RUN_AFTER, STRAY_MEMORY,
};
pub use budget::{
    Amount, Budget, BudgetAction, BudgetKeeper, BudgetLimit, BudgetPatch, BudgetUse, Exceeded,
    InvalidBudget, Measure, NewBudget, Period, Posted, Posting, PostingKind, QuotaType,
    SpendingRoom,
};
#[cfg(feature = "sqlite")]
pub(crate) use claim_index::ClaimIndex;
pub use claim_order::{ClaimOrder, Group, Head};
pub use cost::Cost;
pub use event::{Change, Event, NewEvent};
pub use history::{DailyTotals, DeletedJob, Total, TotalKey};
pub use hold::{Hold, Holds};
pub use idempotency::{KeyVerdict, StoredKey};
pub use ids::{
    ApprovalId, AttemptToken, AuditId, BudgetId, Epoch, EventId, Holder, InvalidMarker, JobId,
    JobPrefix, KeyId, Marker, OrgId, ProviderJobId, ProviderName, QueueEntryId, RuleId, TeamId,
    UserId, WebhookId,
};
pub use input::{
    InputProblem, InvalidInput, MAX_BYTES, MAX_DEPTH, check_input, check_submitted_input,
};
pub use job::{
    Idempotency, InvalidJob, InvalidText, Job, JobType, NewJob, Predecessor, ProviderStatus,
};
pub(crate) use job::{after, to_millis};
pub use key::{ApiKey, KeyHash, KeyScope, KeyScopes, NewApiKey, StoredApiKey};
pub use limits::{InvalidLimits, Limit, Limits, LimitsPatch, OutOfRange, ShareTime};
pub use opening::Opening;
pub use owner::{Owner, Role};
pub use page::{DamagedRow, JobFilter, Page, PageRequest, QueueFilter, RequestFilter};
pub use priority::{InvalidPriority, Priority, PriorityChange};
pub use queue::{Pace, QueueEntry, QueueStats, Standing, Standings, UserQueue};
pub(crate) use received::received_up_to;
pub use received::{MessageId, RECEIVED_FOR};
pub use reclaim::{ALONE_FROM, Caution, MAX_PANICS, MAX_RECLAIMS};
pub(crate) use record::OpenMatters;
pub use record::{Grant, Inconsistency, JobRecord, Settling};
pub use refused::{MAX_REFUSED_GROUPS, Position, Refused};
pub use results::{
    DueResults, MAX_RESULTS_PAUSE, RESULTS_MARGIN, Results, ResultsOutcome, ResultsState,
};
pub use rule::{
    Condition, InvalidRule, JobCounts, NewRule, Rule, RuleInput, RulePatch, RuleRemoval,
};
pub(crate) use ruling::Grounds;
pub(crate) use ruling::WaitingGroup;
pub use ruling::{Ahead, Preview, Ruling};
pub use scope::{Scope, ScopeLevel};
pub(crate) use settings::CostLimitStep;
pub use settings::{
    CostLimit, InvalidSetting, LONGEST_HTTP_TIMEOUT, MOST_RUNTIME_MINUTES, OutputsSetting,
    ProviderSettings, ProviderSettingsPatch, SHORTEST_HTTP_TIMEOUT, SettingChange, WebhookSource,
};
pub use share::{
    CHARGE, InvalidWeight, ShareKey, ShareLevel, SharePlace, ShareScope, ShareUsage, Shares, Weight,
};
pub use sighting::{
    RECHECKS, Recheck, RecheckId, RecheckedAttempt, Searched, Sighting, SightingOutcome, Stray,
    StrayOutcome,
};
pub use stage::{AtProvider, Claimed, Due, End, Finished, Held, Phase, Stage, Waiting};
pub use status::{ApprovalStatus, JobStatus, ProviderEnding, QueueStatus};
pub use submission::{AtMostOnce, Attempt, Cancellation, ClaimOrigin, Lease, RemoteId};
pub use text::{UnknownText, Word};
pub use transition::{
    AttemptFailure, CancelOutcome, Outcome, Resolution, Settled, TransitionError,
};
#[cfg(feature = "sqlite")]
pub(crate) use webhook::Settled as SettledAttempt;
pub(crate) use webhook::StoredWebhook;
pub use webhook::{
    Delivery, DeliveryAttempt, DeliveryResult, DeliveryStatus, Failing, FilterRevision,
    InvalidWebhook, KEEP_DELIVERIES_FOR, KEPT_DELIVERIES, KeyedWebhook, MAX_WEBHOOK_PAUSE,
    MOST_OLD_SECRETS, MOST_WEBHOOKS, NewWebhook, OLD_SECRET_FOR, SettledDelivery, TestDelivery,
    WEBHOOK_GIVE_UP, WEBHOOK_LEAST_ATTEMPTS, WantedEvents, Webhook, WebhookEvent, WebhookLease,
    WebhookList, WebhookPatch, WebhookSecret, WebhookState,
};
