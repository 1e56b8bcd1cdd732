//! The processes, from outside: commands go in by a line, answers come out by a line, a word and numbers.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One node, in its own process.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(cluster: &str, node: &str) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", cluster, node]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or("no way to talk to a node")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no way to hear a node")?);
        Ok(Self { child, orders, answers })
    }

    pub(crate) fn ask(&mut self, order: &str) -> Result<(), Box<dyn Error>> {
        Ok(writeln!(self.orders, "{order}")?)
    }

    /// The numbers of the next line, which must begin with this word.
    pub(crate) fn answer(&mut self, word: &str) -> Result<Vec<u64>, Box<dyn Error>> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        if words.next() != Some(word) {
            return Err(format!("a node was to say {word:?} and said {line:?}").into());
        }
        words.map(|number| Ok(number.parse()?)).collect()
    }

    /// When a node was started, first saw another or one of its rows, and was ready.
    pub(crate) fn began(&mut self) -> Result<Vec<u64>, Box<dyn Error>> {
        self.answer("ready")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some nodes that see each other. The first is the one that writes.
pub(crate) struct Cluster {
    name: String,
    nodes: Vec<Process>,
}

impl Cluster {
    pub(crate) fn start(nodes: u64) -> Result<Self, Box<dyn Error>> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("replicate-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let mut cluster = Self { name, nodes: Vec::new() };
        for _ in 0..nodes {
            cluster.add(Process::began)?;
        }
        for node in &mut cluster.nodes {
            node.ask(&format!("meet {nodes}"))?;
            node.answer("met")?;
        }
        Ok(cluster)
    }

    /// Starts one more node, and hears from it.
    pub(crate) fn add<T>(
        &mut self,
        hear: impl FnOnce(&mut Process) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        let mut process = Process::start(&self.name, &format!("node-{}", self.nodes.len()))?;
        let heard = hear(&mut process);
        self.nodes.push(process);
        heard
    }

    /// The one that writes, and the others.
    pub(crate) fn split(&mut self) -> (&mut Process, &mut [Process]) {
        let (first, others) = self.nodes.split_first_mut().expect("a cluster has a node");
        (first, others)
    }

    /// Waits until every node holds the last of so many writes to each of so many keys; returns when the last one did.
    pub(crate) fn all_hold(&mut self, writes: u64, keys: u64) -> Result<u64, Box<dyn Error>> {
        self.nodes.iter_mut().try_for_each(|node| node.ask(&format!("hold {writes} {keys}")))?;
        let mut end = 0;
        for node in &mut self.nodes {
            let answer = node.answer("held")?;
            let (held, since) = (answer[0], answer[1]);
            if held != keys.min(writes) {
                return Err(format!("a node holds the last write to {held} of {keys} keys").into());
            }
            end = since.max(end);
        }
        Ok(end)
    }
}
