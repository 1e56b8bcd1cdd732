//! Runs trials, several at a time, and tells of those that failed.

use std::fs::File;
use std::io::BufWriter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use unisono::testkit::{Report, Trial};

use crate::options::Options;
use crate::progress::{Done, Progress};

/// A trial that failed: its seed, and its story.
struct Failure {
    seed: u64,
    story: String,
}

/// What came of all trials together.
#[derive(Default)]
struct Sum {
    done: Done,
    writes: usize,
    collected: u64,
    resurrected: u64,
    losses_judged: u64,
    calm_judged: u64,
    steps: u64,
    slowest: Duration,
    /// The trace hashes of all trials; equal whichever thread ran which.
    hash: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.done.seeds += 1;
        self.done.virtual_time += report.elapsed;
        self.writes += report.writes;
        self.collected += report.collected;
        self.resurrected += report.resurrected;
        self.losses_judged += report.losses_judged;
        self.calm_judged += report.calm_judged;
        self.steps += report.steps;
        self.slowest = self.slowest.max(report.healed_after);
        self.hash = self.hash.wrapping_add(report.trace_hash);
    }
}

/// The outcome of a seed, or the story of what went wrong.
type Outcome = (u64, Result<Report, String>);

pub(crate) fn run(options: &Options, threads: usize, failures: usize, trace: Option<&str>) -> Result<(), String> {
    if let Some(file) = trace {
        record(options, file)?;
    }
    let last_words = LastWords::listen();
    let next = AtomicU64::new(options.first);
    let end = options.first + options.seeds;
    let (sender, outcomes) = mpsc::channel();
    let mut progress = Progress::new(options.seeds);
    let mut sum = Sum::default();
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, last_words) = (sender.clone(), &next, &last_words);
            scope.spawn(move || work(options, last_words, next, &sender));
        }
        drop(sender);
        for (seed, outcome) in outcomes {
            match outcome {
                Ok(report) => sum.add(&report),
                Err(story) => {
                    sum.done.seeds += 1;
                    sum.done.failed += 1;
                    progress.end();
                    eprintln!("seed {seed}: {story}\nrepeat it: {}", repeat(options, seed));
                    failed.push(Failure { seed, story });
                }
            }
            progress.show(sum.done);
            if failed.len() >= failures {
                next.store(end, Ordering::Relaxed);
                break;
            }
        }
    });
    progress.end();
    println!("{}", progress.words(sum.done));
    println!(
        "{} steps, {} writes, {} removed rows collected, {} came back where parts had evicted each other, \
         healed at the latest after {:?}, \
         {} times looked at what the loss of a member moved and {} times at what nothing did, trace hash {:016x}",
        sum.steps,
        sum.writes,
        sum.collected,
        sum.resurrected,
        sum.slowest,
        sum.losses_judged,
        sum.calm_judged,
        sum.hash
    );
    summary(&failed)
}

/// Runs one trial after the other, until there are no more or nobody wants to hear of them.
fn work(options: &Options, last_words: &LastWords, next: &AtomicU64, sender: &mpsc::Sender<Outcome>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= options.first + options.seeds {
            return;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| trial(options, seed).run()));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|violation| violation.story()),
            Err(_) => Err(last_words.said()),
        };
        if sender.send((seed, outcome)).is_err() {
            return;
        }
    }
}

/// What a trial that panicked said, to be told with its seed instead of in between.
struct LastWords(Arc<Mutex<Vec<(ThreadId, String)>>>);

impl LastWords {
    fn listen() -> Self {
        let words = Arc::<Mutex<Vec<(ThreadId, String)>>>::default();
        let hook = Arc::clone(&words);
        std::panic::set_hook(Box::new(move |panic| {
            let mut words = hook.lock().unwrap_or_else(PoisonError::into_inner);
            words.push((std::thread::current().id(), panic.to_string()));
        }));
        Self(words)
    }

    fn said(&self) -> String {
        let thread = std::thread::current().id();
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = words.iter().rposition(|(spoke, _)| *spoke == thread);
        said.map(|at| words.swap_remove(at).1).unwrap_or_default()
    }
}

fn summary(failed: &[Failure]) -> Result<(), String> {
    if failed.is_empty() {
        return Ok(());
    }
    let lines = failed.iter().map(|failure| {
        let first_line = failure.story.lines().next().unwrap_or_default();
        format!("  seed {}: {first_line}\n", failure.seed)
    });
    Err(format!("{} trials failed:\n{}", failed.len(), lines.collect::<String>()))
}

fn trial(options: &Options, seed: u64) -> Trial {
    let trial = Trial::new(seed).nodes(options.nodes);
    match options.plan {
        Some(plan) => trial.plan(plan),
        None => trial,
    }
}

fn repeat(options: &Options, seed: u64) -> String {
    let plan = options.plan.map(|plan| format!(" --plan {}", plan.name())).unwrap_or_default();
    let nodes = options.nodes;
    format!("cargo run --release --example simulate -- --nodes {nodes}{plan} --first {seed} --seeds 1")
}

fn record(options: &Options, file: &str) -> Result<(), String> {
    let (outcome, trace) = trial(options, options.first).record();
    let write = || -> Result<(), Box<dyn std::error::Error>> { Ok(trace.write(BufWriter::new(File::create(file)?))?) };
    write().map_err(|error| format!("{file}: {error}"))?;
    println!("{file}: {} steps of seed {}", trace.records.len(), options.first);
    outcome.map(drop).map_err(|violation| violation.story())
}
