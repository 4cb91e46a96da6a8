//! Amounts of money, exact: sums of them are compared with limits.

use std::fmt;
use std::iter::Sum;

/// How many of the smallest parts a US dollar has.
const PARTS: f64 = 1e6;

/// An amount in millionths of a US dollar. Sums saturate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(i64);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than any sum.
    pub const MAX: Self = Self(i64::MAX);

    /// The amount nearest to this many US dollars; what is not a number is nothing.
    pub fn from_usd(usd: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "it saturates, as sums do")]
        Self((usd * PARTS).round() as i64)
    }

    /// In US dollars.
    pub fn to_usd(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below nine billion dollars")]
        let parts = self.0 as f64;
        parts / PARTS
    }

    /// The amount that a backend stored as this many millionths.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// In millionths, as a backend stores it.
    pub const fn to_micros(self) -> i64 {
        self.0
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without the other, which may be less than nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Cost {
    /// In US dollars with two digits, or with as many more as it takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.to_usd());
        let cut = text.trim_end_matches('0');
        let digits = cut.len().saturating_sub(cut.find('.').map_or(cut.len(), |dot| dot + 1));
        f.pad(&format!("{:.*} USD", digits.max(2), self.to_usd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_to_a_millionth_and_saturate() {
        assert_eq!(Cost::from_usd(0.1).plus(Cost::from_usd(0.2)), Cost::from_usd(0.3));
        assert_eq!(Cost::from_usd(2.5).to_micros(), 2_500_000);
        assert_eq!(Cost::from_usd(f64::NAN), Cost::ZERO);
        assert_eq!(Cost::from_usd(1e300), Cost::MAX);
        assert_eq!(Cost::MAX.plus(Cost::from_usd(1.0)), Cost::MAX);
        let sum: Cost = [0.5, 0.25].map(Cost::from_usd).into_iter().sum();
        assert_eq!(sum, Cost::from_usd(0.75));
    }

    #[test]
    fn amounts_are_written_with_the_digits_that_they_have() {
        let written =
            [0.0, 2.5, 10.0, 0.001, 1_234.567_89].map(|usd| Cost::from_usd(usd).to_string());
        let expected = ["0.00 USD", "2.50 USD", "10.00 USD", "0.001 USD", "1234.56789 USD"];
        assert_eq!(written, expected);
    }
}
