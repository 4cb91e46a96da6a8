//! Graphics cards, of which each belongs to at most one job at a time.
//!
//! A runner holds a lock for each of its cards, so what it has outlives the server and ends with the
//! runner. Processes of a job can outlive a runner that was killed: a card's file names the attempt
//! that had it last, and until that attempt is over the card is not free.
//!
//! Runners that wait compete for one more lock, and only its holder takes cards, one after the other.
//! So a job that needs many cards is not passed over by jobs that need fewer once it holds that lock,
//! and no two wait for each other. Which of those that wait gets it next is not defined.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use st_store::Marker;

use super::super::DeviceUse;
use super::attempt::{Attempt, State};
use crate::files::Folder;

/// In the folder of all attempts.
const FOLDER: &str = "devices";
const TURN: &str = "turn";
/// The name of a card's file begins so.
const CARD: &str = "device-";
const LONGEST_NAME: usize = 100;

/// A card as `CUDA_VISIBLE_DEVICES` names it: an index such as `0`, or an identifier such as
/// `GPU-8932f937-d72c-4106-c12f-20bd9faed9f6`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceName(String);

/// A text that names no card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a device as CUDA_VISIBLE_DEVICES names it, such as 0 (not 00) or GPU-8932f937-d72c"
)]
pub struct InvalidDevice;

impl DeviceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an index and no identifier.
    pub fn is_index(&self) -> bool {
        is_digits(&self.0)
    }

    /// Whether both may name the same card: an identifier may be shortened. Whether an index and an
    /// identifier do, only the driver knows.
    pub fn may_be(&self, other: &Self) -> bool {
        if self.is_index() && other.is_index() {
            return self == other;
        }
        self.is_index() != other.is_index()
            || self.0.starts_with(&other.0)
            || other.0.starts_with(&self.0)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromStr for DeviceName {
    type Err = InvalidDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | ':');
        let is_name = (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(legal);
        // One card would have two names, and two jobs.
        let has_other_name = text.len() > 1 && text.starts_with('0') && is_digits(text);
        if is_name && !has_other_name { Ok(Self(text.to_owned())) } else { Err(InvalidDevice) }
    }
}

/// How many cards a job needs, and those that there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) count: usize,
    pub(super) of: Vec<DeviceName>,
}

/// Cards that this process has until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    cards: Vec<(DeviceName, File)>,
    /// Held while more are needed.
    turn: Option<File>,
}

impl Held {
    /// Takes what is free of what this attempt still needs. `true` when it has all.
    pub(super) fn take(&mut self, attempt: &Attempt, wanted: &Wanted) -> io::Result<bool> {
        if self.cards.len() >= wanted.count {
            return Ok(true);
        }
        let root = attempt.dir().parent().unwrap_or(attempt.dir());
        let folder = Folder::new(root.join(FOLDER));
        folder.create()?;
        if self.turn.is_none() {
            self.turn = lock(&folder.path().join(TURN))?;
        }
        if self.turn.is_none() {
            return Ok(false);
        }
        for name in &wanted.of {
            let has_it = self.cards.iter().any(|(held, _)| held == name);
            if has_it || self.cards.len() >= wanted.count {
                continue;
            }
            let path = folder.path().join(format!("{CARD}{}", name.as_str()));
            let Some(mut card) = lock(&path)? else { continue };
            if is_left_over(root, &mut card, attempt.marker())? {
                continue;
            }
            sign(&mut card, attempt.marker())?;
            self.cards.push((name.clone(), card));
        }
        let has_all = self.cards.len() >= wanted.count;
        if has_all {
            self.turn = None;
        }
        Ok(has_all)
    }

    pub(super) fn names(&self) -> Vec<DeviceName> {
        self.cards.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The lock of a file, held from now on; `None` when another process holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a process has each of these cards now. A lock is shared for a moment to find out: a runner
/// that takes cards in that moment takes this one in its next round.
pub(super) fn in_use(root: &Path, names: &[DeviceName]) -> io::Result<Vec<DeviceUse>> {
    let uses = names.iter().map(|name| {
        let path = root.join(FOLDER).join(format!("{CARD}{}", name.as_str()));
        let in_use = match File::open(&path) {
            Ok(card) => match card.try_lock_shared() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => true,
                Err(TryLockError::Error(error)) => return Err(error),
            },
            // No job has had it yet.
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(DeviceUse { name: name.as_str().to_owned(), in_use })
    });
    uses.collect()
}

/// The attempts that had the cards last, whether or not they are over.
pub(super) fn last_holders(root: &Path) -> io::Result<Vec<Attempt>> {
    let cards = match fs::read_dir(root.join(FOLDER)) {
        Ok(cards) => cards,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut markers = Vec::new();
    for card in cards {
        let card = card?;
        if card.file_name().to_str().is_some_and(|name| name.starts_with(CARD)) {
            markers.extend(last_holder(&mut File::open(card.path())?)?);
        }
    }
    markers.sort_unstable();
    markers.dedup();
    Ok(markers.into_iter().map(|marker| Attempt::of(root, marker)).collect())
}

/// The attempt that a card's file names.
fn last_holder(card: &mut File) -> io::Result<Option<Marker>> {
    let mut text = String::new();
    card.rewind()?;
    card.take(LONGEST_NAME as u64).read_to_string(&mut text)?;
    // A runner that was killed while it wrote its name had not started anything.
    Ok(text.trim().parse().ok())
}

/// Whether processes of the job that had the card last may still use it.
fn is_left_over(root: &Path, card: &mut File, own: Marker) -> io::Result<bool> {
    let Some(last) = last_holder(card)? else { return Ok(false) };
    if last == own {
        return Ok(false);
    }
    let last = Attempt::of(root, last);
    if !fs::exists(last.dir())? {
        return Ok(false);
    }
    Ok(match last.state() {
        Ok(State::Unbegun | State::Ended(_)) => false,
        Ok(State::Lost(runner)) => runner.process.is_of_this_boot()?,
        // What cannot be read now is read again.
        Ok(State::Running(_)) | Err(_) => true,
    })
}

fn sign(card: &mut File, marker: Marker) -> io::Result<()> {
    card.set_len(0)?;
    card.rewind()?;
    write!(card, "{marker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "019c0000-0000-7000-8000-00000000000";

    fn attempt(root: &Path, digit: u8) -> Attempt {
        Attempt::named(root, &format!("{JOB}{digit}.1")).unwrap()
    }

    fn wanted(count: usize, of: &[&str]) -> Wanted {
        Wanted { count, of: of.iter().map(|name| name.parse().unwrap()).collect() }
    }

    fn names(held: &Held) -> Vec<String> {
        held.names().iter().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn a_card_belongs_to_one_job_until_that_lets_go_of_it() {
        let root = tempfile::tempdir().unwrap();
        let two = wanted(1, &["0", "1"]);
        let [mut one, mut other, mut third] = [Held::default(), Held::default(), Held::default()];
        assert!(one.take(&attempt(root.path(), 1), &two).unwrap());
        assert!(other.take(&attempt(root.path(), 2), &two).unwrap());
        assert_eq!((names(&one), names(&other)), (vec!["0".to_owned()], vec!["1".to_owned()]));
        assert!(!third.take(&attempt(root.path(), 3), &two).unwrap());
        drop(one);
        assert!(third.take(&attempt(root.path(), 3), &two).unwrap());
        assert_eq!(names(&third), ["0"]);
    }

    #[test]
    fn one_that_needs_many_is_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let cards = ["0", "1"];
        let [mut small, mut large, mut late] = [Held::default(), Held::default(), Held::default()];
        assert!(small.take(&attempt(root.path(), 1), &wanted(1, &cards)).unwrap());
        assert!(!large.take(&attempt(root.path(), 2), &wanted(2, &cards)).unwrap());
        assert_eq!(names(&large), ["1"], "it keeps what is free");
        drop(small);
        assert!(!late.take(&attempt(root.path(), 3), &wanted(1, &cards)).unwrap());
        assert!(large.take(&attempt(root.path(), 2), &wanted(2, &cards)).unwrap());
        assert!(!late.take(&attempt(root.path(), 3), &wanted(1, &cards)).unwrap());
        drop(large);
        assert!(late.take(&attempt(root.path(), 3), &wanted(1, &cards)).unwrap());
    }

    #[test]
    fn who_needs_none_waits_for_none() {
        let root = tempfile::tempdir().unwrap();
        let mut all = Held::default();
        assert!(all.take(&attempt(root.path(), 1), &wanted(1, &["0"])).unwrap());
        assert!(Held::default().take(&attempt(root.path(), 2), &wanted(0, &["0"])).unwrap());
    }

    #[test]
    fn a_device_is_named_as_cuda_names_it() {
        for good in ["0", "15", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"] {
            assert_eq!(good.parse::<DeviceName>().unwrap().as_str(), good);
        }
        for bad in ["", "0,1", "../x", "a b", "ä", "00", "01", &"1".repeat(101)] {
            assert_eq!(bad.parse::<DeviceName>(), Err(InvalidDevice), "{bad}");
        }
    }

    #[test]
    fn names_that_may_be_of_one_card_are_recognised() {
        let may_be = |one: &str, other: &str| {
            one.parse::<DeviceName>().unwrap().may_be(&other.parse().unwrap())
        };
        for (one, other) in [("0", "0"), ("0", "GPU-7"), ("GPU-8932f937", "GPU-8932f937-d72c")] {
            assert!(may_be(one, other) && may_be(other, one), "{one} {other}");
        }
        for (one, other) in [("0", "1"), ("1", "10"), ("GPU-7", "GPU-8")] {
            assert!(!may_be(one, other) && !may_be(other, one), "{one} {other}");
        }
    }
}
