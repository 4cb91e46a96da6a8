//! Who is measured: each sends a GET with a bearer token and reads the whole answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use st_http::{Breakers, Bytes, Client, Config, HttpVersions};
use st_log::SpawnInScope as _;
use tokio::task::JoinSet;

use crate::server::BODY;
use crate::tls_server;

const TOKEN: &str = "r8_0123456789abcdefghijklmnopqrstuvwxyz";
const IDLE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    StHttp,
    /// Over TLS, with HTTP/1.1 alone and with HTTP/2 where the server has it.
    StHttp1,
    StHttp2,
    HyperUtil,
    Reqwest,
}

impl Subject {
    const ALL: [Self; 5] =
        [Self::StHttp, Self::StHttp1, Self::StHttp2, Self::HyperUtil, Self::Reqwest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StHttp => "st-http",
            Self::StHttp1 => "HTTP/1.1",
            Self::StHttp2 => "HTTP/2",
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
            Self::StHttp => st_http(Config::default(), at_once, url),
            Self::StHttp1 => {
                let config = Config { http_versions: HttpVersions::Http1, ..over_tls() };
                st_http(config, at_once, url)
            }
            Self::StHttp2 => {
                let config = Config { http_versions: HttpVersions::Http1And2, ..over_tls() };
                st_http(config, at_once, url)
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

fn st_http(config: Config, at_once: usize, url: Arc<str>) -> Sender {
    let config = Config { pool_max_idle_per_host: at_once, ..config };
    Sender::StHttp(Client::new(config).unwrap(), Breakers::default(), url)
}

fn over_tls() -> Config {
    Config { ca_bundle: Some(tls_server::file("ca.pem")), ..Config::default() }
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
                    assert_eq!(sender.one().await, BODY.len());
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
