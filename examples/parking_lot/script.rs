//! The script: three processes, a few cars, and two murders. Every step is an expectation; the first that fails ends it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use tokio::process::Command;
use unisono::PartitionPolicy;

use crate::figures::{self, Figures};
use crate::line::Line;
use crate::options::Options;
use crate::stage::{Failure, Seens, Stage, all_see, run_once};

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
    spaces: usize,
    /// The options that all three nodes are started with.
    shared: Vec<String>,
}

impl Performance {
    fn new(options: &Options, run: usize) -> Result<Self, Failure> {
        let port = options.port.map_or_else(free_port, Ok)?;
        let own = format!("parking-{}-{run}", std::process::id());
        let cluster = options.cluster.clone().unwrap_or(own);
        let partition = match options.partition {
            PartitionPolicy::Majority => "majority",
            _ => "overlap",
        };
        let shared = format!(
            "--json --net {} --port {port} --cluster {cluster} --gates {} --spaces {} --partition {partition}",
            options.net, options.gates, options.spaces
        );
        let shared = shared.split(' ').map(str::to_owned).collect();
        let (stage, began) = (Stage::new(), Instant::now());
        Ok(Self { stage, began, gates: options.gates, spaces: options.spaces, shared })
    }

    async fn play(mut self) -> Result<Figures, Failure> {
        let first = self.larry_is_alone().await?;
        let converged = self.the_others_join().await?;
        let visible = self.cars_come_and_go().await?;
        let answered = self.every_gate_answers_everybody().await?;
        let admitted_per_s = self.the_lot_fills().await?;
        let failover = self.larry_is_killed().await?;
        let caught_up = self.larry_comes_back().await?;
        let longest = self.the_attendant_is_killed_in_a_rush().await?;
        for node in ALL {
            self.stage.leave(node).await?;
        }
        self.tell("all three left in order");
        let spans = [first, converged, visible, answered, failover, caught_up, longest];
        Ok(Figures { spans, admitted_per_s })
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

    /// Calls every gate from every node, and returns how long it takes at a node that must ask others for all of it.
    async fn every_gate_answers_everybody(&mut self) -> Result<Duration, Failure> {
        let mut slowest = Duration::ZERO;
        for node in ALL {
            slowest = slowest.max(self.stage.roll(node, self.gates).await?);
        }
        self.tell(&format!("every gate answers calls from every node, the slowest after {}", ms(slowest)));
        let mut waits = Vec::new();
        for node in ALL {
            for gate in 1..=self.gates {
                let began = Instant::now();
                self.stage.order(node, &format!("enter {gate} \"{node} {gate}\"")).await?;
                let seen = &self.stage.seen()[node];
                if !seen.attends && !seen.gates.contains(&format!("gate-{gate}")) {
                    waits.push(began.elapsed());
                }
                self.stage.order(node, &format!("exit {gate} \"{node} {gate}\"")).await?;
            }
        }
        self.tell("a car came in and went out by every gate, asked for at every node");
        waits.sort();
        Ok(waits.get(waits.len() / 2).copied().unwrap_or_default())
    }

    /// All nodes bring cars at once, half as many again as fit.
    async fn the_lot_fills(&mut self) -> Result<f64, Failure> {
        let inside = self.stage.lot("larry").await?.len();
        let cars = self.spaces / 2 + 1;
        let command = format!("rush {cars}");
        let began = Instant::now();
        for node in ALL {
            self.stage.tell(node, &command).await?;
        }
        let rushes = self.rushes(&ALL, &command).await?;
        let took = began.elapsed();
        let admitted = self.exactly_full(&ALL, inside, &rushes).await?;
        self.tell(&format!(
            "{} cars came at once, at all nodes and by all gates: {admitted} were admitted to {} spaces, in {}",
            cars * ALL.len(),
            self.spaces - inside,
            ms(took)
        ));
        self.stage.ask("gary", "cars-at harry").await.and_then(|line| match line {
            Line::CarsAt { cars, .. } if cars == self.spaces => Ok(()),
            other => Err(format!("gary asked harry how many cars there are and said: {other}")),
        })?;
        self.rush_goes_home().await?;
        #[expect(clippy::cast_precision_loss, reason = "a figure to print")]
        Ok(admitted as f64 / took.as_secs_f64())
    }

    /// Waits for the answers to a rush: how many came in, and how long the longest wait was.
    async fn rushes(&mut self, nodes: &[&str], command: &str) -> Result<Vec<(usize, Duration)>, Failure> {
        let mut rushes = Vec::new();
        for node in nodes {
            match self.stage.answer(node, command).await? {
                Line::Rush { admitted, unsure, slowest_us, .. } if unsure.is_empty() => {
                    rushes.push((admitted, Duration::from_micros(slowest_us)));
                }
                other => return Err(format!("{node} was told `{command}` and said: {other}")),
            }
        }
        Ok(rushes)
    }

    /// As many cars were admitted as there was space for, each node has just these, and none ever had more.
    async fn exactly_full(
        &mut self,
        nodes: &[&str],
        inside: usize,
        rushes: &[(usize, Duration)],
    ) -> Result<usize, Failure> {
        let admitted = rushes.iter().map(|(admitted, _)| admitted).sum::<usize>();
        if inside + admitted != self.spaces {
            return Err(format!("{inside} cars were inside, {admitted} were admitted, to {} spaces", self.spaces));
        }
        for node in nodes {
            let cars = self.stage.lot(node).await?.len();
            if cars != self.spaces || self.stage.seen()[*node].overfull {
                return Err(format!("{node} has, or had, more or fewer cars than spaces: {cars} now"));
            }
        }
        Ok(admitted)
    }

    /// Lets out every car that came in a rush.
    async fn rush_goes_home(&mut self) -> Result<(), Failure> {
        let is_rush = |plate: &str| ALL.iter().any(|node| plate.starts_with(node));
        for car in self.stage.lot("gary").await? {
            if is_rush(&car.plate) {
                self.stage.order("gary", &format!("exit 1 \"{}\"", car.plate)).await?;
            }
        }
        let gone = |seen: &Seens| seen.values().all(|seen| !seen.cars.keys().any(|plate| is_rush(plate)));
        self.stage.until("all cars of the rush are out", PATIENCE, gone).await.map(drop)
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
        self.tell(&format!("his gates run on the others after {}", ms(at - killed)));
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

    /// The two others bring cars, one each few milliseconds, and while they do the node of the attendant dies.
    async fn the_attendant_is_killed_in_a_rush(&mut self) -> Result<Duration, Failure> {
        let inside = self.stage.lot("larry").await?.len();
        let victim =
            ALL.into_iter().find(|node| self.stage.seen()[*node].attends).ok_or("nobody runs the attendant")?;
        let rest = ALL.into_iter().filter(|node| *node != victim).collect::<Vec<_>>();
        let command = format!("rush {} {}", self.spaces, 500 / self.spaces.clamp(50, 500));
        for node in &rest {
            self.stage.tell(node, &command).await?;
        }
        let enough = inside + (self.spaces - inside) / 4;
        let some = |seen: &Seens| rest.iter().any(|node| seen[*node].cars.len() > enough);
        self.stage.until("some cars of the rush are inside", PATIENCE, some).await?;
        self.stage.kill(victim).await?;
        let before = rest.iter().map(|node| self.stage.seen()[*node].cars.len()).max().unwrap_or_default() - inside;
        let rushes = self.rushes(&rest, &command).await?;
        let admitted = self.exactly_full(&rest, inside, &rushes).await?;
        let longest = rushes.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
        self.tell(&format!(
            "{victim}, who ran the attendant, was killed in a rush, with {before} of its cars inside: {admitted} were \
             admitted to {} spaces; the longest wait was {}",
            self.spaces - inside,
            ms(longest)
        ));
        self.start(victim)?;
        self.stage.settle(&format!("{victim} comes back"), PATIENCE, &ALL, self.gates).await?;
        if self.stage.lot(victim).await?.len() != self.spaces {
            return Err(format!("{victim} is back, without all the cars"));
        }
        Ok(longest)
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
        let mut roles = Vec::from_iter(gates.iter().map(String::as_str));
        if self.stage.seen()[node].attends {
            roles.push("attendant");
        }
        if roles.is_empty() { "no gate".to_owned() } else { roles.join(" ") }
    }

    fn tell(&self, what: &str) {
        println!("{:8.3} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

fn ms(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
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
