//! A resource that checks fencing tokens, used by a role under cuts, heals, crashes and nodes that stand still.

use unisono::{InstanceId, PartitionPolicy};

use super::*;
use crate::support::resource::{Refused, Resource};

/// Between a read and the write that follows from it passes so much time.
const THINKS: Duration = Duration::from_millis(7);

/// The settle time of the preset for a LAN, which test clusters have.
const SETTLE: Duration = Duration::from_millis(100);

const NODES: [&str; 5] = ["larry", "gary", "mary", "harry", "jerry"];

/// The resource, and how often the role was started that uses it.
#[derive(Clone, Default)]
struct World {
    resource: Arc<Mutex<Resource>>,
    starts: Arc<AtomicUsize>,
}

impl World {
    /// One read-modify-write, under one token.
    async fn count_one(&self, token: u128, node: &str) -> Result<(), Refused> {
        let value = self.resource.lock().unwrap().read(token)?;
        tokio::time::sleep(THINKS).await;
        self.resource.lock().unwrap().write(token, value + 1, node)
    }

    async fn count(&self, context: &RoleContext) {
        let node = context.cluster().node().to_string();
        loop {
            let token = context.token();
            if self.count_one(token.as_u128(), &node).await.is_err() {
                context.token_changed(token).await;
            }
        }
    }

    fn set_up(&self, builder: Builder, partition: PartitionPolicy) -> Builder {
        let world = self.clone();
        let counter = move |context: RoleContext| {
            let world = world.clone();
            async move {
                world.starts.fetch_add(1, Ordering::SeqCst);
                tokio::select! {
                    biased;
                    () = context.stopped() => {}
                    () = world.count(&context) => {}
                }
                Ok(())
            }
        };
        builder.role_kind("counter", counter).role(RoleSpec::new("counter").partition(partition))
    }

    async fn start(&self, cluster: &TestCluster, partition: PartitionPolicy) {
        let world = self.clone();
        let set_up = move |builder: Builder| world.set_up(builder, partition);
        cluster.start_all(NODES, set_up).await.unwrap();
        cluster.settle().await.unwrap();
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn accepted(&self) -> usize {
        self.resource.lock().unwrap().accepted.len()
    }

    fn is_sound(&self) -> Result<(), String> {
        self.resource.lock().unwrap().is_sound()
    }

    /// Writes are accepted within the settle time, all of one instance, whose token everybody sees.
    async fn is_accepted(&self, cluster: &TestCluster) -> Result<(), String> {
        let before = self.accepted();
        cluster.advance(SETTLE).await;
        if self.accepted() == before {
            return Err(format!("no write was accepted in {SETTLE:?}, at {}", self.resource.lock().unwrap().highest));
        }
        let highest = self.resource.lock().unwrap().highest;
        for node in NODES {
            let hosts = cluster.node(node).lookup("counter");
            if hosts.len() != 1 || hosts[0].token.as_u128() != highest {
                return Err(format!("{node} sees {hosts:?}, and the resource {highest:032x}"));
            }
        }
        self.is_sound()
    }
}

/// The node that runs the role, and which instance it is.
fn host(cluster: &TestCluster) -> (String, InstanceId) {
    let name = cluster.running("counter").remove(0).to_string();
    let started = cluster.node(&name).lookup("counter")[0].started;
    (name, started)
}

#[test]
fn after_a_heal_the_longest_running_instance_is_accepted() {
    for seed in 0..30 {
        TestCluster::run(seed, |cluster| async move {
            let world = World::default();
            world.start(&cluster, PartitionPolicy::Overlap).await;
            let (name, oldest) = host(&cluster);
            let split = cluster.partition(&[&NODES[..2], &NODES[2..]]);
            cluster.settle().await.unwrap();
            assert_eq!((cluster.running("counter").len(), world.starts()), (2, 2), "seed {seed}");
            cluster.advance(Duration::from_secs(10)).await;
            assert!(world.resource.lock().unwrap().refused > 0, "seed {seed}: the older one was accepted all the time");
            split.heal();
            cluster.settle().await.unwrap();
            world.is_accepted(&cluster).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert_eq!(host(&cluster), (name, oldest), "seed {seed}: the longest-running one stays");
        });
    }
}

#[test]
fn a_minority_stops_and_the_next_instance_is_accepted() {
    for seed in 0..30 {
        TestCluster::run(seed, |cluster| async move {
            let world = World::default();
            world.start(&cluster, PartitionPolicy::Majority).await;
            let (name, _) = host(&cluster);
            let split = cluster.partition(&[&[&*name]]);
            cluster.settle().await.unwrap();
            world.is_sound().unwrap();
            split.heal();
            cluster.settle().await.unwrap();
            world.is_accepted(&cluster).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        });
    }
}

/// What is done to the nodes of a story, drawn from its seed.
struct Story {
    cluster: TestCluster,
    /// splitmix64 (Steele, Lea and Flood, 2014).
    state: u64,
}

impl Story {
    fn draw(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }

    async fn passes(&mut self, most_ms: usize) {
        let span = Duration::from_millis(self.draw(most_ms) as u64);
        self.cluster.advance(span).await;
    }

    async fn one_fault(&mut self) {
        let node = NODES[self.draw(NODES.len())];
        match self.draw(4) {
            0 => {
                self.cluster.crash(node);
                self.passes(3_000).await;
                self.cluster.restart(node).await.unwrap();
            }
            1 => {
                self.cluster.pause(node);
                self.passes(6_000).await;
                self.cluster.resume(node);
            }
            _ => {
                let first = 1 + self.draw(NODES.len() - 1);
                let mut order = NODES;
                order.rotate_left(self.draw(NODES.len()));
                let split = self.cluster.partition(&[&order[..first], &order[first..]]);
                self.passes(6_000).await;
                if self.draw(3) == 0 {
                    self.cluster.crash(node);
                    self.passes(2_000).await;
                    self.cluster.restart(node).await.unwrap();
                }
                split.heal();
            }
        }
        self.passes(2_000).await;
    }
}

fn hurt(seed: u64, partition: PartitionPolicy) {
    TestCluster::run(seed, |cluster| async move {
        let world = World::default();
        world.start(&cluster, partition).await;
        let mut story = Story { cluster, state: seed };
        for round in 0..4 {
            story.one_fault().await;
            world.is_sound().unwrap_or_else(|why| panic!("seed {seed}, {partition:?}, fault {round}: {why}"));
            if round % 2 == 1 {
                story.cluster.settle().await.unwrap();
                let accepted = world.is_accepted(&story.cluster).await;
                accepted.unwrap_or_else(|why| panic!("seed {seed}, {partition:?}, after fault {round}: {why}"));
            }
        }
    });
}

#[test]
fn under_any_faults_no_lower_token_is_accepted_and_in_the_end_one_is() {
    for seed in 0..15 {
        hurt(seed, PartitionPolicy::Overlap);
        hurt(seed, PartitionPolicy::Majority);
    }
}

#[test]
fn a_token_that_changed_is_awaited_without_missing_it() {
    TestCluster::run(1, |cluster| async move {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        let watcher = move |context: RoleContext| {
            let note = Arc::clone(&note);
            async move {
                let first = context.token();
                // Dropped and asked again, all the time.
                let changed = async {
                    loop {
                        tokio::select! {
                            biased;
                            token = context.token_changed(first) => break token,
                            () = tokio::time::sleep(Duration::from_millis(1)) => {}
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = context.stopped() => {}
                    changed = changed => {
                        let again = context.token_changed(first).await;
                        note.lock().unwrap().push((first, changed, again, context.token()));
                        context.stopped().await;
                    }
                }
                Ok(())
            }
        };
        let set_up = move |builder: Builder| builder.role_kind("watch", watcher.clone()).role(RoleSpec::new("watch"));
        cluster.start_all(["larry", "gary"], set_up).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.node(cluster.running("watch")[0].as_str());
        let mut events = host.events();
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        cluster.settle().await.unwrap();
        cluster.advance(Duration::from_secs(5)).await;
        assert!(seen.lock().unwrap().is_empty(), "nobody is raised while the cut lasts");
        split.heal();
        cluster.settle().await.unwrap();
        let told = loop {
            if let unisono::Event::RoleTokenRaised { role, token } = events.next().await.unwrap().unwrap() {
                break (role, token);
            }
        };
        let shown = host.lookup("watch")[0].token;
        assert_eq!(told, ("watch".to_owned(), shown));
        let seen = seen.lock().unwrap();
        let [(first, changed, again, last)] = seen[..] else { panic!("{seen:?}") };
        assert!(first < changed && changed == again && again == last && last == shown, "{seen:?}, {shown}");
    });
}
