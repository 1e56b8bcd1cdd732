//! The roles that the cluster is asked to run: what this node declares, what is changed at run time, and what is said where
//! they differ. Which of them stands is up to [`role_rows`](super::role_rows).
//!
//! A node declares its configuration once, when it becomes ready, and writes nothing where something stands that outranks
//! it. After that nothing has to be defended: rows of different rank do not overwrite each other.

use std::collections::{BTreeMap, BTreeSet};

use super::role_rows::{Rank, RoleRow, RoleRows, key};
use super::{Denial, Engine, Event};
use crate::roles::{Outranked, RoleChange, RoleOrigin, RoleSpec, RoleSpecError};
use crate::sabotage::Rule;
use crate::store::Key;
use crate::wire;

/// What this node declares.
#[derive(Debug, Default)]
pub(super) struct Registry {
    declared: BTreeMap<String, Declared>,
    /// Rows of roles that served no purpose when it was last looked.
    superfluous: BTreeSet<Key>,
}

/// A role as this node wants it.
#[derive(Debug)]
struct Declared {
    spec: RoleSpec,
    /// What stood when it was last looked.
    seen: Option<RoleSpec>,
}

/// What comes of a look at the specs that stand.
#[derive(PartialEq, Eq, Debug)]
enum Finding {
    /// Another spec stands.
    Differs { standing: Box<RoleSpec>, origin: RoleOrigin, declared: Box<RoleSpec> },
    /// The role was removed, in this revision.
    Removed { revision: u64, declared: Box<RoleSpec> },
}

impl Registry {
    pub(super) fn new(specs: &[RoleSpec]) -> Self {
        let mut registry = Self::default();
        specs.iter().for_each(|spec| registry.declare(spec.clone()));
        registry
    }

    fn declare(&mut self, spec: RoleSpec) {
        let seen = self.declared.remove(&spec.name).and_then(|former| former.seen);
        self.declared.insert(spec.name.clone(), Declared { spec, seen });
    }

    /// Compares what is declared with what stands; each change is found once. What was removed is declared no more.
    fn look(&mut self, rows: &RoleRows) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.declared.retain(|name, Declared { spec, seen }| {
            let Some(((revision, origin), row)) = rows.standing(name) else {
                // A removal may have been dropped before it was seen; before the first look nothing was written yet.
                return seen.is_none();
            };
            let Some(stands) = &row.spec else {
                findings.push(Finding::Removed { revision, declared: Box::new(spec.clone()) });
                return false;
            };
            if seen.as_ref() == Some(stands) {
                return true;
            }
            *seen = Some(stands.clone());
            if stands != spec {
                let (standing, declared) = (Box::new(stands.clone()), Box::new(spec.clone()));
                findings.push(Finding::Differs { standing, origin, declared });
            }
            true
        });
        findings
    }
}

impl Engine {
    /// Asks for the roles that this node is configured with, unless what stands outranks them.
    pub(super) fn declare_roles(&mut self) {
        let declared: Vec<RoleSpec> = self.registry.declared.values().map(|declared| declared.spec.clone()).collect();
        let rows = self.role_rows();
        for spec in declared {
            let rank = (spec.revision, RoleOrigin::Configuration);
            let is_due = rows.standing(&spec.name).is_none_or(|(standing, row)| {
                rows.outranks(rank, standing) || (rank == standing && row.spec.as_ref() != Some(&spec))
            });
            if is_due {
                self.write_role(&spec.name.clone(), rank, Some(spec), true);
            }
        }
    }

    /// Tells what became of the roles that this node declared.
    pub(super) fn tend_roles(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        for finding in self.registry.look(self.work.system.roles()) {
            self.event(match finding {
                Finding::Differs { standing, origin, declared } => {
                    Event::RoleSpecDiffers { role: standing.name.clone(), standing, origin, declared }
                }
                Finding::Removed { revision, declared } => {
                    Event::RoleRemoved { role: declared.name.clone(), revision, declared }
                }
            });
        }
    }

    /// Removes the rows that serve no purpose any more: one member does, once all agree on what stands, and only at the second
    /// look, so that what outranks a row has come to the others before its removal does.
    pub(super) fn tidy_roles(&mut self) {
        let is_first = self.work.view().next() == Some(self.own);
        if self.leaving.is_some() || !is_first || !self.work.converged() {
            return self.registry.superfluous.clear();
        }
        let superfluous = self.work.system.roles().superfluous();
        let before = std::mem::replace(&mut self.registry.superfluous, superfluous.clone());
        let table = self.work.roles_table().clone();
        for key in superfluous.intersection(&before) {
            // An error means that the store is closed, and with it the node.
            let _ = self.store.remove(self.now, &table, key);
            self.work.note_row(&table, key);
        }
    }

    /// What stands under each role's name, removals too.
    #[cfg(feature = "testkit")]
    pub(crate) fn standing_roles(&self) -> impl Iterator<Item = (&str, (u64, RoleOrigin))> {
        self.work.system.roles().all().map(|(role, rank, _)| (role, rank))
    }

    /// Asks for a role at run time; returns what that changed.
    pub(super) fn add_role(&mut self, spec: RoleSpec) -> Result<RoleChange, Denial> {
        self.may_change_roles()?;
        spec.validate()?;
        let rank = (spec.revision, RoleOrigin::RunTime);
        let rows = self.role_rows();
        let standing = rows.standing(&spec.name);
        let mut change = RoleChange { changed: true, outranked: None };
        let mut configured = false;
        if let Some((standing, row)) = standing {
            if standing.0 > spec.revision {
                return Err(Denial::OlderRole { role: spec.name, revision: spec.revision, standing: standing.0 });
            }
            configured = row.configured;
            change.changed = row.spec.as_ref() != Some(&spec);
            let is_same = !change.changed && standing == rank;
            change.outranked = (!is_same).then(|| outranked(standing, row));
            if is_same {
                self.registry.declare(spec);
                return Ok(change);
            }
        }
        if !self.write_role(&spec.name.clone(), rank, Some(spec.clone()), configured) {
            return Err(Denial::Leaving);
        }
        self.registry.declare(spec);
        Ok(change)
    }

    /// Asks for a role no more; returns what that changed.
    pub(super) fn remove_role(&mut self, role: &str) -> Result<RoleChange, Denial> {
        self.may_change_roles()?;
        self.registry.declared.remove(role);
        let rows = self.role_rows();
        let standing = rows.standing(role).filter(|(_, row)| row.spec.is_some());
        let Some(((revision, origin), row)) = standing else { return Ok(RoleChange::default()) };
        let change = RoleChange { changed: true, outranked: Some(outranked((revision, origin), row)) };
        let configured = row.configured;
        let wrote = if self.sabotage.breaks(Rule::RemovalNotKept) {
            let (table, key) = (self.work.roles_table().clone(), key(role, (revision, origin)));
            let removed = self.store.remove(self.now, &table, &key);
            self.work.note_row(&table, &key);
            removed.is_ok()
        } else {
            self.write_role(role, (revision, RoleOrigin::RunTime), None, configured)
        };
        if wrote { Ok(change) } else { Err(Denial::Leaving) }
    }

    /// As they are in the store: what came or was written in this turn may not have been looked at yet.
    fn role_rows(&self) -> RoleRows {
        RoleRows::read(&self.store, self.work.roles_table(), self.sabotage)
    }

    fn may_change_roles(&self) -> Result<(), Denial> {
        match () {
            () if self.leaving.is_some() => Err(Denial::Leaving),
            () if !self.formed() => Err(Denial::NotReady),
            () => Ok(()),
        }
    }

    /// Whether the store took it.
    fn write_role(&mut self, role: &str, rank: Rank, spec: Option<RoleSpec>, configured: bool) -> bool {
        let row = RoleRow { spec, written: self.store.tick(self.now), configured };
        let (table, key) = (self.work.roles_table().clone(), key(role, rank));
        let wrote = self.store.put(self.now, &table, &key, &wire::encode(&row)).is_ok();
        self.stats.own_writes_refused += u64::from(!wrote);
        self.work.note_row(&table, &key);
        wrote
    }
}

fn outranked((revision, origin): Rank, row: &RoleRow) -> Outranked {
    Outranked { spec: row.spec.clone(), revision, origin }
}

impl From<RoleSpecError> for Denial {
    fn from(error: RoleSpecError) -> Self {
        Self::Role(error)
    }
}

/// In what two specs of one role differ, in words.
pub(crate) fn differences(standing: &RoleSpec, declared: &RoleSpec) -> String {
    let mut said = Vec::new();
    let mut compare = |field: &str, one: String, other: String| {
        if one != other {
            said.push(format!("{field} {one} instead of {other}"));
        }
    };
    compare("revision", standing.revision.to_string(), declared.revision.to_string());
    compare("kind", format!("{:?}", standing.kind), format!("{:?}", declared.kind));
    compare("count", standing.count.to_string(), declared.count.to_string());
    compare("requires", format!("{:?}", standing.requires), format!("{:?}", declared.requires));
    compare("apart_from", format!("{:?}", standing.apart_from), format!("{:?}", declared.apart_from));
    compare("spread_over", format!("{:?}", standing.spread_over), format!("{:?}", declared.spread_over));
    compare("partition", format!("{:?}", standing.partition), format!("{:?}", declared.partition));
    compare("handover", format!("{:?}", standing.handover), format!("{:?}", declared.handover));
    compare("restarts", format!("{:?}", standing.restarts), format!("{:?}", declared.restarts));
    compare("stop_grace_ms", format!("{:?}", standing.stop_grace_ms), format!("{:?}", declared.stop_grace_ms));
    // They may be long, and are nobody's business but the role's.
    if standing.arguments != declared.arguments {
        said.push("other arguments".to_owned());
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{NOW, engine};
    use crate::engine::{Command, Input, Output, Reply};
    use crate::time::Stamp;

    fn gate(count: u32, revision: u64) -> RoleSpec {
        RoleSpec::new("gate").count(count).revision(revision)
    }

    const CHANGED: RoleOrigin = RoleOrigin::RunTime;

    /// One row of the gate.
    fn row(rank: Rank, spec: Option<RoleSpec>) -> RoleRows {
        let mut rows = RoleRows::default();
        let row = RoleRow { spec, written: Stamp(1), configured: true };
        rows.put(&key("gate", rank), Some(&wire::encode(&row)));
        rows
    }

    #[test]
    fn each_change_is_found_once() {
        let mut registry = Registry::new(&[gate(1, 1)]);
        assert_eq!(registry.look(&RoleRows::default()), [], "it was not written yet");
        assert_eq!(registry.look(&row((1, RoleOrigin::Configuration), Some(gate(1, 1)))), []);
        for standing in [gate(2, 1), gate(2, 2), gate(3, 2)] {
            let rows = row((standing.revision, CHANGED), Some(standing.clone()));
            let (standing, declared) = (Box::new(standing), Box::new(gate(1, 1)));
            assert_eq!(registry.look(&rows), [Finding::Differs { standing, origin: CHANGED, declared }]);
            assert_eq!(registry.look(&rows), [], "said once");
        }
        assert_eq!(registry.look(&row((1, CHANGED), Some(gate(1, 1)))), []);
    }

    #[test]
    fn a_removal_is_told_once_and_the_role_is_declared_no_more() {
        for seen in [true, false] {
            let mut registry = Registry::new(&[gate(1, 7)]);
            if seen {
                registry.look(&row((7, RoleOrigin::Configuration), Some(gate(1, 7))));
            }
            let removed = Finding::Removed { revision: 7, declared: Box::new(gate(1, 7)) };
            assert_eq!(registry.look(&row((7, CHANGED), None)), [removed]);
            assert_eq!(registry.look(&row((7, CHANGED), None)), []);
            assert_eq!(registry.look(&row((7, CHANGED), Some(gate(2, 7)))), [], "added again, as another likes it");
        }
    }

    fn told(engine: &mut Engine) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(output) = engine.poll_output() {
            if let Output::Event(event) = output {
                events.push(event);
            }
        }
        events
    }

    fn stands(engine: &Engine) -> Vec<RoleSpec> {
        engine.status().roles.into_iter().map(|role| role.spec).collect()
    }

    fn changed(outranked: Option<(Option<RoleSpec>, u64, RoleOrigin)>) -> Result<RoleChange, Denial> {
        let outranked = outranked.map(|(spec, revision, origin)| Outranked { spec, revision, origin });
        Ok(RoleChange { changed: true, outranked })
    }

    #[test]
    fn changes_say_what_they_outranked_and_twice_is_once() {
        let mut engine = engine(true);
        assert_eq!(engine.add_role(gate(1, 1)), changed(None));
        assert_eq!(engine.add_role(gate(1, 1)), Ok(RoleChange::default()));
        assert_eq!(engine.add_role(gate(2, 1)), changed(Some((Some(gate(1, 1)), 1, CHANGED))));
        let older = Denial::OlderRole { role: "gate".to_owned(), revision: 0, standing: 1 };
        assert_eq!(engine.add_role(gate(3, 0)), Err(older.clone()));
        let zero = RoleSpecError::CountZero { role: "gate".to_owned() };
        assert_eq!(engine.add_role(gate(0, 1)), Err(Denial::Role(zero)));
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), [gate(2, 1)]);
        assert_eq!(engine.remove_role("gate"), changed(Some((Some(gate(2, 1)), 1, CHANGED))));
        for unknown in ["gate", "", "lamp"] {
            assert_eq!(engine.remove_role(unknown), Ok(RoleChange::default()));
        }
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), []);
        assert_eq!(engine.add_role(gate(3, 0)), Err(older), "below the removal");
        assert_eq!(engine.add_role(gate(3, 1)), changed(Some((None, 1, CHANGED))), "a removed role is added again");
    }

    #[test]
    fn a_configured_role_that_is_added_as_it_is_stands_against_other_configurations() {
        let mut engine = engine(true);
        engine.write_role("gate", (1, RoleOrigin::Configuration), Some(gate(1, 1)), true);
        let outranked = Some(Outranked { spec: Some(gate(1, 1)), revision: 1, origin: RoleOrigin::Configuration });
        assert_eq!(engine.add_role(gate(1, 1)), Ok(RoleChange { changed: false, outranked }));
        engine.registry = Registry::new(&[gate(2, 1)]);
        engine.declare_roles();
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), [gate(1, 1)]);
        engine.registry = Registry::new(&[gate(2, 2)]);
        engine.declare_roles();
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), [gate(2, 2)]);
    }

    #[test]
    fn a_command_is_answered_in_the_turn_in_which_the_status_shows_it() {
        let mut engine = engine(true);
        let add = Command::AddRole { request: 7, spec: Box::new(gate(1, 0)) };
        engine.handle(NOW, Input::Command(add));
        assert_eq!(stands(&engine), [gate(1, 0)]);
        let reply = std::iter::from_fn(|| engine.poll_output())
            .find_map(|output| if let Output::Reply { request: 7, reply } = output { Some(reply) } else { None });
        assert_eq!(reply, Some(Reply::Role(Box::new(RoleChange { changed: true, outranked: None }))));
    }

    #[test]
    fn before_it_is_ready_and_after_it_left_a_node_changes_no_roles() {
        let mut joining = engine(false);
        assert_eq!(joining.add_role(gate(1, 0)), Err(Denial::NotReady));
        assert_eq!(joining.remove_role("gate"), Err(Denial::NotReady));
        let mut leaving = engine(true);
        leaving.handle(
            NOW,
            Input::Command(Command::Leave { request: 1, patience_ms: 1_000, stop_grace_ms: 1_000, deadline_ms: None }),
        );
        assert_eq!(leaving.add_role(gate(1, 0)), Err(Denial::Leaving));
    }

    #[test]
    fn a_lower_revision_that_came_later_does_not_stand_and_another_is_told_of() {
        let mut engine = engine(true);
        engine.add_role(gate(1, 1)).unwrap();
        engine.handle(NOW, Input::StoreChanged);
        told(&mut engine);
        // As another node would, that did not know better.
        let put = |engine: &mut Engine, spec: RoleSpec| {
            engine.write_role("gate", (spec.revision, CHANGED), Some(spec), false);
            engine.handle(NOW, Input::StoreChanged);
            told(engine).into_iter().filter(|event| matches!(event, Event::RoleSpecDiffers { .. })).collect::<Vec<_>>()
        };
        assert_eq!(put(&mut engine, gate(2, 0)), []);
        assert_eq!(stands(&engine), [gate(1, 1)]);
        let (standing, declared) = (Box::new(gate(2, 1)), Box::new(gate(1, 1)));
        let expected = Event::RoleSpecDiffers { role: "gate".to_owned(), standing, origin: CHANGED, declared };
        assert_eq!(put(&mut engine, gate(2, 1)), [expected]);
        assert_eq!(put(&mut engine, gate(2, 1)), [], "once");
        assert_eq!(stands(&engine), [gate(2, 1)]);
    }

    #[test]
    fn what_does_not_stand_is_removed_once_the_view_agrees() {
        let mut engine = engine(true);
        let rows = |engine: &Engine| engine.store.table(engine.work.roles_table()).snapshot().iter().count();
        for revision in 0..3 {
            engine.add_role(gate(1, revision)).unwrap();
        }
        engine.remove_role("gate").unwrap();
        assert_eq!(rows(&engine), 3, "of the last revision the removal took the place of the spec");
        let mut now = NOW;
        for _ in 0..500 {
            now.instant = now.instant + std::time::Duration::from_millis(10);
            now.wall_ms += 10;
            engine.handle(now, Input::Deadline);
        }
        assert!(engine.work.converged());
        assert_eq!(rows(&engine), 1, "the removal stays");
        assert!(
            engine.work.system.roles().standing("gate").is_some_and(|(rank, row)| rank.0 == 2 && row.spec.is_none())
        );
    }

    #[test]
    fn differences_are_told_in_words() {
        let declared = gate(1, 0).arguments("north");
        assert_eq!(
            differences(&gate(2, 1), &declared),
            "revision 1 instead of 0, count 2 instead of 1, other arguments"
        );
        assert_eq!(differences(&declared, &declared), "");
    }
}
