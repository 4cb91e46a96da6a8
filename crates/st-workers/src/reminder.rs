//! When a condition that lasts is logged: when it begins, and then every hour.

use std::time::Duration;

use tokio::time::Instant;

const AGAIN: Duration = Duration::from_hours(1);

/// The log lines of one condition.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reminder {
    logged_at: Option<Instant>,
}

impl Reminder {
    /// Whether the condition is to be logged now; if so, it counts as logged.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.logged_at.is_none_or(|at| at.elapsed() >= AGAIN);
        if due {
            self.logged_at = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_when_it_begins_and_every_hour() {
        let mut reminder = Reminder::default();
        assert_eq!([reminder.is_due(), reminder.is_due()], [true, false]);
        tokio::time::advance(Duration::from_mins(59)).await;
        assert!(!reminder.is_due());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!([reminder.is_due(), reminder.is_due()], [true, false]);
    }
}
