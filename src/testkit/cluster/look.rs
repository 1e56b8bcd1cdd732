//! What the nodes of a test cluster hold and see now, to be compared with each other by somebody who sees all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stage::Stage;
use crate::engine::{Liveness, Phase, RoleStatus, Status};
use crate::roles::ClaimState;
use crate::store::{Digest, Store, TableName};
use crate::testkit::network::Way;

/// One node.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) name: String,
    host: usize,
    cluster: String,
    pub(super) status: Arc<Status>,
    pub(super) digest: Digest,
    pub(super) store: Arc<Store>,
}

impl Look {
    /// The members of its view, by name.
    pub(super) fn view(&self) -> BTreeSet<&str> {
        let members = self.status.members.iter().filter(|member| member.in_view);
        members.map(|member| member.node.as_str()).collect()
    }

    /// The digests of its tables that are the application's.
    pub(super) fn tables(&self) -> Vec<(TableName, u64)> {
        let mut tables = self.store.table_digests();
        tables.retain(|(name, _)| !name.is_reserved());
        tables.sort();
        tables
    }

    fn suspects(&self) -> Vec<&str> {
        let suspects = self.status.members.iter().filter(|member| member.liveness == Liveness::Suspect);
        suspects.map(|member| member.node.as_str()).collect()
    }
}

impl Stage {
    /// A look at every node that runs and does not stand still, by name.
    pub(super) fn look(&self) -> Vec<Look> {
        let running = self.places.iter().filter(|(_, place)| !self.simulation.is_paused(place.index));
        running
            .filter_map(|(name, place)| {
                let engine = self.simulation.engine(place.index)?;
                let status = self.simulation.hosts[place.index.0].status.clone();
                let store = Arc::clone(self.simulation.store(place.index));
                Some(Look {
                    name: name.clone(),
                    host: place.index.0,
                    cluster: self.simulation.hosts[place.index.0].options.cluster.clone(),
                    status: status.unwrap_or_else(|| Arc::new(engine.status())),
                    digest: store.digest(),
                    store,
                })
            })
            .collect()
    }

    /// Those that can reach each other, directly or by way of others, and want to.
    pub(super) fn components(&self, looks: Vec<Look>) -> Vec<Vec<Look>> {
        let mut components: Vec<Vec<Look>> = Vec::new();
        for look in looks {
            let (near, far): (Vec<_>, Vec<_>) = components.into_iter().partition(|component| {
                component.iter().any(|other| other.cluster == look.cluster && self.connected(other.host, look.host))
            });
            let mut joined: Vec<Look> = near.into_iter().flatten().chain([look]).collect();
            joined.sort_by(|one, other| one.name.cmp(&other.name));
            components = far;
            components.push(joined);
        }
        components
    }

    fn connected(&self, one: usize, other: usize) -> bool {
        self.simulation.way(one, other) == Way::Open && self.simulation.way(other, one) == Way::Open
    }
}

/// What keeps these nodes from being one settled cluster, in words: what is wrong at a node first, then what differs.
/// Nothing if nothing does.
pub(super) fn lags(looks: &[Look]) -> Vec<String> {
    let names: BTreeSet<&str> = looks.iter().map(|look| look.name.as_str()).collect();
    let mut lags: Vec<String> = looks.iter().flat_map(|look| lags_of(look, &names)).collect();
    let Some((first, others)) = looks.split_first() else { return lags };
    for other in others {
        let both = format!("{} and {}", first.name, other.name);
        let tables = (first.tables(), other.tables());
        if first.status.fingerprint != other.status.fingerprint {
            lags.push(format!("{both} draw different pictures of members and roles"));
        } else if tables.0 != tables.1 {
            let differ = tables.0.iter().filter(|table| !tables.1.contains(table));
            let differ = differ.chain(tables.1.iter().filter(|table| !tables.0.contains(table)));
            let differ: BTreeSet<String> = differ.map(|(name, _)| format!("{:?}", name.as_str())).collect();
            let differ = differ.into_iter().collect::<Vec<_>>().join(", ");
            lags.push(format!("{both} hold different rows of {differ}"));
        } else if first.digest != other.digest {
            lags.push(format!("{both} do not know the same writes"));
        }
    }
    // All agree on the roles once the pictures are the same.
    lags.extend(first.status.roles.iter().filter_map(role_lag));
    lags
}

/// What is wrong at one node that should see these.
fn lags_of(look: &Look, names: &BTreeSet<&str>) -> Vec<String> {
    let (name, view) = (&look.name, look.view());
    if look.status.phase == Phase::Joining {
        return vec![format!("{name} has not joined yet")];
    }
    let mut lags = Vec::new();
    let missing: Vec<&str> = names.difference(&view).copied().collect();
    if !missing.is_empty() {
        lags.push(format!("{name} does not have {} in its view", list(&missing)));
    }
    let gone: Vec<&str> = view.difference(names).copied().collect();
    if !gone.is_empty() {
        lags.push(format!("{name} still has {} in its view, out of its reach or not running", list(&gone)));
    }
    let suspects = look.suspects();
    if !suspects.is_empty() {
        lags.push(format!("{name} suspects {}", list(&suspects)));
    }
    if lags.is_empty() && !look.status.agreed {
        lags.push(format!("{name} does not see everybody agree yet"));
    }
    lags
}

/// What keeps a role from running as often as it should; by the rule of `Cluster::converged`, a role that failed wherever
/// it was tried is not waited for.
fn role_lag(role: &RoleStatus) -> Option<String> {
    let name = &role.spec.name;
    let passes = |state: &ClaimState| !matches!(state, ClaimState::Running | ClaimState::Failed { .. });
    if let Some(host) = role.hosts.iter().find(|host| passes(&host.state)) {
        return Some(format!("the role {name:?} is {} on {}", host.state.word(), host.node));
    }
    let (running, assigned) = (role.running().count(), role.assigned.len());
    (running != assigned).then(|| format!("the role {name:?} runs {running} times instead of {assigned}"))
}

/// `larry`, `larry and gary`, `larry, gary and mary`.
pub(super) fn list(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}
