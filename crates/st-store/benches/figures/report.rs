//! What was measured: printed at once, and written as a table, as data and as plots.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::plot;

pub(crate) struct Report {
    is_full: bool,
    parts: Vec<Part>,
    /// Milliseconds by size, for each call.
    curves: BTreeMap<String, Vec<(u32, f64)>>,
    notes: Vec<String>,
}

struct Part {
    heading: String,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    must: &'static str,
}

impl Report {
    pub(crate) fn new(is_full: bool) -> Self {
        Self { is_full, parts: Vec::new(), curves: BTreeMap::new(), notes: Vec::new() }
    }

    pub(crate) fn heading(&mut self, heading: &str) {
        println!("\n{heading}");
        self.parts.push(Part { heading: heading.to_owned(), rows: Vec::new() });
    }

    /// `must`: what it has to be, at least or at most.
    pub(crate) fn add(&mut self, what: &str, value: f64, unit: &'static str, must: &'static str) {
        println!("{what:<56}{:>12} {unit:<6} {must}", figure(value));
        let row = Row { what: what.to_owned(), value, unit, must };
        self.parts.last_mut().unwrap().rows.push(row);
    }

    pub(crate) fn point(&mut self, call: &str, size: u32, took: f64) {
        println!("{:<56}{:>12} ms", format!("{call}, {size}"), figure(took));
        self.curves.entry(call.to_owned()).or_default().push((size, took));
    }

    pub(crate) fn note(&mut self, note: &str) {
        println!("{note}");
        self.notes.push(note.to_owned());
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("results.md", self.table());
        write("results.json", format!("{:#}\n", self.data()));
        let of = |part: &str| -> Vec<(&str, &[(u32, f64)])> {
            let curves = self.curves.iter().filter(|(call, _)| call.contains(part));
            curves.map(|(call, points)| (call.as_str(), points.as_slice())).collect()
        };
        let steps: Vec<_> = of("claim").into_iter().chain(of("submit")).collect();
        write("steps.svg", plot::growth("Steps, one at a time", "jobs beside it", &steps));
        let reads: Vec<_> =
            ["list", "position", "statistics", "facts"].into_iter().flat_map(of).collect();
        write("reads.svg", plot::growth("Reads", "jobs stored", &reads));
    }

    fn table(&self) -> String {
        let mut text =
            "<!-- Written by `cargo bench -p st-store --bench figures -- --full`. -->\n".to_owned();
        writeln!(text, "# Results\n\n{}.", machine()).unwrap();
        if !self.is_full {
            writeln!(text, "\nA short run, to see that it runs: not for comparing.").unwrap();
        }
        for Part { heading, rows } in self.parts.iter().filter(|part| !part.rows.is_empty()) {
            writeln!(text, "\n## {heading}\n\n| what | figure | must |\n|---|---|---|").unwrap();
            for Row { what, value, unit, must } in rows {
                let what = what.replacen("  ", "&nbsp;&nbsp;", 1);
                writeln!(text, "| {what} | {} {unit} | {must} |", figure(*value)).unwrap();
            }
        }
        writeln!(text, "\n## Growth\n\nMedians in milliseconds.\n").unwrap();
        let sizes: Vec<u32> =
            self.curves.values().next().into_iter().flatten().map(|(size, _)| *size).collect();
        let columns: Vec<String> = sizes.iter().map(u32::to_string).collect();
        writeln!(text, "| call | {} |", columns.join(" | ")).unwrap();
        writeln!(text, "|---|{}", "---|".repeat(sizes.len())).unwrap();
        for (call, points) in &self.curves {
            let points: Vec<String> = points.iter().map(|(_, took)| figure(*took)).collect();
            writeln!(text, "| {call} | {} |", points.join(" | ")).unwrap();
        }
        for note in &self.notes {
            writeln!(text, "\n{note}").unwrap();
        }
        text
    }

    fn data(&self) -> serde_json::Value {
        let rows = self.parts.iter().flat_map(|part| {
            let of_part = part.rows.iter();
            of_part.map(|row| {
                json!({
                    "part": part.heading, "what": row.what.trim(), "value": row.value,
                    "unit": row.unit, "must": row.must,
                })
            })
        });
        let rows: Vec<_> = rows.collect();
        json!({"machine": machine(), "full": self.is_full, "rows": rows, "curves": self.curves})
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        it if it >= 1.0 || it == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What it was measured on.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .filter_map(|line| line.split_once(": "))
        .map(|(_, model)| model)
        .collect();
    let kernel = Command::new("uname").arg("-sr").output().map(|it| it.stdout).unwrap_or_default();
    format!(
        "{} processors ({}), {}",
        models.len(),
        models.first().unwrap_or(&"unknown"),
        String::from_utf8_lossy(&kernel).trim()
    )
}
