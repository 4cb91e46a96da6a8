//! The breaker against a model that knows nothing of locks, permits or destructors, in paused time.

use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::target::Shown;

const HOST: &str = "http://a.example";
const OPEN_FOR: u64 = 30;

/// What may happen; calls are those that are out, by their order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    End {
        call: usize,
        end: CallEnd,
    },
    /// The caller gives up.
    Drop {
        call: usize,
    },
    /// The call neither ends nor is it ever dropped.
    Lose {
        call: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        4 => Just(CallEnd::Failure),
        3 => Just(CallEnd::Success),
        1 => Just(CallEnd::ClientError),
        1 => Just(CallEnd::Unknown),
    ];
    let call = 0..3_usize;
    prop::collection::vec(
        prop_oneof![
            6 => Just(Step::Call),
            6 => (call.clone(), end).prop_map(|(call, end)| Step::End { call, end }),
            1 => call.clone().prop_map(|call| Step::Drop { call }),
            1 => call.prop_map(|call| Step::Lose { call }),
            2 => (1..OPEN_FOR + 5).prop_map(|seconds| Step::Wait { seconds }),
        ],
        1..120,
    )
}

/// What the breaker should do: plain numbers, seconds since the start.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    failures: u32,
    /// Since when it has been open or half open.
    opened: Option<u64>,
    successes: u32,
    /// The latest probe, if it is out: which call, and when it was let through.
    probe: Option<(usize, u64)>,
    /// All probes since it was last open.
    probes: Vec<usize>,
}

impl Model {
    /// Whether a call goes through, and as what.
    fn admits(&mut self, call: usize) -> bool {
        let Some(opened) = self.opened else { return true };
        let waited = self.now >= opened + OPEN_FOR;
        let free = self.probe.is_none_or(|(_, since)| self.now >= since + OPEN_FOR);
        if waited && free {
            self.probe = Some((call, self.now));
            self.probes.push(call);
        }
        waited && free
    }

    fn ended(&mut self, call: usize, end: CallEnd) {
        if self.opened.is_none() {
            match end {
                CallEnd::Success => self.failures = 0,
                CallEnd::Failure => self.failures += 1,
                CallEnd::ClientError | CallEnd::Unknown => {}
            }
            if self.failures == 5 {
                *self = Self { now: self.now, opened: Some(self.now), ..Self::default() };
            }
        } else if self.probes.contains(&call) {
            let latest = self.probe.is_some_and(|(probe, _)| probe == call);
            if latest {
                self.probe = None;
            }
            match end {
                CallEnd::Success | CallEnd::ClientError => self.successes += 1,
                CallEnd::Failure if latest => {
                    *self = Self { now: self.now, opened: Some(self.now), ..Self::default() };
                }
                CallEnd::Failure | CallEnd::Unknown => {}
            }
            if self.successes == 2 {
                *self = Self { now: self.now, ..Self::default() };
            }
        }
    }
}

fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

async fn follow(steps: Vec<Step>) {
    let breakers = Breakers::default();
    let mut model = Model::default();
    let mut out: Vec<(usize, Permit)> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Call => {
                let admitted = breakers.admit(HOST);
                assert_eq!(admitted.is_ok(), model.admits(number), "{number} {model:?}");
                if let Ok(permit) = admitted {
                    out.push((number, permit));
                }
            }
            Step::End { call, end } if call < out.len() => {
                let (call, permit) = out.remove(call);
                permit.end(end);
                model.ended(call, end);
            }
            Step::Drop { call } if call < out.len() => {
                let (call, permit) = out.remove(call);
                drop(permit);
                model.ended(call, CallEnd::Unknown);
            }
            Step::Lose { call } if call < out.len() => std::mem::forget(out.remove(call)),
            Step::Wait { seconds } => {
                advance(Duration::from_secs(seconds)).await;
                model.now += seconds;
            }
            Step::End { .. } | Step::Drop { .. } | Step::Lose { .. } => {}
        }
    }
    // Whatever happened, and whatever was lost: after two periods a host that works is used again.
    advance(Duration::from_secs(2 * OPEN_FOR)).await;
    breakers.admit(HOST).unwrap().end(CallEnd::Success);
    breakers.admit(HOST).unwrap().end(CallEnd::Success);
    assert!(breakers.admit(HOST).is_ok() && breakers.open_for(HOST).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        paused(follow(steps));
    }
}

fn fail(breakers: &Breakers, times: usize) {
    for _ in 0..times {
        breakers.admit(HOST).unwrap().end(CallEnd::Failure);
    }
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_it_for_thirty_seconds_and_two_probes_close_it() {
    let breakers = Breakers::default();
    fail(&breakers, 5);
    assert_eq!(breakers.admit(HOST).unwrap_err(), Duration::from_secs(30));
    assert!(breakers.admit("http://b.example").is_ok(), "another host");
    advance(Duration::from_secs(29)).await;
    assert_eq!(breakers.open_for(HOST), Some(Duration::from_secs(1)));
    advance(Duration::from_secs(1)).await;
    let probe = breakers.admit(HOST).unwrap();
    breakers.admit(HOST).unwrap_err();
    probe.end(CallEnd::Success);
    breakers.admit(HOST).unwrap().end(CallEnd::ClientError);
    let (one, two) = (breakers.admit(HOST).unwrap(), breakers.admit(HOST).unwrap());
    drop((one, two));
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_did_counts_for_nothing() {
    let breakers = Breakers::default();
    for _ in 0..20 {
        fail(&breakers, 4);
        for _ in 0..10 {
            breakers.admit(HOST).unwrap().end(CallEnd::ClientError);
            drop(breakers.admit(HOST).unwrap());
        }
        breakers.admit(HOST).unwrap().end(CallEnd::Success);
    }
    assert_eq!(breakers.open_for(HOST), None);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_late_changes_nothing() {
    let breakers = Breakers::default();
    fail(&breakers, 5);
    advance(Duration::from_secs(30)).await;
    let late = breakers.admit(HOST).unwrap();
    advance(Duration::from_secs(30)).await;
    let probe = breakers.admit(HOST).unwrap();
    late.end(CallEnd::Failure);
    probe.end(CallEnd::Success);
    breakers.admit(HOST).unwrap().end(CallEnd::Success);
    assert_eq!(breakers.open_for(HOST), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_answers_slower_than_a_probe_is_waited_for_is_used_again() {
    let breakers = Breakers::default();
    fail(&breakers, 5);
    advance(Duration::from_secs(30)).await;
    let first = breakers.admit(HOST).unwrap();
    advance(Duration::from_secs(30)).await;
    let second = breakers.admit(HOST).unwrap();
    advance(Duration::from_secs(10)).await;
    first.end(CallEnd::Success);
    breakers.admit(HOST).unwrap_err();
    advance(Duration::from_secs(20)).await;
    let third = breakers.admit(HOST).unwrap();
    advance(Duration::from_secs(10)).await;
    second.end(CallEnd::ClientError);
    assert_eq!(breakers.open_for(HOST), None);
    third.end(CallEnd::Success);
    let (one, two) = (breakers.admit(HOST).unwrap(), breakers.admit(HOST).unwrap());
    drop((one, two));
}

#[tokio::test(start_paused = true)]
async fn a_probe_from_before_it_opened_again_counts_for_nothing() {
    let breakers = Breakers::new(BreakerConfig { successes: 1, ..BreakerConfig::default() });
    fail(&breakers, 5);
    advance(Duration::from_secs(30)).await;
    let old = breakers.admit(HOST).unwrap();
    advance(Duration::from_secs(30)).await;
    breakers.admit(HOST).unwrap().end(CallEnd::Failure);
    advance(Duration::from_secs(30)).await;
    let probe = breakers.admit(HOST).unwrap();
    old.end(CallEnd::Success);
    assert_eq!(breakers.open_for(HOST), Some(Duration::from_secs(30)));
    probe.end(CallEnd::Success);
    assert_eq!(breakers.open_for(HOST), None);
}

#[tokio::test(start_paused = true)]
async fn an_origin_is_one_host_however_it_is_written() {
    let breakers = Breakers::default();
    for host in
        ["http://a.example", "http://a.example:80", "HTTP://A.example", "http://A.EXAMPLE:80"]
    {
        breakers.admit(host).unwrap().end(CallEnd::Failure);
    }
    breakers.admit("http://a.example").unwrap().end(CallEnd::Failure);
    assert!(breakers.open_for("http://A.example:80").is_some());
    for other in ["https://a.example", "http://a.example:8080", "http://a.example:443", "a.example"]
    {
        assert_eq!(breakers.open_for(other), None, "{other}");
    }
}

#[test]
fn an_end_is_read_from_what_came_back() {
    use http::StatusCode;

    use crate::error::Failure;

    let url = Shown::of(&http::Uri::from_static(HOST)).unwrap();
    let answered = |failure| CallEnd::of(Err(&Error::answered(&url, failure)));
    assert_eq!(answered(Failure::BodyTooLarge(7)), CallEnd::ClientError);
    assert_eq!(answered(Failure::Decode("json")), CallEnd::ClientError);
    assert_eq!(answered(Failure::BodyCoding), CallEnd::ClientError);
    assert_eq!(answered(Failure::BodyBroken), CallEnd::Failure);
    assert_eq!(answered(Failure::Status(StatusCode::NOT_FOUND)), CallEnd::ClientError);
    assert_eq!(answered(Failure::Status(StatusCode::BAD_GATEWAY)), CallEnd::Failure);
    assert_eq!(answered(Failure::Connect(ConnectFault::AddressNotPermitted)), CallEnd::Unknown);
    assert_eq!(answered(Failure::Connect(ConnectFault::ProxyNotPermitted)), CallEnd::Unknown);
    assert_eq!(answered(Failure::Connect(ConnectFault::Refused)), CallEnd::Failure);
    assert_eq!(CallEnd::of(Err(&Error::config("x"))), CallEnd::Unknown);
}

#[tokio::test(start_paused = true)]
async fn only_hosts_that_failed_are_remembered_and_not_too_many() {
    let breakers = Breakers::default();
    for number in 0..MOST_HOSTS + 100 {
        let host = format!("http://{number}.example");
        breakers.admit(&host).unwrap().end(CallEnd::Success);
        assert_eq!(breakers.hosts().by_name.len(), 0);
    }
    for number in 0..MOST_HOSTS + 100 {
        let host = format!("http://{number}.example");
        breakers.admit(&host).unwrap().end(CallEnd::Failure);
    }
    assert_eq!(breakers.hosts().by_name.len(), MOST_HOSTS);
}

#[tokio::test(start_paused = true)]
async fn a_full_table_forgets_what_it_holds_nothing_back_from() {
    let breakers = Breakers::new(BreakerConfig { failures: 2, ..BreakerConfig::default() });
    let open = |name: &str| {
        breakers.admit(name).unwrap().end(CallEnd::Failure);
        breakers.admit(name).unwrap().end(CallEnd::Failure);
        breakers.open_for(name).is_some()
    };
    for number in 0..MOST_HOSTS {
        let host = format!("http://{number}.example");
        breakers.admit(&host).unwrap().end(CallEnd::Failure);
    }
    for number in 0..MOST_HOSTS {
        assert!(open(&format!("http://{number}.test")), "closed ones make room: {number}");
    }
    assert!(!open("http://late.test"), "all are held back from, and none of them is forgotten");
    assert!(breakers.open_for("http://0.test").is_some());
    advance(Duration::from_secs(30)).await;
    assert!(open("http://late.test"), "their time has passed");
    assert_eq!(breakers.hosts().by_name.len(), MOST_HOSTS);
}
