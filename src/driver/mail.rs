//! The letters of the application, on their way to the engine and from it.
//!
//! ```text
//!   Mail::send ─▶ bag (bounded) ─▶ poll_take, all at once ─▶ engine
//!   Recipient  ◀───────────────── deliver ◀──────────────── engine
//! ```
//!
//! What arrives is handed over where it arrives, in the event loop: a recipient must not wait, nor take long.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::engine::{Letter, MailEvent};

/// So much may wait for the engine, in letters and in bytes.
const LETTERS: usize = 16_384;
const BYTES: usize = 8 << 20;

/// Who takes what arrives.
pub trait Recipient: Send + Sync {
    /// Letters came, or did not go.
    fn mail(self: Arc<Self>, event: MailEvent);
    /// Nothing comes or goes any more.
    fn closed(self: Arc<Self>);
}

/// Why a letter was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotTaken {
    /// Too many wait already.
    Full,
    /// The node does not run any more.
    Gone,
}

/// The letters of one node.
pub struct Mail {
    bag: Mutex<Bag>,
    recipient: OnceLock<Weak<dyn Recipient>>,
}

#[derive(Debug)]
struct Bag {
    letters: Vec<Letter>,
    bytes: usize,
    waker: Option<Waker>,
    open: bool,
}

impl Mail {
    pub(super) fn new() -> Self {
        let bag = Bag { letters: Vec::new(), bytes: 0, waker: None, open: true };
        Self { bag: Mutex::new(bag), recipient: OnceLock::new() }
    }

    /// Says who takes what arrives; the first one counts.
    pub fn set_recipient(&self, recipient: Weak<dyn Recipient>) {
        let _ = self.recipient.set(recipient);
    }

    /// Sends a letter as soon as the engine has its turn.
    ///
    /// # Errors
    /// [`NotTaken`] if it will not be sent.
    pub fn send(&self, letter: Letter) -> Result<(), NotTaken> {
        let waker = {
            let mut bag = self.lock();
            if !bag.open {
                return Err(NotTaken::Gone);
            }
            if bag.letters.len() >= LETTERS || bag.bytes + letter.bytes.len() > BYTES {
                return Err(NotTaken::Full);
            }
            bag.bytes += letter.bytes.len();
            bag.letters.push(letter);
            bag.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// All that waits; pending while nothing does. Only one task may ask.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Vec<Letter>> {
        let mut bag = self.lock();
        if bag.letters.is_empty() {
            if !bag.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                bag.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        bag.bytes = 0;
        Poll::Ready(std::mem::take(&mut bag.letters))
    }

    pub(super) fn deliver(&self, event: MailEvent) {
        if let Some(recipient) = self.recipient.get().and_then(Weak::upgrade) {
            recipient.mail(event);
        }
    }

    /// Ends all traffic.
    pub(super) fn close(&self) {
        let left = {
            let mut bag = self.lock();
            bag.open = false;
            (std::mem::take(&mut bag.letters), bag.waker.take())
        };
        drop(left);
        if let Some(recipient) = self.recipient.get().and_then(Weak::upgrade) {
            recipient.closed();
        }
    }

    /// Nothing is left half done under it.
    fn lock(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("waiting", &self.lock().letters.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::id::ReplicaId;

    fn letter(length: usize) -> Letter {
        Letter { number: 0, to: ReplicaId(1), until: None, bytes: vec![0; length].into() }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_taken_at_once() {
        let mail = Mail::new();
        let taken = std::iter::repeat_with(|| mail.send(letter(1))).take_while(Result::is_ok).count();
        assert_eq!(taken, LETTERS);
        assert_eq!(poll_fn(|context| mail.poll_take(context)).await.len(), LETTERS);
        let taken = std::iter::repeat_with(|| mail.send(letter(1 << 20))).take_while(Result::is_ok).count();
        assert_eq!(taken, BYTES >> 20);
        mail.close();
        assert_eq!(mail.send(letter(1)), Err(NotTaken::Gone));
    }
}
