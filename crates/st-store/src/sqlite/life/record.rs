//! The record beside the database, `<db>.lock`: what the database must hold at least.
//!
//! It is written after every commit, without waiting for the disk. A process that is killed loses
//! nothing of it; after a power cut it may be older than the database, never newer than the last
//! commit. It has a fixed size and is written by one call, so that a reader never sees half of it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failpoint::{FailPoint, hit};
use crate::model::Epoch;
use crate::sqlite::LOG;
use crate::sqlite::place::{FileId, open_plain, plain_flags};

const SIZE: usize = 512;
/// No record is longer.
const MUCH: u64 = 1 << 16;
const FORMAT: &str = "st-store-1";

/// The two numbers in the header of a write-ahead log that make its frames valid. The first rises
/// by one each time the log begins anew, the second is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) struct Salts(pub(super) u32, pub(super) u32);

impl Salts {
    /// Reads them from the first bytes of the log; `None` while the log is empty.
    pub(in crate::sqlite) fn read(file: &File) -> Option<Self> {
        let mut bytes = [0_u8; 8];
        file.read_exact_at(&mut bytes, 16).ok()?;
        let number = u64::from_be_bytes(bytes);
        Some(Self(u32::try_from(number >> 32).ok()?, u32::try_from(number & 0xffff_ffff).ok()?))
    }

    /// Whether a log with these salts may follow one with the salts `earlier`, or be it. The log
    /// may have begun anew just before a crash, and more than once while the disk was failing.
    pub(super) fn may_follow(self, earlier: Self) -> bool {
        self == earlier || (1..=16).contains(&self.0.wrapping_sub(earlier.0))
    }
}

/// How the process that wrote the record used the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It had closed it.
    Clean,
    /// It had it open, or was killed.
    Open,
    /// It was about to begin a new life.
    Renewing,
}

impl State {
    const ALL: [Self; 3] = [Self::Clean, Self::Open, Self::Renewing];

    fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Open => "open",
            Self::Renewing => "renewing",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) pid: u32,
    pub(super) state: State,
    pub(super) epoch: Epoch,
    /// The ID of the newest event that was committed.
    pub(super) event: i64,
    pub(super) file: FileId,
    /// When the database file was created, in milliseconds.
    pub(super) born_at: Option<i64>,
    /// `None`: the log was empty, or not yet known.
    pub(super) salts: Option<Salts>,
    /// Whether the log held what the database did not.
    pub(super) frames: bool,
    /// The number of the checkpoint that the database has without its log.
    pub(super) checkpoint: i64,
    /// When the database file was last changed, in nanoseconds. `None` while it is being changed.
    pub(super) changed_at: Option<i64>,
}

impl Record {
    /// Reads a record. A file that is none, also that of an earlier version, is no record.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        open_plain(path).ok()?.take(MUCH).read_to_string(&mut text).ok()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == FORMAT).then_some(())?;
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let pid = field("pid")?.parse().ok()?;
        let state = field("state")?;
        let state = State::ALL.into_iter().find(|known| known.as_str() == state)?;
        let epoch = Epoch(field("epoch")?.parse().ok()?);
        let event = field("event")?.parse().ok()?;
        let device = field("device")?.parse().ok()?;
        let inode = field("inode")?.parse().ok()?;
        let born_at = optional(field("born")?, |text| text.parse().ok())?;
        let salts = optional(field("salts")?, |text| {
            let (first, second) = text.split_once('-')?;
            let number = |text| u32::from_str_radix(text, 16).ok();
            Some(Salts(number(first)?, number(second)?))
        })?;
        let frames = field("frames")?.parse().ok()?;
        let checkpoint = field("checkpoint")?.parse().ok()?;
        let changed_at = optional(field("changed")?, |text| text.parse().ok())?;
        (lines.next()? == "end").then_some(())?;
        let file = FileId { device, inode };
        Some(Self {
            pid,
            state,
            epoch,
            event,
            file,
            born_at,
            salts,
            frames,
            checkpoint,
            changed_at,
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let none = || "none".to_owned();
        let born = self.born_at.map_or_else(none, |millis| millis.to_string());
        let changed = self.changed_at.map_or_else(none, |nanos| nanos.to_string());
        let salts = self.salts.map_or_else(none, |Salts(one, two)| format!("{one:08x}-{two:08x}"));
        let mut text = format!("{FORMAT}\npid {}\nstate {}\n", self.pid, self.state.as_str());
        let rest = write!(
            text,
            "epoch {}\nevent {}\ndevice {}\ninode {}\nborn {born}\nsalts {salts}\nframes {}\n\
             checkpoint {}\nchanged {changed}\nend\n",
            self.epoch, self.event, self.file.device, self.file.inode, self.frames, self.checkpoint
        );
        debug_assert!(rest.is_ok(), "a string has room");
        let mut bytes = text.into_bytes();
        bytes.resize(SIZE - 1, b' ');
        bytes.push(b'\n');
        bytes
    }
}

/// `none`, or what `read` makes of the text; nothing when that is neither.
#[expect(clippy::option_option, reason = "absent is not the same as unreadable")]
fn optional<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { read(text).map(Some) }
}

/// The record and the file that it is in.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    open: Option<(File, FileId)>,
    /// So that a failing disk is reported once.
    failing: bool,
}

impl RecordFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None, failing: false }
    }

    /// Writes the record, into a new file when the old one was deleted. A failure is logged and
    /// fails nothing: what is committed is in the database all the same.
    pub(super) fn write(&mut self, record: Record, sync: bool) {
        let written = self.try_write(record, sync);
        match written {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    let path = self.path.display();
                    st_log::warning!(logger: LOG, %path, error, "Record of the database cannot be written");
                }
                self.failing = true;
            }
        }
    }

    pub(super) fn try_write(&mut self, record: Record, sync: bool) -> io::Result<()> {
        hit(FailPoint::Record).map_err(io::Error::other)?;
        let here = fs::metadata(&self.path).ok().map(|metadata| FileId::of(&metadata));
        if self.open.as_ref().is_none_or(|(_, id)| Some(*id) != here) {
            self.open = None;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.custom_flags(plain_flags()).open(&self.path)?;
            let id = FileId::of(&file.metadata()?);
            self.open = Some((file, id));
        }
        if let Some((file, _)) = &self.open {
            file.write_all_at(&record.to_bytes(), 0)?;
            if sync {
                // What an earlier version left behind the record would be read with it.
                file.set_len(SIZE as u64)?;
                file.sync_all()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            pid: u32::MAX,
            state: State::Renewing,
            epoch: Epoch(u32::MAX),
            event: i64::MAX,
            file: FileId { device: u64::MAX, inode: u64::MAX },
            born_at: Some(i64::MIN),
            salts: Some(Salts(u32::MAX, u32::MAX)),
            frames: false,
            checkpoint: i64::MAX,
            changed_at: Some(i64::MIN),
        }
    }

    #[test]
    fn a_record_survives_its_text_and_always_has_one_size() {
        let plain =
            Record { born_at: None, salts: None, frames: true, changed_at: None, ..record() };
        for state in State::ALL {
            for record in [record(), plain] {
                let record = Record { state, ..record };
                let bytes = record.to_bytes();
                assert_eq!(bytes.len(), SIZE);
                assert_eq!(Record::parse(std::str::from_utf8(&bytes).unwrap()), Some(record));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        let text = String::from_utf8(record().to_bytes()).unwrap();
        for end in 0..text.trim_end().len() - 1 {
            assert_eq!(Record::parse(text.get(..end).unwrap()), None, "{end}");
        }
        for text in ["", "4711\n", "st-store-2\n", "\0\0\0"] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
        assert_eq!(Record::parse(&text.replace("renewing", "half")), None);
    }

    #[test]
    fn a_deleted_record_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.db.lock");
        let mut file = RecordFile::new(path.clone());
        for event in 0..3 {
            let record = Record { event, ..record() };
            file.write(record, event == 0);
            assert_eq!(Record::read(&path), Some(record));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_log_that_began_anew_follows_and_another_does_not() {
        let salts = Salts(7, 9);
        assert!(salts.may_follow(salts));
        assert!(Salts(8, 1).may_follow(salts));
        assert!(Salts(0, 1).may_follow(Salts(u32::MAX, 9)));
        for other in [Salts(7, 8), Salts(6, 9), Salts(1000, 9)] {
            assert!(!other.may_follow(salts), "{other:?}");
        }
    }
}
