//! Reloads of files that change, without a signal.

use std::collections::BTreeMap;
use std::path::Path;

use st_store::{Clock, Store, SystemClock};
use st_testkit::flaky_store::FlakyStore;
use st_workers::{BackgroundConfig, Providers, start_background_tasks};

use super::*;
use crate::config::{Flags, Origin};
use crate::http::listen::Capacity;

const FILE: &str = "simpletuner-enterprise.yaml";

struct Harness {
    dir: tempfile::TempDir,
    reload: Reload,
    _log: st_log::LogGuard,
}

impl Harness {
    fn start(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), yaml).unwrap();
        let home = dir.path().display().to_string();
        let origin = Origin {
            environment: BTreeMap::from([("HOME".to_owned(), home)]),
            flags: Flags::default(),
            cwd: dir.path().to_owned(),
        };
        let config = origin.read().unwrap();
        let origin = origin.settle(&config);
        let store: Arc<dyn Store> = Arc::new(FlakyStore::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let background = start_background_tasks(
            BackgroundConfig::default(),
            &store,
            &Providers::default(),
            &clock,
        );
        let settings =
            st_log::Settings { stdout: false, log_panics: false, ..st_log::Settings::default() };
        let (_layer, log) = st_log::open(&settings).unwrap();
        let capacity = Capacity { connections: 9, streams: 1 };
        let front = Front::new(live(&config.access).unwrap(), capacity);
        let background = Arc::new(background);
        let reload = Reload { origin, config, front, background, log: log.handle() };
        Self { dir, reload, _log: log }
    }

    async fn write(&mut self, yaml: &str) {
        std::fs::write(self.dir.path().join(FILE), yaml).unwrap();
        drop(self.reload.once().await);
    }

    fn connections(&self) -> usize {
        self.reload.front.live().connections_per_address
    }
}

fn copy(from: &str, to: &Path) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls"));
    std::fs::copy(folder.join(from), to).unwrap();
}

#[tokio::test]
async fn what_may_change_takes_effect_and_the_rest_is_named() {
    let mut harness = Harness::start("server: {connections_per_address: 7}");
    assert_eq!(harness.connections(), 7);
    harness
        .write(
            "server: {connections_per_address: 8, hosts: [a.example], port: 9}\n\
             logging: {level: ERROR}\n\
             background: {job_status_polling: {interval_seconds: 3}}",
        )
        .await;
    assert_eq!(harness.connections(), 8);
    assert_eq!(harness.reload.log.level().to_string(), "ERROR");
    assert_eq!(harness.reload.config.background.polling.period.as_secs(), 3);
    // The port is still the old one, so it is named until it is in effect.
    let again = harness.reload.origin.read().unwrap();
    let Changes { reloaded, need_restart } = harness.reload.config.changes(&again);
    assert_eq!(names(&reloaded), "nothing");
    assert_eq!(names(&need_restart), "server.port");
}

#[tokio::test]
async fn a_configuration_with_a_fault_changes_nothing() {
    let mut harness = Harness::start("server: {connections_per_address: 7}");
    harness.write("server: {connections_per_address: 8, prot: 9}\nlogging: {level: ERROR}").await;
    assert_eq!(harness.connections(), 7);
    assert_eq!(harness.reload.log.level().to_string(), "INFO");
    harness.write("server: {connections_per_address: 9}").await;
    assert_eq!(harness.connections(), 9);
}

#[tokio::test]
async fn a_level_that_was_set_over_http_stays_unless_the_file_changes_it() {
    let mut harness = Harness::start("logging: {level: INFO}");
    harness.reload.log.set_level(st_log::Level::Debug);
    harness.write("server: {hosts: [a.example]}\nlogging: {level: INFO}").await;
    assert_eq!(harness.reload.log.level().to_string(), "DEBUG");
    harness.write("logging: {level: WARNING}").await;
    assert_eq!(harness.reload.log.level().to_string(), "WARNING");
}

#[tokio::test]
async fn the_files_of_tls_are_read_again_and_kept_when_they_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    copy("server.pem", &cert);
    copy("server.key.pem", &key);
    let tls = format!("{{cert: {}, key: {}}}", cert.display(), key.display());
    let file =
        |connections: u8| format!("server: {{connections_per_address: {connections}, tls: {tls}}}");
    let mut harness = Harness::start(&file(7));
    let tls = |harness: &Harness| harness.reload.front.live().tls.clone().unwrap();
    let first = tls(&harness);
    // Half of a renewal: nothing else changes either.
    copy("other.pem", &cert);
    harness.write(&file(8)).await;
    assert!(Arc::ptr_eq(&first, &tls(&harness)) && harness.connections() == 7);
    copy("other.key.pem", &key);
    harness.write(&file(8)).await;
    assert!(!Arc::ptr_eq(&first, &tls(&harness)) && harness.connections() == 8);
}

#[tokio::test]
async fn a_file_that_is_gone_or_cannot_be_read_changes_nothing() {
    let yaml = "server: {connections_per_address: 7, hosts: [a.example]}";
    let mut harness = Harness::start(yaml);
    let file = harness.dir.path().join(FILE);
    // A search would go on to this one.
    let in_home = harness.dir.path().join(".config/simpletuner/enterprise.yaml");
    std::fs::create_dir_all(in_home.parent().unwrap()).unwrap();
    std::fs::write(in_home, "server: {connections_per_address: 8}").unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = harness.reload.once().await.unwrap_err();
    assert!(said.contains(&format!("{}: cannot be read: ", file.display())), "{said}");
    assert_eq!(said.matches("cannot be read").count(), 1, "{said}");
    std::fs::create_dir(&file).unwrap();
    harness.reload.once().await.unwrap_err();
    assert_eq!(harness.connections(), 7);
    std::fs::remove_dir(&file).unwrap();
    harness.write("server: {connections_per_address: 9}").await;
    assert_eq!(harness.connections(), 9);
}

#[tokio::test]
async fn a_file_that_a_start_would_read_instead_is_not_read_by_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let environment = BTreeMap::from([("HOME".to_owned(), dir.path().display().to_string())]);
    let flags = Flags::default();
    let origin = Origin { environment, flags, cwd: dir.path().to_owned() };
    let port_and_other =
        |origin: &SettledOrigin| (origin.read().unwrap().port, origin.other_file());
    let without = origin.clone().settle(&origin.read().unwrap());
    assert_eq!(port_and_other(&without), (8001, None));
    let in_home = dir.path().join(".config/simpletuner/enterprise.yaml");
    std::fs::create_dir_all(in_home.parent().unwrap()).unwrap();
    std::fs::write(&in_home, "server: {port: 2}").unwrap();
    assert_eq!(port_and_other(&without), (8001, Some(in_home)));
    let with = origin.clone().settle(&origin.read().unwrap());
    assert_eq!(port_and_other(&with), (2, None));
    let first = dir.path().join(FILE);
    std::fs::write(&first, "server: {port: 3}").unwrap();
    assert_eq!(port_and_other(&with), (2, Some(first)));
}
