//! Datagrams for one session that a socket of many sessions has received and the link has not taken yet.
//!
//! Bounded: what does not fit is dropped, as a full socket buffer would do, and its sender slows down. Empty, it holds no memory.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

/// Datagrams that came together from one address, side by side.
#[derive(Debug)]
pub(crate) struct Run {
    /// Who sent them.
    pub(crate) from: SocketAddr,
    /// Which address of this machine they were sent to, if the system tells.
    pub(crate) to: Option<IpAddr>,
    /// The length of each but the last, which may be shorter.
    pub(crate) stride: usize,
    pub(crate) bytes: BytesMut,
}

impl Run {
    /// Takes the next datagram from the front; `None` when all were taken.
    pub(crate) fn next_datagram(&mut self) -> Option<BytesMut> {
        let len = self.stride.min(self.bytes.len());
        (len > 0).then(|| self.bytes.split_to(len))
    }
}

/// Where a link's datagrams wait for it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runs: VecDeque<Run>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Puts datagrams in and wakes the link; says whether they fitted.
    pub(crate) fn push(&self, run: Run) -> bool {
        let mut state = self.state();
        if state.bytes + run.bytes.len() > MOST_BYTES || state.runs.len() >= MOST_RUNS {
            return false;
        }
        state.bytes += run.bytes.len();
        state.runs.push_back(run);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The oldest datagrams.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Run> {
        let mut state = self.state();
        match state.runs.pop_front() {
            Some(run) => {
                state.bytes -= run.bytes.len();
                Poll::Ready(run)
            }
            None => {
                state.runs = VecDeque::new();
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that wait: more than a session has in flight.
const MOST_BYTES: usize = 2 * 1024 * 1200;

/// Runs that wait, however short.
const MOST_RUNS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_taken_apart_and_its_last_datagram_may_be_shorter() {
        let mut run = run(&[7; 25], 10);

        let lengths: Vec<_> =
            std::iter::from_fn(|| run.next_datagram()).map(|datagram| datagram.len()).collect();

        assert_eq!(lengths, [10, 10, 5]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_an_empty_mailbox_holds_nothing() {
        let mailbox = Mailbox::default();
        let cx = Context::from_waker(Waker::noop());
        let mut taken = 0;

        while mailbox.push(run(&[7; 60_000], 1200)) {
            taken += 1;
        }
        for _ in 0..taken {
            assert!(mailbox.poll_take(&cx).is_ready());
        }

        assert_eq!(taken, MOST_BYTES / 60_000);
        assert!(mailbox.poll_take(&cx).is_pending());
        let state = mailbox.state();
        assert_eq!((state.bytes, state.runs.capacity()), (0, 0));
    }

    #[test]
    fn empty_datagrams_are_bounded_too() {
        let mailbox = Mailbox::default();

        let taken = (0..10_000).take_while(|_| mailbox.push(run(&[], 1))).count();

        assert_eq!(taken, MOST_RUNS);
    }

    fn run(bytes: &[u8], stride: usize) -> Run {
        Run { from: "192.0.2.1:9".parse().unwrap(), to: None, stride, bytes: BytesMut::from(bytes) }
    }
}
