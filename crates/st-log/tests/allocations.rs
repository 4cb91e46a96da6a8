//! A line allocates nothing after the first ones of its thread.
//!
//! The writes to a file and to stdout are included, so the measurement runs in a child process
//! whose stdout is discarded.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Waker};

use st_log::{CorrelationId, InScope as _, LogContext, Settings};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
const FILE: &str = "ST_LOG_TEST_FILE";
const RECORDS: u64 = 500;

/// The allocations of many runs of `work`, after a warm-up.
fn allocations_of(mut work: impl FnMut()) -> u64 {
    for _ in 0..3 {
        work();
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..RECORDS {
            work();
        }
    });
    counted.count_total
}

fn five_fields() {
    st_log::info!(
        logger: LOG, number = black_box(-1_i64), count = 2_usize, ratio = 0.25, done = true,
        name = black_box("xyz789"), "Five fields"
    );
}

fn within_two_contexts() -> u64 {
    let _outer = LogContext::new().field("job_id", "xyz789").field("step", 1).enter();
    let _inner = LogContext::new().field("step", 2).field("provider", "replicate").enter();
    st_log::set_correlation_id(CorrelationId::parse("abc123").unwrap());
    allocations_of(five_fields)
}

fn with_a_secret() -> u64 {
    let _context = LogContext::new().field("api_token", "hidden").field("job_id", 1).enter();
    allocations_of(|| st_log::info!(logger: LOG, password = "hidden", "Secrets"))
}

fn polls() -> u64 {
    let work = std::future::poll_fn(|_| {
        st_log::info!(logger: LOG, "Polled");
        std::task::Poll::<()>::Pending
    });
    let work = work.in_context(LogContext::new().field("job_id", "xyz789"));
    let id = CorrelationId::parse("an-id-that-is-too-long-to-be-copied").unwrap();
    let mut work = pin!(work.with_correlation_id(id));
    let mut cx = Context::from_waker(Waker::noop());
    allocations_of(|| assert!(work.as_mut().poll(&mut cx).is_pending()))
}

fn measure_all(file: &Path) {
    let settings = Settings { file: Some(file.to_owned()), ..Settings::default() };
    let log = st_log::init(&settings).unwrap();
    let number = black_box(4711);
    let found = [
        ("message", allocations_of(|| st_log::info!(logger: LOG, "Message"))),
        ("format", allocations_of(|| st_log::info!(logger: LOG, "Order {number} of {:>9}", "x"))),
        ("five fields", allocations_of(five_fields)),
        ("two contexts", within_two_contexts()),
        ("tracing", allocations_of(|| tracing::info!(number, name = "xyz789", "Plain"))),
        ("disabled", allocations_of(|| st_log::debug!(logger: LOG, text = "x".repeat(9), "Off"))),
        ("poll", polls()),
        ("secrets", with_a_secret()),
        ("get ID", allocations_of(|| drop(st_log::get_correlation_id()))),
        ("Display", allocations_of(|| st_log::info!(logger: LOG, value = %number, "Display"))),
    ];
    let expected = found.map(|(what, _)| (what, 0));
    assert_eq!(found, expected, "in {RECORDS} records");
    // Check that all lines were in fact logged.
    assert_eq!(log.dropped_lines(), 0);
    let lines = std::fs::read_to_string(file).unwrap().lines().count();
    assert_eq!(u64::try_from(lines).unwrap(), 8 * (RECORDS + 3));
}

/// Not a test by itself: the body of the child process.
#[test]
fn program() {
    if let Some(file) = std::env::var_os(FILE) {
        measure_all(Path::new(&file));
    }
}

#[test]
fn a_line_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "program", "--nocapture", "--test-threads=1"]);
    program.env(FILE, dir.path().join("cloud.log")).stdout(Stdio::null());
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Prints many pieces, which together exceed the limit of a text by far.
struct Endless;

impl std::fmt::Display for Endless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (0..5_000).try_for_each(|_| f.write_str(PIECE))
    }
}

const PIECE: &str = match str::from_utf8(&[b'x'; 10_000]) {
    Ok(piece) => piece,
    Err(_) => "",
};

#[test]
fn a_text_without_end_takes_little_memory_and_gives_it_back() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let layer = st_log::layer(&Settings::default(), |line| {
        assert!(line.len() <= Settings::default().max_record_bytes);
    });
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let say =
            |text: &dyn std::fmt::Display| st_log::info!(logger: LOG, value = %text, "{text}");
        say(&"small");
        let counted = allocation_counter::measure(|| {
            say(&Endless);
            say(&"small");
        });
        // Two texts of a megabyte, in buffers that grow by doubling, and the truncated line.
        assert!(counted.bytes_max < 12 << 20, "{counted:?}");
        assert!(counted.bytes_current < 512 << 10, "{counted:?}");
    });
}
