//! Rules that decide which jobs need approval.

use jiff::Timestamp;
use regex_lite::Regex;

use crate::model::text::text_enum;
use crate::model::{
    Change, InvalidText, NewJob, ProviderName, Role, RuleId, SettingChange, UserId,
};

text_enum! {
    /// What a rule compares.
    Condition, "condition" {
        /// The estimated cost in US dollars is above the threshold.
        CostExceeds = "cost_exceeds",
        /// The hardware matches the threshold, a glob.
        HardwareType = "hardware_type",
        /// The provider is the threshold.
        Provider = "provider",
        /// The submitter's role is below the threshold.
        UserLevel = "user_level",
        /// The submitter made more jobs in the last 24 hours than the threshold.
        DailyJobsExceed = "daily_jobs_exceed",
        /// It is the submitter's first job; the threshold is not used.
        FirstJob = "first_job",
        /// The name matches the threshold: a regular expression if it starts with `^` or ends with
        /// `$`, else a glob.
        ConfigPattern = "config_pattern",
    }
}

impl Condition {
    /// When it requires approval, in words for a person.
    pub const fn description(self) -> &'static str {
        match self {
            Self::CostExceeds => "the estimated cost in USD is above the threshold",
            Self::HardwareType => {
                "the hardware type matches the threshold (* and ? match any text)"
            }
            Self::Provider => "the provider is the threshold",
            Self::UserLevel => "the submitter's level is below the threshold",
            Self::DailyJobsExceed => {
                "the submitter made more jobs today (UTC) than the threshold, deleted ones too"
            }
            Self::FirstJob => "it is the submitter's first job",
            Self::ConfigPattern => {
                "the config name matches the threshold (a regular expression with ^ or $, else * and ?)"
            }
        }
    }
}

/// A rule that is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRule {
    /// A display name; not unique.
    pub name: String,
    /// What it is for, in words for a person.
    pub description: String,
    /// What it compares.
    pub condition: Condition,
    /// What it compares with; its form depends on the condition.
    pub threshold: String,
    /// Whether it is evaluated at all.
    pub is_active: bool,
    /// The rule with the highest priority is evaluated first.
    pub priority: i64,
    /// Restricts the rule to this provider.
    pub applies_to_provider: Option<ProviderName>,
    /// Restricts the rule to submitters of this role.
    pub applies_to_level: Option<Role>,
    /// Submitters of these roles are exempt.
    pub exempt_levels: Vec<Role>,
    /// The lowest role that may decide.
    pub required_approver_level: Role,
    /// The user who made it.
    pub created_by: UserId,
}

/// A change of a rule; what it does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulePatch {
    /// [`NewRule::name`]
    pub name: Option<String>,
    /// [`NewRule::description`]
    pub description: Option<String>,
    /// [`NewRule::condition`]
    pub condition: Option<Condition>,
    /// [`NewRule::threshold`]
    pub threshold: Option<String>,
    /// [`NewRule::is_active`]
    pub is_active: Option<bool>,
    /// [`NewRule::priority`]
    pub priority: Option<i64>,
    /// [`NewRule::applies_to_provider`]
    pub applies_to_provider: SettingChange<ProviderName>,
    /// [`NewRule::applies_to_level`]
    pub applies_to_level: SettingChange<Role>,
    /// [`NewRule::exempt_levels`]
    pub exempt_levels: Option<Vec<Role>>,
    /// [`NewRule::required_approver_level`]
    pub required_approver_level: Option<Role>,
}

/// What became of a rule that was to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleRemoval {
    /// It is gone.
    Deleted,
    /// A request names it, so it is kept and not evaluated any more.
    Deactivated(Rule),
}

/// A stored rule.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_field_names, reason = "its content is a rule as well")]
pub struct Rule {
    /// Assigned by the store; of rules with the same priority the lower one is evaluated first.
    pub id: RuleId,
    /// Its content.
    pub rule: NewRule,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl Rule {
    /// The event of its creation.
    pub(crate) fn added(&self) -> Change {
        let NewRule { name, condition, threshold, required_approver_level: level, .. } = &self.rule;
        let message = format!(
            "rule {} {name:?}: {condition} {threshold:?}, required_approver_level {level}",
            self.id
        );
        Change::Limits { message }
    }

    /// The event of a change to what it is afterwards; `None` where nothing changes.
    pub(crate) fn changed_to(&self, after: &NewRule) -> Option<Change> {
        let before = self.rule.fields();
        let changes = before.into_iter().zip(after.fields()).filter(|(old, new)| old != new);
        let changes: Vec<String> =
            changes.map(|((name, old), (_, new))| format!("{name} {old} to {new}")).collect();
        let message = format!("rule {}: {}", self.id, changes.join(", "));
        (!changes.is_empty()).then_some(Change::Limits { message })
    }

    /// The event of its removal.
    pub(crate) fn removed(&self) -> Change {
        Change::Limits { message: format!("rule {} {:?} is removed", self.id, self.rule.name) }
    }
}

/// A rule that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The threshold does not fit the condition.
    #[error("threshold {threshold:?} does not fit {condition}: {legal}")]
    Threshold {
        /// The condition.
        condition: Condition,
        /// The threshold.
        threshold: String,
        /// What would fit.
        legal: &'static str,
    },
    /// A text that cannot be stored.
    #[error(transparent)]
    Text(#[from] InvalidText),
}

/// How many jobs a submitter made before this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// On this day, in UTC; deleted ones too.
    pub today: u64,
    /// Ever.
    pub all: u64,
}

/// What the rules are evaluated on.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleInput<'a> {
    /// Estimated cost in US dollars.
    pub estimated_cost: f64,
    /// The hardware that the job asks for.
    pub hardware_type: Option<&'a str>,
    /// The provider that will run it.
    pub provider: &'a ProviderName,
    /// The submitter's role.
    pub role: Role,
    /// The submitter's name for the job.
    pub config_name: Option<&'a str>,
    /// How many jobs the submitter made before.
    pub jobs: JobCounts,
}

impl<'a> RuleInput<'a> {
    /// The input for a submission.
    pub fn of(new: &'a NewJob, jobs: JobCounts) -> Self {
        Self {
            estimated_cost: new.estimated_cost,
            hardware_type: new.hardware_type.as_deref(),
            provider: &new.provider,
            role: new.role,
            config_name: new.config_name.as_deref(),
            jobs,
        }
    }
}

/// A condition with its parsed threshold.
enum Predicate {
    CostAbove(f64),
    Hardware(Regex),
    Provider(String),
    Below(Role),
    DailyAbove(u64),
    First,
    Name(Regex),
}

impl NewRule {
    /// What may change of it, by name, in words for an event.
    fn fields(&self) -> [(&'static str, String); 10] {
        let exempt: Vec<&str> = self.exempt_levels.iter().map(|it| it.as_str()).collect();
        let provider = self.applies_to_provider.as_ref().map_or("all", ProviderName::as_str);
        [
            ("name", format!("{:?}", self.name)),
            ("description", format!("{:?}", self.description)),
            ("condition", self.condition.to_string()),
            ("threshold", format!("{:?}", self.threshold)),
            ("is_active", self.is_active.to_string()),
            ("priority", self.priority.to_string()),
            ("applies_to_provider", provider.to_owned()),
            ("applies_to_level", self.applies_to_level.map_or("all", Role::as_str).to_owned()),
            ("exempt_levels", format!("[{}]", exempt.join(", "))),
            ("required_approver_level", self.required_approver_level.to_string()),
        ]
    }

    /// The rule after a change; refused where what it is then could not be stored.
    pub(crate) fn patched(&self, patch: RulePatch) -> Result<Self, InvalidRule> {
        let before = self.clone();
        let mut after = Self {
            name: patch.name.unwrap_or(before.name),
            description: patch.description.unwrap_or(before.description),
            condition: patch.condition.unwrap_or(before.condition),
            threshold: patch.threshold.unwrap_or(before.threshold),
            is_active: patch.is_active.unwrap_or(before.is_active),
            priority: patch.priority.unwrap_or(before.priority),
            exempt_levels: patch.exempt_levels.unwrap_or(before.exempt_levels),
            required_approver_level: patch
                .required_approver_level
                .unwrap_or(before.required_approver_level),
            ..before
        };
        patch.applies_to_provider.apply(&mut after.applies_to_provider);
        patch.applies_to_level.apply(&mut after.applies_to_level);
        after.check()?;
        Ok(after)
    }

    /// Refuses a threshold that does not fit the condition, and text that cannot be stored.
    pub fn check(&self) -> Result<(), InvalidRule> {
        InvalidText::check("name", &self.name)?;
        InvalidText::check("description", &self.description)?;
        InvalidText::check("threshold", &self.threshold)?;
        InvalidText::check("created_by", self.created_by.as_str())?;
        let provider = self.applies_to_provider.as_ref().map(ProviderName::as_str);
        InvalidText::check("applies_to_provider", provider.unwrap_or_default())?;
        self.predicate().map(drop)
    }

    /// Whether a submission needs approval by this rule.
    pub fn requires_approval(&self, input: &RuleInput<'_>) -> Result<bool, InvalidRule> {
        let applies = self.is_active
            && self.applies_to_provider.as_ref().is_none_or(|only| only == input.provider)
            && self.applies_to_level.is_none_or(|only| only == input.role)
            && !self.exempt_levels.contains(&input.role);
        if !applies {
            return Ok(false);
        }
        Ok(match self.predicate()? {
            Predicate::CostAbove(usd) => input.estimated_cost > usd,
            Predicate::Hardware(pattern) => {
                input.hardware_type.is_some_and(|it| pattern.is_match(it))
            }
            Predicate::Provider(name) => input.provider.as_str() == name,
            Predicate::Below(role) => input.role < role,
            Predicate::DailyAbove(jobs) => input.jobs.today > jobs,
            Predicate::First => input.jobs.all == 0,
            Predicate::Name(pattern) => input.config_name.is_some_and(|it| pattern.is_match(it)),
        })
    }

    fn predicate(&self) -> Result<Predicate, InvalidRule> {
        let threshold = self.threshold.trim();
        let refuse = |legal| InvalidRule::Threshold {
            condition: self.condition,
            threshold: self.threshold.clone(),
            legal,
        };
        match self.condition {
            Condition::CostExceeds => match threshold.parse::<f64>() {
                Ok(usd) if usd.is_finite() && usd >= 0.0 => Ok(Predicate::CostAbove(usd)),
                Ok(_) | Err(_) => Err(refuse("expected an amount in USD, such as 50")),
            },
            Condition::HardwareType => match glob(threshold) {
                Some(pattern) => Ok(Predicate::Hardware(pattern)),
                None => Err(refuse("expected a pattern, such as h100*")),
            },
            Condition::Provider => Ok(Predicate::Provider(threshold.to_owned())),
            Condition::UserLevel => match threshold.parse() {
                Ok(role) => Ok(Predicate::Below(role)),
                Err(_unknown) => Err(refuse("expected viewer, researcher, lead or admin")),
            },
            Condition::DailyJobsExceed => match threshold.parse() {
                Ok(jobs) => Ok(Predicate::DailyAbove(jobs)),
                Err(_not_a_number) => Err(refuse("expected a number of jobs, such as 10")),
            },
            Condition::FirstJob => Ok(Predicate::First),
            Condition::ConfigPattern => {
                let pattern = if threshold.starts_with('^') || threshold.ends_with('$') {
                    Regex::new(threshold).ok()
                } else {
                    glob(threshold)
                };
                pattern
                    .map(Predicate::Name)
                    .ok_or_else(|| refuse("expected a regular expression with ^ or $, or a glob"))
            }
        }
    }
}

/// The first of `rules` that requires approval; they are in the order of their evaluation.
pub(crate) fn first_match<'a>(
    rules: &'a [Rule],
    input: &RuleInput<'_>,
) -> Result<Option<&'a Rule>, InvalidRule> {
    for rule in rules {
        if rule.rule.requires_approval(input)? {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

fn glob(pattern: &str) -> Option<Regex> {
    if pattern.is_empty() {
        return None;
    }
    let mut text = String::from("(?s)^");
    for char in pattern.chars() {
        match char {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            _ => text.push_str(&regex_lite::escape(char.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push('$');
    Regex::new(&text).ok()
}

#[cfg(test)]
mod tests;
