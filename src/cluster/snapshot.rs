//! What a node holds and sees at one moment, as plain data: to log, to compare in a test, to print for a person.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::node::Local;
use super::table::split_form;
use crate::engine::{RoleHost, RoleStatus, Status};
use crate::roles::ClaimState;
use crate::store::{Store, StoreStats, TableName};

/// What a node holds and sees at one moment. Two nodes that are converged differ in `status.node`, `status.replica`
/// and `store` at most; their `tables`, `digest.root` and `status.fingerprint` are equal.
///
/// The parts are read one after the other, so under writes they may be from slightly different moments.
///
/// Print it with `{}` for a person, or with `serde_json` for a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Members, view, roles, and whether all agree, as this node sees them.
    pub status: Status,
    /// The replicated tables that have rows, ordered by name.
    pub tables: Vec<TableSnapshot>,
    /// The tables of this node alone that have rows, ordered by name.
    #[serde(default)]
    pub local_tables: Vec<TableSnapshot>,
    /// Digests of everything that is replicated.
    pub digest: DigestSnapshot,
    /// Counters of this node's store.
    pub store: StoreSnapshot,
}

/// One table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableSnapshot {
    /// Its name.
    pub name: String,
    /// What its values are: `lww`, or `set`, `bag`, `counter`, `multi` or `merge` where they are made of shares.
    pub form: String,
    /// How many rows it has, removed ones not counted. Values that are made of shares have a row for each.
    pub rows: usize,
    /// How many bytes its keys and values take, encoded.
    pub bytes: u64,
    /// Its digest, in hexadecimal: equal digests mean equal rows, removed ones included.
    pub digest: String,
    /// Keys and values as the bytes they are stored as, in hexadecimal; only where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<BTreeMap<String, String>>,
}

/// The digests that nodes compare with each other, in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DigestSnapshot {
    /// Of which writes of present members are known.
    pub context: String,
    /// Of the rows of all ordinary tables.
    pub root: String,
    /// Of the rows that only their owner writes: declarations, claims.
    pub owners: String,
    /// Of which writes of departed members are known.
    pub departed: String,
}

/// Counters of a store: what it holds, and since its start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoreSnapshot {
    /// Rows that are there, system tables included.
    pub rows: u64,
    /// Marks of removed rows that cannot be forgotten yet.
    pub tombstones: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Tombstones forgotten since the start.
    pub collected: u64,
    /// Rows that came back after they had been removed elsewhere, since the start.
    pub resurrected: u64,
    /// Rows left to repair because the outbox was full, since the start.
    pub outbox_dropped: u64,
}

impl Snapshot {
    pub(super) fn take(status: &Status, local: &Local, with_rows: bool) -> Self {
        Self {
            status: status.clone(),
            tables: TableSnapshot::take_all(&local.store, with_rows),
            local_tables: TableSnapshot::take_all(local.store.unsent(), with_rows),
            digest: DigestSnapshot::take(&local.store),
            store: StoreSnapshot::take(&local.store),
        }
    }

    /// The table of that name, if it exists here.
    pub fn table(&self, name: &str) -> Option<&TableSnapshot> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The names of the members in the view, ordered.
    pub fn view(&self) -> Vec<&str> {
        self.status.members.iter().filter(|member| member.in_view).map(|member| member.node.as_str()).collect()
    }
}

impl DigestSnapshot {
    pub(super) fn take(store: &Store) -> Self {
        let digest = store.digest();
        Self {
            context: hex(digest.context),
            root: hex(digest.root),
            owners: hex(digest.owners),
            departed: hex(digest.departed),
        }
    }
}

impl StoreSnapshot {
    fn take(store: &Store) -> Self {
        let StoreStats { live: rows, tombstones, bytes, collected, resurrected, outbox_dropped, .. } = store.stats();
        Self { rows, tombstones, bytes, collected, resurrected, outbox_dropped }
    }
}

impl TableSnapshot {
    fn take_all(store: &Store, with_rows: bool) -> Vec<Self> {
        let digests = store.table_digests().into_iter().filter(|(name, _)| !name.is_reserved());
        let mut tables: Vec<_> = digests.map(|(name, digest)| Self::take(store, &name, digest, with_rows)).collect();
        tables.sort_by(|one, other| (&one.name, &one.form).cmp(&(&other.name, &other.form)));
        tables
    }

    fn take(store: &Store, name: &TableName, digest: u64, with_rows: bool) -> Self {
        let table = store.table(name);
        let content = with_rows
            .then(|| table.snapshot().iter().map(|(key, value)| (hex_bytes(&key), hex_bytes(&value))).collect());
        let (name, form) = split_form(name.as_str());
        let (name, form) = (name.to_owned(), form.to_owned());
        Self { name, form, rows: table.len(), bytes: table.bytes(), digest: hex(digest), content }
    }
}

fn hex(word: u64) -> String {
    format!("{word:016x}")
}

fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.status;
        let agreed = if status.agreed { "agreed" } else { "not agreed" };
        writeln!(f, "node {} ({}): {}, {agreed}", status.node, status.replica, word(&status.phase))?;
        writeln!(f, "view of {}, fingerprint {}", self.view().len(), status.fingerprint)?;
        columns(
            f,
            ["member", "replica", "address", "liveness", "in view"],
            status.members.iter().map(|member| {
                let in_view = if member.in_view { "yes" } else { "no" };
                [
                    member.node.to_string(),
                    member.replica.to_string(),
                    member.address.to_string(),
                    word(&member.liveness),
                    in_view.to_owned(),
                ]
            }),
        )?;
        columns(
            f,
            ["role", "kind", "wanted", "assigned", "running", "hosts"],
            status.roles.iter().map(|role| {
                let numbers =
                    [role.wanted.to_string(), role.assigned.len().to_string(), role.running().count().to_string()];
                let [wanted, assigned, running] = numbers;
                [role.spec.name.clone(), role.spec.kind.clone(), wanted, assigned, running, hosts(role)]
            }),
        )?;
        columns(
            f,
            ["table", "form", "rows", "bytes", "digest"],
            self.tables
                .iter()
                .map(|table| table.cells(table.digest.clone()))
                .chain(self.local_tables.iter().map(|table| table.cells("local".to_owned()))),
        )?;
        for table in self.tables.iter().chain(&self.local_tables) {
            for (key, value) in table.content.iter().flatten() {
                writeln!(f, "{} {key} = {value}", table.name)?;
            }
        }
        let DigestSnapshot { context, root, owners, departed } = &self.digest;
        writeln!(f, "digests: context {context}, root {root}, owners {owners}, departed {departed}")?;
        let StoreSnapshot { rows, tombstones, bytes, collected, resurrected, outbox_dropped } = &self.store;
        writeln!(
            f,
            "store: {rows} rows, {tombstones} tombstones, {bytes} bytes; {collected} collected, {resurrected} \
             resurrected, {outbox_dropped} left to repair"
        )
    }
}

impl TableSnapshot {
    fn cells(&self, digest: String) -> [String; 5] {
        [self.name.clone(), self.form.clone(), self.rows.to_string(), self.bytes.to_string(), digest]
    }
}

/// Who hosts a role and how, and why fewer do than it asks for.
fn hosts(role: &RoleStatus) -> String {
    let mut hosts: Vec<String> = role.hosts.iter().map(host).collect();
    match (role.unplaced, role.missing()) {
        (Some(why), _) => hosts.push(format!("nowhere: {why}")),
        (None, 0) => {}
        (None, missing) => hosts.push(format!("no place for {missing} more: {} could host it", role.candidates)),
    }
    hosts.join(", ")
}

fn host(host: &RoleHost) -> String {
    match &host.state {
        ClaimState::Failed { why, .. } => format!("{} failed ({why})", host.node),
        state => format!("{} {}", host.node, state.word()),
    }
}

/// A state without fields, in lower case.
fn word(item: &impl fmt::Debug) -> String {
    format!("{item:?}").to_lowercase()
}

/// Writes rows under a heading, each column as wide as its widest cell; nothing if there are no rows.
fn columns<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let mut lines = vec![heading.map(str::to_owned)];
    lines.extend(rows);
    if lines.len() == 1 {
        return Ok(());
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Liveness, Member, Phase, Unplaced};
    use crate::id::{NodeId, ReplicaId};
    use crate::roles::{FencingToken, RoleSpec};
    use crate::time::Stamp;

    fn member(name: &str, replica: u64, liveness: Liveness) -> Member {
        Member {
            node: NodeId::new(name).unwrap(),
            replica: ReplicaId(replica),
            address: ([127, 0, 0, 1], 4_870 + u16::try_from(replica).unwrap()).into(),
            liveness,
            in_view: liveness != Liveness::Down,
        }
    }

    fn example() -> Snapshot {
        let larry = member("larry", 1, Liveness::Alive);
        let token = FencingToken { stamp: Stamp(1), replica: larry.replica };
        let state = ClaimState::Draining { to: None };
        let host = RoleHost { node: larry.node.clone(), replica: larry.replica, token, state };
        let failed = ClaimState::Failed { why: "no power".into(), until_ms: 0 };
        let failed = RoleHost { state: failed, ..host.clone() };
        let running = RoleHost { state: ClaimState::Running, ..host.clone() };
        let role = |spec: RoleSpec, candidates, unplaced: Option<Unplaced>, hosts| RoleStatus {
            candidates,
            wanted: spec.count,
            assigned: unplaced.map_or_else(|| vec![host.node.clone()], |_| Vec::new()),
            unplaced,
            spec,
            hosts,
        };
        let status = Status {
            node: larry.node.clone(),
            replica: larry.replica,
            phase: Phase::Standalone,
            members: vec![larry, member("moe", 2, Liveness::Down)],
            fingerprint: "f1".into(),
            agreed: true,
            roles: vec![
                role(RoleSpec::new("door").count(2), 1, None, vec![running]),
                role(RoleSpec::new("gate-1").kind("gate"), 1, None, vec![host.clone()]),
                role(RoleSpec::new("lamp"), 1, Some(Unplaced::AllFailed), vec![failed]),
                role(RoleSpec::new("siren"), 0, Some(Unplaced::NoKind), vec![]),
            ],
        };
        let content = Some(BTreeMap::from([("0a".into(), "ff".into())]));
        let vehicles =
            TableSnapshot { name: "vehicles".into(), form: "lww".into(), rows: 1, bytes: 2, digest: hex(255), content };
        let scratch = TableSnapshot { name: "scratch".into(), form: "set".into(), content: None, ..vehicles.clone() };
        let digest = DigestSnapshot { context: hex(1), root: hex(2), owners: hex(3), departed: hex(0) };
        let store = StoreSnapshot::default();
        Snapshot { status, tables: vec![vehicles], local_tables: vec![scratch], digest, store }
    }

    #[test]
    fn a_person_can_read_it() {
        let expected = "\
node larry (0000000000000001): standalone, agreed
view of 1, fingerprint f1
  member  replica           address         liveness  in view
  larry   0000000000000001  127.0.0.1:4871  alive     yes
  moe     0000000000000002  127.0.0.1:4872  down      no
  role    kind   wanted  assigned  running  hosts
  door    door   2       1         1        larry running, no place for 1 more: 1 could host it
  gate-1  gate   1       1         0        larry draining
  lamp    lamp   1       0         0        larry failed (no power), nowhere: it failed wherever it was tried
  siren   siren  1       0         0        nowhere: no member registered this kind
  table     form  rows  bytes  digest
  vehicles  lww   1     2      00000000000000ff
  scratch   set   1     2      local
vehicles 0a = ff
digests: context 0000000000000001, root 0000000000000002, owners 0000000000000003, departed 0000000000000000
store: 0 rows, 0 tombstones, 0 bytes; 0 collected, 0 resurrected, 0 left to repair
";
        assert_eq!(example().to_string(), expected);
    }

    #[test]
    fn a_machine_can_read_it() {
        let snapshot = example();
        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        assert_eq!(snapshot.view(), ["larry"]);
        assert_eq!(snapshot.table("vehicles").unwrap().rows, 1);
        assert!(snapshot.table("moe").is_none());
    }
}
