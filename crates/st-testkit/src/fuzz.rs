//! Many mutated inputs for a reader of bytes that others write.
//!
//! Each input comes from a seed of its own, so that one that fails is repeated alone. Mutation is
//! blind: what makes it reach far is a corpus of real inputs and a dictionary of what readers trip
//! over.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

/// How many inputs a reader gets, without the variable `ST_FUZZ_INPUTS`.
const INPUTS: u64 = 20_000;
/// A reader's process may grow by so much while it reads; what grows without end grows further.
const GROWTH: u64 = 256 * 1024 * 1024;
/// Bytes of the longest input.
const LONGEST: usize = 16 * 1024;

/// Inputs for one reader.
#[derive(Debug, Clone, Copy)]
pub struct Fuzz<'a> {
    /// Inputs as they should be, and as they once were wrong.
    pub corpus: &'a [&'a [u8]],
    /// What is put into them.
    pub dictionary: &'a [&'a str],
}

/// What readers of JSON trip over.
pub const JSON: &[&str] = &[
    "null",
    "true",
    "7",
    "-0",
    "1e400",
    "1.5",
    "1e-999999",
    "\"",
    "\\",
    "\\\"",
    "\\u0000",
    "\\ud800",
    "\\udfff",
    "\\u0069d",
    "\u{fffd}",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "{}",
    "[]",
    "\"\"",
    " ",
    "\n",
    "{\"a\":",
    "[[[[[[[[",
    "]]]]]]]]",
    "\"id\":",
    "\"x\"",
    "\u{0}",
    "é",
    "🚂",
];

impl Fuzz<'_> {
    /// Calls `check` with each input. It panics where the reader is wrong. `ST_FUZZ_SEED` and `ST_FUZZ_INPUTS` choose the inputs.
    ///
    /// # Panics
    /// Panics as `check` does, when the process grows without end, and when a variable is no number.
    pub fn run(&self, check: impl Fn(&[u8])) {
        let (from, count) = (variable("ST_FUZZ_SEED", 0), variable("ST_FUZZ_INPUTS", INPUTS));
        let mut at_first = None;
        for number in 0..count {
            let seed = from.wrapping_add(number);
            let input = self.input(seed);
            let checked = catch_unwind(AssertUnwindSafe(|| check(&input)));
            if checked.is_err() {
                let shown = String::from_utf8_lossy(&input);
                panic!("by {shown:?}; repeat it with ST_FUZZ_SEED={seed} ST_FUZZ_INPUTS=1");
            }
            if number % 10_000 == 1000 {
                let now = resident();
                let first = *at_first.get_or_insert(now);
                assert!(now < first + GROWTH, "grew from {first} to {now} bytes by seed {seed}");
            }
        }
    }

    fn input(&self, seed: u64) -> Vec<u8> {
        let mut random = Rng::with_seed(seed);
        let mut input = self.any_of_corpus(&mut random).to_vec();
        // Some stay as they are, some are hardly recognizable.
        for _ in 0..random.u32(0..8) {
            self.mutate(&mut input, &mut random);
        }
        input.truncate(LONGEST);
        input
    }

    fn any_of_corpus(&self, random: &mut Rng) -> &[u8] {
        random.choice(self.corpus).copied().unwrap_or_default()
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut Rng) {
        let from = random.usize(..=input.len());
        let to = from + random.usize(..=(input.len() - from).min(40));
        match random.u32(0..10) {
            0 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= 1 << random.u32(0..8);
                }
            }
            1 => drop(input.splice(from..to, [random.u8(..)])),
            2 => drop(input.drain(from..to)),
            3 => input.truncate(from),
            4 => {
                let copy = input.get(from..to).unwrap_or_default().to_vec();
                let at = random.usize(..=input.len());
                drop(input.splice(at..at, copy));
            }
            5 => {
                let other = self.any_of_corpus(random);
                let start = random.usize(..=other.len());
                let end = start + random.usize(..=(other.len() - start));
                let piece = other.get(start..end).unwrap_or_default().to_vec();
                drop(input.splice(from..to, piece));
            }
            6 => {
                let word = random.choice(self.dictionary).copied().unwrap_or_default();
                let many = word.repeat(1 << random.u32(0..10));
                drop(input.splice(from..from, many.into_bytes()));
            }
            _ => {
                let word = random.choice(self.dictionary).copied().unwrap_or_default();
                drop(input.splice(from..to, word.bytes()));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings module")]
fn variable(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
