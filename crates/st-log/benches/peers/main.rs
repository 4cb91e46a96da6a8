//! Compares st-log with similar crates: `cargo bench -p st-log`, optionally with the start of a
//! case's name.
//!
//! A program has only one global subscriber, and scoped ones are slower for all subjects. So each
//! subject runs in a child process, alternating with the others, and the medians over all turns are
//! compared. The cases are in `cases`, the measured crates in `subjects`.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod cases;
mod subjects;

use std::process::Command;

use cases::{CASES, Case};
use subjects::Subject;

/// The number of child processes per subject and case.
const TURNS: usize = 9;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [flag, case, subject] = &args[..]
        && flag == "--run"
    {
        let case = CASES.iter().find(|it| it.name == case).unwrap();
        let subject = case.subjects.iter().find(|it| it.name() == subject).unwrap();
        let Measured { nanoseconds, bytes } = (case.run)(*subject);
        println!("{nanoseconds} {bytes}");
        return;
    }
    println!("nanoseconds per event, medians of {TURNS} turns; st-log is the first of each case\n");
    println!("{:<44} {:>9} {:>7} {:>7} {:>6} {:>6}", "", "ns", "B/event", "ratio", "must", "aim");
    for case in CASES.iter().filter(|it| args.iter().all(|arg| it.name.starts_with(arg.as_str()))) {
        compare(case);
    }
}

/// The result of one turn.
pub(crate) struct Measured {
    pub(crate) nanoseconds: f64,
    pub(crate) bytes: u64,
}

fn compare(case: &Case) {
    let mut turns: Vec<(Vec<f64>, u64)> = case.subjects.iter().map(|_| (Vec::new(), 0)).collect();
    for _ in 0..TURNS {
        for (subject, (all, bytes)) in case.subjects.iter().zip(&mut turns) {
            let measured = turn(case, *subject);
            all.push(measured.nanoseconds);
            *bytes = measured.bytes;
        }
    }
    println!("{}", case.name);
    let mut ours = None;
    for (subject, (mut all, bytes)) in case.subjects.iter().zip(turns) {
        all.sort_by(f64::total_cmp);
        let median = all.get(all.len() / 2).copied().unwrap_or(f64::NAN);
        let (ratio, must, aim) = match ours {
            None => (String::new(), String::new(), String::new()),
            Some(ours) if *subject == case.against => {
                (format!("{:.1}x", median / ours), case.must.to_owned(), case.aim.to_owned())
            }
            Some(ours) => (format!("{:.1}x", median / ours), String::new(), String::new()),
        };
        ours.get_or_insert(median);
        let name = format!("  {}", subject.name());
        println!("{name:<44} {median:>9.1} {bytes:>7} {ratio:>7} {must:>6} {aim:>6}");
    }
}

fn turn(case: &Case, subject: Subject) -> Measured {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--run", case.name, subject.name()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().last().unwrap_or_default();
    let (nanoseconds, bytes) = said.split_once(' ').unwrap();
    Measured { nanoseconds: nanoseconds.parse().unwrap(), bytes: bytes.parse().unwrap() }
}
