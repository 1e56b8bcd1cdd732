//! What must hold all the time, also while the cluster is being hurt.

use std::collections::BTreeMap;
use std::time::Duration;

use unisono::engine::Event;
use unisono::id::ReplicaId;
use unisono::roles::{FencingToken, RoleSpec};
use unisono::testkit::{NodeIndex, Simulation};

/// How long after convergence superfluous instances may still be ending.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long after convergence every instance must run.
const START_GRACE: Duration = Duration::from_secs(5);

/// A converged component: its fingerprint and its members.
type Component = (String, Vec<ReplicaId>);

/// Looks on.
#[derive(Default)]
pub(crate) struct Watchdog {
    /// Since when each component is converged, unchanged.
    since: BTreeMap<Component, Duration>,
    /// The highest token of each role that a process saw.
    seen: BTreeMap<(ReplicaId, String), FencingToken>,
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
}

impl Watchdog {
    /// `leaving` are nodes whose roles are being handed over.
    pub(crate) fn look(
        &mut self,
        simulation: &Simulation,
        roles: &[RoleSpec],
        leaving: &[NodeIndex],
    ) -> Result<(), String> {
        self.tokens(simulation)?;
        self.components(simulation, roles, leaving)?;
        let alive = simulation.alive();
        for node in &alive {
            let streams = simulation.open_streams(*node);
            let bound = 8 * alive.len() + 40;
            if streams > bound {
                return Err(format!("{streams} streams open at {node:?}, more than {bound}"));
            }
        }
        Ok(())
    }

    /// Every start has a token above all that its node saw before.
    fn tokens(&mut self, simulation: &Simulation) -> Result<(), String> {
        for node in simulation.alive() {
            let Some(status) = simulation.status(node) else { continue };
            let events = simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            for event in &events[from..] {
                let Event::RoleStarted { role, token } = event else { continue };
                let seen = self.seen.get(&(status.replica, role.clone()));
                if token.replica == status.replica && seen.is_some_and(|seen| seen.as_u128() >= token.as_u128()) {
                    return Err(format!("{role:?} was started with {token} at a node that had seen {seen:?}"));
                }
            }
            for role in &status.roles {
                for host in &role.hosts {
                    let seen = self.seen.entry((status.replica, role.spec.name.clone())).or_insert(host.token);
                    *seen = host.token.max(*seen);
                }
            }
        }
        Ok(())
    }

    fn components(&mut self, simulation: &Simulation, roles: &[RoleSpec], leaving: &[NodeIndex]) -> Result<(), String> {
        let mut groups: BTreeMap<Component, Vec<NodeIndex>> = BTreeMap::new();
        for node in simulation.alive() {
            let Some(status) = simulation.status(node).filter(|status| status.agreed) else { continue };
            let mut view: Vec<ReplicaId> =
                status.members.iter().filter(|member| member.in_view).map(|member| member.replica).collect();
            view.sort();
            groups.entry((status.fingerprint.clone(), view)).or_default().push(node);
        }
        groups.retain(|(_, view), nodes| view.len() == nodes.len());
        let now = simulation.elapsed();
        self.since.retain(|component, _| groups.contains_key(component));
        for (component, nodes) in groups {
            let since = *self.since.entry(component).or_insert(now);
            for role in roles {
                let running = simulation.running(&role.name).iter().filter(|node| nodes.contains(node)).count();
                let wanted = nodes.len().min(role.count as usize);
                if running > wanted && now - since > STOP_GRACE {
                    return Err(format!("{running} instances of {:?} in the converged component {nodes:?}", role.name));
                }
                let complete = !nodes.iter().any(|node| leaving.contains(node));
                if running < wanted && complete && now - since > START_GRACE {
                    return Err(format!("only {running} of {:?} in the converged component {nodes:?}", role.name));
                }
            }
        }
        Ok(())
    }
}
