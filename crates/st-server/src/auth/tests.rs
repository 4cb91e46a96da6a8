//! Authentication on a memory store, with a paused clock.

use http::HeaderValue;
use st_store::{Actor, AuditFilter, AuditRepo, KeyRepo, KeyScopes, NewApiKey, Role, UserId};
use st_testkit::flaky_store::FlakyStore;

use tokio::time::Instant;

use super::key::Minted;
use super::*;

struct Setup {
    auth: Arc<Auth>,
    store: Arc<FlakyStore>,
    /// A valid key.
    key: String,
}

fn new_key(minted: &Minted) -> NewApiKey {
    NewApiKey {
        id: minted.id.clone(),
        name: "test".to_owned(),
        user: UserId::new("ann"),
        role: Role::Lead,
        team: None,
        org: None,
        scopes: KeyScopes::All,
        expires_at: None,
    }
}

async fn setup() -> Setup {
    let store = Arc::new(FlakyStore::default());
    let minted = Minted::new().unwrap();
    store.add_key(new_key(&minted), minted.hash, &Actor::Operator).await.unwrap();
    let auth = Auth::start(Arc::clone(&store) as Arc<dyn Store>, Reach::Loopback, true);
    Setup { auth, store, key: minted.expose().to_owned() }
}

fn headers(key: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("x-api-key"),
        HeaderValue::from_str(key).unwrap(),
    )])
}

fn peer(last: u8) -> Option<Peer> {
    Some(last).map(|last| Peer { address: [192, 0, 2, last].into(), is_secure: false })
}

impl Setup {
    /// The status that a request with this key gets, and how long that takes.
    async fn ask(&self, key: &str, peer: Option<Peer>) -> (u16, Duration) {
        let began = Instant::now();
        let status = match self.auth.caller(&headers(key), peer).await {
            Ok(caller) => {
                assert_eq!(caller.unwrap().user.as_str(), "ann");
                200
            }
            Err(problem) => problem.status().as_u16(),
        };
        (status, began.elapsed())
    }

    fn wrong(&self) -> String {
        let (start, _) = self.key.split_at(self.key.len() - 1);
        let last = if self.key.ends_with('a') { 'b' } else { 'a' };
        format!("{start}{last}")
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_keys_are_answered_slower_each_time_and_the_right_one_is_not() {
    let setup = setup().await;
    let mut took = Vec::new();
    for _ in 0..6 {
        let (status, elapsed) = setup.ask(&setup.wrong(), peer(1)).await;
        assert_eq!(status, 401);
        took.push(elapsed.as_millis());
    }
    assert_eq!(took.iter().map(|it| it / 10 * 10).collect::<Vec<_>>(), [0, 0, 0, 250, 500, 1000]);
    let (status, elapsed) = setup.ask(&setup.key, peer(1)).await;
    assert_eq!((status, elapsed), (200, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_keys_at_once_are_not_even_looked_up() {
    let setup = setup().await;
    for _ in 0..4 {
        setup.ask(&setup.wrong(), peer(1)).await;
    }
    let (auth, wrong) = (&setup.auth, headers(&setup.wrong()));
    let guesses = (0..40).map(|_| auth.caller(&wrong, peer(1)));
    let answers = futures_util::future::join_all(guesses).await;
    let reads = setup.store.key_reads();
    let status = |answer: Result<Option<Caller>, Problem>| answer.unwrap_err().status().as_u16();
    let statuses: Vec<u16> = answers.into_iter().map(status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 16);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 24);
    assert!(reads <= 4 + 16, "{reads} reads");
}

#[tokio::test(start_paused = true)]
async fn a_verified_key_costs_no_read_for_some_seconds() {
    let setup = setup().await;
    for _ in 0..100 {
        assert_eq!(setup.ask(&setup.key, None).await.0, 200);
    }
    assert_eq!(setup.store.key_reads(), 1);
    tokio::time::advance(verified::FOR).await;
    assert_eq!(setup.ask(&setup.key, None).await.0, 200);
    assert_eq!(setup.store.key_reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_revokes_is_refused_within_five_seconds() {
    let setup = setup().await;
    assert_eq!(setup.ask(&setup.key, None).await.0, 200);
    let id = Presented::parse(&setup.key).unwrap().id;
    setup.store.revoke_key(&id, &Actor::Operator).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(setup.ask(&setup.key, None).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn no_request_passes_without_a_key_two_seconds_after_another_process_made_the_first() {
    let store = Arc::new(FlakyStore::default());
    let auth = Auth::start(Arc::clone(&store) as Arc<dyn Store>, Reach::Loopback, false);
    let none = HeaderMap::new();
    let caller = auth.caller(&none, None).await.unwrap().unwrap();
    assert!(matches!(caller.via, Via::Local) && caller.role == Role::Admin);
    let needs_key = auth.mode.needs_key();
    let minted = Minted::new().unwrap();
    store.add_key(new_key(&minted), minted.hash, &Actor::Operator).await.unwrap();
    let within = timeout(Duration::from_secs(2), needs_key).await;
    within.expect("streams without a key end");
    let together = (0..40).map(|_| auth.caller(&none, None));
    for caller in futures_util::future::join_all(together).await {
        assert!(caller.unwrap().is_none());
    }
    // Elsewhere than on loopback there is no such mode.
    let store = Arc::new(FlakyStore::default());
    let public = Auth::start(store as Arc<dyn Store>, Reach::Network, false);
    assert!(public.caller(&none, None).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_trail_is_written_again_when_the_store_is_back_and_at_the_stop() {
    let setup = setup().await;
    setup.store.faults().append_audit = Some(|| st_store::Error::Busy);
    let entries = async || {
        let page = setup.store.audit(&AuditFilter::default(), 99).await.unwrap();
        page.entries.into_iter().map(|it| it.entry.operation).collect::<Vec<_>>()
    };
    setup.auth.recorder.note(NewAudit::new("a", 200));
    // Longer than an answer waits.
    setup.auth.record(NewAudit::new("b", 200)).await;
    assert_eq!(entries().await, [""; 0]);
    setup.store.faults().append_audit = None;
    setup.auth.record(NewAudit::new("c", 200)).await;
    assert_eq!(entries().await, ["c", "b", "a"]);
    setup.auth.recorder.note(NewAudit::new("d", 200));
    setup.ask(&setup.wrong(), peer(7)).await;
    setup.ask(&setup.key, peer(7)).await;
    setup.auth.close().await;
    assert_eq!(entries().await, ["auth.failed", "d", "c", "b", "a"]);
    let id = Presented::parse(&setup.key).unwrap().id;
    let key = setup.store.find_key(&id).await.unwrap().unwrap().key;
    assert!(key.last_used_at.is_some());
}

#[test]
fn the_first_form_of_a_key_counts() {
    let found = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        presented(&headers).map(str::to_owned)
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(&[("authorization", "Bearer x")]), text("x"));
    assert_eq!(found(&[("authorization", "bearer  x "), ("x-api-key", "y")]), text("x"));
    assert_eq!(found(&[("x-api-key", " y ")]), text("y"));
    assert_eq!(found(&[("authorization", "Basic abc"), ("x-api-key", "y")]), text("y"));
    assert_eq!(found(&[("authorization", "Basic abc")]), None);
    assert_eq!(found(&[("authorization", "Bearer")]), text(""));
    assert_eq!(found(&[]), None);
}
