//! What is decided of a submission, and what would become of one that is made now.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::model::budget::Judgement;
use crate::model::rule::first_match;
use crate::model::{
    Admission, BudgetUse, Cost, Exceeded, Group, HeldBy, Hold, JobCounts, JobId, JobRecord,
    LimitUse, NewJob, ProviderName, Requirement, Rule, RuleInput, Scope,
};

/// What is decided of a submission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The budgets that refuse it, oldest first.
    pub refused_by: Vec<Exceeded>,
    /// Why it needs approval, if it does.
    pub requirement: Option<Requirement>,
    /// The budgets that leave no room for it and only warn.
    pub warnings: Vec<Exceeded>,
}

/// What a submission is judged by.
#[derive(Debug)]
pub(crate) struct Grounds<'a> {
    /// The budgets whose scope the job is in, oldest first.
    pub(crate) budgets: Vec<BudgetUse>,
    /// The record of the run that a run without a submission follows, if it is still here.
    pub(crate) follows: Option<&'a JobRecord>,
    /// The active rules, in the order of their evaluation.
    pub(crate) rules: &'a [Rule],
    /// How many jobs the submitter made before. Only rules need to know.
    pub(crate) counts: JobCounts,
}

impl Ruling {
    pub(crate) fn of(new: &NewJob, grounds: Grounds<'_>, now: Timestamp) -> Result<Self> {
        let Grounds { budgets, follows, rules, counts } = grounds;
        let Judgement { refused_by, approval_by, warnings } =
            Judgement::of(new, budgets, follows, now);
        let rule = first_match(rules, &RuleInput::of(new, counts))?;
        let requirement = Requirement::of(rule, approval_by.as_ref());
        Ok(Self { refused_by, requirement, warnings })
    }

    /// What approval and warnings go with the job; the error where it is refused.
    pub(crate) fn admit(self) -> Result<(Option<Requirement>, Vec<Exceeded>)> {
        match self.refused_by.into_iter().next() {
            Some(exceeded) => Err(Error::OverBudget(Box::new(exceeded))),
            None => Ok((self.requirement, self.warnings)),
        }
    }
}

/// What would become of a submission that is made now. Nothing is written or reserved by asking.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// The job that an earlier submission with the same key or the same ID made; the submission would be
    /// answered with it, and nothing would be decided.
    pub earlier: Option<JobId>,
    /// What would be decided.
    pub ruling: Ruling,
    /// All that would keep the job from a slot although it is due, in the order in which claims are held.
    pub held_by: Vec<HeldBy>,
    /// The holds that cover it, the widest first.
    pub holds: Vec<Hold>,
    /// The limits of slots that apply to it.
    pub limits: Vec<LimitUse>,
    /// The budgets that apply to it, oldest first.
    pub budgets: Vec<BudgetUse>,
    /// The jobs that wait for a slot already.
    pub ahead: Ahead,
}

/// Jobs of one group that may be claimed as soon as there is a slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WaitingGroup {
    pub(crate) group: Group,
    /// How many there are.
    pub(crate) jobs: u64,
    /// The estimated cost of the first of them, which is used for each.
    pub(crate) cost: Cost,
}

/// The jobs that wait for a slot before a new one does, and the slots that they wait for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ahead(Option<(Admission, Vec<WaitingGroup>)>);

impl Ahead {
    pub(crate) fn new(admission: Admission, mut waiting: Vec<WaitingGroup>) -> Self {
        waiting.sort_by(|one, other| one.group.cmp(&other.group));
        Self(Some((admission, waiting)))
    }

    /// What would keep a job of this group and estimated cost from a slot once the jobs that wait have all
    /// the slots that they may have now. `is_served`: whether jobs at a provider are claimed now.
    ///
    /// Where a job of a high priority would overtake some of them, it is counted behind them all the same:
    /// their numbers are kept by group, and their priorities are not.
    pub fn held_behind(
        &self,
        group: &Group,
        cost: Cost,
        is_served: impl Fn(&ProviderName) -> bool,
    ) -> Option<HeldBy> {
        let (admission, waiting) = self.0.as_ref()?;
        let mut admission = admission.clone();
        for it in waiting.iter().filter(|it| is_served(&it.group.provider)) {
            let mut jobs = it.jobs;
            // Ends with the free slots, however many jobs wait for them.
            while jobs > 0 && admission.held_by(&it.group, it.cost).is_none() {
                admission.reserve(&it.group, it.cost);
                jobs -= 1;
            }
        }
        admission.held_by(group, cost)
    }
}

impl Preview {
    /// Of a submission that an earlier one has made already.
    pub(crate) fn of_earlier(job: JobId) -> Self {
        Self { earlier: Some(job), ..Self::default() }
    }

    /// `holds`: all that there are.
    pub(crate) fn of(
        new: &NewJob,
        grounds: Grounds<'_>,
        (ahead, holds): (Ahead, Vec<Hold>),
        now: Timestamp,
    ) -> Result<Self> {
        let budgets = grounds.budgets.clone();
        let ruling = Ruling::of(new, grounds, now)?;
        let group = Group::of_new(new);
        let cost = Cost::from_usd(new.estimated_cost);
        let covers = |hold: &Hold| {
            Scope::of(hold.scope.level(), &group).is_some_and(|scope| scope == hold.scope)
        };
        let admission = ahead.0.as_ref().map(|(admission, _)| admission);
        let held_by = admission.into_iter().flat_map(|it| it.all_that_hold(&group, cost)).collect();
        let limits = admission.into_iter().flat_map(|it| it.uses(&group)).collect();
        Ok(Self {
            earlier: None,
            ruling,
            held_by,
            holds: holds.into_iter().filter(covers).collect(),
            limits,
            budgets,
            ahead,
        })
    }
}
