//! Which of this host's addresses lies in the configured subnet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// None of this host's addresses lies in the subnet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoInterface {
    /// The subnet.
    pub net: IpNet,
    /// The addresses that the host's interfaces have.
    pub found: Vec<IpAddr>,
}

impl fmt::Display for NoInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no interface of this host has an address in {}; configure a net that holds one of", self.net)?;
        for (index, address) in self.found.iter().enumerate() {
            write!(f, "{} {address}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for NoInterface {}

/// Chooses this host's address in `net`: 127.0.0.1 for 127.0.0.0/8, otherwise the lowest address that an interface
/// has, those of real interfaces before loopback.
pub fn own_address(net: IpNet) -> Result<IpAddr, NoInterface> {
    let mut found: Vec<IpAddr> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            tracing::warn!(%error, "the interfaces of this host cannot be listed");
            Vec::new()
        }
    };
    found.sort_unstable();
    found.dedup();
    pick(net, &found).ok_or(NoInterface { net, found })
}

/// The choice itself, `found` being sorted.
fn pick(net: IpNet, found: &[IpAddr]) -> Option<IpAddr> {
    // Every address of 127.0.0.0/8 is this host's, though interfaces list only one of them.
    if net.network().is_loopback() {
        let localhost =
            if net.addr().is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
        return if net.contains(&localhost) { Some(localhost) } else { net.hosts().next() };
    }
    let inside = || found.iter().copied().filter(|address| net.contains(address));
    inside().find(|address| !address.is_loopback()).or_else(|| inside().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn picked(net: &str, found: &[&str]) -> Option<String> {
        pick(net.parse().unwrap(), &addresses(found)).map(|address| address.to_string())
    }

    #[test]
    fn picks_the_address_inside_the_subnet() {
        let host = ["10.1.0.7", "10.2.0.7", "127.0.0.1", "::1", "fd00::2"];
        assert_eq!(picked("10.2.0.0/16", &host).as_deref(), Some("10.2.0.7"));
        assert_eq!(picked("fd00::/64", &host).as_deref(), Some("fd00::2"));
        assert_eq!(picked("0.0.0.0/0", &["127.0.0.1", "192.168.0.9"]).as_deref(), Some("192.168.0.9"));
        assert_eq!(picked("10.3.0.0/16", &host), None);
    }

    #[test]
    fn loopback_needs_no_interface_to_list_it() {
        assert_eq!(picked("127.0.0.0/8", &[]).as_deref(), Some("127.0.0.1"));
        assert_eq!(picked("127.9.0.0/16", &["127.0.0.1"]).as_deref(), Some("127.9.0.1"));
        assert_eq!(picked("::1/128", &[]).as_deref(), Some("::1"));
    }

    #[test]
    fn the_error_lists_what_the_host_has() {
        let error = own_address("203.0.113.0/29".parse().unwrap()).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("203.0.113.0/29") && told.contains("127.0.0.1"), "{told}");
    }
}
