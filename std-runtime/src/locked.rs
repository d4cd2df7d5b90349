//! Locks under which nobody is called or told anything: whoever is may do anything, and would wait for itself.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::receipt::Outcomes;

/// A state whose changes somebody waits for.
pub(crate) trait Awaited {
    /// Who is to be called and what is to be told, since the state was locked.
    fn take_news(&mut self) -> News;
}

/// Who is to be called, and what is to be told: when this goes.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) called: Vec<Waker>,
    pub(crate) outcomes: Outcomes,
}

impl Drop for News {
    #[inline]
    fn drop(&mut self) {
        self.called.drain(..).for_each(Waker::wake);
        self.outcomes.tell();
    }
}

/// The state, locked; its news go out when it is unlocked.
pub(crate) struct Locked<'l, T: Awaited> {
    state: MutexGuard<'l, T>,
    /// Goes after the lock.
    news: News,
}

impl<'l, T: Awaited> Locked<'l, T> {
    #[inline]
    pub(crate) fn new(mutex: &'l Mutex<T>) -> Self {
        Self { state: mutex.lock().unwrap_or_else(PoisonError::into_inner), news: News::default() }
    }
}

impl<T: Awaited> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T: Awaited> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}

impl<T: Awaited> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.news = self.state.take_news();
    }
}
