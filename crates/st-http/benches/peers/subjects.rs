//! Who is measured: each sends a GET with a bearer token and reads the whole answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use st_http::{Breakers, Bytes, Client, Config};
use st_log::SpawnInScope as _;
use tokio::task::JoinSet;

const TOKEN: &str = "r8_0123456789abcdefghijklmnopqrstuvwxyz";
const IDLE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    StHttp,
    HyperUtil,
    Reqwest,
}

impl Subject {
    /// Ours is the first: the others are compared with it.
    pub(crate) const ALL: [Self; 3] = [Self::StHttp, Self::HyperUtil, Self::Reqwest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StHttp => "st-http",
            Self::HyperUtil => "hyper-util",
            Self::Reqwest => "reqwest",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|subject| subject.name() == name).unwrap()
    }

    /// With room in its pool for as many connections as there are requests at once.
    pub(crate) fn sender(self, url: &str, at_once: usize) -> Sender {
        let url: Arc<str> = url.into();
        match self {
            Self::StHttp => {
                let config = Config { pool_max_idle_per_host: at_once, ..Config::default() };
                Sender::StHttp(Client::new(config).unwrap(), Breakers::default(), url)
            }
            Self::HyperUtil => {
                let mut tcp = HttpConnector::new();
                tcp.set_nodelay(true);
                let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
                Sender::HyperUtil(Box::new(builder.pool_max_idle_per_host(at_once).build(tcp)), url)
            }
            Self::Reqwest => {
                let client = reqwest::Client::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .timeout(Duration::from_mins(1))
                    .read_timeout(IDLE)
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(at_once)
                    .redirect(reqwest::redirect::Policy::none());
                Sender::Reqwest(client.build().unwrap(), url)
            }
        }
    }
}

type Bare = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

#[derive(Clone)]
pub(crate) enum Sender {
    StHttp(Client, Breakers, Arc<str>),
    HyperUtil(Box<Bare>, Arc<str>),
    Reqwest(reqwest::Client, Arc<str>),
}

impl Sender {
    /// Sends so many requests, so many of them at once.
    pub(crate) async fn all(&self, at_once: usize, requests: usize) {
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            let sender = self.clone();
            tasks.spawn_in_scope(async move {
                for _ in 0..requests / at_once {
                    assert_eq!(sender.one().await, 34);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Returns the length of the answer.
    async fn one(&self) -> usize {
        match self {
            Self::StHttp(client, breakers, url) => {
                let request = client.get(url).bearer(TOKEN).breaker(breakers);
                request.send().await.unwrap().body().len()
            }
            Self::HyperUtil(client, url) => {
                let request = http::Request::get(&**url)
                    .header("authorization", format!("Bearer {TOKEN}"))
                    .body(Full::default())
                    .unwrap();
                let response = client.request(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes().len()
            }
            Self::Reqwest(client, url) => {
                let response = client.get(&**url).bearer_auth(TOKEN).send().await.unwrap();
                response.bytes().await.unwrap().len()
            }
        }
    }
}
