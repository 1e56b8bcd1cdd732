//! A name for a node that was given none: host name and port.

use std::net::SocketAddr;

use crate::id::NodeId;

/// The name of this host, where the system offers it as a file or a variable.
fn of_this_host() -> Option<String> {
    // The standard library has no call for it, and one file is not worth a dependency.
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .ok()
}

/// `larry:4871`; where the host has no usable name, the address and port.
pub(super) fn default_node(address: SocketAddr) -> NodeId {
    from_host(of_this_host().as_deref().unwrap_or_default(), address)
}

fn from_host(host: &str, address: SocketAddr) -> NodeId {
    // Room for a colon and five digits.
    const ROOM: usize = NodeId::MAX_BYTES - 6;
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(ROOM).collect();
    let name = if host.is_empty() { address.to_string() } else { format!("{host}:{}", address.port()) };
    NodeId::new(name).expect("at most 64 printable characters of ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_makes_a_node_name() {
        let address: SocketAddr = "127.0.0.1:4871".parse().unwrap();
        assert_eq!(from_host("larry\n", address).as_str(), "larry:4871");
        assert_eq!(from_host("", address).as_str(), "127.0.0.1:4871");
        assert_eq!(from_host("größe 1", address).as_str(), "gre1:4871");
        assert_eq!(from_host(&"h".repeat(200), "[::1]:65535".parse().unwrap()).as_str().len(), 64);
        let long_v6 = "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535".parse().unwrap();
        assert!(from_host("", long_v6).as_str().starts_with("[fe80"));
    }
}
