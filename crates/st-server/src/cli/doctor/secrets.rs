//! Whether anyone but the server's user can read what is secret.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Subject};
use crate::access::TOKENS;
use crate::app::DATABASE;
use crate::config::{Config, Origin};

const OTHERS: u32 = 0o007;
const GROUP_AND_OTHERS: u32 = 0o077;

/// The stored tokens and the database, which the server writes, and the files that the configuration
/// names, which an operator writes: those may be readable by a group.
pub(super) fn check(config: &Config, origin: &Origin) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut examined = 0;
    for path in own_files(&config.state_dir) {
        examine(&path, "what the server stores", GROUP_AND_OTHERS, (&mut examined, &mut findings));
    }
    for file in config.secret_files(origin) {
        examine(&file.path, &file.named_by, OTHERS, (&mut examined, &mut findings));
    }
    if findings.is_empty() {
        let found = format!("no one else can read the files with secrets ({examined} examined)");
        findings.push(Finding::ok(Subject::Secrets, found));
    }
    findings
}

/// Stored tokens, the database with its write-ahead log, and the copies of it that are beside it.
fn own_files(state_dir: &Path) -> Vec<PathBuf> {
    // What cannot be listed cannot be read by others either.
    let listed = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let tokens = listed(&state_dir.join(TOKENS)).map(|entry| entry.path());
    let databases = listed(state_dir).filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(DATABASE) || name.ends_with(".db") || name.ends_with(".backup")
    });
    tokens.chain(databases.map(|entry| entry.path())).collect()
}

fn examine(
    path: &Path,
    named_by: &str,
    forbidden: u32,
    (examined, findings): (&mut usize, &mut Vec<Finding>),
) {
    match path.metadata() {
        Ok(metadata) => {
            *examined += 1;
            findings.extend(judge(path, named_by, &metadata, forbidden));
        }
        // The folder that is none is another finding.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => {
            let found = format!("{} ({named_by}) cannot be examined: {error}", path.display());
            let remedy = "Run the doctor as the server's user.";
            findings.push(Finding::warning(Subject::Secrets, found, remedy));
        }
    }
}

fn judge(path: &Path, named_by: &str, metadata: &Metadata, forbidden: u32) -> Option<Finding> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden == 0 || is_behind_a_closed_folder(path, forbidden) {
        return None;
    }
    let who = if mode & OTHERS == 0 { "its group" } else { "every user of this machine" };
    let shown = path.display();
    let found = format!("{who} can read {shown} ({named_by}; mode {mode:03o})");
    let keep = 0o777 & !forbidden & mode;
    let remedy =
        format!("chmod {keep:03o} {shown}, and replace the secret if others have used it.");
    Some(Finding::failed(Subject::Secrets, found, remedy))
}

/// Whether a folder above lets none of them through, so that the mode of the file does not matter.
fn is_behind_a_closed_folder(path: &Path, forbidden: u32) -> bool {
    path.ancestors().skip(1).any(|folder| {
        folder.metadata().is_ok_and(|it| it.permissions().mode() & 0o111 & forbidden == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join("secret");
        fs::write(&path, "r8_secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn found(path: &Path, forbidden: u32) -> Option<String> {
        let finding = judge(path, "X", &path.metadata().unwrap(), forbidden)?;
        Some(format!("{} -> {}", finding.found, finding.remedy().unwrap()))
    }

    #[test]
    fn a_secret_is_for_its_owner_and_where_an_operator_wrote_it_for_a_group() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (mode, forbidden, expected) in [
            (0o600, GROUP_AND_OTHERS, None),
            (0o640, GROUP_AND_OTHERS, Some(("its group can read", "chmod 600"))),
            (0o640, OTHERS, None),
            (0o644, OTHERS, Some(("every user of this machine can read", "chmod 640"))),
        ] {
            let path = file(dir.path(), mode);
            let found = found(&path, forbidden);
            match expected {
                None => assert_eq!(found, None, "{mode:o}"),
                Some((who, command)) => {
                    let found = found.unwrap();
                    assert!(found.starts_with(who) && found.contains(command), "{found}");
                }
            }
        }
    }

    #[test]
    fn a_file_in_a_folder_that_nobody_else_can_enter_is_safe() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let path = file(dir.path(), 0o644);
        assert_eq!(found(&path, GROUP_AND_OTHERS), None);
    }
}
