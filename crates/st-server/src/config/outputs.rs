//! What becomes of the outputs of jobs whose providers delete them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use st_api::input::Fields;
use st_http::IpNet;
use st_workers::provider::http::parse_size;

use super::sections::Surroundings;

/// 50 GiB: a large model with its checkpoints.
const MAX_BYTES: u64 = 50 * 1024 * 1024 * 1024;

/// What is downloaded, and to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputsSettings {
    /// Whether outputs are downloaded at all.
    pub download: bool,
    /// The folder in which each job gets one.
    pub dir: PathBuf,
    /// How many bytes all outputs of a job may have together.
    pub max_bytes: u64,
    /// Networks that are not public and from which outputs are downloaded all the same.
    pub allowed_networks: Vec<IpNet>,
}

/// What the file says about it.
#[derive(Debug, Default)]
pub(super) struct OutputsSection {
    download: Option<bool>,
    dir: Option<PathBuf>,
    max_bytes: Option<u64>,
    allowed_networks: Vec<IpNet>,
}

impl OutputsSection {
    pub(super) fn read(fields: &mut Fields, around: &Surroundings<'_>) -> Self {
        let dir = around.path(fields, "dir");
        if dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            fields.fault("dir", "must be an absolute path");
        }
        Self {
            download: fields.boolean("download"),
            dir,
            max_bytes: bytes(fields, "max_bytes"),
            allowed_networks: networks(fields, "allowed_networks"),
        }
    }

    /// With the defaults.
    pub(super) fn settings(self, state_dir: &Path) -> OutputsSettings {
        OutputsSettings {
            download: self.download.unwrap_or(false),
            dir: self.dir.unwrap_or_else(|| state_dir.join("outputs")),
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
            allowed_networks: self.allowed_networks,
        }
    }
}

/// A number of bytes, or a size with its unit.
fn bytes(fields: &mut Fields, key: &str) -> Option<u64> {
    let size = match fields.value(key)? {
        Value::Number(number) => number.as_u64().filter(|bytes| *bytes > 0),
        Value::String(text) => parse_size(&text).ok().and_then(|bytes| u64::try_from(bytes).ok()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    if size.is_none() {
        let given = fields.value(key).unwrap_or_default();
        let legal = "expected a number of bytes of at least 1, or a size such as 500MiB or 50GiB";
        fields.fault(key, format!("{legal}, found {given}"));
    }
    size
}

/// Networks by their prefixes.
pub(super) fn networks(fields: &mut Fields, key: &str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in fields.strings(key).unwrap_or_default().into_iter().enumerate() {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(_no_network) => {
                let legal = "expected a network such as 10.0.0.0/8 or fd00::/8";
                fields.fault(key, format!("item {index}: {legal}, found {text:?}"));
            }
        }
    }
    networks
}
