//! What must hold in a cluster of supervisors: while it changes, and at rest.

use super::*;

impl World {
    /// At most as many instances as asked for, while nobody was parted.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.parted {
            return Ok(());
        }
        for (role, limit) in &self.limit {
            let running = self.running(role) - self.yielding(role);
            if running > *limit {
                return Err(format!("step {}: {running} instances of {role}, {limit} wanted", self.step));
            }
        }
        Ok(())
    }

    /// Left alone, exactly the right number runs, and no other claim than theirs is left.
    pub(in crate::roles::supervisor) fn rest(&mut self) -> Result<(), String> {
        self.apply(&Op::Heal)?;
        for _ in 0..60 {
            self.run(50)?;
            if self.complaint().is_none() {
                self.limit = self.specs.iter().map(|spec| (spec.name.clone(), spec.count as usize)).collect();
                self.parted = false;
                return Ok(());
            }
        }
        Err(self.complaint().unwrap_or_default())
    }

    fn complaint(&self) -> Option<String> {
        if let Some((id, _)) =
            self.nodes.iter().find(|(_, n)| n.agreed_on.is_none_or(|(_, at)| self.step - at < SETTLE))
        {
            return Some(format!("{id} is not converged"));
        }
        for role in ROLES {
            let spec = self.specs.iter().find(|spec| spec.name == role);
            let able = spec.map_or(0, |s| self.nodes.keys().filter(|id| kinds(**id).contains(&s.kind)).count());
            let wanted = able.min(spec.map_or(0, |s| s.count as usize));
            if self.running(role) != wanted {
                return Some(format!("{} instances of {role}, {wanted} wanted", self.running(role)));
            }
            for (id, node) in &self.nodes {
                for holding in node.sees().1.iter().filter(|h| h.role == role) {
                    let runs = self.nodes[&holding.holder].tasks.get(role) == Some(&holding.claim.token);
                    if !runs || holding.claim.state != ClaimState::Running {
                        return Some(format!("{id} sees {holding:?}"));
                    }
                }
            }
        }
        None
    }
}
