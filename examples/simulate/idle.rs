//! How much faster than real time a cluster is simulated that nothing is done to, and what its nodes send.

use std::time::{Duration, Instant};

use unisono::engine::EngineStats;
use unisono::store::TableName;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

pub(crate) fn run(nodes: usize, seed: u64, seconds: u64, writes: u64) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let start = Instant::now();
    let nodes: Vec<NodeIndex> =
        (0..nodes).map(|number| simulation.add(NodeOptions::named(&format!("n{number:03}")))).collect();
    let converged = simulation.run_until(Duration::from_secs(120), Simulation::all_converged);
    let converged = converged.map_err(|timeout| timeout.to_string())?;
    println!("{} nodes converged after {converged:?} of virtual time, {:?} of real time", nodes.len(), start.elapsed());
    // What the start left behind is not what an idle cluster does.
    simulation.run_for(Duration::from_secs(20));

    let (start, sent) = (Instant::now(), Sent::so_far(&simulation));
    let (table, before) = (TableName::new("lot").map_err(|error| error.to_string())?, simulation.elapsed());
    for number in 0..seconds * writes.max(1) {
        if writes > 0 {
            let node = nodes[usize::try_from(number).unwrap_or_default() % nodes.len()];
            let (key, value) = (format!("key {}", number % 1_000), format!("value {number:058}"));
            simulation.put(node, &table, key.as_bytes(), value.as_bytes()).map_err(|error| error.to_string())?;
        }
        simulation.run_for(Duration::from_secs(1) / u32::try_from(writes.max(1)).unwrap_or(u32::MAX));
    }
    let (virtual_time, real) = (simulation.elapsed() - before, start.elapsed());
    println!(
        "{virtual_time:?} of virtual time, {writes} writes a second, in {real:?}: virtual over real time {:.0}",
        virtual_time.as_secs_f64() / real.as_secs_f64()
    );
    println!("each node sent in a second {}", Sent::so_far(&simulation).since(&sent, virtual_time, nodes.len()));
    Ok(())
}

/// What all nodes sent.
struct Sent(EngineStats);

impl Sent {
    fn so_far(simulation: &Simulation) -> Self {
        let mut sum = EngineStats::default();
        for stats in simulation.alive().into_iter().filter_map(|node| Some(simulation.engine(node)?.stats())) {
            sum.datagrams_sent += stats.datagrams_sent;
            sum.datagram_bytes += stats.datagram_bytes;
            sum.swim_bytes += stats.swim_bytes;
            sum.row_bytes += stats.row_bytes;
            sum.stream_bytes += stats.stream_bytes;
        }
        Self(sum)
    }

    fn since(&self, before: &Self, span: Duration, nodes: usize) -> String {
        let each = |count: fn(&EngineStats) -> u64| {
            (count(&self.0) - count(&before.0)) as f64 / span.as_secs_f64() / nodes as f64
        };
        format!(
            "{:.1} datagrams, {:.0} bytes: membership {:.0}, rows {:.0}, digests and the rest {:.0}, streams {:.0}",
            each(|stats| stats.datagrams_sent),
            each(|stats| stats.datagram_bytes + stats.stream_bytes),
            each(|stats| stats.swim_bytes),
            each(|stats| stats.row_bytes),
            each(|stats| stats.datagram_bytes - stats.swim_bytes - stats.row_bytes),
            each(|stats| stats.stream_bytes),
        )
    }
}
