//! The buffer with outputs that fail, stall or keep up.

use std::io::Write;
use std::slice;

use super::*;
use crate::settings::Settings;

/// The capacity of the buffer in bytes.
const CAPACITY: usize = 1 << 20;
/// Far longer than any wait here, so that a lost wake-up cannot pass for a late one.
const LONG: Duration = Duration::from_hours(1);

/// Accepts a number of bytes, then fails until it is given more room.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), room))))
    }

    fn grow(&self, room: usize) {
        self.0.lock().unwrap().1 += room;
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let fits = bytes.len().min(disk.1);
        disk.1 -= fits;
        disk.0.extend_from_slice(&bytes[..fits]);
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn queue(disks: &[Disk]) -> Batched {
    queue_that(disks, Overflow::Drop)
}

fn queue_that(disks: &[Disk], overflow: Overflow) -> Batched {
    let outputs = disks.iter().map(|disk| Output::new(disk.clone())).collect();
    let formatter = Formatter::new(&Settings::default(), false);
    Batched::start(outputs, Arc::new(formatter), CAPACITY, overflow).unwrap()
}

fn push(queue: &Batched, line: &str) {
    queue.push(line.as_bytes(), false);
    assert!(queue.flush(LONG));
}

fn dropped(line: &str) -> u64 {
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    let count = record["extra"]["dropped"].as_u64().unwrap();
    assert_eq!(record["message"], format!("{count} log lines were dropped"));
    assert_eq!(record["level"], "WARNING");
    count
}

#[test]
fn a_full_disk_loses_lines_counts_them_and_tells_when_it_works_again() {
    let (small, large) = (Disk::with_room(11), Disk::with_room(1 << 20));
    let queue = queue(&[small.clone(), large.clone()]);
    for line in ["first\n", "second\n", "third\n", "fourth\n"] {
        push(&queue, line);
    }
    assert_eq!(small.lines(), ["first", "secon"]);
    assert_eq!(queue.dropped(), 3);
    small.grow(1 << 20);
    push(&queue, "fifth\n");
    push(&queue, "sixth\n");
    let lines = small.lines();
    // The torn line was completed, so that no line begins in the middle of another.
    assert_eq!(lines[..3], ["first", "second", "fifth"]);
    assert_eq!(dropped(&lines[3]), 2);
    assert_eq!(queue.dropped(), 2);
    assert_eq!(lines[4..], ["sixth"]);
    assert_eq!(large.lines(), ["first", "second", "third", "fourth", "fifth", "sixth"]);
}

#[test]
fn a_report_that_is_torn_is_finished_and_not_repeated() {
    let disk = Disk::with_room(6);
    let queue = queue(slice::from_ref(&disk));
    push(&queue, "first\n");
    push(&queue, "second\n");
    disk.grow(10);
    // Six of the ten bytes go to the line, four to the report.
    push(&queue, "third\n");
    disk.grow(1 << 20);
    push(&queue, "fourth\n");
    push(&queue, "fifth\n");
    let lines = disk.lines();
    assert_eq!(lines[..2], ["first", "third"]);
    assert_eq!(dropped(&lines[2]), 1);
    assert_eq!(lines[3..], ["fourth", "fifth"]);
    assert_eq!(queue.dropped(), 1);
}

#[test]
fn a_full_queue_drops_lines_and_never_waits() {
    let disk = Disk::with_room(usize::MAX);
    let queue = queue(slice::from_ref(&disk));
    let held = disk.0.lock().unwrap();
    let line = format!("{}\n", "x".repeat(CAPACITY / 4));
    for _ in 0..20 {
        queue.push(line.as_bytes(), false);
    }
    assert!(!queue.flush(Duration::ZERO));
    drop(held);
    assert!(queue.flush(LONG));
    push(&queue, "last\n");
    let lines = disk.lines();
    let lost: u64 = lines.iter().filter(|it| it.starts_with('{')).map(|it| dropped(it)).sum();
    let kept = lines.iter().filter(|it| it.starts_with('x')).count();
    assert!(lost >= 12, "{lost}");
    assert_eq!(u64::try_from(kept).unwrap() + lost, 20);
    assert_eq!(queue.dropped(), lost);
    assert_eq!(lines.last().unwrap(), "last");
}

#[test]
fn a_line_waits_for_room_where_it_may() {
    let disk = Disk::with_room(usize::MAX);
    let queue = queue_that(slice::from_ref(&disk), Overflow::Wait(LONG));
    let line = format!("{}\n", "x".repeat(CAPACITY / 4));
    for _ in 0..40 {
        queue.push(line.as_bytes(), false);
    }
    assert!(queue.flush(LONG));
    assert_eq!((disk.lines().len(), queue.dropped()), (40, 0));
}

#[test]
fn a_line_waits_no_longer_than_it_may() {
    let disk = Disk::with_room(usize::MAX);
    let queue = queue_that(slice::from_ref(&disk), Overflow::Wait(Duration::from_millis(1)));
    let held = disk.0.lock().unwrap();
    let line = format!("{}\n", "x".repeat(CAPACITY / 4));
    while queue.dropped() == 0 {
        queue.push(line.as_bytes(), true);
    }
    drop(held);
    assert!(queue.flush(LONG));
}

#[test]
fn lines_of_many_threads_stay_whole_and_in_order() {
    let disk = Disk::with_room(usize::MAX);
    let queue = queue(slice::from_ref(&disk));
    thread::scope(|scope| {
        for thread in 0..4 {
            let queue = &queue;
            scope.spawn(move || {
                for at in 0..500 {
                    queue.push(format!("{thread} {at}\n").as_bytes(), at % 7 == 0);
                }
            });
        }
    });
    assert!(queue.flush(LONG));
    let lines = disk.lines();
    for thread in 0..4 {
        let own = lines.iter().filter(|it| it.starts_with(&format!("{thread} ")));
        let expected: Vec<_> = (0..500).map(|at| format!("{thread} {at}")).collect();
        assert!(own.eq(&expected));
    }
}

#[test]
fn a_queue_that_nobody_has_any_more_ends_its_thread_after_the_last_line() {
    let disk = Disk::with_room(usize::MAX);
    let queue = queue(slice::from_ref(&disk));
    queue.push(b"last\n", false);
    let shared = Arc::clone(&queue.0.0);
    drop(queue);
    while Arc::strong_count(&shared) > 1 {
        thread::yield_now();
    }
    assert_eq!(disk.lines(), ["last"]);
}
