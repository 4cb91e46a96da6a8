//! How many clients there may be: as many as are wanted, or as open files allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use st_log::{Logger, get_logger};

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// How many connections may be open.
const CONNECTIONS: usize = 10_000;
/// How many of them may be event streams.
const STREAMS: usize = 5_000;

/// How many connections and event streams may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

impl Capacity {
    /// What this process can serve. Raises its limit of open files to what it may be.
    pub(crate) fn of_process() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, ..limit };
            match setrlimit(Resource::Nofile, raised) {
                Ok(()) => limit = raised,
                Err(error) => st_log::debug!(
                    logger: LOG, reason = error.to_string(),
                    "Limit of open files could not be raised"
                ),
            }
        }
        let capacity = Self::with_files(limit.current);
        let Self { connections, streams } = capacity;
        if connections < CONNECTIONS {
            st_log::warning!(
                logger: LOG, open_files = limit.current, connections, streams,
                "Fewer connections are served than usual: open files are limited (ulimit -n)"
            );
        }
        capacity
    }

    /// A quarter of the files is for everything else, such as the calls to providers; and event
    /// streams, which stay for hours, leave a sixth of the connections to requests.
    fn with_files(limit: Option<u64>) -> Self {
        let files = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let connections = (files - files / 4).min(CONNECTIONS);
        Self { connections, streams: (connections - connections / 6).min(STREAMS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_shared_out_so_that_something_is_left_of_each_kind() {
        let shared =
            [None, Some(1 << 19), Some(14_000), Some(1024), Some(64), Some(8)].map(|limit| {
                let Capacity { connections, streams } = Capacity::with_files(limit);
                (connections, streams)
            });
        let all = (CONNECTIONS, STREAMS);
        assert_eq!(shared, [all, all, all, (768, 640), (48, 40), (6, 5)]);
    }

    #[test]
    fn the_limit_of_this_process_is_raised_as_far_as_it_may_be() {
        Capacity::of_process();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
