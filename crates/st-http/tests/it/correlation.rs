//! The correlation ID belongs to the request, not to the client and not to the connection.

use st_http::{Client, Config};
use st_log::{CorrelationId, InScope as _, Scope, TraceContext};

use crate::server::{Server, ok};

#[tokio::test]
async fn each_request_carries_the_id_of_its_own_scope_on_one_pooled_connection() {
    let server = Server::start(|_| ok("{}")).await;
    let client = Client::new(Config::default()).unwrap();

    for id in ["abc123def456", "fed654cba321"] {
        let id = CorrelationId::parse(id).unwrap();
        client.get(&server.url("/v1/predictions")).send().with_correlation_id(id).await.unwrap();
    }

    let seen = server.seen();
    assert_eq!(seen[0].header("x-correlation-id"), ["abc123def456"]);
    assert_eq!(seen[1].header("x-correlation-id"), ["fed654cba321"]);
    assert_eq!((seen[0].connection, seen[1].connection), (1, 1));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn requests_side_by_side_do_not_mix_their_ids() {
    let server = Server::start(|_| ok("{}")).await;
    let client = Client::new(Config::default()).unwrap();
    let send = |name: &'static str| {
        let id = CorrelationId::parse(name).unwrap();
        client.get(&server.url(&format!("/{name}"))).send().with_correlation_id(id)
    };

    let (a, b, c) = tokio::join!(send("aaaa"), send("bbbb"), send("cccc"));

    assert!([a, b, c].iter().all(|response| response.as_ref().unwrap().status() == 200));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for request in seen {
        let id = request.header("x-correlation-id")[0].to_owned();
        assert!(request.head.starts_with(&format!("GET /{id} ")), "{}", request.head);
    }
}

#[tokio::test]
async fn a_request_outside_of_every_scope_carries_a_generated_id() {
    let server = Server::start(|_| ok("{}")).await;

    Client::new(Config::default()).unwrap().get(&server.url("/")).send().await.unwrap();

    let seen = server.seen();
    let id = seen[0].header("x-correlation-id")[0];
    assert_eq!(id.len(), 12);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[tokio::test]
async fn a_header_of_the_caller_does_not_replace_the_id() {
    let server = Server::start(|_| ok("{}")).await;
    let client = Client::new(Config::default()).unwrap();
    let id = CorrelationId::parse("scope").unwrap();

    let request = client.get(&server.url("/")).header("X-Correlation-ID", "caller");
    request.send().with_correlation_id(id).await.unwrap();

    assert_eq!(server.seen()[0].header("x-correlation-id"), ["scope"]);
}

#[tokio::test]
async fn the_shared_client_is_one_client() {
    let server = Server::start(|_| ok("{}")).await;

    for _ in 0..2 {
        let client = st_http::get_async_client().unwrap();
        client.get(&server.url("/")).send().await.unwrap();
    }

    assert_eq!(server.seen().len(), 2);
    assert_eq!(server.connections(), 1);
}

/// What is sent of a trace, from the scope of one, by a request with these headers of its own.
async fn sent_of_a_trace(own: &[(&str, &str)]) -> [Vec<String>; 2] {
    let server = Server::start(|_| ok("{}")).await;
    let trace = TraceContext::parse(PARENT).unwrap().with_state("a=1,b=2");
    let mut request = Client::new(Config::default()).unwrap().get(&server.url("/"));
    for (name, value) in own {
        request = request.header(*name, *value);
    }
    request.send().in_scope(Scope::root().with_trace_context(trace)).await.unwrap();
    let seen = server.seen().remove(0);
    let of = |name| seen.header(name).into_iter().map(str::to_owned).collect();
    [of("traceparent"), of("tracestate")]
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn the_trace_of_the_scope_is_sent_on_unchanged() {
    assert_eq!(sent_of_a_trace(&[]).await, [[PARENT], ["a=1,b=2"]]);
}

#[tokio::test]
async fn a_trace_of_the_request_itself_is_not_mixed_with_that_of_the_scope() {
    let none: Vec<String> = Vec::new();
    assert_eq!(sent_of_a_trace(&[("traceparent", OTHER)]).await, [vec![OTHER.to_owned()], none]);
    let both = sent_of_a_trace(&[("traceparent", OTHER), ("tracestate", "c=3")]).await;
    assert_eq!(both, [[OTHER], ["c=3"]]);
    assert_eq!(sent_of_a_trace(&[("tracestate", "c=3")]).await, [[PARENT], ["c=3"]]);
}

#[tokio::test]
async fn outside_of_a_trace_none_is_made_up() {
    let server = Server::start(|_| ok("{}")).await;
    Client::new(Config::default()).unwrap().get(&server.url("/")).send().await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].header("traceparent").len(), seen[0].header("tracestate").len()), (0, 0));
}
