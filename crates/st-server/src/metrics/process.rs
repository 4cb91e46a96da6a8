//! The process, the disk and the log, under the names that are usual for them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::family::{Family, counter, gauge};
use super::page::{Page, series};
use crate::api::Api;
use crate::app::DATABASE;

const BUILD: Family = gauge("st_build_info", &["version"], "Always 1; the label is the version");
const CPU: Family =
    counter("process_cpu_seconds_total", &[], "Time for which the process had a processor");
const MEMORY: Family =
    gauge("process_resident_memory_bytes", &[], "Memory of the process that is in RAM");
const FDS: Family = gauge("process_open_fds", &[], "Files that the process has open");
const MAX_FDS: Family = gauge("process_max_fds", &[], "How many files the process may have open");
const STARTED: Family =
    gauge("process_start_time_seconds", &[], "When the server started, in seconds since 1970");
const FREE: Family = gauge(
    "st_state_dir_free_bytes",
    &[],
    "Room that is left on the file system of the state directory",
);
const SIZE: Family =
    gauge("st_state_dir_size_bytes", &[], "Size of the file system of the state directory");
const FILES: Family =
    gauge("st_store_file_bytes", &["file"], "Size of the database and of its write-ahead log");
const DROPPED: Family =
    counter("st_log_lines_dropped_total", &[], "Lines of the log that could not be written");

pub(super) const FAMILIES: [&Family; 10] =
    [&BUILD, &CPU, &MEMORY, &FDS, &MAX_FDS, &STARTED, &FREE, &SIZE, &FILES, &DROPPED];

/// What the kernel says of the process and of the disk. What it does not say is left out.
#[derive(Debug, Default)]
struct Kernel {
    memory: Option<u64>,
    fds: Option<usize>,
    /// Room that is left, and the size.
    disk: Option<(u64, u64)>,
    files: Vec<(&'static str, u64)>,
}

impl Kernel {
    /// Reads a few small files; the disk may take its time.
    fn read(state_dir: &Path) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let disk = rustix::fs::statvfs(state_dir).ok();
        let size = |suffix: &str| {
            let path = state_dir.join(format!("{DATABASE}{suffix}"));
            fs::metadata(path).ok().map(|it| it.len())
        };
        let files = [("database", size("")), ("wal", size("-wal"))];
        Self {
            memory: resident(&status),
            // One of them is the folder itself.
            fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1)),
            disk: disk.map(|it| {
                let bytes = |blocks: u64| blocks.saturating_mul(it.f_frsize);
                (bytes(it.f_bavail), bytes(it.f_blocks))
            }),
            files: files.into_iter().filter_map(|(name, size)| Some((name, size?))).collect(),
        }
    }
}

/// The memory that a process has in RAM, by its status file, which counts in kibibytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// For how long the process has had a processor.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

pub(super) async fn add(page: &mut Page, api: &Api) {
    let state_dir = api.state_dir().to_owned();
    let kernel = st_log::spawn_blocking(move || Kernel::read(&state_dir)).await;
    let kernel = kernel.unwrap_or_default();
    page.add(&BUILD, [series([env!("CARGO_PKG_VERSION")], true)]);
    page.one(&CPU, cpu_time());
    page.known(&MEMORY, kernel.memory);
    page.known(&FDS, kernel.fds);
    page.known(&MAX_FDS, getrlimit(Resource::Nofile).current);
    page.one(&STARTED, api.started_at().as_duration().as_secs_f64());
    page.known(&FREE, kernel.disk.map(|(free, _)| free));
    page.known(&SIZE, kernel.disk.map(|(_, size)| size));
    page.add(&FILES, kernel.files.iter().map(|(file, size)| series([file], *size)));
    page.one(&DROPPED, api.log().dropped_lines());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process_and_the_files_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DATABASE), [0; 77]).unwrap();
        let kernel = Kernel::read(dir.path());
        assert!(kernel.memory.is_some_and(|bytes| bytes > 100_000), "{kernel:?}");
        assert!(kernel.fds.is_some_and(|fds| fds > 0), "{kernel:?}");
        assert!(kernel.disk.is_some_and(|(free, size)| free < size), "{kernel:?}");
        assert_eq!(kernel.files, [("database", 77)]);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t4\n"), Some(1234 * 1024));
        assert_eq!(resident("VmRSS:\t? kB\n"), None);
        assert_eq!(resident(""), None);
    }

    #[test]
    fn time_with_a_processor_only_grows() {
        let before = cpu_time();
        let spent = (0..1_000_000_u64).fold(0, |sum, it| std::hint::black_box(sum ^ it));
        assert!(cpu_time() > before, "{spent}");
    }
}
