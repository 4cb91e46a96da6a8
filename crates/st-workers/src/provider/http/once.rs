//! How the description says that a submission takes effect at most once.

use std::time::Duration;

use http::HeaderName;

use super::answers::Match;
use super::call::Call;
use super::section::{Faults, Place};
use super::template::Template;
use super::units;
use super::values::{JOB, NAME, Scope};

/// The four forms, and the lack of one.
#[derive(Debug, Clone)]
pub(super) enum Once {
    /// The provider deduplicates by a key for so long.
    Key {
        /// The header that carries the marker as the key; `None` where the request holds it already.
        header: Option<HeaderName>,
        keep_for: Duration,
    },
    /// The job's name is ours; a conflict means that it is there.
    Name { name: Template, conflict: Match, keep_for: Duration },
    /// What is submitted is held until it is released.
    Hold { release: Call },
    /// The list shows the marker.
    Marker,
    /// None of these: a person accepts that a job may run twice, or end without a known outcome.
    Unguarded { accepted: String, on_unknown: OnUnknown },
}

/// What becomes of a submission whose outcome cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnUnknown {
    /// The job fails: nothing is paid for twice.
    Fail,
    /// It is submitted again, once.
    Repeat,
}

#[derive(Clone, Copy)]
enum How {
    Key,
    Name,
    Hold,
    Marker,
    AtLeastOnce,
}

const HOW: [(&str, How); 5] = [
    ("key", How::Key),
    ("name", How::Name),
    ("hold", How::Hold),
    ("marker", How::Marker),
    ("at_least_once", How::AtLeastOnce),
];
const ON_UNKNOWN: [(&str, OnUnknown); 2] =
    [("fail", OnUnknown::Fail), ("repeat", OnUnknown::Repeat)];

impl Once {
    pub(super) fn read<'v>(
        place: &Place<'v>,
        faults: &mut Faults,
        vars: &'v serde_json::Map<String, serde_json::Value>,
    ) -> Option<Self> {
        let mut section = place.section(faults)?;
        let duration =
            |place: &Place<'v>, faults: &mut Faults| place.parsed(faults, units::duration);
        let once =
            match section.require("how", |place, faults| place.word(faults, &HOW)) {
                // Without it nothing says which other keys are legal.
                None => return None,
                Some(How::Key) => {
                    let header = section.read("header", |place, faults| {
                        place.parsed(faults, |text| {
                            HeaderName::from_bytes(text.as_bytes())
                                .map_err(|_no_name| "expected the name of a header".to_owned())
                        })
                    });
                    let keep_for = section.require("keep_for", duration);
                    keep_for.map(|keep_for| Self::Key { header, keep_for })
                }
                Some(How::Name) => {
                    let scope = Scope::new(NAME, vars);
                    let name = section
                        .require("name", |place, faults| Template::read(place, faults, &scope));
                    let conflict = section.require("conflict", Match::read);
                    let keep_for = section.require("keep_for", duration);
                    name.zip(conflict)
                        .zip(keep_for)
                        .map(|((name, conflict), keep_for)| Self::Name { name, conflict, keep_for })
                }
                Some(How::Hold) => {
                    let scope = Scope::new(JOB, vars);
                    let release = section
                        .require("release", |place, faults| Call::read(place, faults, &scope));
                    release.map(|release| Self::Hold { release })
                }
                Some(How::Marker) => Some(Self::Marker),
                Some(How::AtLeastOnce) => {
                    let accepted = section.read("accepted", Place::text);
                    if accepted.is_none() && !section.has("accepted") {
                        let message = "is required: why it may happen that a job runs twice or its \
                                   outcome stays unknown";
                        section.fault("accepted", message);
                    }
                    let on_unknown =
                        section.read("on_unknown", |place, faults| place.word(faults, &ON_UNKNOWN));
                    accepted.map(|accepted| Self::Unguarded {
                        accepted: accepted.to_owned(),
                        on_unknown: on_unknown.unwrap_or(OnUnknown::Fail),
                    })
                }
            };
        section.finish();
        once
    }
}
