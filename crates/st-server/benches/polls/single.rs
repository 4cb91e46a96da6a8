//! A provider without a list, which the configuration describes: each job is asked about by itself.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use jiff::Timestamp;
use st_testkit::replicate::Traffic;

pub(crate) const VERB: &str = "single";

/// Its description, at this address.
pub(crate) fn description(base_url: &str) -> String {
    format!(
        "providers:
  single:
    kind: http
    base_url: {base_url}
    at_most_once: {{ how: at_least_once, accepted: a benchmark }}
    submit: {{ post: /jobs, body: {{ marker: '{{{{ marker.text }}}}' }} }}
    status: {{ get: '/jobs/{{{{ job.provider_id }}}}' }}
    cancel: {{ delete: '/jobs/{{{{ job.provider_id }}}}' }}
    job:
      id: /id
      status:
        - {{ means: running, at: /status, is: running }}
        - {{ means: completed, at: /status, is: completed }}
        - {{ means: failed, at: /status, is: failed }}
"
    )
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<(Traffic, Duration)>>);

impl World {
    fn lock(&self) -> MutexGuard<'_, (Traffic, Duration)> {
        self.0.lock().unwrap()
    }

    /// Notes a call, and says how long its answer takes.
    fn note(&self, count: impl FnOnce(&mut Traffic)) -> Duration {
        let mut world = self.lock();
        let (traffic, delay) = &mut *world;
        let now = Timestamp::now();
        traffic.first.get_or_insert(now);
        traffic.last = Some(now);
        count(traffic);
        *delay
    }
}

/// What the process does.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::default();
    let obeying = world.clone();
    std::thread::spawn(move || {
        super::provider::obey(
            |delay| obeying.lock().1 = delay,
            |take| {
                let traffic = &mut obeying.lock().0;
                if take { std::mem::take(traffic) } else { *traffic }
            },
        );
    });
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/jobs", post(submit))
            .route("/jobs/{id}", get(status))
            .with_state(world);
        axum::serve(listener, router).await.unwrap();
    });
}

async fn submit(State(world): State<World>) -> String {
    let mut id = 0;
    let delay = world.note(|traffic| {
        traffic.creates += 1;
        id = traffic.creates;
    });
    tokio::time::sleep(delay).await;
    shown(&format!("{}-{id}", Timestamp::now().as_nanosecond()))
}

async fn status(State(world): State<World>, Path(id): Path<String>) -> String {
    let delay = world.note(|traffic| traffic.others += 1);
    tokio::time::sleep(delay).await;
    shown(&id)
}

fn shown(id: &str) -> String {
    format!(r#"{{"id": "{id}", "status": "running"}}"#)
}
