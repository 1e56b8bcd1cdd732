//! Finding the node's own address and port.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use super::{Driver, Machine, RunConfig};
use crate::discovery::{NoInterface, own_address};

/// Where a node is to live.
#[derive(Clone, Debug)]
pub struct BindConfig {
    /// The subnet of the cluster. The node's own address lies in it, and beacons from outside are ignored.
    pub net: IpNet,
    /// The port of the beacons, one for all nodes. A node's own port is the first free one after it.
    pub cluster_port: u16,
    /// The own address, when the host has several in the subnet.
    pub bind: Option<IpAddr>,
    /// The own port, instead of the first free one.
    pub port: Option<u16>,
    /// What others are told, when it differs from what is bound.
    pub advertise: Option<SocketAddr>,
}

/// Why a node cannot live there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// This host has no address in the subnet.
    #[error(transparent)]
    NoInterface(#[from] NoInterface),
    /// All ports after the cluster port are taken.
    #[error("no port from {first} to {last} is free on {ip}; stop some nodes, or choose another cluster port")]
    NoFreePort {
        /// The own address.
        ip: IpAddr,
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// The configured port is taken.
    #[error("{address} is in use; choose another port, or none to take the first free one")]
    Occupied {
        /// The configured port on the own address.
        address: SocketAddr,
    },
    /// The configured port is the one that all nodes of the host share.
    #[error("{port} is the cluster port, which is kept for beacons; choose another own port, or none")]
    ClusterPort {
        /// The port.
        port: u16,
    },
    /// The configured own address is not in the subnet.
    #[error("the address {bind} to bind is outside the cluster's net {net}; correct one of them")]
    BindOutside {
        /// The address.
        bind: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// The advertised address is not in the subnet, so that others would ignore the node.
    #[error("the advertised address {advertise} is outside the cluster's net {net}; correct one of them")]
    AdvertiseOutside {
        /// The address.
        advertise: SocketAddr,
        /// The subnet.
        net: IpNet,
    },
    /// The operating system refuses for another reason.
    #[error("{address} cannot be bound: {source}; give an address of this host, and a port that this user may open")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What it says.
        source: io::Error,
    },
}

/// A node's own sockets, not served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    pub(super) bound: SocketAddr,
    pub(super) advertised: SocketAddr,
    pub(super) net: IpNet,
    pub(super) cluster_port: u16,
}

impl Bound {
    /// What others are told, and reach this node at.
    pub fn address(&self) -> SocketAddr {
        self.advertised
    }

    /// The subnet of the cluster.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// Starts to serve the sockets. To be called within a tokio runtime with timers and IO.
    pub fn run<M: Machine>(self, run: RunConfig<M>) -> Driver {
        super::event_loop::spawn(self, run)
    }
}

/// How many ports after the cluster port are tried.
const PORTS: u16 = 512;
/// Room for bursts; the kernel caps it at what it allows (`net.core.rmem_max`).
const SOCKET_BUFFER: usize = 4 << 20;

/// Binds a node's own UDP and TCP sockets, both at one port. To be called within a tokio runtime.
pub async fn bind(config: &BindConfig) -> Result<Bound, BindError> {
    let BindConfig { net, cluster_port, .. } = *config;
    let ip = match config.bind {
        Some(bind) if !net.contains(&bind) => return Err(BindError::BindOutside { bind, net }),
        Some(bind) => bind,
        None => own_address(net)?,
    };
    if let Some(advertise) = config.advertise.filter(|advertise| !net.contains(&advertise.ip())) {
        return Err(BindError::AdvertiseOutside { advertise, net });
    }
    if config.port == Some(cluster_port) {
        return Err(BindError::ClusterPort { port: cluster_port });
    }
    let (udp, tcp, bound) = match config.port {
        Some(port) => fixed(SocketAddr::new(ip, port))?,
        None => first_free(ip, cluster_port)?,
    };
    let advertised = config.advertise.unwrap_or(bound);
    Ok(Bound { udp, tcp, bound, advertised, net, cluster_port })
}

type Sockets = (UdpSocket, TcpListener, SocketAddr);

fn fixed(address: SocketAddr) -> Result<Sockets, BindError> {
    both(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Occupied { address },
        _ => BindError::Io { address, source },
    })
}

fn first_free(ip: IpAddr, cluster_port: u16) -> Result<Sockets, BindError> {
    let (first, last) = (cluster_port.saturating_add(1), cluster_port.saturating_add(PORTS));
    if first == cluster_port {
        return Err(BindError::NoFreePort { ip, first, last });
    }
    for port in first..=last {
        let address = SocketAddr::new(ip, port);
        match both(address) {
            Ok(sockets) => return Ok(sockets),
            // Windows denies access to ports that it reserved for somebody else.
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            Err(source) => return Err(BindError::Io { address, source }),
        }
    }
    Err(BindError::NoFreePort { ip, first, last })
}

/// TCP first, and listening: with SO_REUSEADDR, a second socket can be bound but not listen.
fn both(address: SocketAddr) -> io::Result<Sockets> {
    let tcp = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it, the port of a node that was just stopped stays taken for minutes. On Windows it means to steal ports.
    #[cfg(unix)]
    tcp.set_reuse_address(true)?;
    tcp.set_nonblocking(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(1_024)?;
    let tcp = TcpListener::from_std(tcp.into())?;
    // Differs from `address` where port 0 asked for any.
    let address = tcp.local_addr()?;

    let udp = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for buffer in [udp.set_recv_buffer_size(SOCKET_BUFFER), udp.set_send_buffer_size(SOCKET_BUFFER)] {
        if let Err(error) = buffer {
            tracing::debug!(%error, "the socket buffers stay as they are");
        }
    }
    if address.is_ipv4() {
        udp.set_broadcast(true)?;
    }
    udp.set_nonblocking(true)?;
    udp.bind(&address.into())?;
    Ok((UdpSocket::from_std(udp.into())?, tcp, address))
}
