//! A value of which only the newest counts: one side sets it, others read it and wait for what they want of it.
//!
//! ```text
//!   Latest::set ─▶ value ─▶ Reader::get
//!                    └────▶ Reader::wait_for, woken in the order in which they began to wait
//! ```
//!
//! It is there because `tokio::sync::watch` draws at random which of its eight lists a waiter goes to, and wakes list
//! after list; on a simulated network the same seed has to wake the same tasks in the same order.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The end that sets the value. Dropping it closes the readers' end; the last value stays readable.
#[derive(Debug)]
pub struct Latest<T> {
    shared: Arc<Shared<T>>,
}

/// The end that reads. Cheap to clone.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    open: bool,
}

impl<T: Clone> Latest<T> {
    /// With a first value.
    pub fn new(value: T) -> Self {
        let state = Mutex::new(State { value, open: true });
        Self { shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// One more reader.
    pub fn reader(&self) -> Reader<T> {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// Replaces the value and wakes who waits.
    pub fn set(&self, value: T) {
        // The old value is dropped after the lock is.
        let _old = std::mem::replace(&mut self.shared.lock().value, value);
        self.shared.changed.notify_waiters();
    }

    /// The value.
    pub fn get(&self) -> T {
        self.shared.lock().value.clone()
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        self.shared.lock().open = false;
        self.shared.changed.notify_waiters();
    }
}

impl<T: Clone> Reader<T> {
    /// The value, the last one if the other end is gone.
    pub fn get(&self) -> T {
        self.shared.lock().value.clone()
    }

    /// Whether the other end is still there.
    pub fn is_open(&self) -> bool {
        self.shared.lock().open
    }

    /// Waits until the value is as wanted, and returns it; `None` if the other end is gone before. Values that are
    /// replaced while nobody looks are skipped. Cancel safe.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&T) -> bool) -> Option<T> {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let (value, open) = {
                let state = self.shared.lock();
                (state.value.clone(), state.open)
            };
            if wanted(&value) {
                return Some(value);
            }
            if !open {
                return None;
            }
            changed.await;
        }
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Shared<T> {
    /// Only whole values are put in and copied out under it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_in_order() {
        let latest = Latest::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let wait = |number: usize| {
            let (reader, woken) = (latest.reader(), Arc::clone(&woken));
            tokio::spawn(async move {
                let value = reader.wait_for(|value| *value > 1).await;
                woken.lock().unwrap().push((number, value));
            })
        };
        // More than the eight lists of tokio's watch, so that chance does not make it right.
        let waiting: Vec<_> = (0..32).map(wait).collect();
        tokio::task::yield_now().await;
        latest.set(1);
        tokio::task::yield_now().await;
        assert!(woken.lock().unwrap().is_empty());
        latest.set(2);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..32).map(|number| (number, Some(2))).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_last_value_outlives_the_other_end() {
        let latest = Latest::new(1);
        let reader = latest.reader();
        let waiting = tokio::spawn({
            let reader = reader.clone();
            async move { reader.wait_for(|value| *value == 3).await }
        });
        tokio::task::yield_now().await;
        latest.set(2);
        assert!(reader.is_open());
        drop(latest);
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!((reader.get(), reader.is_open()), (2, false));
        assert_eq!(reader.wait_for(|value| *value == 2).await, Some(2));
    }
}
