//! Times, rates and processor time.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this process, all threads.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) =
        (time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap());
    Duration::new(seconds, nanoseconds)
}

pub(crate) fn rate(count: u32, time: Duration) -> f64 {
    f64::from(count) / time.as_secs_f64()
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Microseconds of processor time for each of them.
pub(crate) fn us_each(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(count)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of `calls` calls in milliseconds, of fewer if they take seconds.
pub(crate) async fn median_of(calls: usize, mut call: impl AsyncFnMut()) -> f64 {
    let (mut all, began) = (Vec::new(), Instant::now());
    while all.len() < calls && (all.len() < 3 || began.elapsed().as_secs() < 3) {
        let one = Instant::now();
        call().await;
        all.push(ms(one.elapsed()));
    }
    median(all)
}

/// How often a second a small write to a file in this folder reaches the disk.
pub(crate) fn syncs(folder: &Path) -> f64 {
    const FOR: Duration = Duration::from_millis(500);
    let mut file = File::create(folder.join("sync")).unwrap();
    let (mut count, began) = (0, Instant::now());
    while began.elapsed() < FOR {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    rate(count, began.elapsed())
}
