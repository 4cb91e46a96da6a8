//! What a submission would come to, before it is made.

use st_api::jobs::{CheckQuery, PreSubmitCheck, Refusal, SubmitJob};
use st_store::{JobType, NewJob, Owner, Preview, ProviderName};

use super::explain;
use super::submit::{Assembled, configured, hardware, runnable, warnings};
use crate::api::outlook::Outlook;
use crate::api::providers::{LOCAL, REPLICATE};
use crate::api::{Api, quotas};
use crate::auth::access;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// What would refuse a submission, as it is found out.
#[derive(Debug, Default)]
struct Refusals(Vec<Problem>);

impl Refusals {
    /// Notes what would be the fault of the submission; a fault of the server is an error.
    fn note<T>(&mut self, found: Result<T, Problem>) -> Result<Option<T>, Problem> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.status().is_client_error() => {
                self.0.push(problem);
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }
}

pub(crate) async fn check(api: Api, call: Call<(), CheckQuery>) -> Result<PreSubmitCheck, Problem> {
    let Call { caller, query, .. } = call;
    let name = query.provider.unwrap_or_else(|| ProviderName::new(REPLICATE.id));
    let mut refusals = Refusals::default();
    refusals.note(access::may_submit(&caller))?;
    if query.priority.is_some() {
        refusals.note(access::may_set_priority(&caller))?;
    }
    let provider = refusals.note(configured(&api, &name))?;
    let settings = api.store.provider_settings(&name).await?;
    let hardware = hardware(&name, query.hardware_profile, &settings);
    let hardware_type = refusals.note(hardware)?.flatten();
    let owner = access::owner(&caller, query.team_id, query.org_id);
    let owner = refusals.note(owner)?.unwrap_or_else(|| Owner::user(caller.user.as_str()));
    let assembled = match query.config_name_to_load {
        Some(config) => {
            let mut request = SubmitJob::named(config).map_err(Problem::invalid_query)?;
            request.config_name.clone_from(&query.config_name);
            refusals.note(Assembled::of(&api, &mut request).await)?
        }
        None => None,
    };
    match (&provider, &assembled) {
        (Some(provider), Some(Assembled { input, origin, .. })) => {
            refusals.note(runnable(
                provider.as_ref(),
                input,
                &settings,
                origin.field_of_config(),
            ))?;
        }
        (Some(provider), None) => {
            let missing = provider.missing(&settings).map_or(Ok(()), |missing| {
                Err(Problem::new(st_api::problem::Code::MissingSetting, missing))
            });
            refusals.note(missing)?;
        }
        (None, _) => {}
    }
    let is_local = name.as_str() == LOCAL.id;
    let elsewhere = if is_local { JobType::Local } else { JobType::Cloud };
    let place = (provider.map_or(elsewhere, |it| it.job_type()), name);
    let id = api.new_job_id();
    let new = NewJob {
        config_name: assembled.map_or(query.config_name, |it| it.config_name),
        priority_override: query.priority,
        run_after: query.run_after,
        asks_beyond_budget: query.for_approval,
        estimated_cost: query.estimated_cost,
        hardware_type,
        ..NewJob::new(id, place, owner, caller.role, st_log::get_correlation_id())
    };
    let outlook = Outlook::of(&api, &new).await?;
    Ok(view(new, &outlook, refusals))
}

fn view(new: NewJob, outlook: &Outlook, Refusals(mut refusals): Refusals) -> PreSubmitCheck {
    refusals.extend(outlook.refusals());
    let Preview { ruling, limits, budgets, .. } = &outlook.preview;
    let (cost_limit_warning, quota_warnings) = warnings(&ruling.warnings);
    let (accepted, waiting_for) = (refusals.is_empty(), outlook.waits());
    let requirement = ruling.requirement.as_ref();
    let refusal = |problem: &Problem| Refusal {
        code: problem.code().to_owned(),
        status: problem.status().as_u16(),
        detail: problem.detail().to_owned(),
    };
    PreSubmitCheck {
        git_available: false,
        repo_present: false,
        is_dirty: false,
        dirty_count: 0,
        dirty_paths: Vec::new(),
        current_commit: None,
        current_abbrev: None,
        current_branch: None,
        tracker_run_name: None,
        config_name: new.config_name,
        provider: new.provider.to_string(),
        hardware_type: new.hardware_type,
        estimated_cost: new.estimated_cost,
        accepted,
        refusals: refusals.iter().map(refusal).collect(),
        requires_approval: requirement.is_some(),
        approval_reason: requirement.map(|it| it.reason.clone()),
        approver_level: requirement.map(|it| it.role),
        cost_limit_warning,
        quota_warnings,
        can_start_now: accepted && requirement.is_none() && waiting_for.is_empty(),
        waiting_for,
        limits: limits.iter().map(explain::limit).collect(),
        budgets: budgets.iter().map(quotas::view).collect(),
    }
}
