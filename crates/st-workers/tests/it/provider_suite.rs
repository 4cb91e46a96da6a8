//! The suite of the test kit on every provider of this crate, and on providers that each break one
//! promise, so that each case is seen to fail.

mod clouds;
mod flaws;
mod local;
mod replicate;

/// The provider in memory.
mod fake {
    use std::future::ready;

    use st_testkit::provider_suite::FakeWorld;

    st_testkit::provider_conformance!(ready(FakeWorld::new()));
}
