//! Which kind of file system a path is on, as far as it matters: on a network file system the
//! shared memory of a write-ahead log is not shared, and locks may not lock.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.beegfs",
    "fuse.blobfuse2",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.davfs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.juicefs",
    "fuse.moosefs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "smb3",
    "smbfs",
];

/// The kind of the network file system that `path` is on, by the text of `/proc/self/mountinfo`.
/// `path` has no links.
pub(super) fn network_kind<'t>(mountinfo: &'t str, path: &Path) -> Option<&'t str> {
    let mut found: Option<(usize, &str)> = None;
    for (mount_point, kind) in mountinfo.lines().filter_map(mount) {
        let depth = mount_point.components().count();
        // Of two mounts on one point the later one covers the earlier one.
        if path.starts_with(&mount_point) && found.is_none_or(|(deepest, _)| depth >= deepest) {
            found = Some((depth, kind));
        }
    }
    found.map(|(_, kind)| kind).filter(|kind| NETWORK.contains(kind))
}

/// Whether something is mounted at `path` itself, by the text of `/proc/self/mountinfo`.
pub(super) fn is_mount_point(mountinfo: &str, path: &Path) -> bool {
    mountinfo.lines().filter_map(mount).any(|(mount_point, _kind)| mount_point == path)
}

/// The mount point and the kind of one line. Before ` - ` there is a varying number of fields.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mount_point = mount.split(' ').nth(4)?;
    Some((unescape(mount_point), file_system.split(' ').next()?))
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..3).filter(|_| *first == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.iter().try_fold(0_u32, |value, digit| {
        (b'0'..=b'7').contains(digit).then(|| value * 8 + u32::from(digit - b'0'))
    });
    u8::try_from(value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /srv rw - nfs4 server:/export rw,vers=4.2
31 30 8:3 / /srv/local rw shared:5 master:2 - xfs /dev/sdb1 rw
32 22 0:51 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:52 / /mnt/back\\134slash rw - fuse.sshfs user@host: rw
34 22 0:53 / /home rw - nfs server:/home rw
35 22 8:4 / /home rw - ext4 /dev/sdc1 rw
36 22 0:54 / /opt rw - ext4 /dev/sdd1 rw
37 22 0:55 / /opt rw - 9p host rw
38 22 0:56 / /media/\\303\\251t\\303\\251 rw - fuse.rclone remote: rw
not a mount at all
39 22 0:57 / /broken";

    fn kind(path: &str) -> Option<&'static str> {
        network_kind(MOUNTS, Path::new(path))
    }

    #[test]
    fn the_mount_with_the_longest_path_counts() {
        assert_eq!(kind("/var/lib/st/cloud.db"), None);
        assert_eq!(kind("/srv/st/cloud.db"), Some("nfs4"));
        assert_eq!(kind("/srv/local/st/cloud.db"), None);
        assert_eq!(kind("/srvx/cloud.db"), None, "a name that only begins the same");
        assert_eq!(kind("/broken/cloud.db"), None);
    }

    #[test]
    fn a_file_that_is_mounted_itself_is_found() {
        let mounts = "40 22 8:1 /srv/a/cloud.db /state/my\\040cloud.db rw - ext4 /dev/sda1 rw";
        assert!(is_mount_point(mounts, Path::new("/state/my cloud.db")));
        for other in ["/state", "/state/my cloud.db-wal", "/srv/a/cloud.db"] {
            assert!(!is_mount_point(mounts, Path::new(other)), "{other}");
        }
    }

    #[test]
    fn the_later_of_two_mounts_on_one_point_counts() {
        assert_eq!(kind("/home/ann/cloud.db"), None);
        assert_eq!(kind("/opt/st/cloud.db"), Some("9p"));
    }

    #[test]
    fn escaped_names_are_read() {
        assert_eq!(kind("/mnt/my share/cloud.db"), Some("cifs"));
        assert_eq!(kind("/mnt/my/cloud.db"), None);
        assert_eq!(kind("/mnt/back\\slash/cloud.db"), Some("fuse.sshfs"));
        assert_eq!(kind("/media/été/cloud.db"), Some("fuse.rclone"));
        for (text, name) in [("a\\", "a\\"), ("a\\04", "a\\04"), ("a\\777", "a\\777")] {
            assert_eq!(unescape(text), PathBuf::from(name));
        }
    }

    #[test]
    fn an_unreadable_table_refuses_nothing() {
        assert_eq!(network_kind("", Path::new("/srv/cloud.db")), None);
        assert_eq!(network_kind("\u{0} - - -\n - nfs", Path::new("/")), None);
    }

    #[test]
    fn the_table_is_sorted_and_has_no_doubles() {
        assert!(NETWORK.is_sorted_by(|one, next| one < next));
    }
}
