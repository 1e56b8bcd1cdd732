//! The driver on real loopback sockets, with a scripted machine in the engine's place.

mod beacons;
mod tasks;
mod traffic;

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::machine::{Machine, Outbox};
use super::{BindConfig, Bound, Clock, Driver, RoleFuture, RoleLine, RoleRunner, RunConfig, bind};
use crate::discovery::{BeaconConfig, Strategy};
use crate::engine::{Input, Output, Phase, Status};
use crate::id::{NodeId, ReplicaId};
use crate::roles::{FencingToken, RoleSpec, RoleStart};
use crate::time::{Instant, Now};

/// Fails a test that waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(20);

type Build = Box<dyn FnMut(Arc<RoleSpec>, RoleLine) -> RoleFuture + Send>;

/// What a test and its machine share.
#[derive(Default)]
struct Shared {
    outputs: Mutex<VecDeque<Output>>,
    timeout: Mutex<Option<Instant>>,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl Outbox for Shared {
    fn on_outbox(&self, waker: Box<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap() = Some(waker);
    }
}

/// Tells the test every input, and does what the test asks for.
struct Scripted {
    shared: Arc<Shared>,
    inputs: mpsc::UnboundedSender<Input>,
    status: Arc<Status>,
}

impl Machine for Scripted {
    fn handle(&mut self, now: Now, input: Input) {
        if let Input::Deadline = input {
            let due = self.shared.timeout.lock().unwrap().take().expect("a deadline that nobody set");
            assert!(due <= now.instant, "called {:?} early", due.since(now.instant));
        }
        assert!(!matches!(&input, Input::Discovered { address } if address.port() == 1), "told to panic");
        let _ = self.inputs.send(input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.lock().unwrap().pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        *self.shared.timeout.lock().unwrap()
    }

    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

struct Runner(Build);

impl RoleRunner for Runner {
    fn build(&mut self, start: &RoleStart, line: RoleLine) -> RoleFuture {
        (self.0)(Arc::clone(&start.spec), line)
    }
}

/// A driver with a scripted machine.
struct Node {
    driver: Driver,
    address: SocketAddr,
    clock: Clock,
    shared: Arc<Shared>,
    inputs: mpsc::UnboundedReceiver<Input>,
}

/// What a node runs with; tests change what they are about.
struct Setup {
    cluster: String,
    beacon: bool,
    strategies: Vec<Box<dyn Strategy>>,
    build: Build,
    stop_grace: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            cluster: "test".to_owned(),
            beacon: false,
            strategies: Vec::new(),
            build: Box::new(|_, _| Box::pin(std::future::pending())),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// A port that nobody has, for the beacons of one test.
fn cluster_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn on_loopback(cluster_port: u16) -> BindConfig {
    BindConfig { net: "127.0.0.0/8".parse().unwrap(), cluster_port, bind: None, port: None, advertise: None }
}

fn status(replica: ReplicaId) -> Arc<Status> {
    let node = NodeId::new("larry").unwrap();
    let fingerprint = String::new();
    let (members, roles) = (Vec::new(), Vec::new());
    Arc::new(Status { node, replica, phase: Phase::Joining, members, fingerprint, agreed: false, roles })
}

impl Node {
    async fn start(cluster_port: u16, setup: Setup) -> Self {
        Self::on(bind(&on_loopback(cluster_port)).await.unwrap(), setup)
    }

    fn on(bound: Bound, setup: Setup) -> Self {
        let (address, clock, shared) = (bound.address(), Clock::start(), Arc::<Shared>::default());
        let replica = ReplicaId(u64::from(address.port()));
        let (sender, inputs) = mpsc::unbounded_channel();
        let store: Arc<dyn Outbox> = Arc::clone(&shared) as _;
        let driver = bound.run(RunConfig {
            engine: Scripted { shared: Arc::clone(&shared), inputs: sender, status: status(replica) },
            store,
            clock: clock.clone(),
            cluster: setup.cluster,
            strategies: setup.strategies,
            beacon: setup.beacon.then_some(BeaconConfig { replica, seed: replica.0 }),
            runner: Box::new(Runner(setup.build)),
            stop_grace: setup.stop_grace,
        });
        Self { driver, address, clock, shared, inputs }
    }

    /// Has the machine give these outputs, by waking the loop as a write to the store would.
    fn give(&self, outputs: impl IntoIterator<Item = Output>) {
        self.shared.outputs.lock().unwrap().extend(outputs);
        (self.shared.wake.lock().unwrap().as_ref().unwrap())();
    }

    /// The first input to come that `wanted` makes something of; others are passed over.
    async fn input<T>(&mut self, what: &str, mut wanted: impl FnMut(Input) -> Option<T>) -> T {
        let found = async {
            loop {
                let input = self.inputs.recv().await.unwrap_or_else(|| panic!("gone while waiting for {what}"));
                if let Some(found) = wanted(input) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }
}

/// Looks again and again until `condition` holds, giving way to whatever has to bring it about.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looked = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
