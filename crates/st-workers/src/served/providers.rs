//! All configured providers as the tasks use them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use st_store::ProviderName;

use super::ServedProvider;
use crate::gate::GateStatus;
use crate::provider::Provider;
use crate::providers::Providers;

/// The providers by name.
#[derive(Debug)]
pub(crate) struct ServedProviders(BTreeMap<ProviderName, Arc<ServedProvider>>);

impl ServedProviders {
    /// `seed` decides the jitter of their gates.
    pub(crate) fn new(providers: &Providers, seed: u64) -> Self {
        let served = |provider: &Arc<dyn Provider>| {
            let served = ServedProvider::new(Arc::clone(provider), seed);
            (served.name().clone(), Arc::new(served))
        };
        Self(providers.registered().map(served).collect())
    }

    /// The provider of this name; `None` when it is not configured.
    pub(crate) fn get(&self, name: &ProviderName) -> Option<&Arc<ServedProvider>> {
        self.0.get(name).filter(|served| served.provider().is_configured())
    }

    /// Those that are configured.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedProvider>> {
        self.registered().filter(|served| served.provider().is_configured())
    }

    /// Also those that may be configured later.
    pub(crate) fn registered(&self) -> impl Iterator<Item = &Arc<ServedProvider>> {
        self.0.values()
    }

    /// What their gates show of themselves.
    pub(crate) fn gates(&self) -> BTreeMap<ProviderName, GateStatus> {
        self.iter().map(|served| (served.name().clone(), served.gate.status())).collect()
    }

    /// How long until the next gate is to be probed; `None` when none is.
    pub(crate) fn next_probe_in(&self) -> Option<Duration> {
        self.iter().filter_map(|served| served.gate.next_probe_in()).min()
    }
}
