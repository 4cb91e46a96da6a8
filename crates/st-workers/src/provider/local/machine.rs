//! Which machine this is: its jobs are its own, also when the database is copied elsewhere.

use std::fmt::Write;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use sha2::{Digest, Sha256};
use st_store::AccountId;

use crate::files::Folder;

const SYSTEM: &str = "/etc/machine-id";
const KEPT: &str = "machine-id";
/// What the machine's ID is hashed with: the ID itself is confidential.
const PURPOSE: &[u8] = b"jobs of st-server on this machine\0";

/// The machine as the account of its jobs. Where the system has no ID, one is made and kept in
/// `state_dir`, which must exist.
pub fn machine(state_dir: &Path) -> io::Result<AccountId> {
    let id = match of_system(Path::new(SYSTEM)) {
        Some(id) => id,
        None => kept(&Folder::new(state_dir.to_owned()))?,
    };
    let digest = Sha256::new().chain_update(PURPOSE).chain_update(id).finalize();
    let mut name = "machine:".to_owned();
    for byte in digest.iter().take(16) {
        write!(name, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(AccountId::new(name, None, None))
}

/// 32 hexadecimal digits; images are shipped with an empty file or a word in it.
fn of_system(path: &Path) -> Option<String> {
    let id = fs::read_to_string(path).ok()?.trim().to_owned();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

fn kept(folder: &Folder) -> io::Result<String> {
    if let Some(id) = of_system(&folder.path().join(KEPT)) {
        return Ok(id);
    }
    if folder.has(KEPT)? {
        let damaged = format!("{} is damaged", folder.path().join(KEPT).display());
        return Err(io::Error::new(ErrorKind::InvalidData, damaged));
    }
    let id = format!("{:032x}", fastrand::u128(..));
    folder.write(KEPT, format!("{id}\n").as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_id_is_kept_and_a_damaged_one_is_no_other_machine() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().to_owned());
        let made = kept(&folder).unwrap();
        assert_eq!(kept(&folder).unwrap(), made);
        fs::write(dir.path().join(KEPT), "uninitialized\n").unwrap();
        assert!(of_system(&dir.path().join(KEPT)).is_none());
        assert!(kept(&folder).unwrap_err().to_string().ends_with("machine-id is damaged"));
        assert_eq!(fs::read_to_string(dir.path().join(KEPT)).unwrap(), "uninitialized\n");
    }

    #[test]
    fn a_machine_is_always_the_same_account() {
        let dir = tempfile::tempdir().unwrap();
        let account = machine(dir.path()).unwrap();
        assert_eq!(account, machine(dir.path()).unwrap());
        assert!(account.to_string().starts_with("machine:"));
    }
}
