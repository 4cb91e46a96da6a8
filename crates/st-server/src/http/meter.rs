//! How many requests there were, how they were answered, and after which time: by operation and never by
//! path, so that no client can make the server remember more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use st_api::operation::About;
use st_api::problem::Code;
use st_store::{Scale, TimingCounts, Timings};

tokio::task_local! {
    /// The operation that the request of this task was found to be.
    static OPERATION: Operation;
}

/// The classes of a status, and the word for what was not answered.
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", CANCELLED];
/// What becomes of a request whose connection ends before the answer.
const CANCELLED: &str = "cancelled";
const SERVER_ERRORS: usize = 4;

/// Which operation a request is, once that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Operation(Arc<OnceLock<&'static str>>);

impl Operation {
    /// `None` where the request came to none.
    pub(super) fn get(&self) -> Option<&'static str> {
        self.0.get().copied()
    }

    /// Answers a request, and finds out meanwhile which operation it is.
    pub(super) async fn of<T>(&self, answer: impl Future<Output = T>) -> T {
        OPERATION.scope(self.clone(), answer).await
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With this status, and the problem that was answered.
    Answered(u16, Option<Code>),
    /// Before the answer: its connection ended.
    Cancelled,
}

impl Ending {
    fn class(self) -> Option<usize> {
        match self {
            Self::Answered(status, _) => usize::from(status / 100).checked_sub(1),
            Self::Cancelled => CLASSES.iter().position(|class| *class == CANCELLED),
        }
    }
}

/// Notes which operation the request of this task is.
pub(crate) fn note_operation(operation: &'static str) {
    // Outside of the middleware nothing is measured.
    let note = |noted: &Operation| {
        noted.0.get_or_init(|| operation);
    };
    OPERATION.try_with(note).unwrap_or_default();
}

/// The numbers of all requests.
#[derive(Debug)]
pub(crate) struct Meter {
    operations: BTreeMap<&'static str, Measured>,
    /// What came to no operation: files of the page, unknown paths, and what was refused before.
    none: Measured,
    problems: BTreeMap<Code, AtomicU64>,
}

#[derive(Debug)]
struct Measured {
    method: &'static str,
    path: &'static str,
    /// Most classes are never seen: each has its numbers from its first request on.
    classes: [OnceLock<Box<Timings>>; CLASSES.len()],
    throttled: AtomicU64,
}

impl Measured {
    fn new(method: &'static str, path: &'static str) -> Self {
        Self { method, path, classes: Default::default(), throttled: AtomicU64::new(0) }
    }
}

/// The requests of one operation whose answers had a status of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requests {
    /// The operation; `none` for those that came to none.
    pub(crate) operation: &'static str,
    pub(crate) method: &'static str,
    /// The path, with braces around what is named in it.
    pub(crate) path: &'static str,
    /// The class of the status, such as `2xx`.
    pub(crate) class: &'static str,
    /// From the end of the request's head to that of the answer's.
    pub(crate) took: TimingCounts,
}

/// How many requests of an operation were refused because there were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) requests: u64,
}

fn timings() -> Box<Timings> {
    Box::new(Timings::new(Scale::Calls))
}

impl Meter {
    /// For these operations.
    pub(crate) fn of<'a>(operations: impl Iterator<Item = &'a About>) -> Self {
        let measured = |about: &About| (about.id, Measured::new(about.method.as_str(), about.path));
        Self {
            operations: operations.map(measured).collect(),
            none: Measured::new("any", "none"),
            problems: Code::ALL.iter().map(|code| (*code, AtomicU64::new(0))).collect(),
        }
    }

    /// Counts a request.
    pub(super) fn observe(&self, operation: Option<&'static str>, ending: Ending, took: Duration) {
        let measured = operation.and_then(|id| self.operations.get(id)).unwrap_or(&self.none);
        let of_class = ending.class().and_then(|class| measured.classes.get(class));
        if let Some(of_class) = of_class {
            of_class.get_or_init(timings).observe(took);
        }
        // The errors of an operation are shown before there is one: a rate sees no increase from nothing.
        if let Some(errors) = measured.classes.get(SERVER_ERRORS) {
            errors.get_or_init(timings);
        }
        let Ending::Answered(status, problem) = ending else { return };
        if status == Code::TooManyAttempts.status() {
            measured.throttled.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = problem.and_then(|code| self.problems.get(&code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests were answered with which problem. Those that never happened are left out, but for
    /// the server's errors: a rate sees no increase from nothing.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (Code, u64)> {
        let all = self.problems.iter().map(|(code, count)| (*code, count.load(Ordering::Relaxed)));
        all.filter(|(code, count)| *count > 0 || code.status() >= 500)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Measured)> {
        let none = std::iter::once(("none", &self.none));
        self.operations.iter().map(|(id, measured)| (*id, measured)).chain(none)
    }

    /// The requests so far; what never happened is left out, but for the server's errors.
    pub(crate) fn requests(&self) -> Vec<Requests> {
        let all = self.all().flat_map(|(operation, measured)| {
            let Measured { method, path, .. } = *measured;
            let classes = CLASSES.into_iter().zip(&measured.classes);
            classes.filter_map(move |(class, timings)| {
                Some(Requests { operation, method, path, class, took: timings.get()?.read() })
            })
        });
        all.collect()
    }

    /// What was refused because there was too much of it; operations without such are left out.
    pub(crate) fn throttled(&self) -> Vec<Throttled> {
        let all = self.all().map(|(_, Measured { method, path, throttled, .. })| Throttled {
            method,
            path,
            requests: throttled.load(Ordering::Relaxed),
        });
        all.filter(|it| it.requests > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::of([st_api::jobs::LIST.about, st_api::jobs::CANCEL.about].iter())
    }

    #[tokio::test]
    async fn a_request_is_of_the_operation_that_was_noted_in_its_own_task() {
        let noting = |id| async move {
            note_operation(id);
            tokio::task::yield_now().await;
        };
        let all: [Operation; 3] = Default::default();
        let [one, other, none] = &all;
        tokio::join!(
            one.of(noting("list_jobs")),
            other.of(noting("cancel_job")),
            none.of(async {})
        );
        assert_eq!(all.map(|it| it.get()), [Some("list_jobs"), Some("cancel_job"), None]);
        note_operation("outside, where nothing is measured");
    }

    #[test]
    fn requests_are_counted_by_operation_and_class_and_the_unknown_together() {
        let meter = meter();
        for status in [200, 201, Code::TooManyAttempts.status()] {
            let ending = Ending::Answered(status, None);
            meter.observe(Some("list_jobs"), ending, Duration::from_millis(2));
        }
        meter.observe(Some("list_jobs"), Ending::Cancelled, Duration::ZERO);
        for unknown in [None, Some("no such operation")] {
            let ending = Ending::Answered(404, Some(Code::NotFound));
            meter.observe(unknown, ending, Duration::ZERO);
        }
        let counts: Vec<_> = meter
            .requests()
            .into_iter()
            .map(|it| (it.operation, it.method, it.class, it.took.count()))
            .collect();
        let expected = [
            ("list_jobs", "GET", "2xx", 2),
            ("list_jobs", "GET", "4xx", 1),
            ("list_jobs", "GET", "5xx", 0),
            ("list_jobs", "GET", "cancelled", 1),
            ("none", "any", "4xx", 2),
            ("none", "any", "5xx", 0),
        ];
        assert_eq!(counts, expected);
        let throttled = Throttled { method: "GET", path: "/api/cloud/jobs", requests: 1 };
        assert_eq!(meter.throttled(), [throttled]);
        let problems: BTreeMap<Code, u64> = meter.problems().collect();
        assert_eq!(problems.get(&Code::NotFound), Some(&2));
        assert_eq!(problems.get(&Code::Overloaded), Some(&0), "shown before there is one");
        assert_eq!(problems.get(&Code::BadHost), None);
    }
}
