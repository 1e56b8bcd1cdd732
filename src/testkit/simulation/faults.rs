//! What is done to nodes.

use std::sync::Arc;
use std::time::Duration;

use super::Simulation;
use crate::engine::{Command, Engine, Input};
use crate::id::NodeId;
use crate::roles::RoleSpec;
use crate::signals::{Board, Gauge, SignalKind, Spec};
use crate::testkit::host::{NodeIndex, NodeOptions};
use crate::testkit::trace::Step;

/// A signal that an engine looks at from now on.
pub(in crate::testkit) fn gauge(engine: &mut Engine) -> Arc<Gauge> {
    let board = Arc::new(Board::default());
    let gauges = board.register(&[Spec::new("noise", SignalKind::Amount, 1.0)]);
    engine.set_board(board);
    gauges.expect("a board has room for one signal").remove(0)
}

impl Simulation {
    /// Ends the process of a node at once; its host goes on, closes the streams and refuses connections.
    pub fn kill(&mut self, node: NodeIndex) {
        for end in self.end_process(node) {
            self.hang_up(end);
        }
    }

    /// Pulls the plug of a host: its process is gone and nobody hears of that. [`Self::restart`] plugs it in again.
    pub fn unplug(&mut self, node: NodeIndex) {
        self.end_process(node);
        let life = self.hosts[node.0].life;
        self.drop_ends(node.0, life);
        self.hosts[node.0].plugged = false;
    }

    fn end_process(&mut self, node: NodeIndex) -> Vec<super::End> {
        let now = self.now_at(node);
        let host = &mut self.hosts[node.0];
        if host.engine.take().is_some()
            && let Some(recorder) = &mut self.recorder
        {
            recorder.step(self.now, now, node.0, || Step::End);
        }
        host.end();
        let life = host.life;
        self.ends_of(node.0, life)
    }

    /// Starts a new process on the host of a node, which remembers nothing.
    pub fn restart(&mut self, node: NodeIndex) {
        self.kill(node);
        self.hosts[node.0].plugged = true;
        self.boot(node.0);
        // Whoever still holds a stream to the former process finds out now.
        self.flow_again();
    }

    /// The same under another name, as where every process of a host has a name of its own.
    ///
    /// # Panics
    ///
    /// If the name is no [`NodeId`].
    pub fn restart_as(&mut self, node: NodeIndex, name: &str) {
        self.hosts[node.0].options.node = NodeId::new(name).expect("the name of a simulated node is well formed");
        self.restart(node);
    }

    /// Lets the process of a node stand still, as a debugger, a virtual machine being moved or a starved scheduler does:
    /// what is sent to it waits in its host's buffers, and 256 datagrams fit.
    pub fn pause(&mut self, node: NodeIndex) {
        self.hosts[node.0].paused = true;
    }

    /// Lets a node go on that stood still: it finds what waited, and then its deadlines.
    pub fn resume(&mut self, node: NodeIndex) {
        let host = &mut self.hosts[node.0];
        if !std::mem::take(&mut host.paused) {
            return;
        }
        let life = host.life;
        for input in std::mem::take(&mut host.backlog) {
            self.schedule(Duration::ZERO, super::Happening::Input { host: node.0, life, input });
        }
        // An alarm that went off meanwhile is set anew.
        self.hosts[node.0].wake_at = None;
        self.set_alarm(node.0);
    }

    /// Sets the wall clock of a node's host: so many milliseconds ahead of true time, or behind. While it runs, this is
    /// a step of its clock.
    pub fn set_skew_ms(&mut self, node: NodeIndex, skew_ms: i64) {
        self.hosts[node.0].options.skew_ms = skew_ms;
    }

    /// Changes what a node is made of, from its next start on.
    pub fn reconfigure(&mut self, node: NodeIndex, change: impl FnOnce(NodeOptions) -> NodeOptions) {
        let options = &mut self.hosts[node.0].options;
        *options = change(options.clone());
    }

    /// What the application of a node measures now: a signal of its own that says how busy it is.
    ///
    /// # Panics
    ///
    /// If the sample is negative or no number.
    pub fn sample(&mut self, node: NodeIndex, value: f64) {
        let now = self.now_at(node);
        let host = &mut self.hosts[node.0];
        let Some(engine) = &mut host.engine else { return };
        if let Some(recorder) = &mut self.recorder {
            recorder.step(self.now, now, node.0, || Step::Sample(value));
        }
        host.gauge.get_or_insert_with(|| gauge(engine)).set(value).expect("a sample is a number of at least 0");
    }

    /// Asks a node for a role, as its application would while it runs; the answer is in [`Self::replies`], under number 1.
    pub fn add_role(&mut self, node: NodeIndex, spec: RoleSpec) {
        self.input(node.0, Duration::ZERO, Input::Command(Command::AddRole { request: 1, spec: Box::new(spec) }));
    }

    /// Asks a node to remove a role; the answer is in [`Self::replies`], under number 1.
    pub fn remove_role(&mut self, node: NodeIndex, role: &str) {
        let role = role.to_owned();
        self.input(node.0, Duration::ZERO, Input::Command(Command::RemoveRole { request: 1, role }));
    }

    /// Asks a node to leave; the answer is in [`Self::replies`], under number 0.
    pub fn leave(&mut self, node: NodeIndex, patience: Duration) {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.input(node.0, Duration::ZERO, Input::Command(Command::Leave { request: 0, patience_ms }));
    }
}
