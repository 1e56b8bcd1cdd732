//! Hosts outlive their processes, as far as packets and clocks are concerned.

use super::*;
use crate::testkit::trace::Record;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_process_counts_its_time_from_its_own_start_and_its_hosts_time_of_day_goes_on() {
    let mut simulation = Simulation::new(1);
    simulation.run_for(SECOND);
    let larry = simulation.add(NodeOptions::named("larry").skew_ms(7));
    simulation.run_for(2 * SECOND);
    let now = simulation.now_at(larry);
    assert_eq!((now.instant, now.wall_ms), (Instant::ZERO + 2 * SECOND, WALL_START_MS + 3_007));
    simulation.restart(larry);
    simulation.run_for(SECOND);
    let now = simulation.now_at(larry);
    assert_eq!((now.instant, now.wall_ms), (Instant::ZERO + SECOND, WALL_START_MS + 4_007));
}

#[test]
fn deadlines_are_kept_by_a_process_that_started_late() {
    let mut simulation = Simulation::new(1);
    simulation.run_for(3_600 * SECOND);
    for name in ["larry", "gary", "mary"] {
        simulation.add(NodeOptions::named(name));
    }
    let took = simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
    assert!(took < 3 * SECOND, "{took:?}");
}

#[test]
fn what_is_under_way_reaches_the_next_process_of_a_host_but_none_of_a_host_without_power() {
    let heard = |fault: fn(&mut Simulation, NodeIndex)| {
        let mut simulation = Simulation::new(1);
        let [larry, gary] = ["larry", "gary"].map(|name| simulation.add(NodeOptions::named(name)));
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
        let from = simulation.hosts[gary.0].address;
        let bytes = bytes::Bytes::from_static(b"late");
        simulation.schedule(SECOND, Happening::Packet { host: larry.0, input: Input::Datagram { from, bytes } });
        simulation.input(larry.0, SECOND, Input::Unreachable { to: from });
        simulation.network().cut(&[larry], &[gary]).keep();
        fault(&mut simulation, larry);
        simulation.recorder = Some(Recorder::new(1));
        simulation.run_for(2 * SECOND);
        let inputs = simulation.take_trace().unwrap().records.into_iter().filter(|record| record.host == larry);
        let heard = |record: Record| match record.step {
            Step::Input(Input::Datagram { bytes, .. }) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Step::Input(Input::Unreachable { .. }) => Some("unreachable".to_owned()),
            _ => None,
        };
        inputs.filter_map(heard).collect::<Vec<_>>()
    };
    assert_eq!(heard(|_, _| {}), ["late", "unreachable"]);
    assert_eq!(heard(Simulation::restart), ["late"]);
    assert_eq!(heard(Simulation::kill), [] as [&str; 0]);
    assert_eq!(heard(Simulation::unplug), [] as [&str; 0]);
}
