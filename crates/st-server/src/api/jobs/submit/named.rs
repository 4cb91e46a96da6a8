//! Configurations that a request names: files in one folder, in the forms in which they are saved.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde_json::{Map, Value};

use super::assembled::NAMED;
use crate::http::problem::Problem;
use st_api::configs::is_config_name;
use st_api::input::parse_json;

/// The largest file that is read, in bytes.
const MAX_CONFIG: u64 = 1024 * 1024;
/// The data sets of the configuration that the file is beside.
pub(super) const DATASETS: &str = "multidatabackend.json";
/// More names are counted and not listed.
const LISTED: usize = 20;

/// A configuration as it was saved.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct Named {
    pub(in crate::api) config: Map<String, Value>,
    /// The data sets, where a file beside it has them.
    pub(in crate::api) dataloader: Option<Vec<Value>>,
}

/// Why there is none to use.
enum Unusable {
    Missing,
    /// In words that fit behind the name.
    Faulty(String),
}

/// The name without what a file's name ends with.
pub(in crate::api) fn stem(name: &str) -> &str {
    name.strip_suffix(".json").unwrap_or(name)
}

/// Reads a named configuration: `<name>.json` or `<name>/config.json` in the folder, and nothing
/// else. The name may end with `.json`. With `datasets`, the data sets beside it are read as well.
pub(in crate::api) async fn load(
    folder: &Path,
    name: &str,
    datasets: bool,
) -> Result<Named, Problem> {
    if !is_config_name(name) {
        let message =
            "must be letters, digits, spaces, '.', '_', '-' and '+', and not start with '.'";
        return Err(Problem::invalid_field(NAMED, message));
    }
    let stem = stem(name);
    let (folder, stem) = (folder.to_owned(), stem.to_owned());
    let (root, shown) = (folder.clone(), name.to_owned());
    let read = st_log::spawn_blocking(move || {
        read(&folder, &stem, datasets).map_err(|unusable| match unusable {
            Unusable::Missing => Problem::not_found(missing(&root, &shown)),
            Unusable::Faulty(fault) => Problem::invalid_field(NAMED, format!("{shown:?} {fault}")),
        })
    });
    read.await.map_err(|_panic| Problem::internal())?
}

fn read(folder: &Path, stem: &str, datasets: bool) -> Result<Named, Unusable> {
    for path in [folder.join(format!("{stem}.json")), folder.join(stem).join("config.json")] {
        let Some(value) = read_json(folder, &path)? else { continue };
        let Value::Object(saved) = value else {
            return Err(Unusable::Faulty("cannot be used: it is not a JSON object".to_owned()));
        };
        let beside = path.parent().filter(|_| datasets).map(|beside| beside.join(DATASETS));
        let dataloader = match beside.map(|path| read_json(folder, &path)).transpose()?.flatten() {
            None => None,
            Some(Value::Array(datasets)) => Some(datasets),
            Some(_) => {
                let fault = format!("cannot be used: {DATASETS} beside it is not a JSON array");
                return Err(Unusable::Faulty(fault));
            }
        };
        return Ok(Named { config: unwrapped(saved), dataloader });
    }
    Err(Unusable::Missing)
}

/// Without what is saved beside the settings: when and by whom, and the member that they may be in.
fn unwrapped(mut saved: Map<String, Value>) -> Map<String, Value> {
    saved.remove("_metadata");
    let is_alone = saved.len() == 1;
    match saved.get_mut("config") {
        Some(Value::Object(config)) if is_alone => std::mem::take(config),
        Some(_) | None => saved,
    }
}

/// The JSON in a file of the folder; `None` where there is no such file.
fn read_json(folder: &Path, path: &Path) -> Result<Option<Value>, Unusable> {
    let bytes = match within(folder, path).and_then(|path| read_capped(&path)) {
        Ok(bytes) => bytes,
        // Where a folder is asked for there may be a file.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Unusable::Faulty(format!("cannot be read: {error}"))),
    };
    let parsed = parse_json(&bytes);
    parsed.map(Some).map_err(|fault| Unusable::Faulty(format!("cannot be used: {}", fault.message)))
}

/// The folder that was searched, and the configurations that it has.
fn missing(folder: &Path, name: &str) -> String {
    let place = format!("{} (SIMPLETUNER_CONFIG_DIR)", folder.display());
    let names = match names(folder) {
        Ok(names) => names,
        Err(error) => return format!("there is no configuration {name:?}: {place}: {error}"),
    };
    let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let there_are = match names.len().saturating_sub(LISTED) {
        _ if names.is_empty() => "none".to_owned(),
        0 => listed,
        more => format!("{listed} and {more} more"),
    };
    format!("there is no configuration {name:?} in {place}; there are {there_are}")
}

/// The configurations in a folder, in order; none where there is no folder.
pub(in crate::api) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path: PathBuf = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(stem) = name.strip_suffix(".json") {
            names.extend((name != DATASETS && path.is_file()).then(|| stem.to_owned()));
        } else if path.join("config.json").is_file() {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Where a path leads without links. Who may write to the folder must not read through the server what only
/// the server may read.
fn within(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let real = fs::canonicalize(path)?;
    if real.starts_with(fs::canonicalize(folder)?) {
        return Ok(real);
    }
    Err(io::Error::other("it is a link out of the folder of configurations"))
}

fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer, and reading a device may never end.
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(io::Error::other(format!("it is larger than {MAX_CONFIG} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    async fn config(dir: &TempDir, name: &str) -> Value {
        Value::Object(load(dir.path(), name, true).await.unwrap().config)
    }

    async fn fault(dir: &TempDir, name: &str) -> String {
        format!("{:?}", load(dir.path(), name, true).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_pipe_a_device_and_a_folder_are_no_configurations_and_hold_nobody() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let dir = folder(&[("good.json", r#"{"a": 1}"#)]);
        let path = |name: &str| dir.path().join(format!("{name}.json"));
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for name in ["pipe", "folder"] {
            // Opened by another thread: where this blocks, the test ends by its timeout.
            let said = fault(&dir, name).await;
            assert!(said.contains("it is not a regular file"), "{name}: {said}");
        }
        assert_eq!(config(&dir, "good").await, json!({"a": 1}));
    }

    #[tokio::test]
    async fn a_link_is_followed_within_the_folder_and_not_out_of_it() {
        use std::os::unix::fs::symlink;

        let dir = folder(&[("v1/good.json", r#"{"a": 1}"#), ("own/config.json", "{}")]);
        let outside = folder(&[("secret.json", r#"{"token": "s3cret"}"#)]);
        // As a mounted volume has them, and by the whole path.
        symlink("v1", dir.path().join("data")).unwrap();
        symlink("data/good.json", dir.path().join("mounted.json")).unwrap();
        symlink(dir.path().join("v1/good.json"), dir.path().join("whole.json")).unwrap();
        for name in ["mounted", "whole"] {
            assert_eq!(config(&dir, name).await, json!({"a": 1}), "{name}");
        }
        symlink(outside.path().join("secret.json"), dir.path().join("file.json")).unwrap();
        symlink(outside.path().join("secret.json"), dir.path().join("own").join(DATASETS)).unwrap();
        symlink("/dev/zero", dir.path().join("device.json")).unwrap();
        for name in ["file", "device", "own"] {
            let said = fault(&dir, name).await;
            assert!(said.contains("it is a link out of the folder"), "{name}: {said}");
        }
        // The folder itself may be reached by a link.
        let linked = outside.path().join("configs");
        symlink(dir.path(), &linked).unwrap();
        load(&linked, "mounted", true).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_saved_around_the_settings_is_not_theirs() {
        let dir = folder(&[
            ("wrapped.json", r#"{"_metadata": {"by": "ann"}, "config": {"--rank": 16}}"#),
            ("flat.json", r#"{"_metadata": {"by": "ann"}, "--rank": 16}"#),
            ("more.json", r#"{"config": {"--rank": 16}, "command": "train"}"#),
            ("text.json", r#"{"config": "x"}"#),
        ]);
        for name in ["wrapped", "flat"] {
            assert_eq!(config(&dir, name).await, json!({"--rank": 16}), "{name}");
        }
        let more = json!({"config": {"--rank": 16}, "command": "train"});
        assert_eq!(config(&dir, "more").await, more, "a member of many");
        assert_eq!(config(&dir, "text").await, json!({"config": "x"}));
    }

    #[tokio::test]
    async fn names_are_those_that_people_give_to_files() {
        let dir = folder(&[
            ("my lora+v2.json", r#"{"a": 1}"#),
            ("in-folder/config.json", r#"{"a": 2}"#),
            ("größe.json", r#"{"a": 3}"#),
        ]);
        for (name, a) in [("my lora+v2", 1), ("my lora+v2.json", 1), ("in-folder", 2), ("größe", 3)]
        {
            assert_eq!(config(&dir, name).await, json!({"a": a}), "{name}");
        }
        for bad in ["", ".json", "..", "../x", ".ssh", "a/b", "a\\b", "a\nb", "/etc/passwd"] {
            let said = fault(&dir, bad).await;
            assert!(said.contains("must be letters"), "{bad:?}: {said}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let dir = folder(&[
            ("b.json", "{}"),
            ("a/config.json", "{}"),
            ("multidatabackend.json", "[]"),
            ("notes.txt", ""),
        ]);
        let place = format!("in {} (SIMPLETUNER_CONFIG_DIR)", dir.path().display());
        // That the first is a file is no fault of reading it as a folder.
        for name in ["b.json.json", "c", "notes.txt"] {
            let said = fault(&dir, name).await;
            assert!(said.contains(&format!("{place}; there are a, b\"")), "{name}: {said}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(fault(&empty, "c").await.contains("; there are none"));
        let nowhere = load(&empty.path().join("x"), "c", true).await.unwrap_err();
        assert!(nowhere.detail().ends_with("; there are none"), "{}", nowhere.detail());
        for index in 0..25 {
            fs::write(empty.path().join(format!("n{index:02}.json")), "{}").unwrap();
        }
        assert!(fault(&empty, "c").await.contains("n18, n19 and 5 more"));
    }

    #[tokio::test]
    async fn the_data_sets_beside_a_configuration_are_its_own() {
        let dir = folder(&[
            ("one/config.json", "{}"),
            ("one/multidatabackend.json", r#"[{"id": "a"}]"#),
            ("two/config.json", "{}"),
            ("three/config.json", "{}"),
            ("three/multidatabackend.json", r#"{"id": "a"}"#),
            ("four/config.json", "{}"),
            ("four/multidatabackend.json", "["),
        ]);
        let datasets = async |name: &str, wanted| {
            load(dir.path(), name, wanted).await.map(|named| named.dataloader)
        };
        assert_eq!(datasets("one", true).await.unwrap(), Some(vec![json!({"id": "a"})]));
        assert_eq!(datasets("one", false).await.unwrap(), None, "the request has its own");
        assert_eq!(datasets("two", true).await.unwrap(), None);
        for (name, why) in [("three", "is not a JSON array"), ("four", "cannot be used")] {
            let said = fault(&dir, name).await;
            assert!(said.contains(why), "{name}: {said}");
        }
    }
}
