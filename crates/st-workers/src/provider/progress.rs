//! How far a job has come, by what it printed.

/// What the end of a log says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last `step n/m`.
    pub step: Option<Count>,
    /// The last `epoch n/m`. It is the one that runs, so it is not done.
    pub epoch: Option<Count>,
    /// The last line that says something.
    pub last_line: String,
}

/// So many of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many are done, at most `all`.
    pub done: u64,
    /// How many there are, at least 1.
    pub all: u64,
}

impl Progress {
    /// The progress that a log shows; `None` where it says nothing at all.
    pub fn in_log(log: &str) -> Option<Self> {
        let mut lines = lines(log).rev().peekable();
        let last_line = (*lines.peek()?).to_owned();
        let (mut step, mut epoch) = (None, None);
        for line in lines {
            step = step.or_else(|| count_after(line, "step"));
            epoch = epoch.or_else(|| count_after(line, "epoch"));
            if step.is_some() && epoch.is_some() {
                break;
            }
        }
        Some(Self { step, epoch, last_line })
    }

    /// Per cent, by the steps, else by the epochs before the one that runs.
    pub fn percent(&self) -> Option<f64> {
        let epochs = || self.epoch.map(|it| Count { done: it.done.saturating_sub(1), ..it });
        let Count { done, all } = self.step.or_else(epochs)?;
        #[expect(clippy::cast_precision_loss, reason = "no training has 2^53 steps")]
        let share = done as f64 / all as f64;
        Some(100.0 * share)
    }
}

/// The lines that say something. A progress bar writes its lines over one another.
fn lines(log: &str) -> impl DoubleEndedIterator<Item = &str> {
    log.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty())
}

/// The last `word n/m` of a line, also `words: n/m` and `words: 12%|# | n/m`, in capitals or not.
fn count_after(line: &str, word: &str) -> Option<Count> {
    let line = line.to_ascii_lowercase();
    let counts = line.match_indices(word).filter_map(|(at, _)| {
        let before = line.get(..at)?.chars().next_back();
        if before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let after = line.get(at + word.len()..)?;
        let after = after.strip_prefix('s').unwrap_or(after);
        count(behind_bar(after.trim_start_matches([' ', ':', '='])))
    });
    counts.last()
}

/// A text without the progress bar that it begins with, such as `12%|#   | `.
fn behind_bar(text: &str) -> &str {
    let behind = || {
        let (_, rest) = number(text)?;
        let (_, rest) = rest.strip_prefix("%|")?.split_once('|')?;
        Some(rest.trim_start())
    };
    behind().unwrap_or(text)
}

/// The `n/m` that a text begins with.
fn count(text: &str) -> Option<Count> {
    let (done, rest) = number(text)?;
    let (all, _) = number(rest.trim_start().strip_prefix('/')?.trim_start())?;
    (all >= 1 && done <= all).then_some(Count { done, all })
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(log: &str) -> Option<(u64, u64)> {
        Progress::in_log(log)?.step.map(|count| (count.done, count.all))
    }

    #[test]
    fn the_last_step_counts() {
        let log = "step 1/10 - loss: 0.9\nstep 2/10 - loss: 0.8\nsaving a checkpoint\n\n";
        let progress = Progress::in_log(log).unwrap();
        assert_eq!(progress.step, Some(Count { done: 2, all: 10 }));
        assert_eq!(progress.last_line, "saving a checkpoint");
        assert_eq!(progress.percent(), Some(20.0));
        assert_eq!(step("step 1/10\rstep 2/10\rstep 3/10\r"), Some((3, 10)), "a progress bar");
    }

    #[test]
    fn a_step_is_written_in_many_ways() {
        for log in ["Step 3/12", "Steps: 3/12 [00:01]", "x, steps=3 / 12", "[Epoch 1/2] STEP 3/12"]
        {
            assert_eq!(step(log), Some((3, 12)), "{log}");
        }
        let both = Progress::in_log("epoch 2/4\nstep 30/120").unwrap();
        assert_eq!(both.epoch, Some(Count { done: 2, all: 4 }));
        assert_eq!(both.percent(), Some(25.0));
        assert_eq!(Progress::in_log("Epoch 2/4").unwrap().percent(), Some(25.0));
    }

    #[test]
    fn the_epoch_that_runs_is_not_done() {
        assert_eq!(Progress::in_log("Epoch 1/1").unwrap().percent(), Some(0.0));
        let bar = "Epoch 1/1, Steps:  12%|█▏        | 12/100 [00:09<01:06, 1.3it/s, loss=0.1]";
        let progress = Progress::in_log(bar).unwrap();
        assert_eq!(progress.step, Some(Count { done: 12, all: 100 }));
        assert_eq!(progress.percent(), Some(12.0));
        for cut in ["Steps: 12%|", "Steps: 12%|#  ", "Steps: 12%|#  | ", "Steps: 12%|# | 12"] {
            assert_eq!(step(cut), None, "{cut}");
        }
    }

    #[test]
    fn what_is_no_count_is_none() {
        for log in ["", "\n \n"] {
            assert_eq!(Progress::in_log(log), None);
        }
        let huge = format!("step 1/{}", "9".repeat(30));
        for log in [
            "step",
            "step 3",
            "step 3/",
            "step /3",
            "step 3/0",
            "step 4/3",
            "misstep 1/2",
            "stepß 1/2",
            &huge,
        ] {
            assert_eq!(step(log), None, "{log}");
            assert_eq!(Progress::in_log(log).unwrap().percent(), None, "{log}");
        }
    }
}
