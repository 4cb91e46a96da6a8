//! What the provider's hardware costs. Its API does not say; these are its published prices.

const L40S: f64 = 0.000_972_222;
const H100: f64 = 0.001_525;

/// US dollars for a second. The model's name says on what it runs
/// (`simpletuner/advanced-trainer-l40s-x2`); where it does not, what the job asked for, else the
/// provider's default, one H100.
pub(super) fn per_second(model: Option<&str>, hardware_type: Option<&str>) -> f64 {
    let by_model = model.and_then(|model| model.rsplit_once("-trainer-")).map(|(_, it)| it);
    [by_model, hardware_type].into_iter().flatten().find_map(of_profile).unwrap_or(H100)
}

fn of_profile(profile: &str) -> Option<f64> {
    let profile = profile.to_ascii_lowercase();
    let (card, cards) = match profile.split_once("-x") {
        Some((card, cards)) => (card, cards.parse::<u8>().ok()?),
        None => (profile.as_str(), 1),
    };
    let price = match card {
        "l40s" => L40S,
        "h100" => H100,
        _ => return None,
    };
    Some(price * f64::from(cards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_decides_then_the_job_then_the_default() {
        let near = |one: f64, two: f64| (one - two).abs() < 1e-12;
        let model = Some("simpletuner/advanced-trainer-l40s-x2");
        assert!(near(per_second(model, Some("h100")), 2.0 * L40S));
        let plain = Some("simpletuner/advanced-trainer");
        assert!(near(per_second(plain, Some("H100-x4")), 4.0 * H100));
        assert!(near(per_second(plain, None), H100));
        assert!(near(per_second(None, Some("abacus")), H100));
    }
}
