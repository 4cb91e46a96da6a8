//! What the configuration is read from: for a start, and for the reloads that follow it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::sources::Sources;
use super::{Config, Faults, Flags, file};

/// The sources of the configuration at a start, where the file is searched for.
#[derive(Clone)]
pub struct Origin {
    /// The environment variables of the process.
    pub environment: BTreeMap<String, String>,
    /// What the command line says.
    pub flags: Flags,
    /// Where a file is looked for first.
    pub cwd: PathBuf,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of variables may be secrets.
        let Self { environment, flags, cwd } = self;
        let names: Vec<&String> = environment.keys().collect();
        f.debug_struct("Origin")
            .field("environment", &names)
            .field("flags", flags)
            .field("cwd", cwd)
            .finish()
    }
}

impl Origin {
    /// Looks for the file, and reads all as it is now.
    pub fn read(&self) -> Result<Config, Faults> {
        Config::load(&self.environment, &self.flags, &self.cwd)
    }

    /// What a reload reads after a start with this configuration.
    pub fn settle(self, config: &Config) -> SettledOrigin {
        SettledOrigin { file: config.file.clone(), origin: self }
    }
}

/// What a reload reads: the file of the start, or none where the start had none. No file is looked for,
/// because a server whose file is gone for a moment would go on with the defaults, without TLS.
#[derive(Debug, Clone)]
pub struct SettledOrigin {
    origin: Origin,
    file: Option<PathBuf>,
}

impl SettledOrigin {
    /// Reads it as it is now. A file that cannot be read is the only fault: what follows from it is none
    /// of its own.
    pub fn read(&self) -> Result<Config, Faults> {
        let Origin { environment, flags, .. } = &self.origin;
        let read = self.file.as_deref().map(file::read).transpose();
        let file = read.map_err(|fault| Faults(vec![fault]))?;
        let mut faults = Vec::new();
        let sources = Sources::of(file, environment, flags, &mut faults);
        Config::of(&sources, environment, faults)
    }

    /// The file that a start would find now, where it is another one.
    pub fn other_file(&self) -> Option<PathBuf> {
        let Origin { environment, flags, cwd } = &self.origin;
        // A fault of a file that is not read does not matter before a start.
        let found = file::find(environment, flags.config.as_deref(), cwd, &mut Vec::new());
        found.map(|file| file.path).filter(|path| Some(path) != self.file.as_ref())
    }
}
