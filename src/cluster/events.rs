//! What happens in the cluster, as a stream.

use tokio::sync::broadcast;

use crate::engine::Event;

/// A reader was slower than what it read, and the oldest items were dropped rather than anybody made to wait. The
/// reader goes on with the next item; whatever it built up from the stream it should now read afresh.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{missed} items were dropped because the reader was too slow; read the state afresh and go on")]
pub struct Lagged {
    /// How many items were dropped.
    pub missed: u64,
}

/// The stream of [`Cluster::events`](super::Cluster::events): what happens from the time of that call on.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// The next event, [`Lagged`] where some were dropped before it, and `None` once the node is gone.
    ///
    /// Cancel safe: an event is not lost when the future is dropped.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) {
    /// use unisono::Event;
    ///
    /// let mut events = cluster.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Ok(Event::Down { node, .. }) => println!("{node} does not answer any more"),
    ///         Ok(_) => {}
    ///         Err(lagged) => println!("{lagged}; members now: {:?}", cluster.members()),
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        item(self.receiver.recv().await)
    }
}

/// A reading of a broadcast channel in the words of this crate.
pub(super) fn item<T>(received: Result<T, broadcast::error::RecvError>) -> Option<Result<T, Lagged>> {
    match received {
        Ok(item) => Some(Ok(item)),
        Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Lagged { missed })),
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_and_goes_on() {
        let (sender, receiver) = broadcast::channel(2);
        let mut events = Events::new(receiver);
        for resurrected in 0..5 {
            sender.send(Event::IslandsMerged { resurrected }).unwrap();
        }
        drop(sender);
        assert_eq!(events.next().await, Some(Err(Lagged { missed: 3 })));
        assert_eq!(events.next().await, Some(Ok(Event::IslandsMerged { resurrected: 3 })));
        assert_eq!(events.next().await, Some(Ok(Event::IslandsMerged { resurrected: 4 })));
        assert_eq!(events.next().await, None);
    }
}
