//! The providers that the file describes: every key below `providers` that is none of the program's
//! own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use st_store::ProviderName;
use st_workers::provider::http::{Credentials, Description};

use crate::api::KNOWN;
use st_api::input::{FieldFault, Fields};

/// A result must be readable for as many polls.
const POLLS: u32 = 3;
/// The longest name of a provider.
const LONGEST_NAME: usize = 64;

/// A provider that the file describes.
#[derive(Clone)]
pub struct DescribedProvider {
    /// What the file says about it.
    pub description: Description,
    /// The credential that it names.
    pub credentials: Credentials,
}

impl fmt::Debug for DescribedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the environment put into a description may be a secret.
        f.debug_struct("DescribedProvider").finish_non_exhaustive()
    }
}

/// Reads them; what is wrong in one is named with its place.
pub(super) fn read(
    fields: &mut Fields,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<ProviderName, DescribedProvider> {
    fields.note_others();
    let mut described = BTreeMap::new();
    for name in fields.names() {
        if KNOWN.iter().any(|known| known.id == name) {
            continue;
        }
        // Without a kind it is more likely the misspelt name of a known one.
        let kind = fields.peek(&name).and_then(|value| value.get("kind"));
        if kind.is_none() {
            continue;
        }
        let Some(value) = fields.value(&name) else { continue };
        if !is_name(&name) {
            let legal = format!("a provider's name has 1 to {LONGEST_NAME} of a-z 0-9 _ -");
            fields.fault(&name, legal);
            continue;
        }
        match Description::read(&value) {
            Ok(description) => match Credentials::load(&description, environment) {
                Ok(credentials) => {
                    let provider = DescribedProvider { description, credentials };
                    described.insert(ProviderName::new(name), provider);
                }
                Err(fault) => fields.faults_in(&name, [(fault.pointer, fault.message)]),
            },
            Err(faults) => {
                fields.faults_in(&name, faults.into_iter().map(|it| (it.pointer, it.message)));
            }
        }
    }
    described
}

/// What is wrong with a provider at this interval of polling.
pub(super) fn check_polling(
    described: &BTreeMap<ProviderName, DescribedProvider>,
    interval: Duration,
) -> Vec<FieldFault> {
    let too_short = |(name, provider): (&ProviderName, &DescribedProvider)| {
        let keeps = provider.description.keeps()?;
        (keeps < interval.saturating_mul(POLLS)).then(|| FieldFault {
            pointer: format!("/providers/{name}/limits/keeps"),
            message: format!(
                "results are kept for {keeps:?} and jobs are polled every {interval:?}, expected at \
                 least {POLLS} polls in that time: lower background.job_status_polling.interval_seconds"
            ),
        })
    };
    described.iter().filter_map(too_short).collect()
}

fn is_name(name: &str) -> bool {
    let legal = |char: char| {
        char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-')
    };
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(legal)
}

#[cfg(test)]
mod tests;
