//! The node's own UDP socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::UdpSocket;

use super::counts::Counts;
use crate::engine::Input;
use crate::time::Instant;
use crate::wire::MAX_DATAGRAM;

/// Sends and receives datagrams within their bounds, and counts what is dropped.
pub(super) struct Datagrams {
    socket: Arc<UdpSocket>,
    counts: Arc<Counts>,
    /// When it was last reported that an address cannot be reached.
    unreachable: BTreeMap<SocketAddr, Instant>,
}

impl Datagrams {
    /// An address is reported as unreachable once in this time: the engine answers such a report with a probe, which
    /// would be reported again.
    const REPORT_EVERY: Duration = Duration::from_secs(1);
    /// More addresses than this are not remembered.
    const MOST_UNREACHABLE: usize = 4_096;

    pub(super) fn new(socket: Arc<UdpSocket>, counts: Arc<Counts>) -> Self {
        Self { socket, counts, unreachable: BTreeMap::new() }
    }

    /// Waits until there may be something to receive. Cancel safe.
    pub(super) async fn readable(&self) {
        if self.socket.readable().await.is_err() {
            // The runtime is shutting down; there will be no more.
            std::future::pending::<()>().await;
        }
    }

    /// The next datagram if one is there. Errors are counted: they tell of an earlier datagram, and not to whom it went.
    pub(super) fn receive(&self) -> Received {
        let mut bytes = [0; MAX_DATAGRAM + 1];
        match self.socket.try_recv_from(&mut bytes) {
            Ok((length, from)) => {
                Counts::add(&self.counts.datagrams_received);
                if length > MAX_DATAGRAM {
                    Counts::add(&self.counts.datagrams_oversized);
                    return Received::Dropped;
                }
                Received::Datagram(from, Bytes::copy_from_slice(&bytes[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            Err(error) => {
                // Windows says so of a datagram that exceeds the buffer (WSAEMSGSIZE).
                tracing::debug!(%error, "receiving a datagram failed");
                Counts::add(&self.counts.datagram_errors);
                Received::Dropped
            }
        }
    }

    /// Sends a datagram or drops it. Returns `Unreachable` when the operating system says that it does not get through.
    pub(super) fn send(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) -> Option<Input> {
        if bytes.len() > MAX_DATAGRAM {
            tracing::error!(%to, bytes = bytes.len(), "a datagram is too long and is dropped");
            Counts::add(&self.counts.datagrams_oversized);
            return None;
        }
        // Past tokio, which believes a socket to be full until its first event, and after a full buffer until the next:
        // the kernel knows better, and whether to wait is not asked here.
        let sent = SockRef::from(&*self.socket).send_to(bytes, &to.into());
        let counter = match sent {
            Ok(_) => &self.counts.datagrams_sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => &self.counts.datagrams_blocked,
            Err(error) => {
                Counts::add(&self.counts.datagram_errors);
                tracing::debug!(%to, %error, "a datagram was not sent");
                return (unreachable(error.kind()) && self.report(now, to)).then_some(Input::Unreachable { to });
            }
        };
        Counts::add(counter);
        None
    }

    fn report(&mut self, now: Instant, to: SocketAddr) -> bool {
        if self.unreachable.len() >= Self::MOST_UNREACHABLE {
            self.unreachable.clear();
        }
        let last = self.unreachable.insert(to, now);
        let report = last.is_none_or(|last| now.since(last) >= Self::REPORT_EVERY);
        if let (false, Some(last)) = (report, last) {
            self.unreachable.insert(to, last);
        }
        report
    }
}

/// What came of an attempt to receive.
pub(super) enum Received {
    Datagram(SocketAddr, Bytes),
    Dropped,
    Nothing,
}

/// Whether an error says that nobody is there. A refusal may belong to the datagram before (systems differ in whether
/// and when they hand an ICMP error to an unconnected socket), which costs its address one probe too many.
fn unreachable(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
