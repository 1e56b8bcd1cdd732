//! Bytes as a schedule for the map: up to seven replicas write, remove, send, lose, repeat and reorder rows, begin, cut
//! and finish sessions, promise, collect, crash and join, as the bytes say. At every few steps each holds what the
//! oracle makes of the writes that it knows (rules 5 and 6: a known write is held, outranked or rightly collected, and
//! nothing comes back). When the bytes end, all heals, and all must hold the same.
//!
//! ```text
//! cargo +nightly fuzz run schedule
//! ```
//!
//! The cluster, its network, its healing and the oracle are those of the tests, which draw their schedules at random;
//! only the stream of numbers is another.

#![no_main]
#![allow(dead_code, reason = "the tests need more of these modules")]

#[path = "../../tests/all/schedule/counts.rs"]
mod counts;
#[path = "../../tests/all/schedule/heal.rs"]
mod heal;
#[path = "../../tests/all/schedule/network.rs"]
mod network;
#[path = "../../tests/all/schedule/oracle.rs"]
mod oracle;
#[path = "../../tests/all/schedule/profile.rs"]
mod profile;
#[path = "../../tests/all/schedule/replica.rs"]
mod replica;
mod rng;
#[path = "../../tests/all/schedule/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use unisono::sabotage::Sabotage;

use profile::Profile;
use rng::Rng;
use world::World;

/// All replicas are looked at after so many steps.
const LOOK_EVERY: usize = 16;

fuzz_target!(|data: &[u8]| {
    let mut rng = Rng::of(data);
    let profile = Profile::new(&mut rng);
    let nodes = profile.nodes;
    let mut world = World::new(rng, Sabotage::default(), profile, &[nodes]);
    let mut steps = 0;
    while !world.rng.is_spent() {
        must(world.run(1));
        steps += 1;
        if steps % LOOK_EVERY == 0 {
            look(&world);
        }
    }
    look(&world);
    must(world.heal_and_check());
    look(&world);
});

fn must(outcome: Result<(), String>) {
    if let Err(why) = outcome {
        panic!("{why}");
    }
}

/// Each replica holds exactly what follows from the writes that it knows.
fn look(world: &World) {
    for node in &world.nodes {
        let knows = |dot| node.store.knows(dot);
        let (mut live, due, ending) = (node.live(), world.oracle.winners(knows), world.oracle.ending(knows));
        live.retain(|place, value| ending.get(place) != Some(value));
        assert_eq!(live, due, "{} holds something else than what it knows of amounts to", node.id);
    }
}
