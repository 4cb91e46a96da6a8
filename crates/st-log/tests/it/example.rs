//! Runs the example of a web service as a separate program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

fn parsed(line: std::io::Result<String>) -> Value {
    serde_json::from_str(&line.unwrap()).unwrap()
}

#[test]
fn every_line_of_the_service_carries_its_request_s_id() {
    // Cargo builds examples with the tests, into a directory next to theirs.
    let tests = std::env::current_exe().unwrap();
    let service = tests.ancestors().nth(2).unwrap().join("examples/service");
    let mut service = Command::new(service);
    service.arg("0").env_remove("SIMPLETUNER_LOG_FILE").env("SIMPLETUNER_LOG_LEVEL", "INFO");
    let mut service = service.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let listening = parsed(lines.next().unwrap());
    let address = listening["extra"]["address"].as_str().unwrap();

    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /orders/4711 HTTP/1.1\r\nHost: localhost\r\nX-Correlation-ID: abc123\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let about_request = [parsed(lines.next().unwrap()), parsed(lines.next().unwrap())];
    service.kill().unwrap();
    service.wait().unwrap();

    assert!(answer.contains("x-correlation-id: abc123\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\norder 4711\n"), "{answer}");
    for record in about_request {
        assert_eq!(record["correlation_id"], "abc123", "{record}");
        assert_eq!(record["extra"]["order"], 4711, "{record}");
    }
    assert_ne!(listening["correlation_id"], "abc123");
}
