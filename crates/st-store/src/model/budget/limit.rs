//! What a budget limits, over which time, and to how much.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

use super::InvalidBudget;
use crate::model::Cost;
use crate::model::text::text_enum;

text_enum! {
    /// How long one period of a budget is. Periods begin at midnight UTC; a week on Monday.
    Period, "period" {
        /// A day.
        Daily = "daily",
        /// A week.
        Weekly = "weekly",
        /// A month.
        Monthly = "monthly",
    }
}

impl Period {
    /// The first day of the period that this time is in.
    pub fn start(self, at: Timestamp) -> Date {
        self.start_of(Offset::UTC.to_datetime(at).date())
    }

    /// The first day of the period that this day is in.
    pub fn start_of(self, day: Date) -> Date {
        let first = match self {
            Self::Daily => Ok(day),
            Self::Weekly => {
                let behind = i32::from(day.weekday().since(Weekday::Monday));
                day.checked_sub(behind.days())
            }
            Self::Monthly => Ok(day.first_of_month()),
        };
        // Only the very first days of the calendar have none before them.
        first.unwrap_or(Date::MIN)
    }

    /// When the period that this time is in is over.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let length = match self {
            Self::Daily => 1.day(),
            Self::Weekly => 1.week(),
            Self::Monthly => 1.month(),
        };
        let next = self.start(at).checked_add(length);
        let midnight =
            next.and_then(|day| Offset::UTC.to_timestamp(day.to_datetime(Time::midnight())));
        midnight.unwrap_or(Timestamp::MAX)
    }
}

/// What a budget limits, and to how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetLimit {
    /// What jobs may cost.
    Cost {
        /// Over which time.
        period: Period,
        /// How much in one period.
        amount: Cost,
    },
    /// How many jobs may have slots at once.
    ConcurrentJobs(u32),
    /// How many jobs may be submitted on one day, in UTC.
    DailyJobs(u32),
}

text_enum! {
    /// What a budget counts.
    Measure, "measure" {
        /// What jobs cost.
        Cost = "cost",
        /// Jobs that have slots.
        ConcurrentJobs = "concurrent_jobs",
        /// Jobs that were submitted on a day.
        DailyJobs = "jobs_per_day",
    }
}

text_enum! {
    /// What a budget limits and over which time, in the words of clients.
    QuotaType, "quota_type" {
        /// How many jobs have slots at once.
        ConcurrentJobs = "concurrent_jobs",
        /// How many jobs are submitted on a day.
        JobsPerDay = "jobs_per_day",
        /// What jobs cost in a day.
        CostDaily = "cost_daily",
        /// What jobs cost in a week.
        CostWeekly = "cost_weekly",
        /// What jobs cost in a month.
        CostMonthly = "cost_monthly",
    }
}

/// A limit of another size; it fits only a budget that counts the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// What jobs may cost.
    Cost(Cost),
    /// How many jobs there may be.
    Jobs(u32),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost(cost) => write!(f, "{cost}"),
            Self::Jobs(1) => f.write_str("1 job"),
            Self::Jobs(jobs) => write!(f, "{jobs} jobs"),
        }
    }
}

impl BudgetLimit {
    /// What it counts.
    pub const fn measure(self) -> Measure {
        match self {
            Self::Cost { .. } => Measure::Cost,
            Self::ConcurrentJobs(_) => Measure::ConcurrentJobs,
            Self::DailyJobs(_) => Measure::DailyJobs,
        }
    }

    /// The word of clients for what it limits.
    pub const fn quota_type(self) -> QuotaType {
        match self {
            Self::Cost { period: Period::Daily, .. } => QuotaType::CostDaily,
            Self::Cost { period: Period::Weekly, .. } => QuotaType::CostWeekly,
            Self::Cost { period: Period::Monthly, .. } => QuotaType::CostMonthly,
            Self::ConcurrentJobs(_) => QuotaType::ConcurrentJobs,
            Self::DailyJobs(_) => QuotaType::JobsPerDay,
        }
    }

    /// How much there may be.
    pub const fn amount(self) -> Amount {
        match self {
            Self::Cost { amount, .. } => Amount::Cost(amount),
            Self::ConcurrentJobs(jobs) | Self::DailyJobs(jobs) => Amount::Jobs(jobs),
        }
    }

    /// Over which time; `None` where it is the present.
    pub const fn period(self) -> Option<Period> {
        match self {
            Self::Cost { period, .. } => Some(period),
            Self::ConcurrentJobs(_) => None,
            Self::DailyJobs(_) => Some(Period::Daily),
        }
    }

    /// The day under which what is taken at this time is summed up.
    pub fn start(self, at: Timestamp) -> Date {
        self.period().map_or(PRESENT, |period| period.start(at))
    }

    /// The same for what was taken on a day.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "memory sums up anew"))]
    pub(crate) fn start_of(self, day: Date) -> Date {
        self.period().map_or(PRESENT, |period| period.start_of(day))
    }

    pub(super) fn resized(self, amount: Option<Amount>) -> Result<Self, InvalidBudget> {
        match (self, amount) {
            (_, None) => Ok(self),
            (Self::Cost { period, .. }, Some(Amount::Cost(amount))) => {
                Ok(Self::Cost { period, amount })
            }
            (Self::ConcurrentJobs(_), Some(Amount::Jobs(jobs))) => Ok(Self::ConcurrentJobs(jobs)),
            (Self::DailyJobs(_), Some(Amount::Jobs(jobs))) => Ok(Self::DailyJobs(jobs)),
            (Self::Cost { .. }, Some(Amount::Jobs(_)))
            | (Self::ConcurrentJobs(_) | Self::DailyJobs(_), Some(Amount::Cost(_))) => {
                Err(InvalidBudget::OtherMeasure(self.measure()))
            }
        }
    }
}

impl fmt::Display for BudgetLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost { amount, .. } => write!(f, "{amount}"),
            Self::ConcurrentJobs(_) => write!(f, "{} at once", self.amount()),
            Self::DailyJobs(_) => write!(f, "{} a day", self.amount()),
        }
    }
}

/// Under which day the present is summed up.
const PRESENT: Date = jiff::civil::date(1970, 1, 1);
