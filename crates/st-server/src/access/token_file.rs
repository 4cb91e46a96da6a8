//! A token in a file of its own, which only the server's user can read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::plain;

/// Larger files hold no token.
const LARGEST: u64 = 64 * 1024;

/// A file that cannot be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("the stored token {} cannot be {what}", path.display())]
pub(crate) struct TokenFileError {
    path: PathBuf,
    what: &'static str,
    #[source]
    source: io::Error,
}

/// The file of a token.
#[derive(Debug, Clone)]
pub(super) struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn fail(&self, what: &'static str) -> impl FnOnce(io::Error) -> TokenFileError + use<> {
        let path = self.path.clone();
        move |source| TokenFileError { path, what, source }
    }

    /// What is stored, if anything is.
    pub(super) fn read(&self) -> Result<Option<String>, TokenFileError> {
        match plain::text(&self.path, LARGEST) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fail("read")(error)),
        }
    }

    /// Stores a token. After a crash there is the old one or the new one, whole.
    pub(super) async fn write(&self, token: String) -> Result<(), TokenFileError> {
        let path = self.path.clone();
        let written = st_log::spawn_blocking(move || replace(&path, &token)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(self.fail("written"))
    }

    /// Removes it, if it is there.
    pub(super) async fn remove(&self) -> Result<(), TokenFileError> {
        let path = self.path.clone();
        let removed = st_log::spawn_blocking(move || remove(&path)).await;
        removed.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(self.fail("removed"))
    }
}

fn replace(path: &Path, token: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = path.with_extension("new");
    // What a crash left behind may have other permissions.
    ignore_missing(std::fs::remove_file(&new))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_folders(folder)
}

fn remove(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        return Ok(());
    }
    ignore_missing(std::fs::remove_file(path))?;
    sync_folders(folder)
}

/// The folder of the file, and the one that it may just have been made in.
fn sync_folders(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_token_is_replaced_whole_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("tokens/replicate"));
        assert_eq!(file.read().unwrap(), None);
        file.remove().await.unwrap();
        std::fs::create_dir(folder.path().join("tokens")).unwrap();
        std::fs::write(folder.path().join("tokens/replicate.new"), "left behind").unwrap();
        for token in ["r8_one", "r8_two"] {
            file.write(token.to_owned()).await.unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(token));
        }
        let mode = std::fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left = std::fs::read_dir(folder.path().join("tokens")).unwrap().count();
        assert_eq!(left, 1, "nothing but the token");
        file.remove().await.unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    #[tokio::test]
    async fn an_error_names_the_file_and_not_the_token() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens"), "no folder").unwrap();
        let file = TokenFile::new(folder.path().join("tokens/replicate"));
        let error = file.write("r8_secret".to_owned()).await.unwrap_err();
        let said = format!("{error:?} {}", st_log::Chain(&error));
        assert!(said.contains("tokens/replicate cannot be written"), "{said}");
        assert!(!said.contains("r8_secret"), "{said}");
    }
}
