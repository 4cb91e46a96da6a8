//! Which part of a list is asked for.

use st_store::PageRequest;

use crate::input::Fields;

/// Reads `limit` and `offset`.
pub(crate) fn page(fields: &mut Fields) -> PageRequest {
    let usual = PageRequest::default();
    let number = |number: Option<i64>, usual| {
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(usual)
    };
    PageRequest {
        limit: number(fields.integer("limit", 1..=500), usual.limit),
        offset: number(fields.integer("offset", 0..=i64::from(u32::MAX)), usual.offset),
    }
}
