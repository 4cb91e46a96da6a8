//! The secrets that the configuration has, so that nothing which others repeat is shown with them.

use serde_json::Value;

use super::show::leaves;
use super::sources::Sources;
use super::table::{self, TABLE};
use super::{Config, Filled, Origin};

impl Config {
    /// What the environment put into the file, and each setting that is a secret, by its name.
    pub(crate) fn secret_values(&self, origin: &Origin) -> Filled {
        // Its faults were found when it was read.
        let sources =
            Sources::gather(&origin.environment, &origin.flags, &origin.cwd, &mut Vec::new());
        self.with_secrets_of(&sources, self.filled.clone())
    }

    /// What is `known` already, and each setting that is a secret.
    pub(super) fn with_secrets_of(&self, sources: &Sources, mut known: Filled) -> Filled {
        let tree = Value::Object(sources.tree().clone());
        for (pointer, value) in leaves(&tree, String::new()) {
            let Value::String(value) = value else { continue };
            let name = pointer.trim_start_matches('/').replace('/', ".");
            let last = pointer.rsplit('/').next().unwrap_or_default();
            match TABLE.iter().find(|it| it.secret && it.covers(&pointer)) {
                Some(proxy) if !table::is_named_by_us(proxy) => {
                    for (number, part) in credentials(value).into_iter().enumerate() {
                        known.add(&numbered(&name, number), part);
                    }
                }
                Some(_) => {
                    // Several stand in one while they are replaced.
                    for (number, part) in value.split_whitespace().enumerate() {
                        known.add(&numbered(&name, number), part);
                    }
                }
                None if self.log.redaction.covers(last) => known.add(&name, value),
                None => {}
            }
        }
        known
    }
}

/// Names are unique.
fn numbered(name: &str, number: usize) -> String {
    if number == 0 { name.to_owned() } else { format!("{name} {number}") }
}

/// User name with password, and the password, of the URL of a proxy, as they are written there.
fn credentials(proxy: &str) -> Vec<&str> {
    let Some((before, _host)) = proxy.trim().rsplit_once('@') else { return Vec::new() };
    let both = before.split_once("://").map_or(before, |(_scheme, rest)| rest);
    let password = both.split_once(':').map(|(_user, password)| password);
    [Some(both), password].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Flags;
    use super::*;

    #[test]
    fn secrets_of_variables_of_the_file_and_of_proxies_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = "http: {https_proxy: 'http://ann:pr0xy-password@proxy:1'}\n\
                    providers: {replicate: {webhook_secret: whsec_b25lb25lb25lb25lb25lb25l}}\n";
        std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
        let environment = BTreeMap::from([
            ("HOME".to_owned(), dir.path().display().to_string()),
            ("REPLICATE_API_TOKEN".to_owned(), "r8_abcdef".to_owned()),
        ]);
        let origin = Origin { environment, flags: Flags::default(), cwd: dir.path().to_owned() };
        let known = origin.read().unwrap().secret_values(&origin);
        for secret in ["r8_abcdef", "whsec_b25lb25lb25lb25lb25lb25l", "pr0xy-password"] {
            let shown = known.hide(&format!("invalid token {secret}!"));
            assert!(!shown.contains(secret) && shown.starts_with("invalid token ${"), "{shown}");
        }
        assert_eq!(known.hide("http://proxy:1 refuses"), "http://proxy:1 refuses");
    }
}
