//! What the provider's hardware costs. Its API does not say; these are its published prices.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, date};

use super::profile::{Profile, UnknownProfile};
use super::version::ModelName;

/// When the published prices were read.
pub const PRICES_READ_ON: Date = date(2026, 11, 1);

/// US dollars for a second of each profile, by <https://replicate.com/pricing>.
const PUBLISHED: [f64; 8] = [
    0.001_525, // h100
    0.003_050, // h100-x2
    0.006_100, // h100-x4
    0.012_200, // h100-x8
    0.000_975, // l40s
    0.001_950, // l40s-x2
    0.003_900, // l40s-x4
    0.007_800, // l40s-x8
];

/// What has a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priced {
    /// Whatever runs on this hardware.
    Profile(Profile),
    /// A model whose name does not say on what it runs.
    Model(ModelName),
}

/// A text that names neither a profile nor a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a model such as owner/model, or a profile: {0}")]
pub struct UnknownPriced(UnknownProfile);

impl FromStr for Priced {
    type Err = UnknownPriced;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text.parse(), text.parse()) {
            (Ok(profile), _) => Ok(Self::Profile(profile)),
            (Err(_), Ok(model)) => Ok(Self::Model(model)),
            (Err(unknown), Err(_)) => Err(UnknownPriced(unknown)),
        }
    }
}

impl fmt::Display for Priced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(profile) => profile.fmt(f),
            Self::Model(model) => model.fmt(f),
        }
    }
}

/// Prices in US dollars for a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices(BTreeMap<Priced, f64>);

impl Default for Prices {
    /// The published ones.
    fn default() -> Self {
        Self(Profile::ALL.map(Priced::Profile).into_iter().zip(PUBLISHED).collect())
    }
}

impl Prices {
    /// Takes these in the place of the published ones; what they do not name keeps its price.
    #[must_use]
    pub fn with(mut self, prices: impl IntoIterator<Item = (Priced, f64)>) -> Self {
        self.0.extend(prices);
        self
    }

    /// What a second of this model costs; `None` where that is not known.
    pub fn per_second(&self, model: &str) -> Option<f64> {
        let by_name = model.parse().ok().and_then(|name| self.0.get(&Priced::Model(name)));
        let by_profile = || self.0.get(&Priced::Profile(Profile::of_model(model)?));
        by_name.or_else(by_profile).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: Option<f64>, two: f64) -> bool {
        one.is_some_and(|one| (one - two).abs() < 1e-12)
    }

    #[test]
    fn the_model_says_what_a_second_costs() {
        let prices = Prices::default();
        for (model, price) in [
            ("simpletuner/advanced-trainer-l40s", 0.000_975),
            ("simpletuner/advanced-trainer-l40s-x2", 2.0 * 0.000_975),
            ("simpletuner/advanced-trainer-h100-x8", 8.0 * 0.001_525),
            ("simpletuner/advanced-trainer", 0.001_525),
        ] {
            assert!(near(prices.per_second(model), price), "{model}");
        }
        for profile in Profile::ALL {
            assert!(prices.per_second(profile.model().as_str()).is_some(), "{profile}");
        }
        for unknown in ["someone/flux", "someone/flux-h100", "a/b-trainer-t4", ""] {
            assert_eq!(prices.per_second(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn prices_of_the_configuration_go_before_the_published_ones() {
        let of = |text: &str| text.parse::<Priced>().unwrap();
        let model = "simpletuner/advanced-trainer-h100-x2";
        let prices = Prices::default().with([
            (of("h100"), 0.002),
            (of("someone/flux"), 0.5),
            (of(model), 0.25),
        ]);
        assert!(near(prices.per_second("simpletuner/advanced-trainer-h100"), 0.002));
        assert!(near(prices.per_second("simpletuner/advanced-trainer-h100-x4"), 0.006_1));
        assert!(near(prices.per_second("someone/flux"), 0.5));
        assert!(near(prices.per_second(model), 0.25), "the model before its profile");
        let said = "gpu-t4".parse::<Priced>().unwrap_err().to_string();
        assert!(said.contains("owner/model") && said.contains("h100-x8"), "{said}");
    }
}
