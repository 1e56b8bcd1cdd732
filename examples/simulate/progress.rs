//! A line that says how far it is.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) seeds: u64,
    pub(crate) failed: u64,
    pub(crate) virtual_time: Duration,
}

/// Draws the line, over itself on a terminal and every tenth part of the way elsewhere.
pub(crate) struct Progress {
    seeds: u64,
    start: Instant,
    drawn: Option<Instant>,
    tenths: u64,
    terminal: bool,
}

const REDRAWN: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

impl Progress {
    pub(crate) fn new(seeds: u64) -> Self {
        Self { seeds, start: Instant::now(), drawn: None, tenths: 0, terminal: stderr().is_terminal() }
    }

    pub(crate) fn show(&mut self, done: Done) {
        let tenths = done.seeds * 10 / self.seeds;
        let due = match self.terminal {
            true => self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAWN) || done.seeds == self.seeds,
            false => tenths > self.tenths,
        };
        if !due {
            return;
        }
        (self.drawn, self.tenths) = (Some(Instant::now()), tenths);
        let filled = done.seeds * WIDTH / self.seeds;
        let bar: String = (0..WIDTH).map(|at| if at < filled { '#' } else { '-' }).collect();
        let (before, after) = if self.terminal { ("\r", "") } else { ("", "\n") };
        let mut out = stderr().lock();
        // There is nothing to do about a terminal that is gone.
        let _ = write!(out, "{before}[{bar}] {}{after}", self.words(done));
        let _ = out.flush();
    }

    /// Leaves the line as it is and goes on below it.
    pub(crate) fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }

    pub(crate) fn words(&self, done: Done) -> String {
        let real = self.start.elapsed().as_secs_f64().max(1e-9);
        format!(
            "{}/{} seeds, {:.1} seeds/s, virtual over real time {:.0}, {} failed",
            done.seeds,
            self.seeds,
            done.seeds as f64 / real,
            done.virtual_time.as_secs_f64() / real,
            done.failed
        )
    }
}
