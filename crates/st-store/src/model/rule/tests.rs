//! Rules: each condition at its boundaries, globs against a matcher of their own, and patterns that
//! are meant to be slow.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

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
    }
}

fn required(rule: &NewRule, change: impl FnOnce(&mut RuleInput<'_>)) -> bool {
    let provider = ProviderName::new("replicate");
    let mut input = RuleInput {
        estimated_cost: 50.0,
        hardware_type: Some("h100-x2"),
        provider: &provider,
        role: Role::Researcher,
        config_name: Some("lora-big"),
        jobs: JobCounts { today: 3, all: 3 },
    };
    change(&mut input);
    rule.requires_approval(&input).unwrap()
}

/// Whether a name matches a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let provider = ProviderName::new("replicate");
    let input = RuleInput {
        estimated_cost: 0.0,
        hardware_type: None,
        provider: &provider,
        role: Role::Researcher,
        config_name: Some(name),
        jobs: JobCounts::default(),
    };
    rule(Condition::ConfigPattern, pattern).requires_approval(&input).unwrap()
}

/// Whether hardware matches a glob.
fn has(pattern: &str, hardware: &str) -> bool {
    let provider = ProviderName::new("replicate");
    let input = RuleInput {
        estimated_cost: 0.0,
        hardware_type: Some(hardware),
        provider: &provider,
        role: Role::Researcher,
        config_name: None,
        jobs: JobCounts::default(),
    };
    rule(Condition::HardwareType, pattern).requires_approval(&input).unwrap()
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
        let got = required(&rule(condition, threshold), |_| ());
        assert_eq!(got, expected, "{condition} {threshold}");
    }
    assert!(required(&rule(Condition::FirstJob, ""), |input| input.jobs.all = 0));
}

#[test]
fn a_cost_is_above_the_threshold_or_not() {
    let above = |usd, cost| {
        required(&rule(Condition::CostExceeds, usd), |input| input.estimated_cost = cost)
    };
    assert_eq!((above("0", 0.0), above("0", f64::MIN_POSITIVE)), (false, true));
    assert_eq!((above("-0", 0.0), above("0", -0.0)), (false, false));
    assert_eq!((above("0.1", 0.1), above("0.1", 0.100_000_000_000_000_02)), (false, true));
    assert_eq!((above(" 1e3\n", 1000.0), above(" 1e3\n", 1000.5)), (false, true));
    assert_eq!((above("+5", 5.0), above("+5", 5.01)), (false, true));
    let largest = f64::MAX.to_string();
    assert!(!above(&largest, f64::MAX), "nothing is above it");
}

#[test]
fn a_role_is_below_the_threshold_or_not() {
    let mut table = Vec::new();
    for &threshold in Role::ALL {
        let below = rule(Condition::UserLevel, threshold.as_str());
        let roles = Role::ALL.iter().filter(|&&role| required(&below, |input| input.role = role));
        let roles: Vec<_> = roles.map(|role| role.as_str()).collect();
        table.push(format!("{threshold}: {}", roles.join(" ")));
    }
    let expected = [
        "viewer: ",
        "researcher: viewer",
        "lead: viewer researcher",
        "admin: viewer researcher lead",
    ];
    assert_eq!(table, expected);
}

#[test]
fn a_count_of_jobs_is_above_the_threshold_or_not() {
    let above = |jobs: &str, today| {
        // The count of all jobs says nothing about a day.
        let counts = JobCounts { today, all: u64::MAX };
        required(&rule(Condition::DailyJobsExceed, jobs), |input| input.jobs = counts)
    };
    assert_eq!((above("0", 0), above("0", 1)), (false, true));
    assert_eq!((above(" 10 ", 10), above(" 10 ", 11)), (false, true));
    assert!(!above("18446744073709551615", u64::MAX), "nothing is above it");
    let first = |all| {
        let counts = JobCounts { today: 0, all };
        required(&rule(Condition::FirstJob, "not used"), |input| input.jobs = counts)
    };
    assert_eq!((first(0), first(1)), (true, false), "older jobs count as well");
}

#[test]
fn what_a_job_does_not_say_matches_no_pattern() {
    for (condition, threshold) in [
        (Condition::HardwareType, "*"),
        (Condition::ConfigPattern, "*"),
        (Condition::ConfigPattern, "^"),
        (Condition::ConfigPattern, "$"),
    ] {
        let rule = rule(condition, threshold);
        let unsaid = |input: &mut RuleInput<'_>| {
            (input.hardware_type, input.config_name) = (None, None);
        };
        assert!(!required(&rule, unsaid), "{condition} {threshold}");
        let empty = |input: &mut RuleInput<'_>| {
            (input.hardware_type, input.config_name) = (Some(""), Some(""));
        };
        assert!(required(&rule, empty), "{condition} {threshold}");
    }
}

#[test]
fn a_provider_is_the_threshold_to_the_letter() {
    let is = |threshold| required(&rule(Condition::Provider, threshold), |_| ());
    assert_eq!((is("replicate"), is(" replicate ")), (true, true));
    assert_eq!(
        (is("Replicate"), is("replicat"), is("replicate2"), is("repl*")),
        (false, false, false, false)
    );
}

#[test]
fn exemptions_and_restrictions_are_kept() {
    let restricted = |provider: Option<&str>, level, exempt: &[Role], active| {
        let rule = NewRule {
            applies_to_provider: provider.map(ProviderName::new),
            applies_to_level: level,
            exempt_levels: exempt.to_vec(),
            is_active: active,
            ..rule(Condition::CostExceeds, "1")
        };
        let applies = |&&role: &&Role| required(&rule, |input| input.role = role);
        let roles: Vec<_> = Role::ALL.iter().filter(applies).map(|role| role.as_str()).collect();
        roles.join(" ")
    };
    let (lead, all) = (Some(Role::Lead), "viewer researcher lead admin");
    assert_eq!(restricted(None, None, &[], true), all);
    assert_eq!(restricted(None, None, &[], false), "", "an inactive rule");
    assert_eq!(restricted(Some("replicate"), None, &[], true), all);
    assert_eq!(restricted(Some("local"), None, &[], true), "");
    assert_eq!(restricted(None, lead, &[], true), "lead", "only that role, not those above it");
    assert_eq!(restricted(None, lead, &[Role::Lead], true), "", "an exemption comes first");
    assert_eq!(restricted(None, lead, &[Role::Admin], true), "lead");
    assert_eq!(restricted(None, None, &[Role::Lead, Role::Admin], true), "viewer researcher");
    assert_eq!(restricted(None, None, Role::ALL, true), "");
}

#[test]
fn a_threshold_that_does_not_fit_is_refused_with_what_would() {
    let table: [(Condition, &[&str], &str); 5] = [
        (
            Condition::CostExceeds,
            &["much", "-1", "", "inf", "-inf", "NaN", "1e999", "5 USD", "1,5"],
            "expected an amount in USD, such as 50",
        ),
        (
            Condition::UserLevel,
            &["boss", "", "Lead", "leads", "1"],
            "expected viewer, researcher, lead or admin",
        ),
        (
            Condition::DailyJobsExceed,
            &["-2", "", "1.5", "many", "18446744073709551616"],
            "expected a number of jobs, such as 10",
        ),
        (Condition::HardwareType, &["", "  "], "expected a pattern, such as h100*"),
        (
            Condition::ConfigPattern,
            &["^(", "[$", "", " \t", "^a{2,1}", "(?<n>a)(?<n>b)$"],
            "expected a regular expression with ^ or $, or a glob",
        ),
    ];
    for (condition, thresholds, legal) in table {
        for &threshold in thresholds {
            let refused = rule(condition, threshold).check();
            let threshold = threshold.to_owned();
            assert_eq!(refused, Err(InvalidRule::Threshold { condition, threshold, legal }));
        }
    }
    let refused = rule(Condition::CostExceeds, "much").check().unwrap_err();
    let said =
        "threshold \"much\" does not fit cost_exceeds: expected an amount in USD, such as 50";
    assert_eq!(refused.to_string(), said);
}

#[test]
fn nul_is_refused_in_each_text_of_a_rule_by_its_name() {
    type Set = fn(&mut NewRule, String);
    let table: [(&str, Set); 5] = [
        ("name", |rule, text| rule.name = text),
        ("description", |rule, text| rule.description = text),
        ("threshold", |rule, text| rule.threshold = text),
        ("applies_to_provider", |rule, text| {
            rule.applies_to_provider = Some(ProviderName::new(text));
        }),
        ("created_by", |rule, text| rule.created_by = UserId::new(text)),
    ];
    for (field, set) in table {
        let mut rule = rule(Condition::FirstJob, "");
        set(&mut rule, "a\0".to_owned());
        assert_eq!(rule.check(), Err(InvalidRule::Text(InvalidText { field })));
        set(&mut rule, "a\u{1}☃".to_owned());
        assert_eq!(rule.check(), Ok(()), "{field}");
    }
}

#[test]
fn in_a_glob_only_two_characters_are_special() {
    let special = r"\.+()|[]{}^#&-~ /$%!@,:;<>='`_";
    for char in special.chars().filter(|char| !char.is_whitespace()) {
        let pattern = format!("a{char}z");
        assert!(has(&pattern, &pattern), "{pattern}");
        for other in ["az", "aaz", "a", "z", "aXz", "a\\z", ""] {
            assert!(other == pattern || !has(&pattern, other), "{pattern} {other}");
        }
        assert!(has(&format!("*{char}?"), &format!("any{char}z")), "{char}");
    }
    assert_eq!((has("a?c", "abc"), has("a?c", "ac"), has("a?c", "abbc")), (true, false, false));
    assert_eq!((has("a*c", "ac"), has("a*c", "a\nb\nc"), has("a*c", "ac\n")), (true, true, false));
    assert_eq!(
        (has("?", "☃"), has("?", "\n"), has("??", "𝄞"), has("h*", "H1")),
        (true, true, false, false)
    );
    assert_eq!((has("^h100", "h100"), has("^h100", "^h100")), (false, true), "no anchor here");
}

#[test]
fn a_name_is_matched_by_a_regular_expression_only_with_an_anchor() {
    for (pattern, name, expected) in [
        ("^lora", "lora-big", true),
        ("^lora", "my-lora", false),
        ("lora$", "my-lora", true),
        ("lora$", "lora-big", false),
        ("^lora$", "lora", true),
        ("^lora$", "lora\n", false),
        ("^l.ra", "lxra-big", true),
        ("l.ra", "lxra", false),
        ("l.ra", "l.ra", true),
        ("lora", "lora-big", false),
        (" ^lora ", "lora-big", true),
        ("^(?i)LORA", "lora-big", true),
        ("^a|b$", "xb", true),
        ("^\\d+$", "12", true),
        ("^[^a]$", "b", true),
        // An escaped dollar at the end: still a regular expression.
        ("cost\\$", "cost", false),
        ("cost\\$", "cost$", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_pattern_that_is_slow_to_match_elsewhere_takes_no_longer_than_the_name_is_long() {
    // Where a matcher goes back and tries again, these need longer than the universe exists.
    let name = "a".repeat(2000);
    for pattern in ["^(a+)+b$", "^(a|aa)+b$", "^(a?){30}a{30}b$", "(x+x+)+y$"] {
        assert!(!matches(pattern, &name), "{pattern}");
    }
    let stars = "*a".repeat(30);
    assert!(has(&stars, &name));
    assert!(!has(&format!("{stars}*b"), &name));
    assert!(has(&format!("{}?", "*?".repeat(30)), &name));
}

#[test]
fn a_pattern_that_is_too_large_is_refused_and_a_long_one_matches() {
    for pattern in [
        "^a{1000}{1000}{1000}",
        &format!("^{}", "(".repeat(100_000)),
        &format!("^{}", "[".repeat(999)),
    ] {
        assert!(rule(Condition::ConfigPattern, pattern).check().is_err(), "{pattern:.20}");
    }
    let long = "a.".repeat(500);
    assert_eq!((has(&long, &long), has(&long, long.trim_end_matches('.'))), (true, false));
    let huge = "a".repeat(4_000_000);
    let refused = InvalidRule::Threshold {
        condition: Condition::HardwareType,
        threshold: huge.clone(),
        legal: "expected a pattern, such as h100*",
    };
    assert_eq!(rule(Condition::HardwareType, &huge).check(), Err(refused));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let stored = |id, threshold| Rule {
        id: RuleId(id),
        rule: rule(Condition::CostExceeds, threshold),
        created_at: Timestamp::UNIX_EPOCH,
    };
    let rules = [stored(7, "100"), stored(3, "40"), stored(1, "10")];
    let provider = ProviderName::new("fake");
    let first = |cost| {
        let input = RuleInput {
            estimated_cost: cost,
            hardware_type: None,
            provider: &provider,
            role: Role::Viewer,
            config_name: None,
            jobs: JobCounts::default(),
        };
        first_match(&rules, &input).unwrap().map(|rule| rule.id.0)
    };
    assert_eq!([200.0, 50.0, 20.0, 10.0].map(first), [Some(7), Some(3), Some(1), None]);
}

/// Whether a text matches a glob, one character after the other.
fn glob_matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((&'*', after)), None) => glob_matches(after, text),
        (Some((&'*', after)), Some((_, rest))) => {
            glob_matches(after, text) || glob_matches(pattern, rest)
        }
        (Some((&'?', after)), Some((_, rest))) => glob_matches(after, rest),
        (Some((wanted, after)), Some((found, rest))) => {
            wanted == found && glob_matches(after, rest)
        }
        (Some(_), None) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_glob_matches_as_when_it_is_read_by_character(
        pattern in "[ab.*?\\\\\\[]{1,8}",
        text in "[ab.\\\\\\[\n]{0,8}",
    ) {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = glob_matches(&chars(&pattern), &chars(&text));
        prop_assert_eq!(has(&pattern, &text), expected);
        prop_assert_eq!(matches(&pattern, &text), expected, "without an anchor");
    }

    #[test]
    fn no_threshold_does_more_than_fit_or_be_refused(threshold in "\\PC{0,20}", name in "\\PC{0,20}") {
        for &condition in Condition::ALL {
            let rule = rule(condition, &threshold);
            let input = NewRule::check(&rule).map(|()| required(&rule, |_| ()));
            if let Err(refused) = input {
                prop_assert!(refused.to_string().contains("expected"), "{refused}");
            }
        }
        let plain = threshold.trim();
        if !plain.is_empty() && !plain.contains(['*', '?']) {
            prop_assert_eq!(has(plain, &name), plain == name);
            prop_assert!(has(plain, plain), "what is not special matches itself");
        }
    }
}
