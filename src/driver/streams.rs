//! All streams of a node, and the acceptor that takes in new ones.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::counts::Counts;
use super::stream::{FIRST_FRAME, Wiring, connect, serve};
use crate::engine::{Input, StreamId};
use crate::wire::MAX_FRAME;

/// So many incoming streams at once; more are closed when they are accepted.
pub(super) const MOST_INCOMING: usize = 1_024;
/// So many frames wait to be written. The engine sends the next after `Flushed`, so that few ever do.
const MOST_FRAMES: usize = 256;
/// So many inputs of streams wait for the event loop, of at most 1 MiB each.
const INBOX: usize = 64;

/// The streams that the engine knows. One that it closed lingers in `tasks` only, and is heard no more.
pub(super) struct Streams {
    own: IpAddr,
    open: BTreeMap<StreamId, mpsc::Sender<Bytes>>,
    tasks: JoinSet<()>,
    next_accepted: u64,
    inbox: mpsc::Sender<Input>,
    counts: Arc<Counts>,
}

impl Streams {
    /// No streams yet, and where their inputs come from.
    pub(super) fn new(own: IpAddr, counts: Arc<Counts>) -> (Self, mpsc::Receiver<Input>) {
        let (inbox, receiver) = mpsc::channel(INBOX);
        let (open, tasks) = (BTreeMap::new(), JoinSet::new());
        (Self { own, open, tasks, next_accepted: 1, inbox, counts }, receiver)
    }

    pub(super) fn connect(&mut self, stream: StreamId, to: SocketAddr) {
        let (frames, wiring) = self.wire(stream);
        self.tasks.spawn(connect(self.own, to, frames, wiring));
    }

    pub(super) fn accept(&mut self, accepted: Accepted) -> Input {
        let stream = StreamId(self.next_accepted);
        self.next_accepted += 2;
        let Accepted { tcp, from, permit } = accepted;
        let (frames, wiring) = self.wire(stream);
        self.tasks.spawn(async move {
            serve(tcp, Some(FIRST_FRAME), frames, wiring).await;
            drop(permit);
        });
        Input::Accepted { stream, from }
    }

    /// Queues a frame. Returns `Closed` if the stream had to be given up over it.
    pub(super) fn send(&mut self, stream: StreamId, frame: Bytes) -> Option<Input> {
        let frames = self.open.get(&stream)?;
        if frame.len() > MAX_FRAME {
            tracing::error!(stream = stream.0, bytes = frame.len(), "a frame is too long, its stream is closed");
            Counts::add(&self.counts.frames_oversized);
        } else {
            match frames.try_send(frame) {
                Ok(()) => return None,
                // Its `Closed` is on its way.
                Err(mpsc::error::TrySendError::Closed(_)) => return None,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::error!(stream = stream.0, "more frames were sent than the stream can queue, it is closed");
                    Counts::add(&self.counts.streams_stalled);
                }
            }
        }
        self.open.remove(&stream);
        Some(Input::Closed { stream })
    }

    /// Lets a stream write what was sent, and forgets it.
    pub(super) fn close(&mut self, stream: StreamId) {
        self.open.remove(&stream);
    }

    /// What the engine is to hear of an input: nothing of streams that it has closed.
    pub(super) fn admit(&mut self, input: Input) -> Option<Input> {
        let known = match &input {
            Input::Closed { stream } | Input::ConnectFailed { stream, .. } => self.open.remove(stream).is_some(),
            Input::Connected { stream } | Input::Frame { stream, .. } | Input::Flushed { stream } => {
                self.open.contains_key(stream)
            }
            _ => true,
        };
        known.then_some(input)
    }

    /// Takes away what is left of a stream that ended; `None` when there are none. Cancel safe.
    pub(super) async fn reap(&mut self) -> Option<()> {
        self.tasks.join_next().await.map(|_| ())
    }

    /// Lets all streams write what was sent, for at most `patience`, then drops them.
    pub(super) async fn shutdown(&mut self, patience: Duration) {
        self.open.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, all).await;
        self.tasks.shutdown().await;
    }

    fn wire(&mut self, stream: StreamId) -> (mpsc::Receiver<Bytes>, Wiring) {
        let (sender, frames) = mpsc::channel(MOST_FRAMES);
        self.open.insert(stream, sender);
        (frames, Wiring { stream, inbox: self.inbox.clone(), counts: Arc::clone(&self.counts) })
    }
}

/// A stream that somebody opened to this node, and its place among the incoming ones.
pub(super) struct Accepted {
    tcp: TcpStream,
    from: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Takes in streams, at most `most` at a time, until the event loop is gone.
pub(super) async fn acceptor(
    listener: TcpListener,
    most: usize,
    accepted: mpsc::Sender<Accepted>,
    counts: Arc<Counts>,
) {
    let places = Arc::new(Semaphore::new(most));
    let mut backoff = Duration::ZERO;
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => {
                backoff = Duration::ZERO;
                let Ok(permit) = Arc::clone(&places).try_acquire_owned() else {
                    Counts::add(&counts.streams_refused);
                    tracing::warn!(%from, most, "a stream is closed, since there are as many as there may be");
                    continue;
                };
                if accepted.send(Accepted { tcp, from, permit }).await.is_err() {
                    return;
                }
            }
            // Out of file descriptors, for one: asking again at once would only burn the processor.
            Err(error) => {
                backoff = (backoff * 2).clamp(Duration::from_millis(10), Duration::from_secs(1));
                tracing::warn!(%error, ?backoff, "no stream can be accepted; trying again");
                tokio::time::sleep(backoff).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn streams_beyond_the_limit_are_closed_until_one_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut accepted) = mpsc::channel(4);
        let counts = Arc::<Counts>::default();
        let task = tokio::spawn(acceptor(listener, 2, sender, Arc::clone(&counts)));
        let check = async {
            let _first = TcpStream::connect(address).await.unwrap();
            let _second = TcpStream::connect(address).await.unwrap();
            let (first, _second) = (accepted.recv().await.unwrap(), accepted.recv().await.unwrap());
            let mut third = TcpStream::connect(address).await.unwrap();
            assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(counts.streams_refused.load(Ordering::Relaxed), 1);
            drop(first);
            let _fourth = TcpStream::connect(address).await.unwrap();
            accepted.recv().await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), check).await.expect("the acceptor stands still");
        task.abort();
    }

    #[tokio::test]
    async fn nothing_is_heard_of_streams_that_were_closed_or_ended() {
        let (mut streams, _inbox) = Streams::new(IpAddr::from([127, 0, 0, 1]), Arc::default());
        let stream = StreamId(2);
        let (_frames, _wiring) = streams.wire(stream);
        let late = || {
            let bytes = Bytes::new();
            [
                Input::Connected { stream },
                Input::Frame { stream, bytes },
                Input::Flushed { stream },
                Input::Closed { stream },
                Input::ConnectFailed { stream, refused: true },
            ]
        };
        let heard: Vec<_> = late().into_iter().filter_map(|input| streams.admit(input)).collect();
        assert!(matches!(heard.last(), Some(Input::Closed { .. })), "{heard:?}");
        assert_eq!(heard.len(), 4);
        let (_frames, _wiring) = streams.wire(stream);
        streams.close(stream);
        assert!(late().into_iter().all(|input| streams.admit(input).is_none()));
    }
}
