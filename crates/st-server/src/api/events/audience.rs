//! The streams that wait for an event, woken a few at a time.
//!
//! Thousands that become runnable at once would be ahead of every request in the queues of the
//! runtime. So a wave goes over the seats in portions, and lets others run between them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use st_store::EventId;
use tokio::sync::Notify;

/// How many are woken before others may run.
const PORTION: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Locked to take, leave or mark a seat, and for each portion of a wave.
    seats: Mutex<Seats>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    all: Vec<Option<Waiting>>,
    /// Those that nobody has.
    free: Vec<usize>,
}

/// Why a stream waits: it has everything up to this event.
#[derive(Debug)]
struct Waiting {
    waker: Waker,
    after: EventId,
}

/// One stream's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    audience: Arc<Audience>,
    number: usize,
}

impl Audience {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        let mut seats = self.seats();
        let number = seats.free.pop().unwrap_or_else(|| {
            seats.all.push(None);
            seats.all.len() - 1
        });
        drop(seats);
        self.arrived.notify_one();
        Seat { audience: Arc::clone(self), number }
    }

    pub(super) fn is_empty(&self) -> bool {
        let seats = self.seats();
        seats.free.len() == seats.all.len()
    }

    /// Returns when at least one stream is open. Only one task may wait for it.
    pub(super) async fn until_occupied(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// Wakes those who may have something to do, and returns when all of them were. `has_news` is
    /// asked for the position of each.
    pub(super) async fn wake(&self, has_news: impl Fn(EventId) -> bool + Send) {
        let mut from = 0;
        loop {
            let woken = self.portion(&mut from, &has_news);
            if woken.is_empty() {
                return;
            }
            woken.into_iter().for_each(Waker::wake);
            tokio::task::yield_now().await;
        }
    }

    /// The next few of them; none at the end.
    fn portion(&self, from: &mut usize, has_news: &impl Fn(EventId) -> bool) -> Vec<Waker> {
        let mut woken = Vec::with_capacity(PORTION);
        let mut seats = self.seats();
        for seat in seats.all.iter_mut().skip(*from) {
            *from += 1;
            if let Some(waiting) = seat.take_if(|it| has_news(it.after)) {
                woken.push(waiting.waker);
                if woken.len() == PORTION {
                    break;
                }
            }
        }
        woken
    }
}

impl Seat {
    /// The number of the seat. Low ones are used again first.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Registers the stream, which has everything up to `after`, with the next wave. The caller must
    /// check for news again afterwards: a wave may have passed its seat already.
    pub(super) fn wait(&self, waker: &Waker, after: EventId) {
        let mut seats = self.audience.seats();
        let Some(seat) = seats.all.get_mut(self.number) else { return };
        match seat {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                waiting.after = after;
            }
            None => *seat = Some(Waiting { waker: waker.clone(), after }),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.audience.seats();
        if let Some(seat) = seats.all.get_mut(self.number) {
            *seat = None;
            seats.free.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_wave_wakes_each_who_waits_once_and_lets_others_run_meanwhile() {
        let audience = Arc::new(Audience::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let seats: Vec<Seat> = (0..10 * PORTION).map(|_| audience.sit()).collect();
        for seat in &seats {
            seat.wait(&waker, EventId(i64::from(seat.number() % 2 == 0)));
        }
        let other = {
            let count = Arc::clone(&count);
            st_log::spawn(async move { count.0.load(Ordering::SeqCst) })
        };
        // Those of odd numbers have nothing before this event.
        audience.wake(|after| after < EventId(1)).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 5 * PORTION);
        assert_eq!(other.await.unwrap(), PORTION);
        // They were woken and did not wait again; the rest still waits.
        audience.wake(|_| true).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 10 * PORTION);
    }

    #[tokio::test]
    async fn a_seat_is_free_again_when_its_stream_is_gone() {
        let audience = Arc::new(Audience::default());
        assert!(audience.is_empty());
        let first = audience.sit();
        let second = audience.sit();
        first.wait(Waker::noop(), EventId(0));
        drop(first);
        assert!(!audience.is_empty());
        let third = audience.sit();
        assert_eq!((second.number(), third.number()), (1, 0));
        // Nothing is left of who had it before.
        assert!(audience.portion(&mut 0, &|_| true).is_empty());
        drop((second, third));
        assert!(audience.is_empty());
    }
}
