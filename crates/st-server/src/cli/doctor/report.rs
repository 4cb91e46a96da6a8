//! All findings, for a person in a terminal of 80 columns, and for a program.

use serde_json::{Value, json};

use super::finding::{Finding, Level};

/// The width that is written for.
const COLUMNS: usize = 80;
/// Where the text of a finding begins: behind its level and its subject.
const INDENT: usize = 24;

/// All findings, in the order in which they were made.
#[derive(Debug)]
pub(super) struct Report {
    /// The server that was asked; `None` where the configuration does not say which.
    pub(super) url: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// The level of the worst finding.
    pub(super) fn worst(&self) -> Level {
        self.findings.iter().map(Finding::level).max().unwrap_or(Level::Ok)
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|it| it.level() == level).count()
    }

    /// The report for people, wrapped at 80 columns.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let head = format!("{:<9}{:<15}", finding.level(), finding.subject.as_str());
            paragraph(&mut text, &head, &plain(&finding.found));
            if let Some(remedy) = finding.remedy() {
                let arrow = format!("{:>width$}", "-> ", width = INDENT);
                paragraph(&mut text, &arrow, &plain(remedy));
            }
        }
        text.push('\n');
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let (failed, warnings) = (self.count(Level::Failed), self.count(Level::Warning));
        let checks = self.findings.len();
        let url = self.url.as_deref().unwrap_or("the configuration");
        if failed + warnings == 0 {
            return format!("{checks} checks of {url}: nothing is wrong\n");
        }
        let plural = if warnings == 1 { "" } else { "s" };
        format!("{checks} checks of {url}: {failed} failed, {warnings} warning{plural}\n")
    }

    /// For a program.
    pub(super) fn json(&self) -> String {
        let finding = |it: &Finding| {
            json!({
                "check": it.subject.as_str(),
                "level": it.level().as_str(),
                "found": plain(&it.found),
                "remedy": it.remedy().map(plain),
            })
        };
        let findings: Vec<Value> = self.findings.iter().map(finding).collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "url": self.url,
            "level": self.worst().as_str(),
            "failed": self.count(Level::Failed),
            "warnings": self.count(Level::Warning),
            "findings": findings,
        });
        format!("{report:#}\n")
    }
}

/// Without control characters: what other programs said must not steer a terminal, nor by way of `jq -r`.
fn plain(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// Appends text behind a head, broken between words. A word that is longer than a line stays whole, so
/// that it can be copied.
fn paragraph(text: &mut String, head: &str, words: &str) {
    text.push_str(head);
    let mut column = head.chars().count();
    let mut is_first = true;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        if !is_first && column + 1 + width > COLUMNS {
            text.push('\n');
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        } else if !is_first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
        is_first = false;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::finding::Subject;
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { url: Some("http://127.0.0.1:8001".to_owned()), findings }
    }

    #[test]
    fn lines_fit_a_terminal_and_a_remedy_stands_below_what_was_found() {
        let long = "the disk of the state directory has 10.0 MiB left, which is 0.1 % of it, and a \
                    full disk accepts nothing";
        let text = report(vec![
            Finding::ok(Subject::Configuration, "is valid"),
            Finding::failed(Subject::DiskSpace, long, "Make room."),
        ])
        .text();
        let expected = "\
ok       configuration  is valid
failed   disk_space     the disk of the state directory has 10.0 MiB left, which
                        is 0.1 % of it, and a full disk accepts nothing
                     -> Make room.

2 checks of http://127.0.0.1:8001: 1 failed, 0 warnings
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn what_others_said_cannot_steer_the_terminal() {
        let text = report(vec![Finding::ok(Subject::Provider, "said \u{1b}[2J\nnothing")]).text();
        assert!(text.starts_with("ok       provider       said [2J nothing\n"), "{text:?}");
        let json =
            report(vec![Finding::warning(Subject::Provider, "\u{1b}[2J", "\u{9b}2J")]).json();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["findings"][0]["found"], &json["findings"][0]["remedy"]),
            (&json!(" [2J"), &json!(" 2J"))
        );
    }

    #[test]
    fn a_program_reads_the_level_of_the_worst_and_of_each() {
        let all = report(vec![
            Finding::ok(Subject::Queue, "is processed"),
            Finding::warning(Subject::LogFormat, "the log is text", "Set it to json."),
        ]);
        let json: Value = serde_json::from_str(&all.json()).unwrap();
        assert_eq!((&json["level"], &json["failed"]), (&json!("warning"), &json!(0)));
        assert_eq!(json["findings"][0]["remedy"], Value::Null);
        let second = json!({
            "check": "log_format", "level": "warning",
            "found": "the log is text", "remedy": "Set it to json.",
        });
        assert_eq!(json["findings"][1], second);
        assert_eq!(report(Vec::new()).worst(), Level::Ok);
    }
}
