//! The one trait behind all of discovery, and what a strategy is given to run with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A running strategy. It is not meant to end.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A way to find the addresses of other nodes.
///
/// A strategy yields addresses for as long as the node lives. It never says that somebody is gone: that is decided by
/// membership alone, so a failed look-up disconnects nobody. If `run` returns or panics, the driver logs a warning and
/// calls it again, after a delay that doubles from 100 ms to 30 s; the strategy keeps what it has in `self`.
///
/// Several strategies can run at once; what they find is united.
///
/// # Example
///
/// Asking something every second while nobody else is there, every 30 s otherwise:
///
/// ```
/// use std::net::SocketAddr;
/// use std::time::Duration;
/// use unisono::discovery::{Context, Run, Strategy};
///
/// struct Inventory;
///
/// impl Inventory {
///     async fn look_up(&self) -> std::io::Result<Vec<SocketAddr>> {
///         Ok(vec!["127.0.0.1:4871".parse().expect("an address")])
///     }
/// }
///
/// impl Strategy for Inventory {
///     fn name(&self) -> &str {
///         "inventory"
///     }
///
///     fn run(&mut self, context: Context) -> Run<'_> {
///         Box::pin(async move {
///             loop {
///                 match self.look_up().await {
///                     Ok(addresses) => {
///                         for address in addresses {
///                             context.found(address).await;
///                         }
///                     }
///                     Err(error) => eprintln!("inventory: {error}; asking again"),
///                 }
///                 context.pause(Duration::from_secs(1), Duration::from_secs(30)).await;
///             }
///         })
///     }
/// }
/// ```
pub trait Strategy: Send + 'static {
    /// What it is called in logs.
    fn name(&self) -> &str;

    /// Looks for others, for ever. Dropping the future at any await must be harmless.
    fn run(&mut self, context: Context) -> Run<'_>;
}

/// What a strategy runs with: where to put what it finds, and how urgent that is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    own: SocketAddr,
    found: mpsc::Sender<SocketAddr>,
    alone: watch::Receiver<bool>,
    recent: Arc<Mutex<Recent>>,
}

impl Context {
    /// A context that puts the addresses into `found`, for the node that listens at `own` and is alone as long as
    /// `alone` says so. The driver makes one for all strategies of a node; tests of a strategy make their own.
    pub fn new(own: SocketAddr, found: mpsc::Sender<SocketAddr>, alone: watch::Receiver<bool>) -> Self {
        Self { own, found, alone, recent: Arc::default() }
    }

    /// The advertised address of this node. Finding it is no find: it is skipped.
    pub fn own(&self) -> SocketAddr {
        self.own
    }

    /// Hands over an address at which a member may listen. Waits while the node is busy with earlier ones; drops what
    /// was found within the last second, by whichever strategy.
    ///
    /// Cancel safe: a cancelled call has found nothing, and the address can be handed over again.
    pub async fn found(&self, address: SocketAddr) {
        if address == self.own || self.recent().holds(address, Instant::now()) {
            return;
        }
        // An error means that the driver is gone, and this strategy with it in a moment.
        if self.found.send(address).await.is_ok() {
            self.recent().note(address, Instant::now());
        }
    }

    /// Whether this node has nobody else.
    pub fn alone(&self) -> bool {
        *self.alone.borrow()
    }

    /// To be told when this node becomes alone and when it no longer is.
    pub fn watch_alone(&self) -> watch::Receiver<bool> {
        self.alone.clone()
    }

    /// Waits until it is time to look again: `alone` after the call while this node is alone, `otherwise` while it is
    /// not. When the node becomes alone in between, the shorter wait counts from that moment. Cancel safe.
    pub async fn pause(&self, alone: Duration, otherwise: Duration) {
        let mut watch = self.watch_alone();
        loop {
            let wait = if *watch.borrow_and_update() { alone } else { otherwise };
            tokio::select! {
                () = tokio::time::sleep(wait) => return,
                changed = watch.changed() => if changed.is_err() {
                    return tokio::time::sleep(wait).await;
                },
            }
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        // Nothing that holds this lock can panic half way through a change.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses found within the last second.
#[derive(Debug, Default)]
struct Recent(BTreeMap<SocketAddr, Instant>);

impl Recent {
    const WINDOW: Duration = Duration::from_secs(1);
    /// Forgetting early costs a repeated report, remembering without bound costs memory.
    const MOST: usize = 4_096;

    fn holds(&self, address: SocketAddr, now: Instant) -> bool {
        self.0.get(&address).is_some_and(|&at| now.saturating_duration_since(at) < Self::WINDOW)
    }

    fn note(&mut self, address: SocketAddr, now: Instant) {
        if self.0.len() >= Self::MOST {
            self.0.retain(|_, &mut at| now.saturating_duration_since(at) < Self::WINDOW);
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(address, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(own: &str) -> (Context, mpsc::Receiver<SocketAddr>, watch::Sender<bool>) {
        let (found, receiver) = mpsc::channel(16);
        let (sender, alone) = watch::channel(true);
        (Context::new(own.parse().unwrap(), found, alone), receiver, sender)
    }

    #[tokio::test(start_paused = true)]
    async fn the_own_address_and_repeats_within_a_second_are_dropped() {
        let (context, mut found, _alone) = context("127.0.0.1:1");
        let other: SocketAddr = "127.0.0.1:2".parse().unwrap();
        context.found(context.own()).await;
        context.found(other).await;
        context.clone().found(other).await;
        assert_eq!(found.try_recv().unwrap(), other);
        assert!(found.try_recv().is_err(), "the own address or a repeat came through");
        tokio::time::advance(Duration::from_secs(1)).await;
        context.found(other).await;
        assert_eq!(found.try_recv().unwrap(), other);
    }

    #[test]
    fn what_was_found_is_remembered_within_bounds() {
        let mut recent = Recent::default();
        let now = Instant::now();
        for port in 0..=u16::MAX {
            recent.note(SocketAddr::from(([10, 0, 0, 1], port)), now);
        }
        assert!(recent.0.len() <= Recent::MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_cut_short_when_the_node_becomes_alone() {
        let (context, _found, alone) = context("127.0.0.1:1");
        alone.send_replace(false);
        let started = Instant::now();
        let pause = context.pause(Duration::from_secs(1), Duration::from_secs(30));
        let becomes_alone = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            alone.send_replace(true);
        };
        tokio::join!(pause, becomes_alone);
        assert_eq!(started.elapsed().as_secs(), 6);
    }
}
