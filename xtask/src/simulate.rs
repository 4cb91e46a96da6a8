//! `cargo xtask simulate`: the background tasks in any number of simulated worlds.
//!
//! Promises: without options it runs a thousand seeds on the store in memory; `--seed` runs the one
//! that a failure named. Leaves out: what a world is; see the test binary `sim` of st-workers.

use xshell::{Shell, cmd};

use crate::step::{Failure, step};

/// What to simulate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Simulation {
    /// The first seed.
    from: u64,
    /// How many seeds.
    count: u64,
    store: Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Memory,
    Sqlite,
}

impl Simulation {
    /// The options of the command line; `None` when one of them is wrong.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut simulation = Self { from: 0, count: 1000, store: Store::Memory };
        while let Some(option) = args.next() {
            let value = args.next()?;
            match option.as_str() {
                "--seeds" => simulation.count = value.parse().ok()?,
                "--seed" => (simulation.from, simulation.count) = (value.parse().ok()?, 1),
                "--from" => simulation.from = value.parse().ok()?,
                "--store" => {
                    simulation.store = match value.as_str() {
                        "memory" => Store::Memory,
                        "sqlite" => Store::Sqlite,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        (simulation.count > 0).then_some(simulation)
    }

    /// Builds and runs it. What failed, and how to see it again, is printed by the test itself.
    pub(crate) fn run(&self, sh: &Shell) -> Result<(), Failure> {
        let seeds = format!("{}..{}", self.from, self.from.saturating_add(self.count));
        let store = match self.store {
            Store::Memory => "memory",
            Store::Sqlite => "sqlite",
        };
        let test = ["--test", "sim", "the_wanted_seeds_find_nothing", "--", "--nocapture"];
        let command = cmd!(sh, "cargo test --release --package st-workers {test...}");
        step("simulation", &command.env("ST_SIM_SEEDS", seeds).env("ST_SIM_STORE", store))
    }
}

#[cfg(test)]
mod tests {
    use super::{Simulation, Store};

    fn parse(args: &[&str]) -> Option<Simulation> {
        Simulation::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn the_options_say_which_seeds_run_on_which_store() {
        let all = Simulation { from: 0, count: 1000, store: Store::Memory };
        assert_eq!(parse(&[]), Some(all));
        let one = Simulation { from: 17, count: 1, store: Store::Sqlite };
        assert_eq!(parse(&["--seed", "17", "--store", "sqlite"]), Some(one));
        let some = Simulation { from: 500, count: 20, store: Store::Memory };
        assert_eq!(parse(&["--seeds", "20", "--from", "500"]), Some(some));
    }

    #[test]
    fn a_wrong_option_or_value_is_refused() {
        for args in [
            &["--seed"] as &[&str],
            &["--seeds", "many"],
            &["--seeds", "0"],
            &["--store", "disk"],
            &["17"],
        ] {
            assert_eq!(parse(args), None, "{args:?}");
        }
    }
}
