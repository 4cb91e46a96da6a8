//! Which variables of the server's environment reach a job: those that programs need to find their
//! way, and those that the configuration names. Everything else may be a secret: the URL of a proxy
//! may hold a password.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use tokio::process::Command;

/// What every job gets.
const USUAL: [&str; 15] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_*",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CUDA_*",
    "HF_HOME",
    "SSL_CERT_*",
];
/// The server's own settings and secrets: given on only under their whole names.
const OWN: [&str; 2] = ["SIMPLETUNER_", "REPLICATE_"];

/// Variables that jobs get as the server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedVariables {
    /// The one with this name.
    Named(String),
    /// All whose names begin so.
    Starting(String),
}

/// A text that is no name of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a variable such as HF_TOKEN, or its beginning such as NCCL_*")]
pub struct InvalidVariable;

impl FromStr for PassedVariables {
    type Err = InvalidVariable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let legal = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let is_name = name.starts_with(|first: char| legal(first) && !first.is_ascii_digit())
            && name.chars().all(legal);
        match is_name {
            false => Err(InvalidVariable),
            true if name.len() < text.len() => Ok(Self::Starting(name.to_owned())),
            true => Ok(Self::Named(name.to_owned())),
        }
    }
}

impl fmt::Display for PassedVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Starting(beginning) => write!(f, "{beginning}*"),
        }
    }
}

impl PassedVariables {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Named(named) => named == name,
            Self::Starting(beginning) => {
                name.starts_with(beginning) && !OWN.iter().any(|own| name.starts_with(own))
            }
        }
    }
}

/// Leaves a command nothing of this process's environment but what jobs may have.
pub(super) fn restrict(command: &mut Command, passed: &[PassedVariables]) {
    command.env_clear().envs(allowed(std::env::vars_os(), passed));
}

fn allowed(
    variables: impl Iterator<Item = (OsString, OsString)>,
    passed: &[PassedVariables],
) -> impl Iterator<Item = (OsString, OsString)> {
    let usual: Vec<PassedVariables> = USUAL.iter().filter_map(|it| it.parse().ok()).collect();
    variables.filter(move |(name, _)| {
        let Some(name) = name.to_str() else { return false };
        usual.iter().chain(passed).any(|variables| variables.covers(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str], passed: &[&str]) -> Vec<String> {
        let passed: Vec<PassedVariables> = passed.iter().map(|it| it.parse().unwrap()).collect();
        let given = given.iter().map(|name| (OsString::from(name), OsString::from("x")));
        allowed(given, &passed).map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn only_what_is_usual_or_named_is_given_on() {
        let usual = [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "LANG",
            "LC_ALL",
            "TZ",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "LD_LIBRARY_PATH",
            "VIRTUAL_ENV",
            "CUDA_HOME",
            "CUDA_VISIBLE_DEVICES",
            "HF_HOME",
            "SSL_CERT_FILE",
        ];
        assert_eq!(names(&usual, &[]), usual);
        let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"];
        assert_eq!(names(&proxies, &[]), [""; 0], "their URLs may hold passwords");
        assert_eq!(names(&proxies, &["HTTPS_PROXY"]), ["HTTPS_PROXY"]);
        let others = ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PATHS", "path", "LC", "HOMEPAGE", ""];
        assert_eq!(names(&others, &[]), [""; 0]);
        assert_eq!(names(&others, &["HF_TOKEN", "AWS_*"]), ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY"]);
    }

    #[test]
    fn the_servers_own_are_given_on_only_under_their_whole_names() {
        let own = ["SIMPLETUNER_PORT", "REPLICATE_API_TOKEN", "REPLICA"];
        assert_eq!(names(&own, &["S*", "REPLICATE_*", "R*"]), ["REPLICA"]);
        assert_eq!(names(&own, &["REPLICATE_API_TOKEN"]), ["REPLICATE_API_TOKEN"]);
    }

    #[test]
    fn a_name_is_one_that_a_shell_can_have() {
        for good in ["A", "_a1", "NCCL_*"] {
            assert_eq!(good.parse::<PassedVariables>().unwrap().to_string(), good);
        }
        for bad in ["", "*", "1A", "A-B", "A=b", "A*B", "A**", " A", "ä"] {
            assert_eq!(bad.parse::<PassedVariables>(), Err(InvalidVariable), "{bad}");
        }
        assert!(USUAL.iter().all(|it| it.parse::<PassedVariables>().is_ok()));
    }
}
