//! Running a test body on virtual time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::TestCluster;
use super::stage::Shared;

/// A body that has not ended by then waits for what never comes.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// With this in the environment, only that seed is run.
const SEED: &str = "UNISONO_SEED";

impl TestCluster {
    /// Runs a test body on a fresh cluster and a runtime of its own, whose time is virtual: when nobody has anything to do,
    /// it moves on to the next moment at which somebody does. Returns what the body returns.
    ///
    /// If it panics, the seed and the command that repeats it are printed. A body that takes more than a day of virtual
    /// time, [`TestCluster::advance`] not counted, is taken to hang, and panics.
    ///
    /// # Panics
    ///
    /// If the body does, or the simulation; and within another tokio runtime: use [`TestCluster::new`] there.
    pub fn run<F: Future>(seed: u64, body: impl FnOnce(Self) -> F) -> F::Output {
        let repeat = Repeat { seed, chosen: false };
        let output = run(seed, body);
        std::mem::forget(repeat);
        output
    }

    /// [`TestCluster::run`] for each seed in turn. With `UNISONO_SEED=17` in the environment, only for that one.
    ///
    /// # Panics
    ///
    /// As [`TestCluster::run`], at the first seed that fails.
    pub fn run_seeds<F: Future<Output = ()>>(seeds: impl IntoIterator<Item = u64>, mut body: impl FnMut(Self) -> F) {
        let chosen = std::env::var(SEED).ok().map(|text| match text.parse() {
            Ok(seed) => seed,
            Err(_) => panic!("{SEED} is {text:?}; it has to be a number"),
        });
        let seeds: Vec<u64> = chosen.map_or_else(|| seeds.into_iter().collect(), |seed| vec![seed]);
        for seed in seeds {
            let repeat = Repeat { seed, chosen: true };
            run(seed, &mut body);
            std::mem::forget(repeat);
        }
    }
}

fn run<F: Future>(seed: u64, body: impl FnOnce(TestCluster) -> F) -> F::Output {
    assert!(
        tokio::runtime::Handle::try_current().is_err(),
        "there is a tokio runtime here already; make it one with `start_paused = true` and use `TestCluster::new`"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs nothing that could be missing");
    runtime.block_on(async {
        let cluster = TestCluster::new(seed);
        let shared = Arc::clone(&cluster.shared);
        let body = body(cluster);
        tokio::select! {
            biased;
            why = shared.when_broken() => panic!("seed {seed}: the simulation broke: {why}"),
            output = body => output,
            () = shared.overdue() => panic!("seed {seed}: the body did not end within {LIMIT:?} of virtual time"),
        }
    })
}

impl Shared {
    /// Waits until a test body has taken too long.
    async fn overdue(&self) {
        let begin = tokio::time::Instant::now();
        loop {
            let due = begin + LIMIT + self.advanced.get();
            if tokio::time::Instant::now() >= due {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// Dropped by a panic, it says how to repeat that.
struct Repeat {
    seed: u64,
    chosen: bool,
}

impl Drop for Repeat {
    #[expect(clippy::print_stderr, reason = "beside the message of the panic")]
    fn drop(&mut self) {
        let Self { seed, chosen } = self;
        // The test harness names threads after their tests.
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
        let choice = if *chosen { format!("{SEED}={seed} ") } else { String::new() };
        eprintln!("seed {seed}; repeat it with: {choice}cargo test {test}");
    }
}
