//! Node processes, what they say, and waiting for it.
//!
//! ```text
//!   larry ──stdout──▶ reader ─┐
//!   gary  ──stdout──▶ reader ─┼─▶ one queue of (node, time of receipt, line) ─▶ Seen, per node ─▶ until(condition)
//!   harry ──stdout──▶ reader ─┘
//! ```
//!
//! Nothing here sleeps: a wait ends with the line that fulfils its condition, or with its timeout, which tells what was
//! seen instead. Processes die with the stage, by their own handles.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::line::{Line, Parked};
use unisono::Event;

/// How long a command may take; `converged` gives up by itself after 10 s and says why.
const ANSWER: Duration = Duration::from_secs(15);

/// The role that admits cars; all others are gates.
const ATTENDANT: &str = "attendant";

/// Why something that was expected did not happen.
pub(crate) type Failure = String;

/// What a node has said since it was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// It may write.
    pub(crate) ready: bool,
    /// With whom it agreed last.
    pub(crate) view: BTreeSet<String>,
    /// The gates that run there now.
    pub(crate) gates: BTreeSet<String>,
    /// The attendant runs there now.
    pub(crate) attends: bool,
    /// Whom it took for dead and has not seen since.
    pub(crate) down: BTreeSet<String>,
    /// Whom it ever suspected or took for dead.
    pub(crate) accused: BTreeSet<String>,
    /// The cars inside, and how long after their entry this node knew of them.
    pub(crate) cars: BTreeMap<String, Duration>,
    /// It said that there are more cars than spaces.
    pub(crate) overfull: bool,
    /// Its last answer to a command.
    pub(crate) answer: Option<Line>,
    /// Its output ended.
    pub(crate) ended: bool,
}

/// What all nodes have said, by node.
pub(crate) type Seens = BTreeMap<String, Seen>;

impl Seen {
    fn take(&mut self, line: Line) {
        match line {
            Line::Ready { .. } => self.ready = true,
            Line::Event { event } => self.take_event(event),
            Line::Entered { plate, entered_us, seen_us, .. } => {
                self.cars.insert(plate, Duration::from_micros(seen_us.saturating_sub(entered_us)));
            }
            Line::Exited { plate } => {
                self.cars.remove(&plate);
            }
            Line::Overfull { .. } => self.overfull = true,
            Line::Missed { .. } | Line::Gone { .. } => {}
            answer => self.answer = Some(answer),
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Converged { view } => self.view = view.iter().map(ToString::to_string).collect(),
            Event::RoleStarted { role, .. } if role == ATTENDANT => self.attends = true,
            Event::RoleStopped { role, .. } if role == ATTENDANT => self.attends = false,
            Event::RoleStarted { role, .. } => {
                self.gates.insert(role);
            }
            Event::RoleStopped { role, .. } => {
                self.gates.remove(&role);
            }
            Event::Down { node, .. } => {
                self.accused.insert(node.to_string());
                self.down.insert(node.to_string());
            }
            Event::Suspected { node, .. } => {
                self.accused.insert(node.to_string());
            }
            Event::Joined { node, .. } | Event::Rejoined { node, .. } => {
                self.down.remove(node.as_str());
            }
            _ => {}
        }
    }
}

struct Actor {
    process: Child,
    stdin: ChildStdin,
    run: u64,
}

struct Heard {
    node: String,
    run: u64,
    at: Instant,
    /// `None`: the output ended.
    line: Option<Result<Line, String>>,
}

/// The processes.
pub(crate) struct Stage {
    actors: BTreeMap<String, Actor>,
    seen: Seens,
    runs: u64,
    heard: mpsc::UnboundedReceiver<Heard>,
    ears: mpsc::UnboundedSender<Heard>,
}

impl Stage {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let (ears, heard) = mpsc::unbounded_channel();
        Self { actors: BTreeMap::new(), seen: BTreeMap::new(), runs: 0, heard, ears }
    }

    /// Starts a node; the command must make it say JSON lines.
    pub(crate) fn start(&mut self, node: &str, mut command: Command) -> Result<Instant, Failure> {
        let at = Instant::now();
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| format!("{node} cannot be started: {why}"))?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(format!("{node} has no pipes"));
        };
        self.runs += 1;
        let run = self.runs;
        self.seen.insert(node.to_owned(), Seen::default());
        self.actors.insert(node.to_owned(), Actor { process, stdin, run });
        let (ears, node) = (self.ears.clone(), node.to_owned());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                let line = serde_json::from_str(&text).map_err(|why| format!("{node} said {text:?}: {why}"));
                let _ = ears.send(Heard { node: node.clone(), run, at: Instant::now(), line: Some(line) });
            }
            let _ = ears.send(Heard { node, run, at: Instant::now(), line: None });
        });
        Ok(at)
    }

    /// What the nodes have said, by node.
    pub(crate) fn seen(&self) -> &Seens {
        &self.seen
    }

    /// Waits for a condition, and returns when the line that fulfilled it was received. Nobody may end meanwhile.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        condition: impl Fn(&Seens) -> bool,
    ) -> Result<Instant, Failure> {
        let give_up = tokio::time::Instant::now() + patience;
        let mut at = Instant::now();
        while !condition(&self.seen) {
            if let Some((node, _)) = self.seen.iter().find(|(_, seen)| seen.ended) {
                return Err(format!("{node} ended, while this was waited for: {what}"));
            }
            match tokio::time::timeout_at(give_up, self.heard.recv()).await {
                Ok(Some(heard)) => at = self.take(heard)?,
                _ => return Err(format!("not within {patience:?}: {what}; seen: {:#?}", self.seen)),
            }
        }
        Ok(at)
    }

    fn take(&mut self, heard: Heard) -> Result<Instant, Failure> {
        // The pipe of a killed process may hold lines of a run that is over.
        let is_current = self.actors.get(&heard.node).is_some_and(|actor| actor.run == heard.run);
        if let Some(seen) = self.seen.get_mut(&heard.node).filter(|_| is_current) {
            match heard.line {
                Some(line) => seen.take(line?),
                None => seen.ended = true,
            }
        }
        Ok(heard.at)
    }

    /// Types a command at a node and waits for its answer.
    pub(crate) async fn ask(&mut self, node: &str, command: &str) -> Result<Line, Failure> {
        self.tell(node, command).await?;
        self.answer(node, command).await
    }

    /// Types a command at a node.
    pub(crate) async fn tell(&mut self, node: &str, command: &str) -> Result<(), Failure> {
        let (Some(actor), Some(seen)) = (self.actors.get_mut(node), self.seen.get_mut(node)) else {
            return Err(format!("{node} was not started"));
        };
        seen.answer = None;
        actor.stdin.write_all(format!("{command}\n").as_bytes()).await.map_err(|why| format!("{node}: {why}"))
    }

    /// Waits for the answer to the command that was typed last at a node.
    pub(crate) async fn answer(&mut self, node: &str, command: &str) -> Result<Line, Failure> {
        let answered = |seen: &Seens| seen[node].answer.is_some() || seen[node].ended;
        self.until(&format!("{node} answers `{command}`"), ANSWER, answered).await?;
        let answer = self.seen.get_mut(node).and_then(|seen| seen.answer.take());
        answer.ok_or_else(|| format!("{node} ended instead of answering `{command}`"))
    }

    /// Types a command that must be carried out.
    pub(crate) async fn order(&mut self, node: &str, command: &str) -> Result<(), Failure> {
        match self.ask(node, command).await? {
            Line::Done { .. } => Ok(()),
            other => Err(format!("{node} was told `{command}` and said: {other}")),
        }
    }

    /// Waits until these nodes agree on who they are, hold the same, and run each gate exactly once with no move ahead.
    pub(crate) async fn settle(
        &mut self,
        what: &str,
        patience: Duration,
        nodes: &[&str],
        gates: u32,
    ) -> Result<Instant, Failure> {
        self.until(&format!("{what}: {nodes:?} agree"), patience, |seen| agree(seen, nodes)).await?;
        for node in nodes {
            self.order(node, "converged").await?;
        }
        let at = Instant::now();
        let once = format!("{what}: each of {gates} gates runs once on {nodes:?}");
        Ok(self.until(&once, patience, |seen| run_once(seen, nodes, gates)).await?.max(at))
    }

    /// Calls every gate from a node, and returns how long the slowest took; all must answer.
    #[allow(dead_code, reason = "not every test calls")]
    pub(crate) async fn roll(&mut self, node: &str, gates: u32) -> Result<Duration, Failure> {
        match self.ask(node, "roll").await? {
            Line::Roll { answered, slowest_us, .. } if answered == Vec::from_iter(1..=gates) => {
                Ok(Duration::from_micros(slowest_us))
            }
            other => Err(format!("{node} called all gates and said: {other}")),
        }
    }

    /// The cars inside, as a node answers.
    pub(crate) async fn lot(&mut self, node: &str) -> Result<Vec<Parked>, Failure> {
        match self.ask(node, "lot").await? {
            Line::Lot { cars, .. } => Ok(cars),
            other => Err(format!("{node} was asked for its lot and said: {other}")),
        }
    }

    /// Kills a node with SIGKILL, and returns when that was.
    pub(crate) async fn kill(&mut self, node: &str) -> Result<Instant, Failure> {
        let mut actor = self.actors.remove(node).ok_or_else(|| format!("{node} was not started"))?;
        self.seen.remove(node);
        let at = Instant::now();
        actor.process.kill().await.map_err(|why| format!("{node} cannot be killed: {why}"))?;
        Ok(at)
    }

    /// Sends a signal to a node, as `kill -STOP` does, and returns when that was.
    #[allow(dead_code, reason = "the demo only kills")]
    pub(crate) async fn signal(&self, node: &str, signal: &str) -> Result<Instant, Failure> {
        let pid = self.actors.get(node).and_then(|actor| actor.process.id());
        let pid = pid.ok_or_else(|| format!("{node} does not run"))?;
        let at = Instant::now();
        let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().await;
        match sent {
            Ok(status) if status.success() => Ok(at),
            result => Err(format!("{node} cannot be sent {signal}: {result:?}")),
        }
    }

    /// Tells a node to leave, and waits for its process to end well.
    pub(crate) async fn leave(&mut self, node: &str) -> Result<(), Failure> {
        self.begin_leave(node).await?.ended().await
    }

    /// Tells a node to leave. What it says from here on is not heard any more.
    pub(crate) async fn begin_leave(&mut self, node: &str) -> Result<Leaver, Failure> {
        let mut actor = self.actors.remove(node).ok_or_else(|| format!("{node} was not started"))?;
        self.seen.remove(node);
        actor.stdin.write_all(b"leave\n").await.map_err(|why| format!("{node}: {why}"))?;
        Ok(Leaver { node: node.to_owned(), process: actor.process, _stdin: actor.stdin })
    }
}

/// A node that was told to leave.
pub(crate) struct Leaver {
    node: String,
    process: Child,
    _stdin: ChildStdin,
}

impl Leaver {
    /// Whether its process is still there.
    #[allow(dead_code, reason = "not every test looks")]
    pub(crate) fn is_there(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits for its process to end well.
    pub(crate) async fn ended(mut self) -> Result<(), Failure> {
        let node = self.node;
        match tokio::time::timeout(Duration::from_secs(20), self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(result) => Err(format!("{node} left badly: {result:?}")),
            Err(_) => Err(format!("{node} was told to leave and did not end within 20 s")),
        }
    }
}

/// Whether each of these nodes last agreed on exactly this view.
pub(crate) fn agree(seen: &Seens, nodes: &[&str]) -> bool {
    let view: BTreeSet<String> = nodes.iter().map(|&node| node.to_owned()).collect();
    nodes.iter().all(|&node| seen.get(node).is_some_and(|seen| seen.ready && seen.view == view))
}

/// Whether each of these gates runs on exactly one of these nodes.
pub(crate) fn run_once(seen: &Seens, nodes: &[&str], gates: u32) -> bool {
    (1..=gates).all(|gate| {
        let role = format!("gate-{gate}");
        nodes.iter().filter(|&&node| seen.get(node).is_some_and(|seen| seen.gates.contains(&role))).count() == 1
    })
}

/// Whether each of these nodes has this car inside.
pub(crate) fn all_see(seen: &Seens, nodes: &[&str], plate: &str) -> bool {
    nodes.iter().all(|&node| seen.get(node).is_some_and(|seen| seen.cars.contains_key(plate)))
}
