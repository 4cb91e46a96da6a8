//! Reading what comes from outside, strictly: a key twice is an error, every fault is named at once,
//! and the reader of a request also says what it takes.

mod fields;
mod strict;

pub use fields::{
    ANY_NAME, FieldFault, Fields, Kind, Shape, escape, is_http_url, nearest, quoted, text_fault,
};
pub use strict::{JsonFault, StrictValue, parse_json};
