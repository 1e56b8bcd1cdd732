//! The line between a role's task and whoever runs it.
//!
//! ```text
//!   whoever runs it ── stop ───────▶ RoleLine::stop_requested
//!                   ◀─ up ────────── the last Coming is dropped; at once, if the task took none when it was first polled
//!                   ◀─ left ──────── RoleLine::leave_state
//!                   ── handed ─────▶ RoleLine::handed
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::latest::{Latest, Reader};

/// What a role's task has of whoever runs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RoleLine {
    stop: Reader<bool>,
    handed: Option<Bytes>,
    desk: Arc<Desk>,
}

/// What the task puts down.
#[derive(Debug)]
struct Desk {
    left: Mutex<Option<Bytes>>,
    coming: Mutex<usize>,
    up: Latest<bool>,
}

/// As long as one of them is there, the role is coming up.
#[derive(Debug)]
pub struct Coming(Arc<Desk>);

impl RoleLine {
    /// A line that ends the task when `stop` turns true.
    pub(super) fn new(stop: Reader<bool>, handed: Option<Bytes>) -> Self {
        let desk = Desk { left: Mutex::new(None), coming: Mutex::new(0), up: Latest::new(true) };
        Self { stop, handed, desk: Arc::new(desk) }
    }

    /// Waits until the role is asked to end. Cancel safe.
    pub async fn stop_requested(&self) {
        // None means that the driver is gone, which asks no less.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }

    /// Whether the role has been asked to end.
    pub fn is_stop_requested(&self) -> bool {
        self.stop.get() || !self.stop.is_open()
    }

    /// What the instance whose place this one takes left to it.
    pub fn handed(&self) -> Option<&Bytes> {
        self.handed.as_ref()
    }

    /// Leaves something to whoever takes this one's place; the last one counts.
    pub fn leave_state(&self, state: Bytes) {
        *lock(&self.desk.left) = Some(state);
    }

    /// The role is not up before this is dropped.
    pub fn coming(&self) -> Coming {
        *lock(&self.desk.coming) += 1;
        self.desk.up.set(false);
        Coming(Arc::clone(&self.desk))
    }

    /// Waits until the role is up. Cancel safe.
    pub(super) async fn up(&self) {
        let _ = self.desk.up.reader().wait_for(|up| *up).await;
    }

    /// What the task left.
    pub(super) fn left(&self) -> Option<Bytes> {
        lock(&self.desk.left).take()
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut coming = lock(&self.0.coming);
        *coming -= 1;
        if *coming == 0 {
            self.0.up.set(true);
        }
    }
}

/// Only whole values are put in and taken out under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
