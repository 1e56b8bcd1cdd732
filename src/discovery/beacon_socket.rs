//! The socket on the cluster port, shared by all nodes of a host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::wire::MAX_DATAGRAM;

/// Hears the subnet's broadcasts, or keeps trying to be able to.
#[derive(Debug)]
pub(super) struct BeaconSocket {
    address: SocketAddr,
    socket: Option<UdpSocket>,
    retry: Instant,
    warned: bool,
}

impl BeaconSocket {
    const RETRY: Duration = Duration::from_secs(3);

    /// For the given port, in the address family of `own`.
    pub(super) fn new(own: IpAddr, port: u16) -> Self {
        // Bound to the unspecified address, since a socket bound to a unicast address hears no broadcasts.
        let any: IpAddr =
            if own.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        let address = SocketAddr::new(any, port);
        Self { address, socket: None, retry: Instant::now(), warned: false }
    }

    /// The next datagram and where it came from. Waits as long as the socket cannot be bound, and tries again every
    /// three seconds. Cancel safe.
    pub(super) async fn receive(&mut self) -> (SocketAddr, Bytes) {
        loop {
            let Some(socket) = &self.socket else {
                tokio::time::sleep_until(self.retry).await;
                self.bind();
                continue;
            };
            let mut bytes = [0; MAX_DATAGRAM + 1];
            match socket.recv_from(&mut bytes).await {
                Ok((length, from)) => return (from, Bytes::copy_from_slice(&bytes[..length])),
                // Windows reports here that an earlier datagram found nobody.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => self.lost(&error),
            }
        }
    }

    fn bind(&mut self) {
        match bound(self.address) {
            Ok(socket) => {
                if self.warned {
                    tracing::info!(address = %self.address, "beacons are heard now");
                }
                self.warned = false;
                self.socket = Some(socket);
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &io::Error) {
        if !self.warned {
            tracing::warn!(
                address = %self.address, %error,
                "no beacons can be heard on the cluster port; trying again every few seconds, others may still hear ours"
            );
        }
        self.warned = true;
        self.socket = None;
        self.retry = Instant::now() + Self::RETRY;
    }
}

/// All nodes of a host share the port: with both options set, Linux and the BSDs hand a broadcast to every one of them.
fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    if address.is_ipv4() {
        socket.set_broadcast(true)?;
    } else {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_taken_port_is_tried_again_until_it_is_free() {
        let stranger = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let mut socket = BeaconSocket::new(Ipv4Addr::LOCALHOST.into(), port);
        let minute = tokio::time::timeout(Duration::from_secs(60), socket.receive());
        assert!(minute.await.is_err(), "heard something on a port that is not its own");
        drop(stranger);
        let caller = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let call = async {
            loop {
                caller.send_to(b"here", ("127.0.0.1", port)).unwrap();
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(600), async {
            tokio::select! { heard = socket.receive() => heard, () = call => unreachable!() }
        });
        assert_eq!(&heard.await.expect("bound at last").1[..], b"here");
    }
}
