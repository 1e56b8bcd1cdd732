//! Groups that wrote on their own and meet: two islands, one cluster that was split and evicted its other half, a node
//! that wrote before it joined, and a joiner that comes while the roster changes.
//!
//! Who comes together this way cannot trust contexts at first: each side collected tombstones that the other never
//! heard of. So: union of the rosters, bucket repair over the whole map, and only then contexts (rule 8). Nobody may
//! lose a live key. A key whose removal was collected on one side may come back; that is counted.

use unisono::id::ReplicaId;
use unisono::sabotage::Sabotage;

use super::Rng;
use super::counts::Counts;
use super::network::pull;
use super::profile::Profile;
use super::world::World;

impl World {
    /// Everybody is of one island from now on: rosters are united, evictions of the living taken back, and every pair
    /// repairs bucket by bucket before anybody joins a context.
    fn unite(&mut self) {
        let alive: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        let mut all = self.nodes[0].roster().clone();
        for node in &self.nodes {
            all.join(node.roster());
        }
        for id in alive {
            all.readmit(id);
        }
        for node in &mut self.nodes {
            node.set_roster(all.clone());
        }
        // Buckets between all pairs first, also within an island: a node that joins the context of the other side learns
        // of dots whose rows that side has collected, or deleted with their owners, and which it may itself not yet have.
        // Again until nothing changes: buckets pass over tombstones where the live rows agree, and a third may bring a row
        // that such a tombstone outranks.
        for _ in 0..5 {
            let sums = |world: &Self| -> Vec<_> { world.nodes.iter().map(|node| node.store.table_digests()).collect() };
            let before = sums(self);
            for a in 0..self.nodes.len() {
                for b in 0..a {
                    self.exchange_buckets(a, b);
                }
            }
            if sums(self) == before {
                break;
            }
        }
        // The tombstones that were passed over come with an ordinary pull, and with it the contexts.
        for a in 0..self.nodes.len() {
            for b in (0..self.nodes.len()).filter(|b| *b != a) {
                pull(&mut self.rng, self.wall_ms, &mut self.nodes, a, b);
            }
        }
    }

    /// Each island for itself: joiners complete their pull.
    fn finish_joiners(&mut self) {
        for i in 0..self.nodes.len() {
            let Some(sponsor) = self.nodes[i].sponsor.and_then(|id| self.index_of(id)) else { continue };
            pull(&mut self.rng, self.wall_ms, &mut self.nodes, i, sponsor);
            self.nodes[i].become_ready();
        }
        self.net.sessions.clear();
    }

    /// They meet, go on as one cluster, and heal.
    fn meet_and_go_on(&mut self) -> Result<Counts, String> {
        self.outlive();
        self.finish_joiners();
        self.unite();
        self.check("after uniting")?;
        let islands: Vec<_> = self.nodes.iter().map(|node| node.island).collect();
        for node in &mut self.nodes {
            node.island = 0;
        }
        self.run(1_000)?;
        // The check must know that this cluster was made of islands.
        for (node, island) in self.nodes.iter_mut().zip(islands) {
            node.island = island;
        }
        self.heal_and_check()?;
        Ok(self.counts)
    }
}

/// Runs `story` with `seeds` seeds and sums up what happened.
fn each(seeds: u64, story: impl Fn(Rng) -> Result<Counts, String>) -> Counts {
    let mut total = Counts::default();
    for seed in 0..seeds {
        match story(Rng::new(seed)) {
            Ok(counts) => total = total + counts,
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    total
}

#[test]
fn two_islands_that_wrote_and_collected_merge_without_losing_a_key() {
    let total = each(200, |mut rng| {
        let profile = Profile::new(&mut rng);
        let sizes = [rng.between(2, 3), rng.between(2, 3)];
        let mut world = World::new(rng, Sabotage::default(), profile, &sizes);
        world.run(3_000)?;
        world.meet_and_go_on()
    });
    println!("{total:?}");
    assert!(total.collected > 1_000, "{total:?}");
    assert!(total.came_back > 0, "no removal was collected on one side only: this tests nothing");
}

#[test]
fn a_node_that_wrote_before_it_joined_keeps_what_it_wrote() {
    let total = each(200, |mut rng| {
        let profile = Profile::new(&mut rng);
        let mut world = World::new(rng, Sabotage::default(), profile, &[3, 1]);
        world.run(2_000)?;
        let mine = world.nodes[3].live();
        world.finish_joiners();
        world.unite();
        for (place, value) in mine {
            let has = |i: usize| world.nodes[i].live().get(&place) == Some(&value);
            if has(3) && !(0..3).all(has) {
                return Err(format!("{place:?} was written before its author joined, and the others lack it"));
            }
        }
        world.meet_and_go_on()
    });
    println!("{total:?}");
}

/// A partition so long that each half evicted the other, wrote on, and collected.
#[test]
fn halves_that_evicted_each_other_take_each_other_back() {
    let total = each(200, |mut rng| {
        let mut profile = Profile::new(&mut rng);
        profile.most_nodes = 4;
        let mut world = World::new(rng, Sabotage::default(), profile, &[4]);
        world.run(200)?;
        world.finish_joiners();
        world.net.clear();
        for node in &mut world.nodes {
            node.queue.clear();
        }
        let halves: [Vec<ReplicaId>; 2] = [0, 2].map(|i| vec![world.nodes[i].id, world.nodes[i + 1].id]);
        world.meet();
        for (i, node) in world.nodes.iter_mut().enumerate() {
            node.island = i / 2;
            let others = &halves[1 - i / 2];
            node.change_roster(|roster| {
                for other in others {
                    roster.evict(*other);
                }
            });
        }
        world.run(2_000)?;
        world.meet_and_go_on()
    });
    println!("{total:?}");
    assert!(total.came_back > 0, "nothing came back: this tests nothing");
}

/// While `sponsor` lets a joiner in, another member evicts a dead one; the two rosters meet at a third only later.
#[test]
fn a_joiner_comes_while_the_roster_changes_elsewhere() {
    let total = each(200, |mut rng| {
        let mut profile = Profile::new(&mut rng);
        profile.keys = 3;
        let mut world = World::new(rng, Sabotage::default(), profile, &[4]);
        world.run(150)?;
        world.meet();
        // Nodes 2 and 3 fall at once; 0 lets 2 in again and 1 lets 3 in, and neither hears of the other at first.
        world.start(2, 0);
        world.start(3, 1);
        let fingerprints: Vec<_> = world.nodes.iter().map(|node| node.roster().fingerprint()).collect();
        assert!(fingerprints[0] != fingerprints[1] && fingerprints[2] != fingerprints[3]);
        world.run(2_000)?;
        world.heal_and_check()?;
        Ok(world.counts)
    });
    println!("{total:?}");
}
