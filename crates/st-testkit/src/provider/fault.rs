//! What can go wrong with a submission and with the list.

use std::time::Duration;

use st_workers::provider::Cause;

/// What goes wrong with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitFault {
    /// Refused for a reason that is not the job's, with the provider's wish to be left alone.
    Unavailable(Cause, Option<Duration>),
    /// Refused because of what the job asks for.
    Rejected,
    /// Not sent: a setting that the job needs is missing here.
    MissingSetting,
    /// The job arrived, the reply got lost.
    LostReply,
    /// The request got lost, and the caller cannot know it.
    LostRequest,
    /// The reply got lost; the request arrives so much later.
    Late(Duration),
    /// The job arrived twice (a proxy repeated the call), and the reply got lost.
    Doubled,
    /// The provider's code panics before it has sent anything.
    Panic,
}

/// What is odd about the list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ListFault {
    /// Nothing.
    #[default]
    None,
    /// Every page leads to itself, and shows nothing.
    Loops,
    /// Every page leads to another one, and shows nothing.
    Endless,
    /// Every row is shown twice.
    RowsTwice,
}
