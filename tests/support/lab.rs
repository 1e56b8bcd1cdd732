//! Hosts on a network of their own: namespaces joined by a bridge, which lies in a namespace too, so that nothing of
//! this computer's own network is touched.
//!
//! ```text
//!   ┌ un123-h1 ─────────┐ ┌ un123-h2 ─────────┐        ┌ un123-h5 ─────────┐
//!   │ eth0 10.77.0.1/24 │ │ eth0 10.77.0.2/24 │  ...   │ eth0 10.77.0.5/24 │
//!   └────────┬──────────┘ └────────┬──────────┘        └────────┬──────────┘
//!   ┌ un123-s│witch ───────────────│────────────────────────────│───────────┐
//!   │        p1                    p2                           p5          │
//!   │  bridge `whole`: all         bridge `apart`: those split from them    │
//!   └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A cut takes a host's port off every bridge: its own interface stays up, and what it sends goes nowhere, without a
//! word to anybody, as when somebody trips over a cable two switches away. A split moves ports to the other bridge.
//! A firewall that rejects stands on the hosts themselves. Dropping the lab removes all of it; what a killed
//! test run left behind is removed by the next one.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The subnet of every lab; labs do not see each other.
pub(crate) const NET: &str = "10.77.0.0/24";

/// A lab that stands.
pub(crate) struct Lab {
    prefix: String,
    hosts: u8,
}

/// Hosts that keep rejecting each other's packets until this is dropped.
pub(crate) struct Rejecting<'lab> {
    lab: &'lab Lab,
    pair: [u8; 2],
}

impl Lab {
    /// Sets it up, or says why it may not. What was made until then is removed.
    pub(crate) fn new(hosts: u8) -> Result<Self, String> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        remove_the_dead();
        let lab = Self { prefix: format!("un{}-{number}", std::process::id()), hosts };
        let switch = lab.switch();
        run(&format!("ip netns add {switch}"))?;
        for bridge in ["whole", "apart"] {
            run(&format!("ip -n {switch} link add {bridge} type bridge"))?;
            run(&format!("ip -n {switch} link set {bridge} up"))?;
        }
        for host in 1..=hosts {
            let namespace = lab.namespace(host);
            let address = Self::address(host);
            run(&format!("ip netns add {namespace}"))?;
            run(&format!("ip -n {switch} link add p{host} type veth peer name eth0 netns {namespace}"))?;
            run(&format!("ip -n {switch} link set p{host} master whole up"))?;
            run(&format!("ip -n {namespace} address add {address}/24 broadcast 10.77.0.255 dev eth0"))?;
            run(&format!("ip -n {namespace} link set lo up"))?;
            run(&format!("ip -n {namespace} link set eth0 up"))?;
        }
        // The last thing that may be missing on a host: leave to filter packets.
        run(&format!("ip netns exec {switch} nft add table inet probe"))?;
        Ok(lab)
    }

    /// The address of a host; they are numbered from 1.
    pub(crate) fn address(host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, host)
    }

    /// A command line that runs a program on a host. The process is the program itself: `ip` replaces itself by it.
    pub(crate) fn on(&self, host: u8, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(program);
        command
    }

    /// Cuts a host off from all others.
    pub(crate) fn cut(&self, host: u8) -> Result<(), String> {
        run(&format!("ip -n {} link set p{host} nomaster", self.switch()))
    }

    /// Splits these hosts from the others; among themselves they stay connected.
    pub(crate) fn split(&self, hosts: &[u8]) -> Result<(), String> {
        hosts.iter().try_for_each(|host| run(&format!("ip -n {} link set p{host} master apart", self.switch())))
    }

    /// Connects everybody with everybody again.
    pub(crate) fn heal(&self) -> Result<(), String> {
        (1..=self.hosts).try_for_each(|host| run(&format!("ip -n {} link set p{host} master whole", self.switch())))
    }

    /// Puts a firewall between two hosts that answers every packet with a rejection: a reset for TCP, which looks like
    /// a process that is not there, and "port unreachable" for UDP. The resets themselves must pass, or the one
    /// host's firewall would swallow the other one's answer.
    pub(crate) fn reject(&self, one: u8, other: u8) -> Result<Rejecting<'_>, String> {
        let rejecting = Rejecting { lab: self, pair: [one, other] };
        for (host, from) in [(one, other), (other, one)] {
            let from = Self::address(from);
            let rules = format!(
                "table inet wall {{ chain input {{ type filter hook input priority 0; \
                 ip saddr {from} tcp flags & rst == rst accept; \
                 ip saddr {from} meta l4proto tcp counter reject with tcp reset; \
                 ip saddr {from} meta l4proto udp counter reject with icmp port-unreachable; }}; }}"
            );
            self.nft(host, &[&rules])?;
        }
        Ok(rejecting)
    }

    fn nft(&self, host: u8, arguments: &[&str]) -> Result<String, String> {
        output(self.on(host, "nft").args(arguments))
    }

    /// The name of the namespace that holds the bridges.
    pub(crate) fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn namespace(&self, host: u8) -> String {
        format!("{}-h{host}", self.prefix)
    }
}

impl Rejecting<'_> {
    /// How many packets it has rejected so far.
    pub(crate) fn packets(&self) -> Result<u64, String> {
        let mut packets = 0;
        for host in self.pair {
            let rules = self.lab.nft(host, &["list", "table", "inet", "wall"])?;
            let words: Vec<&str> = rules.split_whitespace().collect();
            packets += words
                .windows(2)
                .filter(|pair| pair[0] == "packets")
                .flat_map(|pair| pair[1].parse::<u64>())
                .sum::<u64>();
        }
        Ok(packets)
    }
}

impl Drop for Rejecting<'_> {
    fn drop(&mut self) {
        for host in self.pair {
            let _ = self.lab.nft(host, &["delete", "table", "inet", "wall"]);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let hosts = (1..=self.hosts).map(|host| self.namespace(host));
        for namespace in hosts.chain([self.switch()]) {
            // With a namespace go its interfaces, their peers, its bridges and its rules.
            let _ = run(&format!("ip netns del {namespace}"));
        }
    }
}

/// Removes the labs of processes that were killed before they could do so.
fn remove_the_dead() {
    let list = output(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
    for namespace in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let process = namespace.strip_prefix("un").and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
        if let Some(process) = process.filter(|process| process.parse::<u32>().is_ok())
            && !std::path::Path::new("/proc").join(process).exists()
        {
            let _ = run(&format!("ip netns del {namespace}"));
        }
    }
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    output(Command::new(words.next().expect("a program")).args(words)).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
