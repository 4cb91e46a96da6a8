//! Receiving outputs: across cuts and crashes, from hosts that are not the provider's, under names that
//! are not plain, and within a limit. Other sides that do what they should not are in `trouble`.

mod trouble;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use st_http::AddressPolicy;
use st_store::ResultsState;
use st_testkit::replicate::{Call, FakeReplicate, Fault, RecordedRequest};

use super::{Bench, is_kept};
use crate::replicate::TOKEN;

const PLENTY: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// Bytes of which no two places look alike.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The requests for files so far.
fn asked(fake: &FakeReplicate) -> Vec<RecordedRequest> {
    let requests = fake.world().requests();
    requests.into_iter().filter(|it| it.path.starts_with("/files/")).collect()
}

fn range(request: &RecordedRequest) -> (Option<&str>, Option<&str>) {
    (request.header("range"), request.header("if-range"))
}

impl Bench {
    /// A job that has just completed, with these files of the provider's own.
    async fn made(&self, number: u8, files: &[&str]) {
        let urls: Vec<String> = files.iter().map(|name| self.fake.file_url(name)).collect();
        self.ended(number, "succeeded", json!(urls)).await;
    }

    fn output(&self, number: u8, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.outputs(number).join(name)).ok()
    }

    fn manifest(&self, number: u8) -> Option<Value> {
        serde_json::from_slice(&self.output(number, "manifest.json")?).unwrap()
    }

    /// All that is in the folder of a job's outputs.
    fn names(&self, number: u8) -> Vec<String> {
        let Ok(entries) = self.outputs(number).read_dir() else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let bench = Bench::downloading(PLENTY).await;
    let data = bytes(3 * MIB + 17, 1);
    bench.fake.world().add_file("m.tar", data.clone(), Some("\"v1\""));
    bench.made(1, &["m.tar?signature=secret"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(2 * MIB));
    bench.fetch().await;
    let path = bench.outputs(1).display().to_string();
    let kept = ResultsState::Kept { output_path: Some(path) };
    assert_eq!(bench.results(1).await.state, kept);
    assert!(bench.output(1, "m.tar") == Some(data.clone()), "not the same bytes");
    let requests = asked(&bench.fake);
    let ranges: Vec<_> = requests.iter().map(range).collect();
    assert_eq!(ranges.len(), 2, "{requests:#?}");
    assert_eq!(ranges[0], (None, None));
    let (Some(from), Some("\"v1\"")) = ranges[1] else { panic!("{ranges:?}") };
    let from = from.trim_start_matches("bytes=").trim_end_matches('-');
    let from: usize = from.parse().unwrap();
    assert!((MIB..=2 * MIB).contains(&from), "{from}");
    let manifest = bench.manifest(1).unwrap();
    let file = &manifest["files"][0];
    assert_eq!((&file["name"], &file["bytes"]), (&json!("m.tar"), &json!(data.len())));
    assert_eq!(file["sha256"], sha256(&data));
    assert_eq!(file["url"], bench.fake.file_url("m.tar"), "without what is secret in it");
    assert!(file["fetched_at"].as_str().unwrap().ends_with('Z'), "{manifest}");
    assert_eq!(bench.names(1), ["m.tar", "manifest.json"]);
}

#[tokio::test]
async fn a_download_goes_on_in_another_process() {
    let bench = Bench::downloading(PLENTY).await;
    let data = bytes(300_000, 2);
    bench.fake.world().add_file("a", data.clone(), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(100_000));
    bench.fetch().await;
    assert_eq!(bench.results(1).await.state, ResultsState::Due);
    assert_eq!(bench.names(1), ["a.part", "a.part.json"]);
    let log = bench.log(1).await;
    assert_eq!(log.as_deref(), Some("step 1/10\n"), "it does not wait for the outputs");
    let bench = bench.crash().await;
    bench.wait().await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
    assert!(bench.output(1, "a") == Some(data), "not the same bytes");
    assert_eq!(range(&asked(&bench.fake)[1]), (Some("bytes=100000-"), Some("\"v1\"")));
}

#[tokio::test]
async fn what_is_here_whole_is_not_received_again() {
    let bench = Bench::downloading(PLENTY).await;
    for (name, seed) in [("a", 3), ("b", 4)] {
        bench.fake.world().add_file(name, bytes(1000, seed), None);
    }
    bench.made(1, &["a", "b"]).await;
    // The log and the first file, then nothing.
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(2000));
    bench.fake.world().fault_on(Call::File, Fault::ServerError);
    bench.fetch().await;
    assert_eq!(bench.names(1), [".received.json", "a"]);
    let questions = bench.questions();
    let bench = bench.crash().await;
    bench.wait().await;
    bench.fetch().await;
    let paths: Vec<String> = asked(&bench.fake).into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/files/a", "/files/b", "/files/b"]);
    assert_eq!(bench.questions(), questions + 1, "for the outputs, and not for the log");
    let manifest = bench.manifest(1).unwrap();
    let sums: Vec<&Value> =
        manifest["files"].as_array().unwrap().iter().map(|it| &it["sha256"]).collect();
    assert_eq!(sums, [&json!(sha256(&bytes(1000, 3))), &json!(sha256(&bytes(1000, 4)))]);
}

#[tokio::test]
async fn a_file_that_changed_is_received_anew() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a", bytes(3000, 5), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
    bench.fetch().await;
    let other = bytes(2500, 6);
    bench.fake.world().add_file("a", other.clone(), Some("\"v2\""));
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(range(&asked(&bench.fake)[1]), (Some("bytes=1000-"), Some("\"v1\"")));
    assert!(bench.output(1, "a") == Some(other), "a mixture of two files");
}

#[tokio::test]
async fn a_part_of_another_version_is_not_added() {
    let bench = Bench::downloading(PLENTY).await;
    let data = bytes(3000, 7);
    bench.fake.world().add_file("a", data.clone(), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
    bench.fetch().await;
    // A server that ignores If-Range, one that begins at another byte, and a file of another length.
    for (etag, place) in [
        ("\"v2\"", "bytes 1000-1004/3000"),
        ("\"v1\"", "bytes 900-904/3000"),
        ("\"v1\"", "bytes 1000-1004/1005"),
    ] {
        let headers = vec![("etag", etag), ("content-range", place)];
        let answer = Fault::Answer { status: 206, headers, body: "xxxxx".to_owned() };
        bench.fake.world().fault_on(Call::File, answer);
        bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
        bench.wait().await;
        bench.fetch().await;
        assert_eq!(bench.results(1).await.state, ResultsState::Due, "{place}");
    }
    bench.wait().await;
    bench.fetch().await;
    assert!(bench.output(1, "a") == Some(data), "a mixture of two files");
}

#[tokio::test]
async fn a_file_of_another_length_than_announced_is_received_anew() {
    let bench = Bench::downloading(PLENTY).await;
    let data = bytes(3000, 8);
    bench.fake.world().add_file("a", data.clone(), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
    bench.fetch().await;
    let headers = vec![("etag", "\"v1\""), ("content-range", "bytes 1000-1009/3000")];
    let answer = Fault::Answer { status: 206, headers, body: "xxxxx".to_owned() };
    bench.fake.world().fault_on(Call::File, answer);
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(bench.results(1).await.state, ResultsState::Due);
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(range(&asked(&bench.fake)[2]), (None, None), "from the beginning");
    assert!(bench.output(1, "a") == Some(data), "with what was not of it");
}

#[tokio::test]
async fn a_server_without_versions_is_asked_for_the_whole_each_time() {
    let bench = Bench::downloading(PLENTY).await;
    let data = bytes(3000, 9);
    bench.fake.world().add_file("a", data.clone(), None);
    bench.made(1, &["a"]).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
    bench.fetch().await;
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(range(&asked(&bench.fake)[1]), (None, None));
    assert!(bench.output(1, "a") == Some(data), "not the same bytes");
}

#[tokio::test]
async fn outputs_beyond_the_limit_are_lost_and_the_log_is_kept() {
    let bench = Bench::downloading(1500).await;
    for (name, seed) in [("a", 10), ("b", 11)] {
        bench.fake.world().add_file(name, bytes(1000, seed), None);
    }
    bench.made(1, &["a", "b"]).await;
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, output_path } = &state else { panic!("{state:?}") };
    assert_eq!(reason, "all outputs together are larger than outputs.max_bytes");
    assert_eq!(bench.names(1), [".received.json", "a"]);
    assert_eq!(output_path.as_deref(), bench.outputs(1).to_str(), "one of them is here");
    assert!(bench.log(1).await.is_some());
    // As many as are allowed, and not one more.
    bench.fake.world().add_file("c", bytes(500, 12), None);
    bench.made(2, &["a", "c"]).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(2).await.state));
}

#[tokio::test]
async fn hostile_names_stay_in_the_folder_of_their_job() {
    let bench = Bench::downloading(PLENTY).await;
    let names = ["..%2F..%2Fevil", "manifest.json", "x.part", "%00%0A", "..%5Cb", "A.tar", "a.tar"];
    for name in names {
        bench.fake.world().add_file(name, name.as_bytes().to_vec(), None);
    }
    bench.made(1, &names).await;
    bench.fetch().await;
    let expected = [
        "A.tar",
        "_._.._evil",
        "_._b",
        "__",
        "a-2.tar",
        "manifest-2.json",
        "manifest.json",
        "x.part_",
    ];
    assert_eq!(bench.names(1), expected);
    assert_eq!(bench.output(1, "_._.._evil").unwrap(), b"..%2F..%2Fevil");
    assert_eq!(bench.output(1, "manifest-2.json").unwrap(), b"manifest.json");
    let around: Vec<_> =
        bench.dir.path().read_dir().unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(around.len(), 2, "{around:?}");
}

#[tokio::test]
async fn only_files_of_the_providers_own_get_the_token() {
    let bench = Bench::downloading(PLENTY).await;
    let other = FakeReplicate::start().await;
    bench.fake.world().add_file("own", b"own".to_vec(), None);
    bench.fake.world().add_file("outside", b"outside".to_vec(), None);
    other.world().add_file("direct", b"direct".to_vec(), None);
    other.world().add_file("behind", b"behind".to_vec(), None);
    let urls = [
        bench.fake.file_url("own"),
        other.file_url("direct"),
        bench.fake.file_url("sent"),
        bench.fake.outside_url("outside"),
    ];
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(3));
    bench.fake.world().fault_on(Call::File, Fault::Redirect(other.file_url("behind")));
    bench.ended(1, "succeeded", json!(urls)).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state), "{:?}", bench.results(1).await);
    assert_eq!(bench.output(1, "sent").unwrap(), b"behind");
    let bearer = format!("Bearer {TOKEN}");
    let own = asked(&bench.fake);
    let [_own, _sent, outside] = &own[..] else { panic!("{own:#?}") };
    for request in &own[..2] {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{}", request.path);
    }
    assert_eq!(outside.header("authorization"), None, "it is no file of the API");
    let foreign = asked(&other);
    assert_eq!(foreign.len(), 2);
    for request in foreign {
        no_token(&request);
    }
}

fn no_token(request: &RecordedRequest) {
    let secret = request.headers.iter().find(|(_, value)| value.contains(TOKEN));
    assert_eq!(secret, None, "{}", request.path);
    assert_eq!(request.header("authorization"), None, "{}", request.path);
}

#[tokio::test]
async fn what_another_host_redirects_to_gets_no_token() {
    let bench = Bench::downloading(PLENTY).await;
    let other = FakeReplicate::start().await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    other.world().fault_on(Call::File, Fault::Redirect(bench.fake.file_url("a")));
    bench.ended(1, "succeeded", json!(other.file_url("away"))).await;
    bench.fetch().await;
    assert_eq!(bench.output(1, "away").unwrap(), b"made");
    let requests = asked(&bench.fake);
    assert_eq!(requests.len(), 1);
    no_token(&requests[0]);
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_called_unless_it_is_allowed() {
    let bench = Bench::with(Some((PLENTY, AddressPolicy::public()))).await;
    let other = FakeReplicate::start().await;
    other.world().add_file("a", b"inside".to_vec(), None);
    bench.fake.world().add_file("own", b"own".to_vec(), None);
    bench.ended(1, "succeeded", json!(other.file_url("a"))).await;
    bench.fetch().await;
    bench.ended(2, "succeeded", json!(bench.fake.file_url("sent"))).await;
    bench.fake.world().fault_on(Call::File, Fault::Redirect(other.file_url("a")));
    bench.fetch().await;
    for number in [1, 2] {
        assert_eq!(bench.results(number).await.state, ResultsState::Due, "{number}");
    }
    assert!(other.world().requests().is_empty());
    bench.made(3, &["own"]).await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(3).await.state), "the provider's own address is configured");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let bench = Bench::downloading(PLENTY).await;
    bench.made(1, &["a"]).await;
    bench.fake.world().always(Call::File, Fault::Redirect(bench.fake.file_url("a")));
    bench.fetch().await;
    assert_eq!(bench.results(1).await.state, ResultsState::Due);
    assert_eq!(asked(&bench.fake).len(), 6);
}
