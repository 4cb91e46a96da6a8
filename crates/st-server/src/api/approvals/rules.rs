//! Approval rules over HTTP.

use std::sync::Arc;

use st_api::approvals::{AddRule, ChangeRule, ListRules, Rule, RuleDeleted, Rules};
use st_api::names::RuleArg;
use st_api::problem::Code;
use st_store::{RuleRemoval, SettingChange, Store};

use super::LOG;
use crate::api::Api;
use crate::api::providers::check_name;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn list(
    store: Arc<dyn Store>,
    call: Call<(), ListRules>,
) -> Result<Rules, Problem> {
    let rules = store.list_rules().await?.into_iter();
    let rules = rules.filter(|rule| rule.rule.is_active || !call.query.active_only);
    Ok(Rules { rules: rules.map(Rule::from).collect() })
}

pub(crate) async fn show(store: Arc<dyn Store>, call: Call<RuleArg>) -> Result<Rule, Problem> {
    let RuleArg(id) = call.named;
    let missing = || Problem::not_found(format!("there is no approval rule {id}"));
    store.find_rule(id).await?.map(Rule::from).ok_or_else(missing)
}

pub(crate) async fn add(api: Api, call: Call<(), (), AddRule>) -> Result<Rule, Problem> {
    let Call { caller, body, .. } = call;
    let new = body.by(caller.user.clone());
    if let Some(provider) = &new.applies_to_provider {
        check_name(&api, "/applies_to_provider", provider)?;
    }
    let rule = api.store.add_rule(new).await?;
    caller.made(rule.id.0);
    st_log::info!(
        logger: LOG, rule_id = rule.id.0, name = rule.rule.name.as_str(),
        condition = rule.rule.condition.as_str(), threshold = rule.rule.threshold.as_str(),
        "Approval rule added"
    );
    Ok(rule.into())
}

pub(crate) async fn change(api: Api, call: Call<RuleArg, (), ChangeRule>) -> Result<Rule, Problem> {
    if let SettingChange::Set(provider) = &call.body.0.applies_to_provider {
        check_name(&api, "/applies_to_provider", provider)?;
    }
    let rule = api.store.patch_rule(call.named.0, call.body.0, &call.caller.actor()).await?;
    st_log::info!(
        logger: LOG, rule_id = rule.id.0, user_id = call.caller.user.as_str(),
        condition = rule.rule.condition.as_str(), threshold = rule.rule.threshold.as_str(),
        is_active = rule.rule.is_active, "Approval rule was changed"
    );
    Ok(rule.into())
}

pub(crate) async fn delete(
    store: Arc<dyn Store>,
    call: Call<RuleArg>,
) -> Result<RuleDeleted, Problem> {
    let RuleArg(id) = call.named;
    let removal = store.delete_rule(id, &call.caller.actor()).await?;
    let is_deleted = removal == RuleRemoval::Deleted;
    st_log::info!(
        logger: LOG, rule_id = id.0, user_id = call.caller.user.as_str(), is_deleted,
        "Approval rule was removed"
    );
    match removal {
        RuleRemoval::Deleted => Ok(RuleDeleted { success: true, rule_id: id.0 }),
        RuleRemoval::Deactivated(rule) => {
            let detail = format!(
                "approval requests name the rule {:?}, so it is kept; it is not active any more and \
                 holds no new job",
                rule.rule.name
            );
            Err(Problem::new(Code::RuleInUse, detail))
        }
    }
}
