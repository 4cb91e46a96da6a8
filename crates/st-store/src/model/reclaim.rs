//! Claims whose holder is gone: how they are taken up again.

use jiff::SignedDuration;

/// From this reclaim in a row on, a job is dispatched alone and later each time, because it may be
/// what ends the process.
pub const ALONE_FROM: u32 = 3;
/// After so many reclaims in a row, a job is no longer submitted, only reconciled.
pub const MAX_RECLAIMS: u32 = 10;
/// After so many panics of its dispatch in a row, likewise.
pub const MAX_PANICS: u32 = 3;

const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// How a claimed job is to be dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caution {
    /// Beside others.
    None,
    /// With no other submission beside it, and this long after the attempt before.
    Alone {
        /// How long it waits between two attempts.
        pause: SignedDuration,
    },
    /// Reconcile only: adopt and cancel what is at the provider, or end the job as failed.
    ReconcileOnly,
}

impl Caution {
    /// The caution that a job needs after so many reclaims and panics in a row.
    pub fn after(reclaims: u32, panics: u32) -> Self {
        if reclaims >= MAX_RECLAIMS || panics >= MAX_PANICS {
            return Self::ReconcileOnly;
        }
        if reclaims < ALONE_FROM {
            return Self::None;
        }
        let doublings = reclaims.saturating_sub(ALONE_FROM).min(8);
        let pause = FIRST_PAUSE * (1 << doublings);
        Self::Alone { pause: pause.min(LONGEST_PAUSE) }
    }

    /// How long the job waits between two attempts because of it.
    pub const fn pause(self) -> SignedDuration {
        match self {
            Self::Alone { pause } => pause,
            Self::None | Self::ReconcileOnly => SignedDuration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_thirty_seconds_to_ten_minutes() {
        let pauses: Vec<_> = (0..=MAX_RECLAIMS)
            .map(|reclaims| match Caution::after(reclaims, 0) {
                Caution::None => 0,
                Caution::Alone { pause } => pause.as_secs(),
                Caution::ReconcileOnly => -1,
            })
            .collect();
        assert_eq!(pauses, [0, 0, 0, 30, 60, 120, 240, 480, 600, 600, -1]);
        assert_eq!(Caution::after(0, 2), Caution::None);
        assert_eq!(Caution::after(0, 3), Caution::ReconcileOnly);
    }
}
