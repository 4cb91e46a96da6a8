//! `st-server logs`: the JSON log, filtered and printed for a person.
//!
//! Promises: whatever stands in a log, it never stops the reading and never reaches the terminal as
//! more than text; memory is bounded, however long the log or one of its lines. Leaves out: the
//! text format, whose lines pass through as other programs' do, and unpacking.

mod escape;
mod filter;
mod follow;
#[cfg(test)]
mod fuzz;
mod json;
mod lines;
mod pretty;
mod record;
mod viewer;
mod wrapped;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read, StdoutLock};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use st_store::{Clock, SystemClock};

use self::filter::{Filter, Flags};
use self::lines::Lines;
use self::pretty::Pretty;
use self::viewer::Viewer;

const LOG_FILE: &str = "SIMPLETUNER_LOG_FILE";
const CHUNK: usize = 256 * 1024;
/// How a file begins that gzip has packed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

const COLOR: &str = "auto (on a terminal, unless NO_COLOR is set), always or never";

const MORE: &str = "\
Without FILE it reads what is piped in, else the file that SIMPLETUNER_LOG_FILE names.
A record is shown when it passes all filters. Lines that are no records are shown as they
are, unless there is a filter. Of a line that docker compose, kubectl or journald has put
something around, the record is shown. Times are UTC.

Examples:
  What went wrong in the last two hours:
    st-server logs --level WARNING --since 2h cloud.log
  One request, from its submission to its job's last poll, in a log that was rotated:
    st-server logs --correlation-id abc123def456 cloud.log.1 cloud.log
  What the queue does from now on:
    st-server logs -f --logger simpletuner.cloud.queue --since 0s cloud.log
  A log that is elsewhere, and one that is packed:
    docker compose logs st-server | st-server logs --level ERROR
    kubectl logs deploy/st-server | st-server logs --level ERROR
    zcat cloud.log.2.gz | st-server logs";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Logs {
    /// Keep printing what is added, across log rotation, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    flags: Flags,
    #[arg(long, value_name = "WHEN", help = COLOR, hide_possible_values = true)]
    #[arg(value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Logs to read, in this order; - is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// As <https://no-color.org> has it: an empty variable counts as none.
    fn is_on(self, environment: &BTreeMap<String, String>, terminal: bool) -> bool {
        match self {
            Self::Auto => terminal && environment.get("NO_COLOR").is_none_or(String::is_empty),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Why reading stopped before its end.
#[derive(Debug)]
enum Stop {
    /// The log cannot be read; others may.
    Input(io::Error),
    /// The log is packed.
    Packed,
    /// What was found cannot be told.
    Output(io::Error),
}

type Screen = Viewer<StdoutLock<'static>>;

impl Logs {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let sources = match sources(self.files, environment) {
            Ok(sources) => sources,
            Err(message) => return super::fail(super::EXIT_USAGE, message),
        };
        if self.follow && sources.len() > 1 {
            let message = "--follow follows one file, not several";
            return super::fail(super::EXIT_USAGE, message);
        }
        let color = self.color.is_on(environment, io::stdout().is_terminal());
        let filter = Filter::new(self.flags, SystemClock.wall());
        let mut viewer = Viewer::new(filter, Pretty { color }, io::stdout().lock());
        let mut code = ExitCode::SUCCESS;
        for source in &sources {
            match read(source, self.follow, &mut viewer) {
                Ok(()) => {}
                // As in `st-server logs | head`: whoever read has seen enough.
                Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return code;
                }
                Err(Stop::Output(error)) => {
                    return super::fail(1, &format!("cannot write the output: {error}"));
                }
                Err(Stop::Input(error)) => {
                    let message = format!("cannot read {}: {error}", name(source));
                    code = super::fail(1, &message);
                }
                Err(Stop::Packed) => code = super::fail(1, &packed(source)),
            }
        }
        if !self.follow {
            for note in viewer.notes() {
                super::print(&format!("st-server: {note}\n"));
            }
        }
        code
    }
}

/// Where to read, `-` for standard input.
fn sources(
    files: Vec<PathBuf>,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<PathBuf>, &'static str> {
    if !files.is_empty() {
        return Ok(files);
    }
    if stdin_is_fed() {
        return Ok(vec!["-".into()]);
    }
    match environment.get(LOG_FILE).filter(|path| !path.is_empty()) {
        Some(path) => Ok(vec![path.into()]),
        None => Err("no log to read: name a file, as in `st-server logs cloud.log`, \
                     set SIMPLETUNER_LOG_FILE, or pipe a log into it"),
    }
}

/// Whether a pipe, a socket or a file stands at stdin. The null device, which containers and
/// timers get for stdin, feeds no more than a terminal does.
fn stdin_is_fed() -> bool {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let device = stdin.and_then(|stdin| stdin.metadata()).map(|it| it.file_type().is_char_device());
    matches!(device, Ok(false))
}

fn read(path: &Path, follow: bool, viewer: &mut Screen) -> Result<(), Stop> {
    if path == Path::new("-") {
        return read_to_end(io::stdin().lock(), viewer);
    }
    let file = File::open(path).map_err(Stop::Input)?;
    // What is no regular file has an end only when its writer says so, and is never rotated.
    if follow && file.metadata().map_err(Stop::Input)?.is_file() {
        return follow::follow(path, file, viewer);
    }
    read_to_end(file, viewer)
}

fn read_to_end(mut input: impl Read, viewer: &mut Screen) -> Result<(), Stop> {
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK];
    let mut first = true;
    loop {
        let read = read_chunk(&mut input, &mut chunk).map_err(Stop::Input)?;
        if read.is_empty() {
            break;
        }
        if std::mem::take(&mut first) && read.starts_with(&GZIP) {
            return Err(Stop::Packed);
        }
        lines.feed(read, |line| viewer.take(line)).map_err(Stop::Output)?;
        // The next read may wait for whoever writes the log.
        viewer.flush().map_err(Stop::Output)?;
    }
    lines.finish(|line| viewer.take(line)).map_err(Stop::Output)?;
    viewer.flush().map_err(Stop::Output)
}

/// What there is now, at most one chunk; nothing at the end.
fn read_chunk<'c>(input: &mut impl Read, chunk: &'c mut [u8]) -> io::Result<&'c [u8]> {
    loop {
        match input.read(chunk) {
            Ok(length) => return Ok(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn name(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    let mut name = String::new();
    escape::plain(&mut name, &path.to_string_lossy());
    name
}

fn packed(path: &Path) -> String {
    let name = name(path);
    let file = if path == Path::new("-") { "cloud.log.2.gz" } else { name.as_str() };
    format!("{name} is packed; unpack it on the way: zcat {file} | st-server logs")
}

#[test]
fn colour_follows_the_flag_then_the_environment_then_the_terminal() {
    let plain = BTreeMap::new();
    let set = |value: &str| BTreeMap::from([("NO_COLOR".to_owned(), value.to_owned())]);
    let auto = [(&plain, true), (&plain, false), (&set(""), true), (&set("1"), true)]
        .map(|(environment, terminal)| Color::Auto.is_on(environment, terminal));
    assert_eq!(auto, [true, false, true, false]);
    assert!(Color::Always.is_on(&set("1"), false));
    assert!(!Color::Never.is_on(&plain, true));
}
