//! What the settings of a provider say about the outputs of its jobs.

use serde_json::json;
use st_store::{OutputsSetting, ProviderName, ProviderSettingsPatch, ResultsState, SettingChange};
use st_testkit::suite::{id, user};

use super::{Bench, is_kept};

impl Bench {
    /// Sets what becomes of the outputs of the provider's jobs.
    async fn set_outputs(&self, setting: OutputsSetting) {
        let outputs = SettingChange::Set(setting);
        let patch = ProviderSettingsPatch { outputs, ..ProviderSettingsPatch::default() };
        let replicate = ProviderName::new("replicate");
        self.harness.store.patch_provider_settings(&replicate, patch, &user("ann")).await.unwrap();
    }
}

#[tokio::test]
async fn the_settings_of_a_provider_say_what_becomes_of_its_outputs() {
    let bench = Bench::keeping_logs().await;
    bench.fake.world().add_file("a", b"weights".to_vec(), None);
    let elsewhere = bench.dir.path().join("elsewhere");
    let dir = Some(elsewhere.display().to_string());
    bench.set_outputs(OutputsSetting { download: Some(true), dir, max_bytes: Some(7) }).await;
    bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state), "{:?}", bench.results(1).await);
    assert_eq!(std::fs::read(elsewhere.join(id(1).to_string()).join("a")).unwrap(), b"weights");
    let less = OutputsSetting { download: Some(true), dir: None, max_bytes: Some(6) };
    bench.set_outputs(less).await;
    bench.ended(2, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    let lost = bench.results(2).await.state;
    assert!(
        matches!(&lost, ResultsState::Lost { reason, .. } if reason.contains("larger")),
        "{lost:?}"
    );
    bench.set_outputs(OutputsSetting::default()).await;
    bench.ended(3, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(3).await.state), "its log alone");
    let somewhere = [bench.outputs(3), elsewhere.join(id(3).to_string())];
    assert!(
        !somewhere.iter().any(|it| it.exists()),
        "the configuration says that nothing is downloaded"
    );
    let bench = Bench::downloading(1000).await;
    bench.fake.world().add_file("a", b"weights".to_vec(), None);
    bench.set_outputs(OutputsSetting { download: Some(false), ..OutputsSetting::default() }).await;
    bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state) && !bench.outputs(1).exists(), "its log alone");
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_lets_no_output_be_lost() {
    let (bench, store) = Bench::flaky().await;
    bench.fake.world().add_file("a", b"weights".to_vec(), None);
    bench.set_outputs(OutputsSetting { download: Some(true), ..OutputsSetting::default() }).await;
    store.faults().unreadable_outputs = true;
    bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fetch().await;
    assert!(bench.log(1).await.is_some(), "which needs no setting");
    assert_eq!(bench.results(1).await.state, ResultsState::Due);
    store.faults().unreadable_outputs = false;
    bench.wait().await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
    assert_eq!(std::fs::read(bench.outputs(1).join("a")).unwrap(), b"weights");
}
