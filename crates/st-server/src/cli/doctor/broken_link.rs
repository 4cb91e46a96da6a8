//! A symbolic link to something that is not there, such as a disk that is not mounted. Nothing can be
//! made behind it, although it looks as if nothing were there yet.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A link, and where it leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokenLink {
    link: PathBuf,
    target: PathBuf,
}

impl BrokenLink {
    /// The one at this path, which is not there, or the one in which a folder above it would be.
    pub(super) fn above(path: &Path) -> Option<Self> {
        let lowest = path.ancestors().find(|it| it.symlink_metadata().is_ok())?;
        let target = fs::read_link(lowest).ok().filter(|_| !lowest.exists())?;
        Some(Self { link: lowest.to_owned(), target })
    }
}

impl fmt::Display for BrokenLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, target) = (self.link.display(), self.target.display());
        write!(f, "{link} is a symbolic link to {target}, which is not there")
    }
}
