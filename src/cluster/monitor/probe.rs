//! [`Probe`]: reading this host's CPU and memory.
//!
//! Of the host and of each limit that a cgroup sets, whichever is used up most counts: a process in a container can be out
//! of memory on a host that has plenty, and it can be starved by its neighbours within its own quota.

use std::collections::BTreeSet;
use std::path::Path;

use sysinfo::System;

use super::cgroup::Cgroups;
use super::task::measuring::Measure;
use crate::time::Instant;

/// This host as sysinfo sees it, and the cgroups that this process lives in.
pub(super) struct Probe {
    system: System,
    cgroups: Cgroups,
    /// The cores that this process may run on, by number, where that is known.
    cores: Option<BTreeSet<usize>>,
    begun: bool,
}

/// No host has more cores.
const MOST_CORES: usize = 65_536;

impl Probe {
    pub(super) fn of_this_host() -> Self {
        let root = Path::new("/");
        Self { system: System::new(), cgroups: Cgroups::find(root), cores: allowed_cores(root), begun: false }
    }

    /// The mean use of the cores that count.
    fn cpu_percent(&self) -> f64 {
        let number = |name: &str| name.strip_prefix("cpu").and_then(|number| number.parse::<usize>().ok());
        let counts = |name: &str| match (&self.cores, number(name)) {
            (Some(cores), Some(number)) => cores.contains(&number),
            _ => true,
        };
        let cores = self.system.cpus().iter().filter(|core| counts(core.name()));
        let (sum, count) =
            cores.fold((0.0, 0_u32), |(sum, count), core| (sum + f64::from(core.cpu_usage()), count + 1));
        sum / f64::from(count.max(1))
    }

    fn memory_percent(&self) -> f64 {
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        percent(total.saturating_sub(available), total)
    }
}

impl Measure for Probe {
    fn measure(&mut self, now: Instant) -> Option<(f64, f64)> {
        self.system.refresh_cpu_usage();
        let of_quota = self.cgroups.cpu_percent(now);
        if !std::mem::replace(&mut self.begun, true) {
            return None;
        }
        self.system.refresh_memory();
        let most = |host: f64, limited: Option<f64>| host.max(limited.unwrap_or_default()).clamp(0.0, 100.0);
        Some((most(self.cpu_percent(), of_quota), most(self.memory_percent(), self.cgroups.memory_percent())))
    }
}

/// How many percent of a whole; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "no percentage needs more than 52 bits")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// The cores that this process may run on, which a cpuset or an affinity restricts: what the others do is not its concern.
fn allowed_cores(root: &Path) -> Option<BTreeSet<usize>> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = BTreeSet::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores.extend(first..=last.min(MOST_CORES));
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cgroup::tests::Files;
    use super::*;

    #[test]
    fn the_cores_of_a_cpuset_are_read() {
        let files = Files::new("cores");
        assert_eq!(allowed_cores(files.root()), None);
        files.write("proc/self/status", "Name:\tlarry\nCpus_allowed:\tff\nCpus_allowed_list:\t0-2,7\nX:\t1\n");
        assert_eq!(allowed_cores(files.root()), Some(BTreeSet::from([0, 1, 2, 7])));
        files.write("proc/self/status", "Cpus_allowed_list:\t0-18446744073709551615\n");
        assert_eq!(allowed_cores(files.root()).map(|cores| cores.len()), Some(MOST_CORES + 1));
        files.write("proc/self/status", "Cpus_allowed_list:\tall\n");
        assert_eq!(allowed_cores(files.root()), None);
    }

    #[test]
    fn this_host_uses_some_of_its_memory() {
        let mut probe = Probe::of_this_host();
        assert_eq!(probe.measure(Instant::ZERO), None, "the first is what the second is reckoned from");
        let (cpu, memory) = probe.measure(Instant::ZERO + Duration::from_secs(1)).unwrap();
        assert!((0.0..=100.0).contains(&cpu), "{cpu}");
        assert!(memory > 0.0 && memory <= 100.0, "{memory}");
    }

    #[test]
    fn nothing_is_no_part_of_nothing() {
        assert_eq!((percent(1, 4), percent(0, 0)), (25.0, 0.0));
    }
}
