//! `cargo xtask bench`: the benchmarks of the workspace, one after the other.
//!
//! Promises: without names it runs every benchmark that a crate declares, so that none can be
//! forgotten here; a name that is none is refused with the list. Leaves out: what each measures, and
//! where it writes its results; see `docs/testing.md` and `docs/performance.md`.

use cargo_metadata::{Metadata, TargetKind};
use xshell::{Shell, cmd};

use crate::step::{Failure, step};

/// What to measure.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Bench {
    /// The names of the benchmarks; none is all.
    names: Vec<String>,
    /// Whether at the size of which the published figures are.
    full: bool,
}

impl Bench {
    /// The options of the command line; `None` when one of them is wrong.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Option<Self> {
        let mut bench = Self::default();
        for arg in args {
            match arg.strip_prefix("--") {
                Some("full") => bench.full = true,
                Some(_) => return None,
                None => bench.names.push(arg),
            }
        }
        Some(bench)
    }

    pub(crate) fn run(&self, sh: &Shell, workspace: &Metadata) -> Result<(), Failure> {
        let known = declared(workspace);
        for name in &self.names {
            if !known.iter().any(|(_, bench)| bench == name) {
                let names: Vec<_> = known.iter().map(|(_, bench)| bench.as_str()).collect();
                return Err(Failure::unknown_bench(name, &names.join(", ")));
            }
        }
        for (package, name) in known {
            if self.names.is_empty() || self.names.contains(&name) {
                let full = if self.full { &["--full"] as &[&str] } else { &[] };
                let command =
                    cmd!(sh, "cargo bench --package {package} --bench {name} -- {full...}");
                step("benchmark", &command)?;
            }
        }
        Ok(())
    }
}

/// The benchmarks that the crates declare, with their crates.
fn declared(workspace: &Metadata) -> Vec<(String, String)> {
    let packages = workspace.workspace_packages();
    let benches = packages.iter().flat_map(|package| {
        let benches =
            package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bench));
        benches.map(|bench| (package.name.to_string(), bench.name.clone()))
    });
    benches.collect()
}

#[cfg(test)]
mod tests {
    use cargo_metadata::MetadataCommand;

    use super::{Bench, declared};

    fn parse(args: &[&str]) -> Option<Bench> {
        Bench::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn names_and_the_size_are_understood_and_nothing_else() {
        let wanted = Bench { names: vec!["claims".to_owned(), "flat".to_owned()], full: true };
        assert_eq!(parse(&["claims", "--full", "flat"]), Some(wanted));
        assert_eq!(parse(&[]), Some(Bench::default()));
        assert_eq!(parse(&["--quick"]), None);
    }

    #[test]
    fn every_folder_of_benchmarks_is_declared() {
        let workspace = MetadataCommand::new().no_deps().exec().unwrap();
        let known = declared(&workspace);
        assert!(known.contains(&("st-store".to_owned(), "figures".to_owned())), "{known:?}");
        for package in workspace.workspace_packages() {
            let folder = package.manifest_path.with_file_name("benches");
            let is_there = folder.is_dir();
            let is_declared = known.iter().any(|(name, _)| *name == package.name.as_str());
            assert_eq!(is_there, is_declared, "{folder}");
        }
    }
}
