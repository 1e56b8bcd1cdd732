//! An explanation as a table for people.

use std::fmt;

use super::able::Obstacle;
use super::board::{Chosen, GivenUp};
use super::explain::{Explanation, HeldBack, Weighed};
use super::{ClaimState, PartitionPolicy};

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incumbent => write!(f, "has it and keeps it"),
            Self::Reserved => write!(f, "the role is being handed over to it"),
            Self::Placed => write!(f, "the best place for a missing instance"),
            Self::Shed { from } => write!(f, "relieves {from}, which has too much"),
            Self::Spread { from } => write!(f, "instead of {from}, whose zone has more of them"),
            Self::MadeWay { from, role } => write!(f, "instead of {from}, where it makes way for {role}"),
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "gives it up: there are more than wanted"),
            Self::Beside { role } => write!(f, "gives it up: must not be beside {role}, which is older"),
            Self::Shed { to } => write!(f, "gives it to {to}: has too much"),
            Self::Spread { to } => write!(f, "gives it to {to}: its zone has more of them"),
            Self::MakesWay { to, role } => write!(f, "gives it to {to}: makes way for {role}"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => write!(f, "cannot build the kind"),
            Self::Leaves => write!(f, "leaves the cluster"),
            Self::Unready => write!(f, "came back too often and waits"),
            Self::Label { label, wanted, has: Some(has) } => write!(f, "has {label} = {has}, not {wanted}"),
            Self::Label { label, wanted, has: None } => write!(f, "has no label {label} = {wanted}"),
            Self::Failed { why, until_ms } => write!(f, "failed ({why}), is not asked until {until_ms} ms"),
            Self::Beside { role } => write!(f, "must not be beside {role}"),
            Self::SameNode => write!(f, "another run of the node has it"),
        }
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, nodes, roster } = self;
        match policy {
            PartitionPolicy::Overlap => write!(f, "{nodes} nodes are in view"),
            PartitionPolicy::Majority => write!(f, "{nodes} nodes of {roster} are in view, and no majority"),
            PartitionPolicy::Quorum(least) => write!(f, "{nodes} nodes are in view, fewer than its quorum of {least}"),
        }
    }
}

impl Weighed {
    /// Why it has the role, or has it not.
    fn reason(&self, full: bool) -> String {
        if let Some(chosen) = &self.chosen {
            return chosen.to_string();
        }
        if self.waits {
            return "has it next, once a role that must not be beside it has gone".to_owned();
        }
        if let Some(given_up) = &self.given_up {
            return given_up.to_string();
        }
        self.obstacle.as_ref().map_or_else(
            || if full { "as many run as are wanted".to_owned() } else { "could take it".to_owned() },
            Obstacle::to_string,
        )
    }

    fn claims(&self) -> String {
        let Some(claim) = &self.claim else { return "-".to_owned() };
        let pinned = if claim.pinned { ", pinned" } else { "" };
        match claim.state {
            // The end and the cause stand in the reason.
            ClaimState::Failed { .. } => claim.state.word().to_owned(),
            _ => format!("{}{pinned}, {}", claim.state.word(), claim.token),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, fingerprint, view, roster, wanted, assigned, cap, .. } = self;
        let state = if self.converged { "converged" } else { "not converged" };
        writeln!(
            f,
            "role {} ({}): {} asked for, {wanted} can run, {assigned} assigned",
            spec.name, spec.kind, spec.count
        )?;
        if let Some(held_back) = &self.held_back {
            writeln!(f, "held back: {held_back}")?;
        }
        let names: Vec<&str> = view.iter().map(|node| node.as_str()).collect();
        writeln!(f, "view {fingerprint}, {state}, {} nodes of {roster}: {}", view.len(), names.join(" "))?;
        let mut lines = vec![["", "node", "hosts", "load", "cost", "zone", "claim", "reason"].map(str::to_owned)];
        for one in &self.candidates {
            let zone = match (&spec.spread_over, &one.zone) {
                (None, _) => "-".to_owned(),
                (Some(_), zone) => format!("{} ({})", zone.as_deref().unwrap_or("none"), one.in_zone),
            };
            let mark = if one.chosen.is_some() { "*" } else { "" };
            lines.push([
                mark.to_owned(),
                one.node.to_string(),
                format!("{}/{cap}", one.hosted),
                one.load.to_string(),
                format!("{}.{:03}", one.cost >> 24, ((one.cost & 0xff_ffff) * 1_000) >> 24),
                zone,
                one.claims(),
                one.reason(assigned >= wanted),
            ]);
        }
        let wide = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..7).map(wide).collect();
        for line in &lines {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line[7])?;
        }
        Ok(())
    }
}
