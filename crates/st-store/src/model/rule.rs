//! Rules that say which jobs need somebody's approval.

use jiff::Timestamp;
use regex_lite::Regex;

use crate::model::text::text_enum;
use crate::model::{ProviderName, Role, RuleId, UserId};

text_enum! {
    /// What a rule looks at.
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
    /// For a person: when it asks for approval.
    pub const fn description(self) -> &'static str {
        match self {
            Self::CostExceeds => "the estimated cost in USD is above the threshold",
            Self::HardwareType => {
                "the hardware type matches the threshold (* and ? match any text)"
            }
            Self::Provider => "the provider is the threshold",
            Self::UserLevel => "the submitter's level is below the threshold",
            Self::DailyJobsExceed => {
                "the submitter made more jobs in the last 24 hours than the threshold"
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
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it looks at.
    pub condition: Condition,
    /// What it compares with; its form depends on the condition.
    pub threshold: String,
    /// Whether it is asked at all.
    pub is_active: bool,
    /// The highest is asked first.
    pub priority: i64,
    /// Only for this provider.
    pub applies_to_provider: Option<ProviderName>,
    /// Only for submitters of this role.
    pub applies_to_level: Option<Role>,
    /// Not for submitters of these roles.
    pub exempt_levels: Vec<Role>,
    /// The least role that may decide.
    pub required_approver_level: Role,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// A stored rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// What it says.
    pub rule: NewRule,
}

/// A threshold that does not fit its condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("threshold {threshold:?} does not fit {condition}: {legal}")]
pub struct InvalidRule {
    /// The condition.
    pub condition: Condition,
    /// The threshold.
    pub threshold: String,
    /// What would fit.
    pub legal: &'static str,
}

/// What the rules are asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts<'a> {
    /// What the job is expected to cost, in US dollars.
    pub estimated_cost: f64,
    /// The hardware that it asks for.
    pub hardware_type: Option<&'a str>,
    /// Who will run it.
    pub provider: &'a ProviderName,
    /// The submitter's role.
    pub role: Role,
    /// What it is called.
    pub config_name: Option<&'a str>,
    /// How many jobs the submitter made in the last 24 hours.
    pub daily_jobs: u64,
    /// How many jobs the submitter ever made.
    pub all_jobs: u64,
}

/// A condition with a threshold that was read.
enum Test {
    CostAbove(f64),
    Hardware(Regex),
    Provider(String),
    Below(Role),
    DailyAbove(u64),
    First,
    Name(Regex),
}

impl NewRule {
    /// Says whether the threshold fits the condition.
    pub fn check(&self) -> Result<(), InvalidRule> {
        self.test().map(drop)
    }

    /// Whether a job of which this is known needs approval by this rule.
    pub fn asks_for(&self, facts: &Facts<'_>) -> Result<bool, InvalidRule> {
        let concerns = self.is_active
            && self.applies_to_provider.as_ref().is_none_or(|only| only == facts.provider)
            && self.applies_to_level.is_none_or(|only| only == facts.role)
            && !self.exempt_levels.contains(&facts.role);
        if !concerns {
            return Ok(false);
        }
        Ok(match self.test()? {
            Test::CostAbove(usd) => facts.estimated_cost > usd,
            Test::Hardware(pattern) => facts.hardware_type.is_some_and(|it| pattern.is_match(it)),
            Test::Provider(name) => facts.provider.as_str() == name,
            Test::Below(role) => facts.role < role,
            Test::DailyAbove(jobs) => facts.daily_jobs > jobs,
            Test::First => facts.all_jobs == 0,
            Test::Name(pattern) => facts.config_name.is_some_and(|it| pattern.is_match(it)),
        })
    }

    fn test(&self) -> Result<Test, InvalidRule> {
        let threshold = self.threshold.trim();
        let refuse = |legal| InvalidRule {
            condition: self.condition,
            threshold: self.threshold.clone(),
            legal,
        };
        match self.condition {
            Condition::CostExceeds => match threshold.parse::<f64>() {
                Ok(usd) if usd.is_finite() && usd >= 0.0 => Ok(Test::CostAbove(usd)),
                Ok(_) | Err(_) => Err(refuse("expected an amount in USD, such as 50")),
            },
            Condition::HardwareType => match glob(threshold) {
                Some(pattern) => Ok(Test::Hardware(pattern)),
                None => Err(refuse("expected a pattern, such as h100*")),
            },
            Condition::Provider => Ok(Test::Provider(threshold.to_owned())),
            Condition::UserLevel => match threshold.parse() {
                Ok(role) => Ok(Test::Below(role)),
                Err(_unknown) => Err(refuse("expected viewer, researcher, lead or admin")),
            },
            Condition::DailyJobsExceed => match threshold.parse() {
                Ok(jobs) => Ok(Test::DailyAbove(jobs)),
                Err(_not_a_number) => Err(refuse("expected a number of jobs, such as 10")),
            },
            Condition::FirstJob => Ok(Test::First),
            Condition::ConfigPattern => {
                let pattern = if threshold.starts_with('^') || threshold.ends_with('$') {
                    Regex::new(threshold).ok()
                } else {
                    glob(threshold)
                };
                pattern
                    .map(Test::Name)
                    .ok_or_else(|| refuse("expected a regular expression with ^ or $, or a glob"))
            }
        }
    }
}

/// The first of `rules` that asks for approval; they are in the order in which they are asked.
pub(crate) fn first_match<'a>(
    rules: &'a [Rule],
    facts: &Facts<'_>,
) -> Result<Option<&'a Rule>, InvalidRule> {
    for rule in rules {
        if rule.rule.asks_for(facts)? {
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
mod tests {
    use super::*;

    fn rule(condition: Condition, threshold: &str) -> NewRule {
        NewRule {
            name: "r".into(),
            description: String::new(),
            condition,
            threshold: threshold.into(),
            is_active: true,
            priority: 0,
            applies_to_provider: None,
            applies_to_level: None,
            exempt_levels: Vec::new(),
            required_approver_level: Role::Lead,
            created_by: UserId::new("a"),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn asked(rule: &NewRule, change: impl FnOnce(&mut Facts<'_>)) -> bool {
        let provider = ProviderName::new("replicate");
        let mut facts = Facts {
            estimated_cost: 50.0,
            hardware_type: Some("h100-x2"),
            provider: &provider,
            role: Role::Researcher,
            config_name: Some("lora-big"),
            daily_jobs: 3,
            all_jobs: 3,
        };
        change(&mut facts);
        rule.asks_for(&facts).unwrap()
    }

    #[test]
    fn each_condition_compares_as_documented() {
        let table: [(Condition, &str, bool); 14] = [
            (Condition::CostExceeds, "50", false),
            (Condition::CostExceeds, "49.99", true),
            (Condition::HardwareType, "h100*", true),
            (Condition::HardwareType, "h100", false),
            (Condition::Provider, "replicate", true),
            (Condition::Provider, "local", false),
            (Condition::UserLevel, "lead", true),
            (Condition::UserLevel, "researcher", false),
            (Condition::DailyJobsExceed, "2", true),
            (Condition::DailyJobsExceed, "3", false),
            (Condition::FirstJob, "", false),
            (Condition::ConfigPattern, "lora-?ig", true),
            (Condition::ConfigPattern, "^big", false),
            (Condition::ConfigPattern, "big$", true),
        ];
        for (condition, threshold, expected) in table {
            let got = asked(&rule(condition, threshold), |_| ());
            assert_eq!(got, expected, "{condition} {threshold}");
        }
        assert!(asked(&rule(Condition::FirstJob, ""), |facts| facts.all_jobs = 0));
    }

    #[test]
    fn exemptions_and_restrictions_are_kept() {
        let mut exempt = rule(Condition::CostExceeds, "1");
        exempt.exempt_levels = vec![Role::Researcher];
        assert!(!asked(&exempt, |_| ()));
        let mut elsewhere = rule(Condition::CostExceeds, "1");
        elsewhere.applies_to_provider = Some(ProviderName::new("local"));
        assert!(!asked(&elsewhere, |_| ()));
        let mut off = rule(Condition::CostExceeds, "1");
        off.is_active = false;
        assert!(!asked(&off, |_| ()));
    }

    #[test]
    fn a_threshold_that_does_not_fit_is_refused_with_what_would() {
        for (condition, threshold) in [
            (Condition::CostExceeds, "much"),
            (Condition::CostExceeds, "-1"),
            (Condition::UserLevel, "boss"),
            (Condition::DailyJobsExceed, "-2"),
            (Condition::ConfigPattern, "^("),
        ] {
            let error = rule(condition, threshold).check().unwrap_err();
            assert!(error.to_string().contains(threshold), "{error}");
        }
    }
}
