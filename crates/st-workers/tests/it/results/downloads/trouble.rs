//! Other sides that break off, drip, send what was not asked for, or something else than they say.

use std::future::pending;
use std::ops::Range;
use std::time::Duration;

use serde_json::json;
use st_store::ResultsState;
use st_testkit::replicate::{Call, Fault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Bench, MIB, PLENTY, asked, bytes, range};
use crate::results::is_kept;

/// The address of a server that sends this to everyone, then the `drops`, and closes.
async fn raw(answer: impl Into<String>, drops: &'static [Duration]) -> String {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    st_log::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            st_log::spawn(send(stream, answer.clone(), drops));
        }
    });
    format!("http://{address}/a")
}

async fn send(mut stream: TcpStream, answer: String, drops: &'static [Duration]) {
    let mut request = [0; 4096];
    let _read = stream.read(&mut request).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    for drop in drops {
        // The server's own pace, in paused time.
        let _elapsed = timeout(*drop, pending::<()>()).await;
        if stream.write_all(b"x").await.is_err() {
            return;
        }
    }
}

/// This part of a text of which no two places look alike.
fn text(range: Range<u32>) -> String {
    let digit = |at: u32| char::from_digit(at / 5 / 10_u32.pow(4 - at % 5) % 10, 10).unwrap();
    range.map(digit).collect()
}

fn part(place: &'static str, body: &str) -> Fault {
    let headers = vec![("content-range", place)];
    Fault::Answer { status: 206, headers, body: body.to_owned() }
}

impl Bench {
    /// A job with one file, of which the first 1000 bytes are here.
    async fn begun(&self, data: &str) {
        self.fake.world().add_file("a", data.as_bytes().to_vec(), Some("\"v1\""));
        self.made(1, &["a"]).await;
        self.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
        self.fetch().await;
        self.wait().await;
    }

    async fn is_due(&self, number: u8) -> bool {
        self.results(number).await.state == ResultsState::Due
    }

    /// Why the only attempt at this output failed: past its deadline there is no other.
    async fn failed_because(&self, output: serde_json::Value) -> String {
        self.ended(1, "succeeded", output).await;
        self.harness.clock.advance(Duration::from_mins(76));
        self.fetch().await;
        let state = self.results(1).await.state;
        let ResultsState::Lost { reason, .. } = state else { panic!("{state:?}") };
        reason
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_fetched_holds_back_no_other() {
    let bench = Bench::downloading(PLENTY).await;
    for (name, seed) in [("b", 1), ("c", 2)] {
        bench.fake.world().add_file(name, bytes(100, seed), None);
    }
    bench.made(1, &["a", "b", "c"]).await;
    bench.fetch().await;
    assert!(bench.is_due(1).await, "a is missing");
    assert_eq!(bench.names(1), [".received.json", "b", "c"]);
    bench.fake.world().add_file("a", bytes(100, 3), None);
    bench.wait().await;
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
    assert_eq!(bench.names(1), ["a", "b", "c", "manifest.json"]);
    let paths: Vec<String> = asked(&bench.fake).into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/files/a", "/files/b", "/files/c", "/files/a"]);
}

#[tokio::test]
async fn a_file_that_is_too_large_holds_back_no_other_and_leaves_nothing() {
    let bench = Bench::downloading(1000).await;
    for (name, length) in [("a", 1001), ("b", 900), ("c", 200), ("d", 100)] {
        bench.fake.world().add_file(name, bytes(length, 4), Some("\"v1\""));
    }
    bench.made(1, &["a", "b", "missing", "c", "d"]).await;
    bench.fetch().await;
    assert_eq!(bench.names(1), [".received.json", "b", "d"]);
    assert!(bench.is_due(1).await, "the missing one may come");
    bench.fake.world().add_file("missing", Vec::new(), None);
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(bench.names(1), [".received.json", "b", "d", "missing"]);
    let state = bench.results(1).await.state;
    assert!(matches!(state, ResultsState::Lost { .. }), "{state:?}");
}

#[tokio::test]
async fn a_changed_order_of_the_list_mistakes_no_file_for_another() {
    let bench = Bench::downloading(PLENTY).await;
    let other = st_testkit::replicate::FakeReplicate::start().await;
    bench.fake.world().add_file("a", b"one".to_vec(), None);
    let urls = [bench.fake.file_url("a"), other.file_url("a")];
    bench.ended(1, "succeeded", json!(urls)).await;
    bench.fetch().await;
    assert_eq!(bench.names(1), [".received.json", "a"]);
    other.world().add_file("a", b"two".to_vec(), None);
    let remote = bench.harness.found(1).await.provider_job_id().unwrap().as_str().to_owned();
    bench.fake.world().change(&remote, |job| job.output = Some(json!([urls[1], urls[0]])));
    bench.wait().await;
    bench.fetch().await;
    let manifest = bench.manifest(1).unwrap();
    let listed =
        |place: usize| (&manifest["files"][place]["name"], &manifest["files"][place]["url"]);
    assert_eq!(listed(0), (&json!("a-2"), &json!(urls[1])));
    assert_eq!(listed(1), (&json!("a"), &json!(urls[0])));
    assert_eq!(bench.output(1, "a").unwrap(), b"one");
    assert_eq!(bench.output(1, "a-2").unwrap(), b"two");
    assert_eq!(asked(&bench.fake).len(), 1, "it is here");
}

#[tokio::test]
async fn two_files_that_only_their_query_tells_apart_are_both_received() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a?file=1", b"one".to_vec(), None);
    bench.fake.world().add_file("a", b"same".to_vec(), None);
    bench.made(1, &["a?file=1", "a?file=2", "b"]).await;
    bench.fetch().await;
    bench.fake.world().add_file("b", b"b".to_vec(), None);
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(bench.names(1), ["a", "a-2", "b", "manifest.json"]);
    let manifest = bench.manifest(1).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let names: Vec<_> = files.iter().map(|file| &file["name"]).collect();
    assert_eq!(names, ["a", "a-2", "b"]);
}

#[tokio::test]
async fn a_server_that_begins_anew_each_time_is_asked_twice_at_most() {
    for etag in [None, Some("\"v1\"")] {
        let bench = Bench::downloading(PLENTY).await;
        bench.fake.world().add_file("a", bytes(6 * MIB, 5), etag);
        bench.made(1, &["a"]).await;
        bench.fake.world().fault_on(Call::File, Fault::CutAfter(2 * MIB));
        if etag.is_some() {
            // It does not know ranges: an answer with the whole, which breaks off later.
            let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 6291456\r\n\r\n";
            let url = raw(format!("{head}{}", text(0..5 * 1024 * 1024)), &[]).await;
            bench.fake.world().fault_on(Call::File, Fault::Redirect(url));
        }
        bench.fetch().await;
        assert!(bench.is_due(1).await, "{etag:?}");
        assert_eq!(asked(&bench.fake).len(), if etag.is_some() { 2 } else { 1 }, "{etag:?}");
    }
}

#[tokio::test]
async fn nothing_follows_without_delay_after_the_deadline() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a", bytes(3 * MIB, 6), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    bench.harness.clock.advance(Duration::from_mins(75));
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(2 * MIB));
    bench.fetch().await;
    assert_eq!(asked(&bench.fake).len(), 1);
}

#[tokio::test]
async fn a_shorter_part_is_kept_and_the_rest_asked_for() {
    let bench = Bench::downloading(PLENTY).await;
    let data = text(0..3000);
    bench.begun(&data).await;
    // Without its version, and then without the length of the whole.
    bench.fake.world().fault_on(Call::File, part("bytes 1000-1499/3000", &text(1000..1500)));
    bench.fake.world().fault_on(Call::File, part("bytes 1500-1999/*", &text(1500..2000)));
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
    assert_eq!(bench.output(1, "a").unwrap(), data.as_bytes());
    let ranges =
        asked(&bench.fake).iter().map(|it| range(it).0.map(str::to_owned)).collect::<Vec<_>>();
    let expected = [None, Some("bytes=1000-"), Some("bytes=1500-"), Some("bytes=2000-")];
    assert_eq!(ranges, expected.map(|it| it.map(str::to_owned)));
}

#[tokio::test]
async fn a_part_that_ends_where_the_file_does_is_all_of_it_once_that_is_said() {
    let bench = Bench::downloading(PLENTY).await;
    let data = text(0..1200);
    // Of a server that does not say how long the whole is.
    bench.fake.world().add_file("a", data.as_bytes().to_vec(), Some("\"v1\""));
    bench.made(1, &["a"]).await;
    let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ntransfer-encoding: chunked\r\n\r\n3\r\n000\r\n";
    let broken = raw(head, &[]).await;
    bench.fake.world().fault_on(Call::File, Fault::Redirect(broken));
    bench.fetch().await;
    assert!(bench.is_due(1).await);
    bench.wait().await;
    bench.fake.world().fault_on(Call::File, part("bytes 3-1199/*", &text(3..1200)));
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
    assert_eq!(bench.output(1, "a").unwrap(), data.as_bytes());
    let requests = asked(&bench.fake);
    assert_eq!(range(&requests[2]), (Some("bytes=1200-"), Some("\"v1\"")));
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn an_answer_that_may_have_been_cut_is_not_called_whole() {
    let bench = Bench::downloading(PLENTY).await;
    let url = raw("HTTP/1.1 200 OK\r\n\r\nmade", &[]).await;
    let reason = bench.failed_because(json!(url)).await;
    assert!(reason.contains("without its length"), "{reason}");
    assert_eq!(bench.names(1), [""; 0]);
}

#[tokio::test]
async fn what_is_compressed_is_not_kept() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("b", b"made".to_vec(), None);
    let url =
        raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip\r\n\r\nmade", &[]);
    let urls = [url.await, bench.fake.file_url("b")];
    let reason = bench.failed_because(json!(urls)).await;
    assert!(reason.contains("compressed"), "{reason}");
    assert_eq!(bench.names(1), [".received.json", "b"]);
    assert_eq!(asked(&bench.fake)[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_refusal_names_the_host_that_answered() {
    let bench = Bench::downloading(PLENTY).await;
    let url = raw("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", &[]).await;
    let url = url.replace("127.0.0.1", "localhost");
    bench.fake.world().fault_on(Call::File, Fault::Redirect(url));
    let reason = bench.failed_because(json!(bench.fake.file_url("a"))).await;
    assert!(reason.contains("localhost answered 403"), "{reason}");
}

#[tokio::test]
async fn addresses_that_cannot_be_fetched_are_not_called_kept() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    bench.ended(1, "succeeded", json!([bench.fake.file_url("a"), "/files/b"])).await;
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, .. } = &state else { panic!("{state:?}") };
    assert!(reason.starts_with("1 outputs cannot be downloaded"), "{reason}");
    assert_eq!(bench.names(1), [".received.json", "a"]);
}

#[tokio::test]
async fn an_answer_without_the_output_that_is_known_is_not_believed() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    bench.made(1, &["a"]).await;
    let remote = bench.harness.found(1).await.provider_job_id().unwrap().as_str().to_owned();
    bench.fake.world().change(&remote, |job| job.output = Some(json!(null)));
    bench.fetch().await;
    assert!(bench.is_due(1).await);
    bench.fake.world().change(&remote, |job| job.output = Some(json!(bench.fake.file_url("a"))));
    bench.wait().await;
    bench.fetch().await;
    assert_eq!(bench.output(1, "a").unwrap(), b"made");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_drips_gives_up_its_place() {
    const DROPS: [Duration; 100] = [Duration::from_secs(20); 100];
    let bench = Bench::downloading(PLENTY).await;
    let url = raw("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n", &DROPS).await;
    let start = Instant::now();
    let reason = bench.failed_because(json!(url)).await;
    assert!(reason.contains("too slowly"), "{reason}");
    assert_eq!(start.elapsed().as_secs() / 60, 5);
}
