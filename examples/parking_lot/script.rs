//! The script: three processes, a few cars, and a murder. Every step is an expectation; the first that fails ends it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::figures::{self, Figures};
use crate::options::Options;
use crate::stage::{Failure, Stage, all_see, run_once};

/// How long to wait for any one thing before calling it a failure.
const PATIENCE: Duration = Duration::from_secs(15);

const ALL: [&str; 3] = ["larry", "gary", "harry"];
const WITHOUT_LARRY: [&str; 2] = ["gary", "harry"];

/// Plays the script so many times and prints what it measured.
pub(crate) async fn play(options: &Options, times: usize) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for run in 1..=times {
        if times > 1 {
            println!("\nrun {run} of {times}");
        }
        runs.push(Performance::new(options, run)?.play().await?);
    }
    figures::print(&runs);
    Ok(())
}

struct Performance {
    stage: Stage,
    began: Instant,
    gates: u32,
    /// The options that all three nodes are started with.
    shared: Vec<String>,
}

impl Performance {
    fn new(options: &Options, run: usize) -> Result<Self, Failure> {
        let port = options.port.map_or_else(free_port, Ok)?;
        let own = format!("parking-{}-{run}", std::process::id());
        let cluster = options.cluster.clone().unwrap_or(own);
        let shared = format!(
            "--json --net {} --port {port} --cluster {cluster} --gates {} --spaces {}",
            options.net, options.gates, options.spaces
        );
        let shared = shared.split(' ').map(str::to_owned).collect();
        Ok(Self { stage: Stage::new(), began: Instant::now(), gates: options.gates, shared })
    }

    async fn play(mut self) -> Result<Figures, Failure> {
        let first = self.larry_is_alone().await?;
        let converged = self.the_others_join().await?;
        let visible = self.cars_come_and_go().await?;
        let failover = self.larry_is_killed().await?;
        let caught_up = self.larry_comes_back().await?;
        for node in ALL {
            self.stage.leave(node).await?;
        }
        self.tell("all three left in order");
        Ok([first, converged, visible, failover, caught_up])
    }

    async fn larry_is_alone(&mut self) -> Result<Duration, Failure> {
        let started = self.start("larry")?;
        let at = self.stage.settle("larry is alone", PATIENCE, &["larry"], self.gates).await?;
        self.tell(&format!("larry is alone and runs {}", self.gates_of("larry")));
        Ok(at - started)
    }

    async fn the_others_join(&mut self) -> Result<Duration, Failure> {
        let started = self.start("gary")?;
        self.start("harry")?;
        let at = self.stage.settle("gary and harry join", PATIENCE, &ALL, self.gates).await?;
        let shares = ALL.map(|node| format!("{node}: {}", self.gates_of(node))).join("; ");
        self.tell(&format!("gary and harry joined, each gate runs once: {shares}"));
        Ok(at - started)
    }

    async fn cars_come_and_go(&mut self) -> Result<Duration, Failure> {
        self.enter("larry", "ABC 123", &ALL).await?;
        let seen = self.stage.seen();
        let visible = WITHOUT_LARRY.iter().map(|&node| seen[node].cars["ABC 123"]).max().unwrap_or_default();
        self.stage.order("harry", "exit 1 \"ABC 123\"").await?;
        let condition = |seen: &_| ALL.iter().all(|node| !all_see(seen, &[node], "ABC 123"));
        self.stage.until("all see ABC 123 go", PATIENCE, condition).await?;
        self.tell("ABC 123 left, let out at harry; seen by all");
        self.enter("gary", "DEF 456", &ALL).await?;
        self.enter("larry", "XYZ 789", &ALL).await?;
        Ok(visible)
    }

    async fn larry_is_killed(&mut self) -> Result<Duration, Failure> {
        let gates = self.gates;
        let orphans: BTreeSet<String> = self.stage.seen()["larry"].gates.clone();
        if orphans.is_empty() && gates >= 3 {
            return Err("larry runs no gate, so nothing can be shown by killing him".to_owned());
        }
        let names = self.gates_of("larry");
        let killed = self.stage.kill("larry").await?;
        self.tell(&format!("larry was killed with SIGKILL; he ran {names}"));
        let condition = |seen: &_| run_once(seen, &WITHOUT_LARRY, gates);
        let at = self.stage.until("larry's gates run elsewhere", PATIENCE, condition).await?;
        self.tell(&format!("his gates run on the others after {:.1} ms", (at - killed).as_secs_f64() * 1000.0));
        self.stage.settle("larry is dead", PATIENCE, &WITHOUT_LARRY, gates).await?;
        for node in WITHOUT_LARRY {
            self.expect_lot(node, &["DEF 456", "XYZ 789"]).await?;
        }
        self.tell("the cars are all there, also the one that larry let in");
        self.enter("harry", "KLM 012", &WITHOUT_LARRY).await?;
        Ok(at - killed)
    }

    async fn larry_comes_back(&mut self) -> Result<Duration, Failure> {
        let started = self.start("larry")?;
        let at = self.stage.settle("larry comes back", PATIENCE, &ALL, self.gates).await?;
        let cars = ["DEF 456", "KLM 012", "XYZ 789"];
        for node in ALL {
            self.expect_lot(node, &cars).await?;
        }
        self.tell(&format!("larry is back, with all the cars; he runs {}", self.gates_of("larry")));
        Ok(at - started)
    }

    fn start(&mut self, node: &str) -> Result<Instant, Failure> {
        let program = std::env::current_exe().map_err(|why| format!("this program cannot find itself: {why}"))?;
        let mut command = Command::new(program);
        command.args(["node", node]).args(&self.shared);
        self.stage.start(node, command)
    }

    /// Lets a car in by gate 1 at one node, and waits until all of `witnesses` see it.
    async fn enter(&mut self, node: &str, plate: &str, witnesses: &[&str]) -> Result<(), Failure> {
        self.stage.order(node, &format!("enter 1 \"{plate}\"")).await?;
        let condition = |seen: &_| all_see(seen, witnesses, plate);
        self.stage.until(&format!("{witnesses:?} see {plate}"), PATIENCE, condition).await?;
        self.tell(&format!("{plate} came in by gate 1, let in at {node}; seen by {}", witnesses.join(", ")));
        Ok(())
    }

    async fn expect_lot(&mut self, node: &str, plates: &[&str]) -> Result<(), Failure> {
        let cars = self.stage.lot(node).await?;
        let inside: Vec<&str> = cars.iter().map(|car| car.plate.as_str()).collect();
        if inside == plates { Ok(()) } else { Err(format!("{node} should hold {plates:?} and holds {inside:?}")) }
    }

    fn gates_of(&self, node: &str) -> String {
        let gates = &self.stage.seen()[node].gates;
        if gates.is_empty() { "no gate".to_owned() } else { Vec::from_iter(gates.iter().cloned()).join(" ") }
    }

    fn tell(&self, what: &str) {
        println!("{:8.3} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

/// A cluster port such that it and the ports of three nodes after it are free now, below the range from which
/// operating systems take ports for outgoing connections. Two scripts at once start to look at different places.
fn free_port() -> Result<u16, Failure> {
    const FIRST: u16 = 20_000;
    const STEP: u16 = 8;
    const STEPS: u32 = 1_250;
    let is_free = |port: u16| {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    };
    (0..STEPS)
        .filter_map(|step| u16::try_from((std::process::id().wrapping_mul(7) + step) % STEPS).ok())
        .map(|step| FIRST + step * STEP)
        .find(|&port| (port..port + STEP).all(is_free))
        .ok_or_else(|| "no free ports between 20000 and 30000; give one with --port".to_owned())
}
