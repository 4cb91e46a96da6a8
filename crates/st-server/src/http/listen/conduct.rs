//! What a client does with its connection, and until when it may go on so.
//!
//! An idle connection may wait for a minute or so, the head of a request must arrive within seconds of its
//! first byte, and what is written must be read: some of it all the time, and all of it before the
//! deadline of the whole request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::places::{Phase, Place};

/// How long a connection may be idle. Longer than most proxies and clients keep one, so that they close it.
const IDLE: Duration = Duration::from_secs(75);
/// How long the head of a request may take, from its first byte.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may read nothing of its answer.
const UNREAD: Duration = Duration::from_secs(30);
/// How long a request may take from its head to the end of its answer.
const REQUEST: Duration = Duration::from_mins(10);

/// What is known of a connection; shared by the connection and the bodies that go over it.
#[derive(Debug)]
pub(super) struct Conduct {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    progress: Progress,
    /// Something is written and not read.
    is_unread: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Idle {
        until: Instant,
    },
    Head {
        until: Instant,
    },
    /// The body of a request arrives. Its reader has a deadline.
    Body {
        until: Instant,
    },
    /// The answer is made or sent; a stream may take as long as it likes.
    Answer {
        until: Option<Instant>,
    },
}

impl State {
    fn phase(self) -> Phase {
        match self.progress {
            _ if self.is_unread => Phase::Unread,
            Progress::Idle { .. } | Progress::Head { .. } => Phase::Silent,
            Progress::Body { .. } => Phase::Receiving,
            Progress::Answer { .. } => Phase::Working,
        }
    }
}

impl Conduct {
    /// A new connection has sent nothing yet.
    pub(super) fn new(place: Place) -> Arc<Self> {
        let progress = Progress::Idle { until: Instant::now() + IDLE };
        Arc::new(Self { place, state: Mutex::new(State { progress, is_unread: false }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let before = state.phase();
        change(&mut state);
        let after = state.phase();
        if before != after {
            self.place.enter(after);
        }
    }

    /// Bytes arrived.
    fn arrived(&self) {
        self.change(|state| {
            if matches!(state.progress, Progress::Idle { .. }) {
                state.progress = Progress::Head { until: Instant::now() + HEAD };
            }
        });
    }

    /// The head of a request is complete.
    pub(super) fn begun(&self, has_body: bool) {
        let until = Instant::now() + REQUEST;
        self.change(|state| {
            state.progress = if has_body {
                Progress::Body { until }
            } else {
                Progress::Answer { until: Some(until) }
            };
        });
    }

    /// The body of the request is complete, or nobody reads it.
    pub(super) fn received(&self) {
        self.change(|state| {
            if let Progress::Body { until } = state.progress {
                state.progress = Progress::Answer { until: Some(until) };
            }
        });
    }

    /// The answer is a stream that is not meant to end soon.
    pub(super) fn streams(&self) {
        self.change(|state| state.progress = Progress::Answer { until: None });
    }

    /// The answer is complete.
    pub(super) fn answered(&self) {
        let until = Instant::now() + IDLE;
        self.change(|state| state.progress = Progress::Idle { until });
    }

    fn unread(&self, is_unread: bool) {
        self.change(|state| state.is_unread = is_unread);
    }

    /// Until when something must arrive, and what it means when nothing does.
    fn arrival_due(&self) -> Option<(Instant, Late)> {
        match self.state().progress {
            Progress::Idle { until } => Some((until, Late::Idle)),
            Progress::Head { until } => Some((until, Late::Head)),
            Progress::Body { .. } | Progress::Answer { .. } => None,
        }
    }

    /// Until when the answer must be read completely.
    fn answer_due(&self) -> Option<Instant> {
        match self.state().progress {
            Progress::Answer { until } => until,
            Progress::Body { until } => Some(until),
            Progress::Idle { .. } | Progress::Head { .. } => None,
        }
    }
}

/// What did not arrive in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Idle,
    Head,
}

/// A connection whose client has to keep to these times.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    conduct: Arc<Conduct>,
    /// Runs while something is to arrive. It may be early; it is looked at again then.
    reading: Option<Pin<Box<Sleep>>>,
    /// Runs while a write waits for the client.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, conduct: Arc<Conduct>) -> Self {
        Self { inner, conduct, reading: None, writing: None }
    }

    /// Ready when what is to arrive is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some((due, late)) = self.conduct.arrival_due() else { return Poll::Pending };
            let timer = self.reading.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if timer.deadline() < due {
                timer.as_mut().reset(due);
                continue;
            }
            return Poll::Ready(match late {
                // As if the client had closed it.
                Late::Idle => Ok(()),
                Late::Head => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the head of a request did not arrive in time",
                )),
            });
        }
    }

    fn within_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.writing.take().is_some() {
                self.conduct.unread(false);
            }
            return written;
        }
        let conduct = &self.conduct;
        let writing = self.writing.get_or_insert_with(|| {
            let due = conduct.answer_due();
            conduct.unread(true);
            let unread = Instant::now() + UNREAD;
            Box::pin(sleep_until(due.map_or(unread, |due| due.min(unread))))
        });
        writing
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => self.poll_late(cx),
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    self.conduct.arrived();
                }
                Poll::Ready(read)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.within_deadline(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.within_deadline(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.within_deadline(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::advance;

    use super::*;
    use crate::http::listen::places::Places;

    async fn connection() -> (Watched<DuplexStream>, DuplexStream, Arc<Conduct>) {
        let (server, client) = duplex(64);
        let conduct = Conduct::new(Places::new(9).take(None).await.unwrap());
        (Watched::new(server, Arc::clone(&conduct)), client, conduct)
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_cut_off_at_the_deadline() {
        let (mut server, _client, conduct) = connection().await;
        conduct.begun(false);
        let began = Instant::now();
        let error = server.write_all(&[b'x'; 65]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, UNREAD));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_little_and_late_is_not_unless_it_takes_too_long_in_all() {
        for (is_stream, kind) in [(true, None), (false, Some(io::ErrorKind::TimedOut))] {
            let (mut server, mut client, conduct) = connection().await;
            conduct.begun(false);
            if is_stream {
                conduct.streams();
            }
            let began = Instant::now();
            let writes = st_log::spawn(async move { server.write_all(&[b'x'; 464]).await });
            let mut read = 0;
            while read < 400 && !writes.is_finished() {
                tokio::task::yield_now().await;
                advance(UNREAD.mul_f64(0.9)).await;
                read += client.read(&mut [0; 10]).await.unwrap();
            }
            let written = writes.await.unwrap();
            assert_eq!(written.err().map(|error| error.kind()), kind);
            assert!(is_stream || began.elapsed() < REQUEST + 2 * UNREAD, "{:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_request_has_seconds_from_its_first_byte() {
        let (mut server, mut client, _conduct) = connection().await;
        advance(IDLE / 2).await;
        client.write_all(b"G").await.unwrap();
        let mut byte = [0; 1];
        server.read_exact(&mut byte).await.unwrap();
        let began = Instant::now();
        let drip = st_log::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                advance(Duration::from_secs(1)).await;
                tokio::task::yield_now().await;
            }
        });
        let error = loop {
            if let Err(error) = server.read_exact(&mut byte).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        drop(server);
        drip.await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= HEAD + Duration::from_secs(2), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_quietly_and_only_after_a_while() {
        let (mut server, mut client, conduct) = connection().await;
        let mut byte = [0; 1];
        // Requests come and go; each pause is as long as it may be.
        for _ in 0..3 {
            let began = Instant::now();
            let next = async {
                sleep_until(began + IDLE.mul_f64(0.9)).await;
                client.write_all(b"G").await.unwrap();
            };
            let (read, ()) = tokio::join!(server.read(&mut byte), next);
            assert_eq!(read.unwrap(), 1);
            conduct.begun(false);
            conduct.answered();
        }
        let began = Instant::now();
        assert_eq!(server.read(&mut byte).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_nothing_has_to_arrive() {
        let (mut server, mut client, conduct) = connection().await;
        client.write_all(b"G").await.unwrap();
        let mut byte = [0; 1];
        server.read_exact(&mut byte).await.unwrap();
        conduct.begun(true);
        let read = tokio::time::timeout(REQUEST, server.read(&mut byte)).await;
        assert!(read.is_err(), "{read:?}");
    }
}
