//! The benchmark cases.

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use st_log::{InScope as _, LogContext, Logger, get_logger};
use tracing::Instrument as _;

use crate::Measured;
use crate::subjects::{Behind, Subject, bytes_so_far};

const LOG: Logger = get_logger("simpletuner.cloud.jobs");
const JOB: &str = "0198f2c0-7d3e-7c1a-9b1e-2f6f0f3c9a11";

/// A comparison of several subjects in one case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The first one is st-log.
    pub(crate) subjects: &'static [Subject],
    /// The subject to which the factors `must` and `aim` refer.
    pub(crate) against: Subject,
    pub(crate) must: &'static str,
    pub(crate) aim: &'static str,
    pub(crate) run: fn(Subject) -> Measured,
}

const FORMATTERS: &[Subject] = &[Subject::StLog, Subject::TracingJson, Subject::JsonSubscriber];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "message only, to a sink",
        subjects: FORMATTERS,
        against: Subject::TracingJson,
        must: "5x",
        aim: "8x",
        run: message,
    },
    Case {
        name: "scopes: two with five fields, one event field, to a sink",
        subjects: FORMATTERS,
        against: Subject::TracingJson,
        must: "5x",
        aim: "10x",
        run: scopes,
    },
    Case {
        name: "file: the same, one write per event",
        subjects: &[Subject::StLog, Subject::TracingJson, Subject::JsonSubscriber, Subject::Write],
        against: Subject::TracingJson,
        must: "2.5x",
        aim: "4x",
        run: scopes_to_file,
    },
    Case {
        name: "batched: the same, for whoever logs",
        subjects: &[Subject::StLog, Subject::Appender],
        against: Subject::Appender,
        must: "6x",
        aim: "",
        run: scopes_batched,
    },
    Case {
        name: "disabled level",
        subjects: &[Subject::StLog, Subject::Tracing],
        against: Subject::Tracing,
        must: "-1 ns",
        aim: "0 ns",
        run: disabled,
    },
    Case {
        name: "open and close a scope with two fields",
        subjects: FORMATTERS,
        against: Subject::TracingJson,
        must: "3x",
        aim: "5x",
        run: open_and_close,
    },
    Case {
        name: "poll a future in a scope, or instrumented",
        subjects: FORMATTERS,
        against: Subject::TracingJson,
        must: "1x",
        aim: "5 ns",
        run: poll,
    },
    Case {
        name: "threads: scopes and fields as above, wall time per event and thread",
        subjects: &[
            Subject::StLogTwoThreads,
            Subject::StLogOneThread,
            Subject::TracingJsonTwoThreads,
        ],
        against: Subject::StLogOneThread,
        must: "1x",
        aim: "1x",
        run: threads,
    },
];

/// The time of one run of `work` in nanoseconds: the median of several stretches, each long enough
/// for the resolution of the clock.
fn time(mut work: impl FnMut()) -> f64 {
    const STRETCHES: usize = 31;
    let mut count = 1_u32;
    let stretch = loop {
        let began = Instant::now();
        (0..count).for_each(|_| work());
        if began.elapsed() >= Duration::from_millis(4) {
            break count;
        }
        count *= 2;
    };
    let mut all: Vec<f64> = (0..STRETCHES)
        .map(|_| {
            let began = Instant::now();
            (0..stretch).for_each(|_| work());
            began.elapsed().as_secs_f64() * 1e9 / f64::from(stretch)
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all.get(STRETCHES / 2).copied().unwrap_or(f64::NAN)
}

fn events(mut event: impl FnMut()) -> Measured {
    event();
    let before = bytes_so_far();
    event();
    let bytes = bytes_so_far() - before;
    Measured { nanoseconds: time(event), bytes }
}

fn message(subject: Subject) -> Measured {
    subject.to_sink();
    if subject.is_ours() {
        return events(|| st_log::info!(logger: LOG, "Job submitted successfully"));
    }
    events(|| tracing::info!(target: "simpletuner.cloud.jobs", "Job submitted successfully"))
}

/// Runs `work` with an event within two scopes, or two spans for other subjects.
fn in_scopes<R>(subject: Subject, work: impl FnOnce(fn()) -> R) -> R {
    if subject.is_ours() {
        let outer = LogContext::new().field("job_id", JOB).field("provider", "replicate");
        let _outer = outer.field("attempt", 2).enter();
        let _inner = LogContext::new().field("step", "submission").field("user_id", "ann").enter();
        return work(|| {
            st_log::info!(logger: LOG, cost_estimate = black_box(2.5), "Job submitted successfully");
        });
    }
    let outer = tracing::info_span!("job", job_id = JOB, provider = "replicate", attempt = 2);
    let _outer = outer.entered();
    let _inner = tracing::info_span!("step", step = "submission", user_id = "ann").entered();
    work(|| {
        tracing::info!(
            target: "simpletuner.cloud.jobs", cost_estimate = black_box(2.5),
            "Job submitted successfully"
        );
    })
}

fn scopes(subject: Subject) -> Measured {
    subject.to_sink();
    in_scopes(subject, events)
}

/// A temporary file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("st-log-bench-{}.log", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn len(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |it| it.len())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn scopes_to_file(subject: Subject) -> Measured {
    let file = Scratch::new();
    if subject == Subject::Write {
        let mut out = fs::OpenOptions::new().append(true).create(true).open(&file.0).unwrap();
        let line = [b'x'; 402];
        return Measured { nanoseconds: time(|| out.write_all(&line).unwrap()), bytes: 402 };
    }
    let _log = subject.to_file(&file.0);
    in_scopes(subject, |event| {
        event();
        let bytes = file.len();
        Measured { nanoseconds: time(event), bytes }
    })
}

/// Bursts that fit into every buffer, with time between them to write the lines.
fn scopes_batched(subject: Subject) -> Measured {
    const BURST: u32 = 8_000;
    const BURSTS: usize = 15;
    let file = Scratch::new();
    let behind = subject.batched(&file.0);
    let written_down = |expected: u64| {
        if let Behind::Ours(log) = &behind {
            log.flush(Duration::from_secs(10));
        }
        while file.len() < expected {
            std::thread::yield_now();
        }
    };
    in_scopes(subject, |event| {
        event();
        written_down(1);
        let bytes = file.len();
        let mut expected = bytes;
        let mut all: Vec<f64> = (0..BURSTS)
            .map(|_| {
                let began = Instant::now();
                (0..BURST).for_each(|_| event());
                let nanoseconds = began.elapsed().as_secs_f64() * 1e9 / f64::from(BURST);
                expected += bytes * u64::from(BURST);
                written_down(expected);
                nanoseconds
            })
            .collect();
        all.sort_by(f64::total_cmp);
        let nanoseconds = all.get(BURSTS / 2).copied().unwrap_or(f64::NAN);
        Measured { nanoseconds, bytes }
    })
}

fn disabled(subject: Subject) -> Measured {
    subject.to_sink();
    let nanoseconds = if subject.is_ours() {
        time(|| st_log::debug!(logger: LOG, cost_estimate = black_box(2.5), "Not to be seen"))
    } else {
        time(|| tracing::debug!(cost_estimate = black_box(2.5), "Not to be seen"))
    };
    Measured { nanoseconds, bytes: 0 }
}

fn open_and_close(subject: Subject) -> Measured {
    subject.to_sink();
    let nanoseconds = if subject.is_ours() {
        time(|| {
            let context = LogContext::new().field("job_id", JOB).field("attempt", black_box(2));
            drop(black_box(context.enter()));
        })
    } else {
        time(|| {
            let span = tracing::info_span!("job", job_id = JOB, attempt = black_box(2));
            drop(black_box(span.entered()));
        })
    };
    Measured { nanoseconds, bytes: 0 }
}

/// A future that does nothing when it is polled.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        black_box(Poll::Pending)
    }
}

fn poll(subject: Subject) -> Measured {
    subject.to_sink();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // In a task, because that is where futures are usually polled.
    let nanoseconds = runtime.block_on(async move {
        let polls = async move {
            let mut cx = Context::from_waker(Waker::noop());
            if subject.is_ours() {
                let id = st_log::CorrelationId::generate();
                let mut future = pin!(Never.with_correlation_id(id));
                return time(|| assert!(black_box(future.as_mut().poll(&mut cx)).is_pending()));
            }
            let span = tracing::info_span!("job", job_id = JOB, attempt = 2);
            let mut future = pin!(Never.instrument(span));
            time(|| assert!(black_box(future.as_mut().poll(&mut cx)).is_pending()))
        };
        st_log::spawn(polls).await.unwrap()
    });
    Measured { nanoseconds, bytes: 0 }
}

fn threads(subject: Subject) -> Measured {
    subject.to_sink();
    let threads = subject.threads();
    let start = Barrier::new(threads);
    let all: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    in_scopes(subject, time)
                })
            })
            .collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let nanoseconds = all.iter().copied().fold(0.0, f64::max);
    Measured { nanoseconds, bytes: 0 }
}
