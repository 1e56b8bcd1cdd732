//! One stream: frames with a length prefix of four bytes, in and out at once.
//!
//! ```text
//!   event loop ─ frames (bounded) ─▶ writer ─▶ TCP        Flushed after each frame
//!   event loop ◀─ inbox (bounded) ── reader ◀─ TCP        the reader waits while the inbox is full, and so does the peer
//! ```
//!
//! A stream ends when the peer closes or breaks it, when a frame is too long, when the peer does not read for
//! [`STALLED`] (each of them reported as `Closed`), or when the event loop drops its side of `frames`: then what was sent
//! is written, the sending side is shut down, and what still comes in is thrown away for a moment. Closing a socket with
//! unread bytes would reset it, and the reset could overtake our last frames.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use super::counts::Counts;
use crate::engine::{Input, StreamId};
use crate::wire::MAX_FRAME;

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a peer may leave us without room to write.
pub(super) const STALLED: Duration = Duration::from_secs(30);
/// How long whoever opened a stream to us may take to send its first frame.
pub(super) const FIRST_FRAME: Duration = Duration::from_secs(5);
/// How long a stream that we closed waits for the peer to close it too.
const LINGER: Duration = Duration::from_secs(2);

/// What a stream's task has of the world.
pub(super) struct Wiring {
    pub(super) stream: StreamId,
    pub(super) inbox: mpsc::Sender<Input>,
    pub(super) counts: Arc<Counts>,
}

impl Wiring {
    /// An error means that the event loop is gone, and this task in a moment.
    async fn tell(&self, input: Input) {
        let _ = self.inbox.send(input).await;
    }
}

/// Opens a stream from `own` and serves it to its end.
pub(super) async fn connect(own: IpAddr, to: SocketAddr, frames: mpsc::Receiver<Bytes>, wiring: Wiring) {
    let stream = wiring.stream;
    let opened = match timeout(CONNECT, open(own, to)).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match opened {
        Ok(tcp) => {
            wiring.tell(Input::Connected { stream }).await;
            serve(tcp, None, frames, wiring).await;
        }
        Err(error) => {
            tracing::debug!(%to, %error, "a stream was not opened");
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            wiring.tell(Input::ConnectFailed { stream, refused }).await;
        }
    }
}

/// Bound to the own address, so that others see a source inside the subnet even when the route would leave by another
/// interface. It is the bound address, which a node behind a translated one does not advertise.
async fn open(own: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(own, 0))?;
    socket.connect(to).await
}

/// Serves an open stream to its end. `first_frame` limits the wait for the first frame.
pub(super) async fn serve(
    tcp: TcpStream,
    first_frame: Option<Duration>,
    frames: mpsc::Receiver<Bytes>,
    wiring: Wiring,
) {
    // Frames are whole messages; to hold one back in the hope of more only delays it.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let (mut read, mut write) = tcp.into_split();
    let stream = wiring.stream;
    let asked = tokio::select! {
        () = read_frames(&mut read, first_frame, &wiring) => false,
        asked = write_frames(&mut write, frames, &wiring) => asked,
    };
    if asked {
        let _ = timeout(LINGER, throw_away(read, write)).await;
    } else {
        drop((read, write));
        wiring.tell(Input::Closed { stream }).await;
    }
}

/// What cuts the bytes of a stream into frames.
fn framing() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec()
}

/// Takes as many whole frames as there are out of what came in on a stream so far, for whoever tests the cutting
/// without a socket; also whether a frame follows for which the stream is closed.
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub fn cut_frames(buffer: &mut BytesMut) -> (Vec<Bytes>, bool) {
    let mut codec = framing();
    let mut frames = Vec::new();
    loop {
        match codec.decode(buffer) {
            Ok(Some(frame)) => frames.push(frame.freeze()),
            Ok(None) => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

async fn read_frames(read: &mut (impl AsyncRead + Unpin), first_frame: Option<Duration>, wiring: &Wiring) {
    let mut codec = framing();
    let mut buffer = BytesMut::new();
    let first = next_frame(read, &mut codec, &mut buffer, wiring);
    let mut next = match first_frame {
        Some(limit) => timeout(limit, first).await.unwrap_or_else(|_| {
            Counts::add(&wiring.counts.streams_refused);
            None
        }),
        None => first.await,
    };
    while let Some(bytes) = next {
        wiring.tell(Input::Frame { stream: wiring.stream, bytes }).await;
        next = next_frame(read, &mut codec, &mut buffer, wiring).await;
    }
}

/// The next frame; `None` when there is none to come.
async fn next_frame(
    read: &mut (impl AsyncRead + Unpin),
    codec: &mut LengthDelimitedCodec,
    buffer: &mut BytesMut,
    wiring: &Wiring,
) -> Option<Bytes> {
    loop {
        match codec.decode(buffer) {
            Ok(Some(frame)) => return Some(frame.freeze()),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(stream = wiring.stream.0, %error, "a stream is closed for what it carries");
                Counts::add(&wiring.counts.frames_oversized);
                return None;
            }
        }
        match read.read_buf(buffer).await {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(stream = wiring.stream.0, %error, "a stream broke");
                return None;
            }
        }
    }
}

/// Writes frames until there are no more to come (true) or the stream is broken (false).
async fn write_frames(
    write: &mut (impl AsyncWrite + Unpin),
    mut frames: mpsc::Receiver<Bytes>,
    wiring: &Wiring,
) -> bool {
    while let Some(frame) = frames.recv().await {
        let length = u32::try_from(frame.len()).expect("the event loop refuses frames above MAX_FRAME");
        // The prefix and the frame leave in one vectored write, without a copy of the frame.
        let prefix = length.to_be_bytes();
        let mut left = Buf::chain(&prefix[..], frame);
        while left.has_remaining() {
            match timeout(STALLED, write.write_buf(&mut left)).await {
                Ok(Ok(1..)) => {}
                Ok(ended) => {
                    tracing::debug!(stream = wiring.stream.0, ?ended, "a stream broke");
                    return false;
                }
                Err(_) => {
                    tracing::warn!(stream = wiring.stream.0, "a stream is closed, since its peer does not read");
                    Counts::add(&wiring.counts.streams_stalled);
                    return false;
                }
            }
        }
        wiring.tell(Input::Flushed { stream: wiring.stream }).await;
    }
    true
}

async fn throw_away(mut read: impl AsyncRead + Unpin, mut write: impl AsyncWrite + Unpin) {
    if write.shutdown().await.is_ok() {
        let mut buffer = [0; 4_096];
        while matches!(read.read(&mut buffer).await, Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::time::Instant;

    use super::*;

    fn wiring() -> (Wiring, mpsc::Receiver<Input>) {
        let (inbox, inputs) = mpsc::channel(1);
        (Wiring { stream: StreamId(1), inbox, counts: Arc::default() }, inputs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_no_first_frame_is_not_waited_for() {
        let (wiring, _inputs) = wiring();
        let (mut near, mut far) = tokio::io::duplex(64);
        // Half a frame is none.
        far.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        let started = Instant::now();
        read_frames(&mut near, Some(FIRST_FRAME), &wiring).await;
        assert_eq!(started.elapsed(), FIRST_FRAME);
        assert_eq!(wiring.counts.streams_refused.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_frame_a_stream_may_be_silent() {
        let (wiring, mut inputs) = wiring();
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
        let hour = Duration::from_secs(3_600);
        assert!(timeout(hour, read_frames(&mut near, Some(FIRST_FRAME), &wiring)).await.is_err());
        assert!(matches!(inputs.recv().await, Some(Input::Frame { bytes, .. }) if bytes == [7][..]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up_and_a_slow_one_is_not() {
        let (wiring, _inputs) = wiring();
        let (mut near, mut far) = tokio::io::duplex(64);
        let (frames, receiver) = mpsc::channel(1);
        frames.send(Bytes::from(vec![0; 1_000])).await.unwrap();
        let started = Instant::now();
        let slow = async {
            for _ in 0..5 {
                tokio::time::sleep(STALLED - Duration::from_secs(1)).await;
                far.read_exact(&mut [0; 64]).await.unwrap();
            }
        };
        let (asked, ()) = tokio::join!(write_frames(&mut near, receiver, &wiring), slow);
        assert!(!asked);
        assert_eq!(started.elapsed(), (STALLED - Duration::from_secs(1)) * 5 + STALLED);
        assert_eq!(wiring.counts.streams_stalled.load(Ordering::Relaxed), 1);
    }
}
