//! The roles that the cluster is asked to run: what this node declares, what stands, and what is done where they differ.
//!
//! A role is one row of a system table, so the later write stands, as in any table. On top of that goes the revision: who
//! declares a spec of a higher one than that which stands writes its own again. Of equal revisions nobody does, so it
//! comes to rest wherever rows meet, and in whatever order: each rewrite raises the revision that stands.

use std::collections::BTreeMap;

use super::{Denial, Engine, Event};
use crate::roles::{RoleSpec, RoleSpecError};
use crate::sabotage::Rule;
use crate::store::Key;
use crate::wire;

/// What this node declares.
#[derive(Debug, Default)]
pub(super) struct Registry {
    declared: BTreeMap<String, Declared>,
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
    /// A lower revision has taken the place of this.
    Outdone(Box<RoleSpec>),
    /// Another spec stands, by right.
    Differs { standing: Box<RoleSpec>, declared: Box<RoleSpec> },
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

    /// Compares what is declared with what stands, sorted by name; each change is found once.
    fn look(&mut self, standing: &[RoleSpec]) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.declared.retain(|name, Declared { spec, seen }| {
            let found = standing.binary_search_by(|other| other.name.cmp(name));
            let stands = found.ok().map(|index| &standing[index]);
            if stands == seen.as_ref() {
                return true;
            }
            *seen = stands.cloned();
            match stands {
                // Somebody removed it, for all.
                None => return false,
                Some(stands) if stands == spec => {}
                Some(stands) if stands.revision < spec.revision => {
                    findings.push(Finding::Outdone(Box::new(spec.clone())));
                }
                Some(stands) => {
                    let (standing, declared) = (Box::new(stands.clone()), Box::new(spec.clone()));
                    findings.push(Finding::Differs { standing, declared });
                }
            }
            true
        });
        findings
    }
}

impl Engine {
    /// Asks for the roles that this node is configured with, unless something newer stands.
    pub(super) fn declare_roles(&mut self) {
        let declared: Vec<RoleSpec> = self.registry.declared.values().map(|declared| declared.spec.clone()).collect();
        for spec in declared {
            let stands = self.standing(&spec.name);
            if stands.is_none_or(|stands| stands != spec && stands.revision <= spec.revision) {
                self.write_role(&spec);
            }
        }
    }

    /// Looks what became of the roles that this node declared; returns whether anything was written.
    pub(super) fn tend_roles(&mut self) -> bool {
        if self.leaving.is_some() {
            return false;
        }
        let mut wrote = false;
        for finding in self.registry.look(&self.work.drawn().roles) {
            match finding {
                Finding::Outdone(spec) if self.sabotage.breaks(Rule::LowerRevisionStands) => drop(spec),
                Finding::Outdone(spec) => wrote |= self.write_role(&spec),
                Finding::Differs { standing, declared } => {
                    let role = standing.name.clone();
                    self.event(Event::RoleSpecDiffers { role, standing, declared });
                }
            }
        }
        wrote
    }

    /// Asks for a role; returns whether that changed anything.
    pub(super) fn add_role(&mut self, spec: RoleSpec) -> Result<bool, Denial> {
        self.may_change_roles()?;
        spec.validate()?;
        let stands = self.standing(&spec.name);
        if let Some(stands) = stands.as_ref().filter(|stands| stands.revision > spec.revision) {
            let (revision, standing) = (spec.revision, stands.revision);
            return Err(Denial::OlderRole { role: spec.name, revision, standing });
        }
        let changes = stands.as_ref() != Some(&spec);
        if changes && !self.write_role(&spec) {
            return Err(Denial::Leaving);
        }
        self.registry.declare(spec);
        Ok(changes)
    }

    /// Asks for a role no more; returns whether there was one.
    pub(super) fn remove_role(&mut self, role: &str) -> Result<bool, Denial> {
        self.may_change_roles()?;
        self.registry.declared.remove(role);
        if !RoleSpec::is_name(role) {
            return Ok(false);
        }
        let table = self.work.roles_table().clone();
        let removed = self.store.remove(self.now, &table, role.as_bytes()).map_err(|_| Denial::Leaving)?;
        self.work.note_row(&table, &Key::from(role.as_bytes()));
        Ok(removed.is_some())
    }

    fn may_change_roles(&self) -> Result<(), Denial> {
        match () {
            () if self.leaving.is_some() => Err(Denial::Leaving),
            () if !self.formed() => Err(Denial::NotReady),
            () => Ok(()),
        }
    }

    /// What stands under this name, as far as this node knows.
    fn standing(&self, role: &str) -> Option<RoleSpec> {
        let value = self.store.get(self.work.roles_table(), role.as_bytes())?;
        wire::decode(&value).ok()
    }

    /// Whether the store took it.
    fn write_role(&mut self, spec: &RoleSpec) -> bool {
        let table = self.work.roles_table().clone();
        let wrote = self.store.put(self.now, &table, spec.name.as_bytes(), &wire::encode(spec)).is_ok();
        self.stats.own_writes_refused += u64::from(!wrote);
        self.work.note_row(&table, &Key::from(spec.name.as_bytes()));
        wrote
    }
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

    fn gate(count: u32, revision: u64) -> RoleSpec {
        RoleSpec::new("gate").count(count).revision(revision)
    }

    #[test]
    fn each_change_is_found_once_and_only_the_lower_revision_is_answered() {
        let mut registry = Registry::new(&[gate(1, 1)]);
        let differs = |standing: RoleSpec| {
            vec![Finding::Differs { standing: Box::new(standing), declared: Box::new(gate(1, 1)) }]
        };
        let outdone = || [Finding::Outdone(Box::new(gate(1, 1)))];
        assert_eq!(registry.look(&[]), [], "it was not written yet");
        assert_eq!(registry.look(&[gate(1, 1)]), []);
        for standing in [gate(2, 1), gate(2, 2), gate(3, 2)] {
            assert_eq!(registry.look(std::slice::from_ref(&standing)), differs(standing.clone()));
            assert_eq!(registry.look(&[standing]), [], "said once");
        }
        assert_eq!(registry.look(&[gate(2, 0)]), outdone());
        assert_eq!(registry.look(&[gate(2, 0)]), [], "written once");
        assert_eq!(registry.look(&[gate(1, 1)]), []);
        assert_eq!(registry.look(&[gate(2, 0)]), outdone(), "and again after a change");
    }

    #[test]
    fn who_sees_a_role_removed_declares_it_no_more() {
        let mut registry = Registry::new(&[gate(1, 7)]);
        registry.look(&[gate(1, 7)]);
        assert_eq!(registry.look(&[RoleSpec::new("lamp")]), []);
        assert_eq!(registry.look(&[gate(2, 0)]), [], "added again, of whatever revision");
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

    #[test]
    fn roles_are_added_and_removed_and_that_twice_is_that_once() {
        let mut engine = engine(true);
        assert_eq!(engine.add_role(gate(1, 1)), Ok(true));
        assert_eq!(engine.add_role(gate(1, 1)), Ok(false));
        assert_eq!(engine.add_role(gate(2, 1)), Ok(true), "the later of equal revisions");
        let older = Denial::OlderRole { role: "gate".to_owned(), revision: 0, standing: 1 };
        assert_eq!(engine.add_role(gate(3, 0)), Err(older));
        assert_eq!(
            engine.add_role(gate(0, 1)),
            Err(Denial::Role(RoleSpecError::CountZero { role: "gate".to_owned() }))
        );
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), [gate(2, 1)]);
        assert_eq!(engine.remove_role("gate"), Ok(true));
        assert_eq!(engine.remove_role("gate"), Ok(false));
        assert_eq!(engine.remove_role(""), Ok(false));
        engine.handle(NOW, Input::StoreChanged);
        assert_eq!(stands(&engine), []);
        assert_eq!(engine.add_role(gate(3, 0)), Ok(true), "a removed role can be added again, of any revision");
    }

    #[test]
    fn a_command_is_answered_in_the_turn_in_which_the_status_shows_it() {
        let mut engine = engine(true);
        let add = Command::AddRole { request: 7, spec: Box::new(gate(1, 0)) };
        engine.handle(NOW, Input::Command(add));
        assert_eq!(stands(&engine), [gate(1, 0)]);
        let reply = std::iter::from_fn(|| engine.poll_output())
            .find_map(|output| if let Output::Reply { request: 7, reply } = output { Some(reply) } else { None });
        assert_eq!(reply, Some(Reply::Role { changed: true }));
    }

    #[test]
    fn before_it_is_ready_and_after_it_left_a_node_changes_no_roles() {
        let mut joining = engine(false);
        assert_eq!(joining.add_role(gate(1, 0)), Err(Denial::NotReady));
        assert_eq!(joining.remove_role("gate"), Err(Denial::NotReady));
        let mut leaving = engine(true);
        leaving.handle(NOW, Input::Command(Command::Leave { request: 1, patience_ms: 1_000 }));
        assert_eq!(leaving.add_role(gate(1, 0)), Err(Denial::Leaving));
    }

    #[test]
    fn a_lower_revision_that_came_later_is_overwritten_and_another_is_told_of() {
        let mut engine = engine(true);
        engine.add_role(gate(1, 1)).unwrap();
        engine.handle(NOW, Input::StoreChanged);
        told(&mut engine);
        // As another node would, that did not know better.
        let put = |engine: &mut Engine, spec: &RoleSpec| {
            let table = engine.work.roles_table().clone();
            engine.store.put(NOW, &table, b"gate", &wire::encode(spec)).unwrap();
            engine.handle(NOW, Input::StoreChanged);
            told(engine).into_iter().filter(|event| matches!(event, Event::RoleSpecDiffers { .. })).collect::<Vec<_>>()
        };
        assert_eq!(put(&mut engine, &gate(2, 0)), []);
        assert_eq!(stands(&engine), [gate(1, 1)]);
        let (standing, declared) = (Box::new(gate(2, 1)), Box::new(gate(1, 1)));
        let expected = Event::RoleSpecDiffers { role: "gate".to_owned(), standing, declared };
        assert_eq!(put(&mut engine, &gate(2, 1)), [expected]);
        assert_eq!(put(&mut engine, &gate(2, 1)), [], "once");
        assert_eq!(stands(&engine), [gate(2, 1)]);
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
