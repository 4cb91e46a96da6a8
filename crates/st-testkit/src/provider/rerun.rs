//! Which of the jobs that the provider ended by itself run once more.

use st_store::ProviderEnding;

use super::FakeProvider;

impl FakeProvider {
    /// Jobs that the provider ends so run once more from now on.
    pub fn rerun_on(&self, ending: ProviderEnding) {
        self.state().retry_on.insert(ending);
    }
}
