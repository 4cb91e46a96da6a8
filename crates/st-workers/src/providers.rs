//! The providers of this server, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use st_store::ProviderName;

use crate::provider::Provider;

/// The configured providers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Providers(Arc<BTreeMap<ProviderName, Arc<dyn Provider>>>);

impl Providers {
    /// The provider of that name, if it is configured.
    pub fn get(&self, name: &ProviderName) -> Option<Arc<dyn Provider>> {
        self.0.get(name).filter(|provider| provider.is_configured()).cloned()
    }

    /// All configured providers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.registered().filter(|provider| provider.is_configured())
    }

    /// Also those that may be configured later.
    pub(crate) fn registered(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.values()
    }
}

impl FromIterator<Arc<dyn Provider>> for Providers {
    fn from_iter<T: IntoIterator<Item = Arc<dyn Provider>>>(providers: T) -> Self {
        let named = providers.into_iter().map(|it| (it.name().clone(), it));
        Self(Arc::new(named.collect()))
    }
}
