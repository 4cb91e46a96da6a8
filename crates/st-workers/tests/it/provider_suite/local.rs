//! `local` with real processes in a temporary folder.

use std::fs::{self, File};
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use st_store::{JobId, Marker, ProviderJobId, ProviderSettings};
use st_testkit::provider_suite::{
    Brought, Impossible, RefusedInput, Scale, Situation, Turn, World,
};
use st_workers::provider::local::Local;
use st_workers::provider::{Provider, Submission};

use crate::local::place::Place;

/// In the environment of the command.
const SECRET: &str = "planted-s3cr3t";
/// Runs until the file `go` says how it is to end, or its folder is gone; a minute at most.
const JOB: &str = "echo begun >> runs; echo started; i=0; \
    while [ -d \"$ST_OUTPUT_DIR\" ] && [ ! -s go ] && [ $i -lt 3000 ]; do \
    sleep 0.02; i=$((i+1)); done; exit $(cat go)";
/// Stands between the provider and the runner. Where `next` is there, whoever submits cannot read the
/// attempt until `hold` is gone; then the runner begins, or ends without having done so.
const WAY_TO_THE_RUNNER: &str = "control=$1; shift; \
    if mv \"$control/next\" \"$control/mine\" 2>/dev/null; then \
    for dir; do :; done; echo '{' > \"$dir/runner.json\"; i=0; \
    while [ -e \"$control/hold\" ] && [ $i -lt 3000 ]; do sleep 0.02; i=$((i+1)); done; \
    rm \"$dir/runner.json\"; fate=$(cat \"$control/mine\"); touch \"$control/over\"; \
    if [ \"$fate\" = lost ]; then exit 0; fi; fi; exec \"$@\"";

struct LocalWorld {
    place: Place,
    provider: Arc<Local>,
}

impl LocalWorld {
    fn new() -> Self {
        let place = Place::new();
        let mut config = place.config(JOB);
        let command = config.commands.get_mut("job").unwrap();
        command.env.insert("SOME_API_KEY".to_owned(), SECRET.to_owned());
        let control = control(&place);
        fs::create_dir(&control).unwrap();
        let runner = std::mem::take(&mut config.runner.args);
        let runner_program = std::mem::replace(&mut config.runner.program, "/bin/sh".into());
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        config.runner.args = [
            vec!["-c".to_owned(), WAY_TO_THE_RUNNER.to_owned(), "way".to_owned()],
            vec![text(&control), text(&runner_program)],
            runner,
        ]
        .concat();
        Self { place, provider: Arc::new(Local::new(config)) }
    }

    fn control(&self, name: &str) -> PathBuf {
        control(&self.place).join(name)
    }

    fn own(&self, job: &str, name: &str) -> PathBuf {
        self.place.root.join(job).join(name)
    }

    /// The attempts that have a folder.
    fn attempts(&self) -> Vec<String> {
        let Ok(all) = fs::read_dir(&self.place.root) else { return Vec::new() };
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn runner_record(&self, job: &str) -> Option<Value> {
        let read = fs::read(self.own(job, "runner.json")).ok()?;
        serde_json::from_slice(&read).ok()
    }

    async fn started(&self, job: &str) {
        let printed = || {
            let log = fs::read_to_string(self.own(job, "output.log")).ok()?;
            let record = self.runner_record(job)?;
            (log.contains("started") && record["session"].is_i64()).then_some(())
        };
        seen("the command has started", printed).await;
    }

    /// Lets the submission on which something waits go on, and waits until it has.
    async fn go_on(&self) {
        if fs::remove_file(self.control("hold")).is_err() {
            return;
        }
        let is_over = || self.control("over").exists().then_some(());
        seen("the runner is let go on", is_over).await;
        let is_lost = fs::read_to_string(self.control("mine")).unwrap() == "lost";
        for job in self.attempts() {
            let begun = || (is_lost || self.runner_record(&job).is_some()).then_some(());
            seen("the runner runs", begun).await;
        }
    }
}

/// Checks until it is so.
async fn seen(what: &str, mut check: impl FnMut() -> Option<()> + Send) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let is_so = async {
        while check().is_none() {
            ticks.tick().await;
        }
    };
    let is_so = tokio::time::timeout(Duration::from_secs(30), is_so).await;
    is_so.unwrap_or_else(|_elapsed| panic!("it never came to it that {what}"));
}

fn control(place: &Place) -> PathBuf {
    place.work.with_file_name("control")
}

#[async_trait]
impl World for LocalWorld {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider) as Arc<dyn Provider>
    }

    fn submission(&self, marker: Marker) -> Submission {
        let (input, settings) =
            (json!({"config": {"command": "job"}}), ProviderSettings::default());
        Submission { marker, account: None, input, hardware_type: None, settings }
    }

    async fn arrived(&self) -> Vec<Marker> {
        let mut arrived = Vec::new();
        for job in self.attempts().iter().filter(|job| self.runner_record(job).is_some()) {
            let runs = fs::read_to_string(self.place.work.join(job).join("output/runs"));
            let times = runs.map_or(0, |runs| runs.lines().count()).max(1);
            arrived.extend(vec![job.parse::<Marker>().unwrap(); times]);
        }
        arrived
    }

    fn unknown_job(&self) -> ProviderJobId {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let job = JobId::new(jiff::Timestamp::UNIX_EPOCH, random);
        ProviderJobId::new(Marker { job, attempt: 1 }.to_string())
    }

    async fn bring_about(&self, situation: Situation) -> Brought {
        let away = self.place.root.with_file_name("away");
        match situation {
            Situation::LostReply | Situation::LostRequest => {
                let is_lost = situation == Situation::LostRequest;
                fs::write(self.control("hold"), "").unwrap();
                fs::write(self.control("next"), if is_lost { "lost" } else { "late" }).unwrap();
            }
            Situation::Rejection | Situation::Throttling => {
                return Err(Impossible("this machine refuses nothing that was checked before"));
            }
            Situation::Outage => {
                fs::rename(&self.place.root, away).unwrap();
                fs::write(&self.place.root, "").unwrap();
            }
            Situation::SilentAnswer => {
                return Err(Impossible("a file of this machine is read or not"));
            }
            Situation::FailingAnswer => {
                let job = self.attempts().remove(0);
                self.started(&job).await;
                fs::write(self.own(&job, "runner.json"), "{").unwrap();
            }
            Situation::Recovery => {
                if away.exists() {
                    fs::remove_file(&self.place.root).unwrap();
                    fs::rename(away, &self.place.root).unwrap();
                }
                self.go_on().await;
            }
        }
        Ok(())
    }

    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
        let status = match turn {
            Turn::Runs => {
                self.started(job.as_str()).await;
                return Ok(());
            }
            Turn::Completes => "0",
            Turn::Fails => "3",
            Turn::IsCancelled => {
                return Err(Impossible("only this server cancels jobs of its machine"));
            }
        };
        self.started(job.as_str()).await;
        let go = self.place.work.join(job.as_str()).join("output/go");
        fs::write(go, status).unwrap();
        let is_gone = || {
            let lock = File::open(self.own(job.as_str(), "lock")).unwrap();
            let is_free = lock.try_lock_shared().is_ok();
            (is_free && self.own(job.as_str(), "exit.json").exists()).then_some(())
        };
        seen("the runner is gone", is_gone).await;
        Ok(())
    }

    fn printed(&self) -> Result<&'static str, Impossible> {
        Ok("started\n")
    }

    fn refused_inputs(&self) -> Result<Vec<RefusedInput>, Impossible> {
        let inputs = [json!({}), json!({"command": ["job"]}), json!({"command": "other"})];
        let refused =
            |config: Value| RefusedInput { input: json!({"config": config}), field: "command" };
        Ok(inputs.into_iter().map(refused).collect())
    }

    fn account_name(&self) -> Result<&'static str, Impossible> {
        Ok("local")
    }

    fn secret(&self) -> Result<&'static str, Impossible> {
        Ok(SECRET)
    }

    fn scale(&self) -> Scale {
        // Each is a process.
        Scale { jobs: 6, at_once: 8 }
    }
}

st_testkit::provider_conformance!(ready(LocalWorld::new()));
