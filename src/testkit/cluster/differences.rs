//! What differs between the nodes of a test cluster, for a person to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::TestCluster;
use super::look::{Look, lags, list};
use crate::crdt::Value;
use crate::engine::RoleStatus;
use crate::roles::ClaimState;
use crate::store::{Key, TableName};
use crate::table::decode_key;

/// So many rows of a table are shown, the others are counted.
const ROWS: usize = 5;

/// What differs between the nodes that run: views, fingerprints, roles, and tables row by row. Print it.
///
/// Rows are shown as text where the bytes are that of a text, in hexadecimal otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differences {
    lines: Vec<String>,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl TestCluster {
    /// What keeps all nodes that run from being one converged cluster now; `None` if nothing does. Nodes that stand still
    /// are left out.
    pub fn differences(&self) -> Option<Differences> {
        differences(&self.shared.with(|stage| stage.look()))
    }

    /// Waits, for at most [`TestCluster::PATIENCE`], until all nodes that run are one converged cluster, whatever the
    /// network does.
    ///
    /// # Panics
    ///
    /// If they are not by then, with the [`Differences`].
    #[track_caller]
    pub fn assert_converged(&self) -> impl Future<Output = ()> + '_ {
        let asked = std::panic::Location::caller();
        async move {
            let together = self.wait(Self::PATIENCE, |stage| vec![stage.look()]).await;
            if together.is_ok() {
                return;
            }
            let (seed, within) = (self.seed(), Self::PATIENCE);
            let differences =
                self.differences().map_or_else(|| "nothing differs now".to_owned(), |all| all.to_string());
            panic!("{asked}: seed {seed}: not one converged cluster after {within:?} of virtual time\n{differences}");
        }
    }
}

fn differences(looks: &[Look]) -> Option<Differences> {
    let lags = lags(looks);
    if lags.is_empty() {
        return None;
    }
    let mut lines = vec!["in the way:".to_owned()];
    lines.extend(lags.iter().map(|lag| format!("  {lag}")));
    section(&mut lines, "views:", &groups(looks, |look| list(&Vec::from_iter(look.view()))), |view| match view {
        "" => "see nobody".to_owned(),
        view => format!("see {view}"),
    });
    section(&mut lines, "fingerprints:", &groups(looks, |look| look.status.fingerprint.clone()), str::to_owned);
    let roles: BTreeSet<&str> =
        looks.iter().flat_map(|look| &look.status.roles).map(|role| role.spec.name.as_str()).collect();
    for name in roles {
        let seen = groups(looks, |look| {
            let role = look.status.roles.iter().find(|role| role.spec.name == name);
            role.map_or_else(|| "not known".to_owned(), hosts)
        });
        section(&mut lines, &format!("role {name:?}:"), &seen, str::to_owned);
    }
    let tables: BTreeSet<TableName> = looks.iter().flat_map(Look::tables).map(|(name, _)| name).collect();
    for name in &tables {
        lines.extend(table(looks, name));
    }
    Some(Differences { lines })
}

/// The nodes by what they have, each group named.
fn groups(looks: &[Look], what: impl Fn(&Look) -> String) -> BTreeMap<String, Vec<&str>> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for look in looks {
        groups.entry(what(look)).or_default().push(&look.name);
    }
    groups
}

/// A heading and who has what; nothing, if all have the same.
fn section(
    lines: &mut Vec<String>,
    heading: &str,
    groups: &BTreeMap<String, Vec<&str>>,
    show: impl Fn(&str) -> String,
) {
    if groups.len() < 2 {
        return;
    }
    lines.push(heading.to_owned());
    lines.extend(groups.iter().map(|(what, names)| format!("  {}: {}", list(names), show(what))));
}

fn hosts(role: &RoleStatus) -> String {
    let hosts: Vec<String> = role
        .hosts
        .iter()
        .map(|host| match &host.state {
            ClaimState::Failed { why, .. } => format!("failed on {} ({why})", host.node),
            state => format!("{} on {}", state.word(), host.node),
        })
        .collect();
    if hosts.is_empty() { "nowhere".to_owned() } else { list(&hosts) }
}

/// The rows of one table that are not the same everywhere.
fn table(looks: &[Look], name: &TableName) -> Vec<String> {
    let copies: Vec<BTreeMap<Key, Value>> = looks.iter().map(|look| rows(look, name)).collect();
    let keys: BTreeSet<&Key> = copies.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &&Key| copies.iter().any(|copy| copy.get(*key) != copies[0].get(*key));
    let differ: Vec<&Key> = keys.into_iter().filter(differs).collect();
    if differ.is_empty() {
        return Vec::new();
    }
    let counts: Vec<String> =
        looks.iter().zip(&copies).map(|(look, copy)| format!("{} at {}", copy.len(), look.name)).collect();
    let is_or_are =
        if differ.len() == 1 { "1 row differs".to_owned() } else { format!("{} rows differ", differ.len()) };
    let mut lines = vec![format!("table {:?}: {is_or_are}; rows: {}", name.as_str(), list(&counts))];
    for key in differ.iter().take(ROWS) {
        let mut held: BTreeMap<Option<&Value>, Vec<&str>> = BTreeMap::new();
        for (look, copy) in looks.iter().zip(&copies) {
            held.entry(copy.get(*key)).or_default().push(&look.name);
        }
        let held = held.iter().map(|(value, names)| {
            let value = value.map_or_else(|| "nothing".to_owned(), |value| shown(value));
            format!("{value} at {}", list(names))
        });
        lines.push(format!("  {}: {}", shown(key), held.collect::<Vec<_>>().join("; ")));
    }
    if differ.len() > ROWS {
        lines.push(format!("  and {} more", differ.len() - ROWS));
    }
    lines
}

/// The rows of a table; to ask for one that is not there would make it.
fn rows(look: &Look, name: &TableName) -> BTreeMap<Key, Value> {
    let there = look.store.tables().contains(name);
    if there { look.store.table(name).snapshot().iter().collect() } else { BTreeMap::new() }
}

/// Bytes as the text that they stand for, or as they are.
fn shown(bytes: &[u8]) -> String {
    match decode_key::<String>(bytes) {
        Ok(text) if !text.chars().any(char::is_control) && !text.is_empty() => format!("{text:?}"),
        _ => {
            let digits: String = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            let more = if bytes.len() > 32 { "…" } else { "" };
            format!("0x{digits}{more}")
        }
    }
}
