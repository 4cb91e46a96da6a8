//! What needs another disk than that of the tests; the rest is in `tests/it/results/downloads`.

use std::collections::BTreeSet;

use st_http::Config;
use st_store::JobId;
use st_testkit::replicate::FakeReplicate;
use tempfile::TempDir;

use super::*;
use crate::provider::replicate::{ApiToken, CallLimits, Prices, Replicate, ReplicateConfig};

fn provider(fake: &FakeReplicate) -> Replicate {
    let config = ReplicateConfig {
        base_url: fake.base_url(),
        api_token: Some(ApiToken::parse("r8_secret").unwrap()),
        limits: CallLimits::default(),
        prices: Prices::default(),
        retry_on: BTreeSet::new(),
        webhook_secrets: Vec::new(),
    };
    Replicate::new(config, Client::new(Config::default()).unwrap()).unwrap()
}

async fn place() -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(dir.path(), JobId::new(jiff::Timestamp::UNIX_EPOCH, [7; 10]));
    place.create().await.unwrap();
    (dir, place)
}

/// Puts three bytes of a file there.
async fn begin(place: &Place) {
    let mut part = place.part("a", 0).await.unwrap();
    part.file.write_all(b"abc").await.unwrap();
    part.sync().await.unwrap();
    let (url, validator) = ("https://x.example/a".to_owned(), "\"v1\"".to_owned());
    let record = PartRecord { url, validator, stored: 3, whole: None };
    place.record_part("a", record).await.unwrap();
}

fn names(place: &Place) -> BTreeSet<String> {
    let entries = place.path().read_dir().unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn nothing_is_asked_for_where_the_disk_is_full_but_for_the_reserve() {
    let fake = FakeReplicate::start().await;
    fake.world().add_file("a", b"made".to_vec(), None);
    let (_dir, place) = place().await;
    let (provider, client) = (provider(&fake), Client::new(Config::default()).unwrap());
    let url = fake.file_url("a");
    let wanted = Wanted { url: &url, place: &place, name: "a", allowed: 100 };
    let mut downloader = Downloader {
        provider: &provider,
        client: &client,
        until: Instant::now(),
        disk: Disk::keeping(u64::MAX),
    };
    let refused = downloader.receive(&wanted).await.unwrap_err();
    assert!(matches!(refused, DownloadError::Storage(_)), "{refused:?}");
    assert!(fake.world().requests().is_empty());
    downloader.disk = Disk::keeping(0);
    assert_eq!(downloader.receive(&wanted).await.unwrap().bytes, 4);
}

#[tokio::test]
async fn a_part_that_filled_the_disk_is_removed_and_one_before_the_reserve_stays() {
    let (_dir, place) = place().await;
    let wanted = Wanted { url: "https://x.example/a", place: &place, name: "a", allowed: 100 };
    for (kind, stays) in [(ErrorKind::QuotaExceeded, true), (ErrorKind::StorageFull, false)] {
        begin(&place).await;
        let error = DownloadError::Storage(io::Error::from(kind));
        wanted.give_back(&error).await.unwrap();
        assert_eq!(names(&place).contains("a.part"), stays, "{kind}");
        assert_eq!(names(&place).contains("a.part.json"), stays, "{kind}");
    }
}

#[tokio::test]
async fn a_part_that_is_the_whole_file_needs_no_request() {
    let fake = FakeReplicate::start().await;
    let (_dir, place) = place().await;
    begin(&place).await;
    let (provider, client) = (provider(&fake), Client::new(Config::default()).unwrap());
    let wanted = Wanted { url: "https://x.example/a", place: &place, name: "a", allowed: 100 };
    wanted.write_record(String::new(), 3, Some(3)).await.unwrap();
    let (until, disk) = (Instant::now(), Disk::keeping(0));
    let downloader = Downloader { provider: &provider, client: &client, until, disk };
    let received = downloader.receive(&wanted).await.unwrap();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(received, Received { bytes: 3, sha256: abc.to_owned() });
}

#[tokio::test]
async fn discarded_parts_leave_what_is_whole() {
    let (_dir, place) = place().await;
    begin(&place).await;
    for name in ["b", "x.part.json_", ".a.part.json.7.0", ".received.json"] {
        std::fs::write(place.path().join(name), "{}").unwrap();
    }
    place.discard_parts().await.unwrap();
    let left = [".received.json", "b", "x.part.json_"].map(str::to_owned);
    assert_eq!(names(&place), BTreeSet::from(left));
    std::fs::remove_dir_all(place.path()).unwrap();
    place.discard_parts().await.unwrap();
}
