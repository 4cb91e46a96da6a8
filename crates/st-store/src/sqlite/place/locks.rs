//! Which process has a file locked.

use std::fs;

/// Names the process that has the file with this inode locked: the kernel's list says it where the
/// process is visible, else the record beside the database does.
pub(super) fn holder(inode: u64, recorded: Option<u32>) -> String {
    let locked = fs::read_to_string("/proc/locks").unwrap_or_default();
    match name(&lockers(&locked, inode), recorded) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// An inode number is unique in its file system only, so more than one process may be found; the
/// record then decides. It is not asked first, because a record that was copied names any process.
fn name(lockers: &[u32], recorded: Option<u32>) -> Option<u32> {
    match lockers {
        [] => recorded,
        [only] => Some(*only),
        several => recorded.filter(|pid| several.contains(pid)),
    }
}

/// The processes with an exclusive `flock` on such an inode, by the text of `/proc/locks`.
fn lockers(text: &str, inode: u64) -> Vec<u32> {
    text.lines().filter_map(|line| locker(line, inode)).collect()
}

fn locker(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    // "1: FLOCK  ADVISORY  WRITE 708 08:02:1234 0 EOF"; a waiting one has "->" in second place.
    let _number = words.next()?;
    (words.next()? == "FLOCK").then_some(())?;
    let _advisory = words.next()?;
    (words.next()? == "WRITE").then_some(())?;
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let (_device, locked) = words.next()?.rsplit_once(':')?;
    (locked.parse() == Ok(inode)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 11 08:02:77 0 EOF
2: FLOCK  ADVISORY  WRITE 22 08:02:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 33 08:02:77 0 EOF
3: FLOCK  ADVISORY  READ 44 08:02:77 0 EOF
4: FLOCK  ADVISORY  WRITE 55 08:02:78 0 EOF
5: FLOCK  ADVISORY  WRITE 66 fd:01:78 0 EOF
6: FLOCK  ADVISORY  WRITE 0 08:02:79 0 EOF
garbage";

    #[test]
    fn the_holder_is_found_among_all_locks() {
        assert_eq!(lockers(LOCKS, 77), [22]);
        assert_eq!(lockers(LOCKS, 78), [55, 66]);
        let none: [u32; 0] = [];
        assert_eq!(lockers(LOCKS, 79), none, "a process outside this namespace");
        assert_eq!(lockers("", 77), none);
    }

    #[test]
    fn the_record_decides_where_the_kernel_does_not() {
        assert_eq!(name(&[22], Some(7)), Some(22));
        assert_eq!(name(&[55, 66], Some(66)), Some(66));
        assert_eq!(name(&[55, 66], Some(7)), None);
        assert_eq!(name(&[], Some(7)), Some(7));
        assert_eq!(name(&[], None), None);
    }
}
