//! `cargo xtask page`: the operator's page in a real browser, and its scripts without one.
//!
//! Promises: a browser that is missing is installed where that can be done without asking, and otherwise the
//! run fails with the command that installs it; what was measured is printed after the run, also when a test
//! failed. Leaves out: what is tested; see st-server's `tests/page` and `page/tests`.

use std::collections::BTreeMap;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::step::{Failure, Tools, heading, is_there, step};

/// The files of the page and of its tests without a browser.
const PAGE: &str = "crates/st-server/page";

/// The command that installs what is missing, on Debian.
const INSTALL: &str =
    "apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver";

/// Names under which a browser that the driver can start is installed.
const BROWSERS: [&str; 3] = ["chromium", "google-chrome", "chrome"];

/// What to do with the page.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Page {
    /// Whether to draw the pictures of the documents anew, and nothing else.
    pictures: bool,
}

impl Page {
    /// The options of the command line; `None` when one of them is wrong.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Option<Self> {
        let mut page = Self::default();
        for arg in args {
            match arg.as_str() {
                "--pictures" => page.pictures = true,
                _ => return None,
            }
        }
        Some(page)
    }

    pub(crate) fn run(&self, sh: &Shell, tools: &Tools, target: &Path) -> Result<(), Failure> {
        tools.need(sh, "nextest", "cargo-nextest")?;
        need_browser(sh)?;
        if self.pictures {
            let folder = sh.current_dir().join("docs/pictures");
            let filter = "test(screens::)";
            let command = in_browser(sh).args(["-E", filter]).env("ST_PAGE_PICTURES", folder);
            return step("pictures of the page", &command);
        }
        scripts(sh)?;
        let report = target.join("page-report.tsv");
        // What an earlier run measured is no result of this one.
        sh.remove_path(&report).map_err(|source| Failure::Step { name: "report", source })?;
        let outcome = step("page in a browser", &in_browser(sh).env("ST_PAGE_REPORT", &report));
        print_report(&sh.read_file(&report).unwrap_or_default());
        outcome
    }
}

/// The same packages as in the other runs of `ci`, so that nothing is built a second time with other features.
fn in_browser(sh: &Shell) -> xshell::Cmd<'_> {
    cmd!(
        sh,
        "cargo nextest run --workspace --exclude xtask --exclude st-store --test page --ignore-default-filter --no-fail-fast"
    )
}

fn need_browser(sh: &Shell) -> Result<(), Failure> {
    let is_complete =
        || is_there(sh, "chromedriver") && BROWSERS.iter().any(|name| is_there(sh, name));
    if is_complete() {
        return Ok(());
    }
    heading("install a browser and its driver");
    let is_root = cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id == "0");
    let installed = is_root
        && cmd!(sh, "apt-get update").ignore_stdout().run().is_ok()
        && cmd!(
            sh,
            "apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium chromium-driver"
        )
        .env("DEBIAN_FRONTEND", "noninteractive")
        .ignore_stdout()
        .run()
        .is_ok();
    if installed && is_complete() {
        return Ok(());
    }
    Err(Failure::Missing { tool: "Chromium and its driver", remedy: INSTALL })
}

/// The page's functions without a browser, and the types in its comments.
fn scripts(sh: &Shell) -> Result<(), Failure> {
    let failed = |source| Failure::Step { name: "tests of the page's scripts", source };
    let tests: Vec<_> = sh
        .read_dir(format!("{PAGE}/tests"))
        .map_err(failed)?
        .into_iter()
        .filter(|file| file.to_string_lossy().ends_with(".test.js"))
        .collect();
    if is_there(sh, "node") {
        step("tests of the page's scripts", &cmd!(sh, "node --test {tests...}"))?;
    } else {
        println!("!! NOT RUN: the tests of the page's scripts. They need `node`.");
    }
    if is_there(sh, "tsc") {
        step(
            "types of the page's scripts",
            &cmd!(sh, "tsc --noEmit --project {PAGE}/jsconfig.json"),
        )
    } else {
        println!("!! NOT CHECKED: the types of the page's scripts. They need `tsc`.");
        Ok(())
    }
}

/// Prints what the tests measured, by what was measured; the order in which they ended says nothing.
fn print_report(lines: &str) {
    let rows: BTreeMap<&str, &str> =
        lines.lines().filter_map(|line| line.split_once('\t')).collect();
    heading("what was measured");
    let width = rows.keys().map(|what| what.chars().count()).max().unwrap_or(0);
    for (what, result) in rows {
        println!("{what:width$}  {result}");
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn pictures_are_understood_and_nothing_else() {
        let parse = |args: &[&str]| Page::parse(args.iter().map(|arg| (*arg).to_owned()));
        assert_eq!(parse(&[]), Some(Page { pictures: false }));
        assert_eq!(parse(&["--pictures"]), Some(Page { pictures: true }));
        assert_eq!(parse(&["--films"]), None);
    }
}
