//! What st-store does in a second, beside what the disk and bare SQLite do, and how that grows:
//! `cargo bench -p st-store --bench figures -- --full` takes about half an hour and writes
//! `docs/performance/`. Without `--full` everything is a fiftieth of the size, to see that it runs,
//! and is written below the target directory. With `submissions`, `lives`, `history`, `curves` or
//! `apalis` only these are measured, and `docs/performance/` stays. `docs/performance.md` explains the figures.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod bare;
mod curves;
mod history;
mod lives;
mod measure;
mod peer;
mod plot;
#[path = "../claims/queue.rs"]
mod queue;
mod report;
mod submits;
#[path = "../flat/world.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod world;

use std::path::Path;

use report::Report;

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Finished jobs beside which something is measured.
    finished: u32,
    live: u32,
    approvals: u32,
    waiting: u32,
    /// How many jobs are submitted in one turn of a measurement.
    submits: u32,
    /// How many jobs live their whole life.
    lives: u32,
    /// The sizes of the curves.
    sizes: &'static [u32],
}

const FULL: Scale = Scale {
    finished: 1_000_000,
    live: 100_000,
    approvals: 100_000,
    waiting: 200_000,
    submits: 6_400,
    lives: 10_000,
    sizes: &[1_000, 10_000, 100_000, 1_000_000],
};

const QUICK: Scale = Scale {
    finished: 20_000,
    live: 2_000,
    approvals: 2_000,
    waiting: 4_000,
    submits: 640,
    lives: 500,
    sizes: &[200, 2_000, 20_000],
};

fn main() {
    let (flags, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let is_full = flags.iter().any(|flag| flag == "--full");
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let scale = if is_full { FULL } else { QUICK };
    let mut report = Report::new(is_full);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if is_wanted("submissions") {
            report.heading("Submissions");
            submits::measure(scale, &mut report).await;
        }
        if is_wanted("lives") {
            report.heading("Claims and whole lives");
            lives::measure(scale, &mut report).await;
        }
        if is_wanted("history") {
            report.heading("Beside much history and long queues");
            history::measure(scale, &mut report).await;
        }
        if is_wanted("curves") {
            curves::measure(scale, &mut report).await;
        }
    });
    // Building it takes longer than all of a short run.
    if is_full && is_wanted("apalis") {
        report.heading("apalis-sqlite, as durable");
        peer::measure(&mut report);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A part is no page.
    let folder = if is_full && wanted.is_empty() {
        root.join("docs/performance")
    } else {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("performance")
    };
    report.write(&folder);
    println!("\nwritten to {}", folder.display());
}
