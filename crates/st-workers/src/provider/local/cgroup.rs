//! A control group of a job: what is in it cannot leave it, and the kernel ends all of it in one step.
//!
//! Made only where this process's own group (version 2) was delegated to it: a service with
//! `Delegate=yes`, or the root of a container's namespace. Elsewhere groups are another program's.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

/// The folder of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// Makes the group `name` below this process's own; `None` where that may not or cannot be.
    pub(super) fn create(name: &str) -> Option<Self> {
        let own = Own::find()?;
        if !own.is_delegated() {
            return None;
        }
        let dir = own.dir.join(name);
        // One that is there already may hold what is not ours.
        fs::create_dir(&dir).ok()?;
        let made = Self { dir };
        if !made.file("cgroup.kill").exists() {
            made.remove();
            return None;
        }
        Some(made)
    }

    /// The group in this folder.
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves this process into it.
    pub(super) fn join(&self) -> io::Result<()> {
        fs::write(self.file("cgroup.procs"), "0")
    }

    /// Kills everything in it, also what is being started.
    pub(super) fn kill(&self) -> io::Result<()> {
        gone_is(fs::write(self.file("cgroup.kill"), "1"), ())
    }

    /// Whether no process is in it or in a group below it.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        let events = fs::read_to_string(self.file("cgroup.events")).map(Some);
        let events = gone_is(events, None)?;
        Ok(events.is_none_or(|events| !events.lines().any(|line| line == "populated 1")))
    }

    /// Removes it and the groups that were made below it. One that cannot be removed costs nothing.
    pub(super) fn remove(&self) {
        remove(&self.dir);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(dir));
}

/// The answer about a group that was removed meanwhile.
fn gone_is<T>(answer: io::Result<T>, gone: T) -> io::Result<T> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(gone),
        // Opened before it was removed.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Ok(gone)
        }
        other => other,
    }
}

/// This process's own group.
#[derive(Debug)]
struct Own {
    dir: PathBuf,
    /// It is the root of what this process can see.
    is_root: bool,
}

impl Own {
    fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::parse(&groups, &mounts)
    }

    /// By the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn parse(groups: &str, mounts: &str) -> Option<Self> {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let (root, mount) = mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut fields = place.split(' ').skip(3);
            kind.starts_with("cgroup2 ").then(|| Some((fields.next()?, fields.next()?)))?
        })?;
        let below = Path::new(path).strip_prefix(root).ok()?;
        let is_root = below.as_os_str().is_empty();
        Some(Self { dir: Path::new(mount).join(below), is_root })
    }

    fn is_delegated(&self) -> bool {
        // The real root has no such file: that is the system's.
        if !self.dir.join("cgroup.kill").exists() {
            return false;
        }
        let mut value = [0_u8; 8];
        let marked = ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
            let length = getxattr(&self.dir, name, &mut value);
            length.is_ok_and(|length| value.get(..length) == Some(b"1"))
        });
        self.is_root || marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let mounts = "22 1 0:20 / /proc rw - proc proc rw\n\
                      30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let own = Own::parse("3:cpu:/\n0::/system.slice/st.service\n", mounts).unwrap();
        assert_eq!(own.dir, Path::new("/sys/fs/cgroup/system.slice/st.service"));
        assert!(!own.is_root);
        let container = mounts.replace("0:26 / ", "0:26 /docker/ab ");
        let own = Own::parse("0::/docker/ab\n", &container).unwrap();
        assert_eq!((own.dir.as_path(), own.is_root), (Path::new("/sys/fs/cgroup"), true));
        assert!(Own::parse("0::/elsewhere\n", &container).is_none());
        assert!(Own::parse("3:cpu:/\n", mounts).is_none());
    }

    #[test]
    fn a_group_that_is_gone_is_empty() {
        let none = Cgroup::at("/no/such/group".into());
        assert!(none.is_empty().unwrap());
        none.kill().unwrap();
        none.remove();
    }
}
