//! A provider in a process of its own, such as Replicate as the test kit plays it: it obeys lines on its standard input and
//! answers each with a line.

use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use st_testkit::replicate::{FakeReplicate, Traffic};

pub(crate) const VERB: &str = "provider";

/// The process.
pub(crate) struct Provider {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) base_url: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What arrived, and between which times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) creates: usize,
    pub(crate) lists: usize,
    pub(crate) others: usize,
    /// `None` while nothing arrived.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
}

impl Provider {
    /// Starts this program again with these arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut base_url = String::new();
        answers.read_line(&mut base_url).unwrap();
        Self { child, commands, answers, base_url: base_url.trim().to_owned() }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// Every answer takes this long from now on.
    pub(crate) fn delay(&mut self, by: Duration) {
        self.ask(&format!("delay {}", by.as_millis()));
    }

    /// What arrived since this was last asked.
    pub(crate) fn take_calls(&mut self) -> Calls {
        self.calls("calls take")
    }

    /// The same, and it is still there the next time.
    pub(crate) fn peek(&mut self) -> Calls {
        self.calls("calls peek")
    }

    fn calls(&mut self, command: &str) -> Calls {
        let answer = self.ask(command);
        let words: Vec<&str> = answer.split(' ').collect();
        let [creates, lists, others, first, last] = words.as_slice() else { panic!("{answer}") };
        let [creates, lists, others] = [creates, lists, others].map(|it| it.parse().unwrap());
        let times = first.parse().ok().zip(last.parse().ok());
        Calls { creates, lists, others, times }
    }
}

/// What the process does.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fake = runtime.block_on(FakeReplicate::start());
    fake.world().hold("processing");
    println!("{}", fake.base_url());
    let world = fake.world().clone();
    std::thread::spawn(move || {
        obey(
            |by| world.delay(by),
            |take| if take { world.take_traffic() } else { world.traffic() },
        );
    });
    runtime.block_on(std::future::pending::<()>());
}

/// Does what the lines of the standard input say. `calls`: whether they are taken.
pub(crate) fn obey(delay: impl Fn(Duration), calls: impl Fn(bool) -> Traffic) {
    for line in stdin().lines() {
        match line.unwrap().split_once(' ').unwrap_or_default() {
            ("delay", millis) => {
                delay(Duration::from_millis(millis.parse().unwrap()));
                println!();
            }
            ("calls", which) => println!("{}", shown(calls(which == "take"))),
            (other, _) => panic!("{other}"),
        }
    }
}

fn shown(traffic: Traffic) -> String {
    let Traffic { creates, lists, others, first, last } = traffic;
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!("{creates} {lists} {others} {} {}", time(first), time(last))
}
