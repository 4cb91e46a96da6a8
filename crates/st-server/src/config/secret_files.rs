//! The files that hold secrets, so that their permissions can be checked.

use std::path::PathBuf;

use serde_json::Value;

use super::show::leaves;
use super::sources::Sources;
use super::table::{self, TABLE};
use super::{Config, Origin};

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    /// What names it: a variable, or a setting.
    pub(crate) named_by: String,
    pub(crate) path: PathBuf,
}

impl Config {
    /// The files with secrets that the configuration names, and its own file where a secret is written
    /// there and not taken from the environment.
    pub(crate) fn secret_files(&self, origin: &Origin) -> Vec<SecretFile> {
        let secrets = TABLE.iter().filter(|it| it.secret && table::is_named_by_us(it));
        let variables = secrets.flat_map(|setting| setting.variables);
        let mut files: Vec<SecretFile> = variables
            .filter_map(|name| {
                let named_by = format!("{name}_FILE");
                let path = origin.environment.get(&named_by).filter(|it| !it.trim().is_empty())?;
                Some(SecretFile { path: PathBuf::from(path), named_by })
            })
            .collect();
        if let Some(tls) = &self.access.tls {
            let named_by = "server.tls.key".to_owned();
            files.push(SecretFile { named_by, path: tls.key.clone() });
        }
        // Its faults were found when it was read.
        let sources =
            Sources::gather(&origin.environment, &origin.flags, &origin.cwd, &mut Vec::new());
        if let (Some(path), Some(setting)) = (sources.file(), self.secret_in_file(&sources)) {
            files.push(SecretFile { named_by: setting, path: path.clone() });
        }
        files
    }

    /// The first setting whose secret is written in the file itself.
    fn secret_in_file(&self, sources: &Sources) -> Option<String> {
        let tree = Value::Object(sources.tree().clone());
        let secret = leaves(&tree, String::new()).into_iter().find(|(pointer, _)| {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let is_secret = TABLE.iter().any(|setting| setting.secret && setting.covers(pointer));
            (is_secret || self.log.redaction.covers(name)) && sources.is_written_in_file(pointer)
        });
        secret.map(|(pointer, _)| pointer.trim_start_matches('/').replace('/', "."))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::Flags;
    use super::*;

    fn files(dir: &Path, yaml: &str, variables: &[(&str, &str)]) -> Vec<(String, PathBuf)> {
        let file = dir.join("simpletuner-enterprise.yaml");
        std::fs::write(&file, yaml).unwrap();
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut environment: BTreeMap<String, String> = given.collect();
        environment.insert("HOME".to_owned(), dir.display().to_string());
        let origin = Origin { environment, flags: Flags::default(), cwd: dir.to_owned() };
        let found = origin.read().unwrap().secret_files(&origin);
        found.into_iter().map(|it| (it.named_by, it.path)).collect()
    }

    #[test]
    fn the_configuration_file_is_one_only_where_a_secret_is_written_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = |token: &str| format!("providers:\n  replicate:\n    api_token: {token}\n");
        let file = dir.path().join("simpletuner-enterprise.yaml");
        let written = files(dir.path(), &yaml("r8_abcdef"), &[]);
        assert_eq!(written, [("providers.replicate.api_token".to_owned(), file)]);
        let filled = files(dir.path(), &yaml("${TOKEN}"), &[("TOKEN", "r8_abcdef")]);
        assert_eq!(filled, []);
        assert_eq!(files(dir.path(), "http: { timeout_seconds: 30 }\n", &[]), []);
    }

    #[test]
    fn a_file_that_a_variable_names_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "r8_abcdef").unwrap();
        let path = token.display().to_string();
        let log = dir.path().join("cloud.log").display().to_string();
        let variables = [("REPLICATE_API_TOKEN_FILE", &*path), ("SIMPLETUNER_LOG_FILE", &log)];
        let found = files(dir.path(), "{}", &variables);
        assert_eq!(found, [("REPLICATE_API_TOKEN_FILE".to_owned(), token)]);
    }
}
