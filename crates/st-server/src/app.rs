//! The server: what it is made of, in which order it starts, and in which order it stops.

pub(crate) mod clients;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use st_log::{LogHandle, Logger, get_logger};
use st_store::{
    Clock, JobRepo, KeyRepo, ProviderName, SqliteConfig, SqliteStore, Store, StoreStatus,
};
use st_workers::provider::Provider;
use st_workers::provider::http::HttpProvider;
use st_workers::provider::local::{
    GRACE, Local, LocalCommand, LocalConfig, RunnerCommand, machine,
};
use st_workers::provider::replicate::Replicate;
use st_workers::tasks::results::ResultsConfig;
use st_workers::tasks::webhooks::WebhooksConfig;
use st_workers::{
    BackgroundConfig, Providers, Unfinished, start_background_tasks, stop_background_tasks,
};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::access::Accesses;
use crate::api::{Api, REPLICATE, Setup};
use crate::auth::{Auth, Reach};
use crate::config::{Config, DescribedProvider, SettledOrigin};
use crate::http::front::{Front, Live};
use crate::http::listen::tls::TlsError;
use crate::http::listen::{self, Capacity};
use crate::reload::{self, Reload};
use crate::service_manager;
use crate::shutdown::Shutdown;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// How long requests under way may take when the server stops.
const DRAIN_REQUESTS: Duration = Duration::from_secs(5);
/// How long background work may take when the server stops.
const DRAIN_WORK: Duration = Duration::from_secs(10);

/// The database's name in the state directory.
pub(crate) const DATABASE: &str = "cloud.db";

/// The provider of jobs on this machine.
const LOCAL: &str = "local";
/// How many of them are named at the stop.
const LISTED: u32 = 100;

/// Why the server did not start, or did not stop well.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for the database and all else cannot be made or written.
    #[error("cannot write to the state directory {}", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot use the database")]
    Store(#[source] st_store::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The address can be reached from other machines, and everybody there would be the administrator.
    #[error(
        "{address} can be reached from other machines, and no key was ever made: make one first with \
         `st-server keys create --name NAME --user USER --role admin`, or listen on 127.0.0.1"
    )]
    NoKey {
        /// The address.
        address: SocketAddr,
    },
    /// A stored token cannot be used.
    #[error("cannot use the stored token of provider {provider}; store another or remove its file")]
    Token {
        /// Of which provider.
        provider: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A provider cannot be set up.
    #[error("cannot set up provider {provider}")]
    Provider {
        /// Which.
        provider: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client that downloads outputs cannot be set up.
    #[error("cannot set up the download of outputs")]
    Downloads(#[source] st_http::Error),
    /// The client that sends webhooks cannot be set up.
    #[error("cannot set up the sending of webhooks")]
    Webhooks(#[source] st_http::Error),
    /// TLS cannot be served.
    #[error("cannot serve TLS")]
    Tls(#[source] TlsError),
    /// Which machine this is cannot be found out, nor written down.
    #[error("cannot tell which machine this is")]
    Machine(#[source] io::Error),
    /// The program does not know its own file, which it needs to start jobs.
    #[error("cannot find the program's own file")]
    OwnFile(#[source] io::Error),
}

/// A server that is set up and listens, but does not answer yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    store: Arc<SqliteStore>,
    /// Whether a key was ever made.
    has_keys: bool,
    providers: Providers,
    access: Accesses,
    results: ResultsConfig,
    webhooks: WebhooksConfig,
    clock: Arc<dyn Clock>,
    live: Live,
    listener: TcpListener,
}

/// How long an address that is in use is tried again: a process that was killed a moment ago may
/// not have let go of it yet.
const LISTEN_FOR: Duration = Duration::from_secs(2);
const LISTEN_AGAIN: Duration = Duration::from_millis(50);

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < LISTEN_FOR =>
            {
                sleep(LISTEN_AGAIN).await;
            }
            Err(source) => return Err(StartError::Listen { address, source }),
        }
    }
}

impl App {
    /// Opens the store, sets up the providers and takes the port.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let live = reload::live(&config.access).map_err(StartError::Tls)?;
        make_state_dir(&config)?;
        // The port first: a second server must not touch the first one's database.
        let address = SocketAddr::new(config.host, config.port);
        let listener = bind(address).await?;
        let database = SqliteConfig::new(config.state_dir.join(DATABASE));
        let clock = Arc::clone(&database.clock);
        let store = SqliteStore::open(database).await.map_err(StartError::Store)?;
        let has_keys = store.has_keys().await.map_err(StartError::Store)?;
        if !has_keys && Reach::of(config.host) == Reach::Network {
            store.close().await.map_err(StartError::Store)?;
            return Err(StartError::NoKey { address });
        }
        let (providers, access) = providers(&config)?;
        access.follow_settings(&store).await.map_err(StartError::Store)?;
        let (store, results) = (Arc::new(store), clients::results(&config)?);
        let webhooks = clients::webhooks(&config)?;
        Ok(Self {
            config,
            store,
            has_keys,
            providers,
            access,
            results,
            webhooks,
            clock,
            live,
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether requests need a key.
    pub fn needs_key(&self) -> bool {
        self.has_keys
    }

    /// Serves until `shutdown`, then stops in order: no new requests, no new work, what runs
    /// finishes, the store is closed. `origin`: what the configuration is read from again.
    pub async fn run(
        self,
        shutdown: Shutdown,
        log: LogHandle,
        origin: SettledOrigin,
    ) -> Result<(), StartError> {
        let Self {
            config,
            store,
            has_keys,
            providers,
            access,
            results,
            webhooks,
            clock,
            live,
            listener,
        } = self;
        let kept_logs = results.logs.clone();
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let background = BackgroundConfig {
            results: Some(results),
            webhooks: Some(webhooks),
            seed: fastrand::u64(..),
            ..config.background.clone()
        };
        let background = start_background_tasks(background, &shared, &providers, &clock);
        let background = Arc::new(background);
        let capacity = Capacity::of_process();
        let front = Front::new(live, capacity);
        let trace_context = config.log.trace_context;
        let auth = Auth::start(Arc::clone(&shared), Reach::of(config.host), has_keys);
        let setup = Setup {
            config_dir: config.config_dir.clone(),
            state_dir: config.state_dir.clone(),
            local_devices: config.local.devices.len(),
            kept_logs,
            access,
            streams: capacity.streams,
            stopping: shutdown.soft.clone(),
            log: log.clone(),
            auth: Arc::clone(&auth),
            seed: fastrand::u64(..),
        };
        let api = Api::new(shared, Arc::clone(&background), providers, setup);
        let router = api.router(trace_context);
        let announced = service_manager::announce(Arc::clone(&store), shutdown.soft.clone());
        let reload = Reload {
            origin,
            config,
            front: Arc::clone(&front),
            background: Arc::clone(&background),
            log,
        };
        let served = listen::serve(listener, router, front, shutdown.soft, DRAIN_REQUESTS);
        let drained = tokio::select! {
            drained = served => drained,
            never = reload.follow(shutdown.reload) => match never {},
        };
        if !drained {
            st_log::warning!(logger: LOG, "Requests were cut off");
        }
        auth.close().await;
        log_unfinished(&stop_background_tasks(&background, DRAIN_WORK).await);
        log_running_jobs(store.as_ref()).await;
        drop(announced);
        store.close().await.map_err(StartError::Store)?;
        st_log::info!(logger: LOG, "Stopped");
        Ok(())
    }
}

/// Says what had to be given up when the time to stop was over.
fn log_unfinished(Unfinished { tasks, submissions }: &Unfinished) {
    if !tasks.is_empty() || *submissions > 0 {
        let tasks: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
        st_log::warning!(
            logger: LOG, tasks = tasks.join(", "), submissions = *submissions,
            "Work was left to the next start"
        );
    }
}

/// Says which jobs on this machine go on without the server. How the server was stopped decides
/// whether they do: a service manager may end them next.
async fn log_running_jobs(store: &SqliteStore) {
    let jobs = match store.list_at_provider(&ProviderName::new(LOCAL), None, LISTED).await {
        Ok(jobs) => jobs,
        Err(error) => {
            st_log::debug!(
                logger: LOG, error, "Jobs on this machine could not be listed"
            );
            return;
        }
    };
    if !jobs.is_empty() {
        let ids: Vec<String> = jobs.iter().map(|job| job.id().to_string()).collect();
        st_log::info!(
            logger: LOG, jobs = ids.len(), job_ids = ids.join(", "),
            "Jobs on this machine go on without the server"
        );
    }
}

/// Makes the folder, for its owner alone, and tries whether it can be written.
fn make_state_dir(config: &Config) -> Result<(), StartError> {
    let path = &config.state_dir;
    let fail = |source| StartError::StateDir { path: path.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
    let probe = path.join(".write-test");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(fail)
}

fn providers(config: &Config) -> Result<(Providers, Accesses), StartError> {
    let mut access = Accesses::new(&config.state_dir, config.http.clone());
    let mut providers: Vec<Arc<dyn Provider>> = vec![Arc::new(local(config)?)];
    providers.push(Arc::new(replicate(config, &mut access)?));
    for (name, described) in &config.described {
        providers.push(Arc::new(self::described(config, name, described, &mut access)?));
    }
    Ok((providers.into_iter().collect(), access))
}

/// Also without a token, because one can be stored later.
pub(crate) fn replicate(config: &Config, access: &mut Accesses) -> Result<Replicate, StartError> {
    let provider = || REPLICATE.id.to_owned();
    let fail = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Provider {
        provider: provider(),
        source,
    };
    let client = st_http::Client::new(config.http.clone());
    let client = client.map_err(|error| fail(error.into()))?;
    let configured = config.replicate.api_token.clone();
    let replicate = Replicate::new(config.replicate.clone(), client);
    let replicate = replicate.map_err(|error| fail(error.into()))?;
    let link = (replicate.access().clone(), configured);
    access
        .add_tokened(ProviderName::new(REPLICATE.id), config.http.clone(), link)
        .map_err(|error| StartError::Token { provider: provider(), source: error.into() })?;
    Ok(replicate)
}

/// A provider of the configuration file.
pub(crate) fn described(
    config: &Config,
    name: &ProviderName,
    provider: &DescribedProvider,
    access: &mut Accesses,
) -> Result<HttpProvider, StartError> {
    let fail = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Provider {
        provider: name.to_string(),
        source,
    };
    let description = provider.description.clone();
    for warning in description.warnings() {
        st_log::warning!(
            logger: LOG, provider = name.as_str(), warning, "Provider is described with a risk"
        );
    }
    let http = clients::of_described(config, provider);
    let client = st_http::Client::new(http.clone()).map_err(|error| fail(error.into()))?;
    let credentials = provider.credentials.clone();
    let provider = HttpProvider::new(name.clone(), description, credentials, client);
    access.add_client(name.clone(), http, provider.client().clone());
    let secrets = config.filled.secrets(&config.log.redaction);
    Ok(provider.hiding(config.filled.values(), secrets))
}

fn local(config: &Config) -> Result<Local, StartError> {
    let own = std::env::current_exe().map_err(StartError::OwnFile)?;
    let verb = |verb: &str| vec![verb.to_owned()];
    let mut commands: BTreeMap<String, LocalCommand> = config
        .local
        .commands
        .iter()
        .map(|(name, command)| {
            let command = LocalCommand {
                program: command.program.clone(),
                args: command.args.clone(),
                env: command.env.clone(),
                devices: command.devices,
                is_example: false,
            };
            (name.clone(), command)
        })
        .collect();
    // So that a newcomer has something to submit. A command configured under that name wins.
    commands.entry("example".to_owned()).or_insert_with(|| LocalCommand {
        program: own.clone(),
        args: verb("example-training"),
        env: BTreeMap::new(),
        devices: 0,
        is_example: true,
    });
    let runner = RunnerCommand { program: own, args: verb("local-runner") };
    let state_dir = &config.state_dir;
    Ok(Local::new(LocalConfig {
        machine: machine(state_dir).map_err(StartError::Machine)?,
        dir: state_dir.join("local"),
        work_dir: state_dir.join("local-work"),
        grace: GRACE,
        commands,
        pass_env: config.local.pass_env.clone(),
        devices: config.local.devices.clone(),
        limits: config.local.limits,
        log_bytes: config.local.log_bytes,
        runner,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_let_go_of_a_moment_later_is_no_error() {
        let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = before.local_addr().unwrap();
        let waiting = st_log::spawn(bind(address));
        tokio::task::yield_now().await;
        drop(before);
        assert_eq!(waiting.await.unwrap().unwrap().local_addr().unwrap(), address);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_stays_in_use_is_an_error_after_two_seconds() {
        let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let began = Instant::now();
        let error = bind(before.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }), "{error}");
        assert!((LISTEN_FOR..LISTEN_FOR + 2 * LISTEN_AGAIN).contains(&began.elapsed()));
    }
}
