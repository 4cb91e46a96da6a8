//! A symbolic link to something that is not there, such as a disk that is not mounted. No folder can be
//! made behind it, although it looks as if nothing were there yet; a file can, in a folder that is there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The system follows no more links, one after the other.
const MOST_LINKS: usize = 40;

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

    /// The one that keeps a file from being made at this path, where it is not there.
    pub(super) fn before_file(path: &Path) -> Option<Self> {
        let broken = |target| Some(Self { link: path.to_owned(), target });
        let mut target = path.to_owned();
        for _ in 0..MOST_LINKS {
            let folder = target.parent().unwrap_or(Path::new("")).to_owned();
            match fs::read_link(&target) {
                Ok(further) => target = folder.join(further),
                Err(_no_link) if target == path => return Self::above(path),
                Err(_no_link) if folder.is_dir() => return None,
                Err(_no_link) => return broken(target),
            }
        }
        broken(target)
    }
}

impl fmt::Display for BrokenLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, target) = (self.link.display(), self.target.display());
        write!(f, "{link} is a symbolic link to {target}, which is not there")
    }
}
