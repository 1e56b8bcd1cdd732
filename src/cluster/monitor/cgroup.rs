//! The limits of the cgroups that this process lives in, and how much of them is used up.
//!
//! ```text
//!   /proc/self/cgroup ── path ──┐
//!   /proc/self/mountinfo ───────┴─▶ /sys/fs/cgroup/kubepods/pod7/larry ─▶ cpu.max, cpu.stat, memory.max, …
//!                                   /sys/fs/cgroup/kubepods/pod7       ─▶ …      a limit of any of them binds
//!                                   /sys/fs/cgroup/kubepods            ─▶ …
//! ```
//!
//! sysinfo knows no CPU quota, and of memory limits only some. Version 2 is read as the kernel documents it
//! (`admin-guide/cgroup-v2`); of version 1 memory, and CPU where `cpu` and `cpuacct` are mounted as one, as they usually
//! are. What cannot be read sets no limit. Limits are read anew each time, since they can be changed while a process runs.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::probe::percent;
use crate::time::Instant;

/// The cgroups of this process, those of each hierarchy from the innermost to the outermost.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    cpu: Vec<Group>,
    memory: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    directory: PathBuf,
    version: Version,
    /// How much of the CPU was used up when it was last looked at.
    used: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

/// A hierarchy deeper than that is none that anybody made on purpose.
const DEEPEST: usize = 64;

/// In version 1 no limit is the largest number of pages that there is, in bytes.
const NO_LIMIT: u64 = 1 << 60;

impl Cgroups {
    /// The cgroups of this process, on a host whose files are below `root`.
    pub(super) fn find(root: &Path) -> Self {
        let mut found = Self::default();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mounts = read("proc/self/mountinfo");
        for line in read("proc/self/cgroup").lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let groups = |version, controllers: &[&str]| {
                let mount = mounts.lines().find_map(|line| mount(line, version, controllers));
                mount.map_or_else(Vec::new, |(top, point)| groups(root, top, point, path, version))
            };
            let controllers: Vec<&str> = controllers.split(',').collect();
            match controllers.as_slice() {
                [""] => {
                    let groups = groups(Version::Two, &[]);
                    found.cpu.extend(groups.clone());
                    found.memory.extend(groups);
                }
                some if some.contains(&"memory") => found.memory.extend(groups(Version::One, &["memory"])),
                some if some.contains(&"cpu") && some.contains(&"cpuacct") => {
                    found.cpu.extend(groups(Version::One, &["cpu", "cpuacct"]));
                }
                _ => {}
            }
        }
        found
    }

    /// How many percent of the tightest CPU quota were used since it was last asked, if there is a quota and it was asked before.
    pub(super) fn cpu_percent(&mut self, now: Instant) -> Option<f64> {
        self.cpu.iter_mut().filter_map(|group| group.cpu_percent(now)).reduce(f64::max)
    }

    /// How many percent of the tightest memory limit are used, if there is a limit.
    pub(super) fn memory_percent(&self) -> Option<f64> {
        self.memory.iter().filter_map(Group::memory_percent).reduce(f64::max)
    }
}

impl Group {
    fn cpu_percent(&mut self, now: Instant) -> Option<f64> {
        let (cores, used) = self.cores().zip(self.cpu_used())?;
        let (last, before) = self.used.replace((now, used))?;
        let could = now.since(last).as_secs_f64() * cores;
        (could > 0.0).then(|| used.saturating_sub(before).as_secs_f64() / could * 100.0)
    }

    /// How many cores it may use; nothing if as many as there are.
    fn cores(&self) -> Option<f64> {
        let (quota, period) = match self.version {
            Version::Two => {
                let text = self.read("cpu.max")?;
                let mut words = text.split_whitespace();
                (words.next()?.parse::<f64>().ok()?, words.next()?.parse::<f64>().ok()?)
            }
            Version::One => {
                let number = |file| self.read(file)?.trim().parse::<f64>().ok();
                (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
            }
        };
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    }

    /// How much CPU time it has used up.
    fn cpu_used(&self) -> Option<Duration> {
        match self.version {
            Version::Two => self.field("cpu.stat", "usage_usec").map(Duration::from_micros),
            Version::One => self.number("cpuacct.usage").map(Duration::from_nanos),
        }
    }

    /// What can be freed at once does not count, as the kubelet reckons it when it evicts.
    fn memory_percent(&self) -> Option<f64> {
        let (limit, used, cached) = match self.version {
            Version::Two => ("memory.max", "memory.current", "inactive_file"),
            Version::One => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        };
        let limit = self.number(limit).filter(|limit| *limit < NO_LIMIT)?;
        let cached = self.field("memory.stat", cached).unwrap_or_default();
        Some(percent(self.number(used)?.saturating_sub(cached), limit))
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.read(file)?;
        let value =
            |line: &str| line.split_once(' ').filter(|(field, _)| *field == name).map(|(_, value)| value.to_owned());
        text.lines().find_map(value)?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

/// What part of a hierarchy a line of `mountinfo` mounts, and where; nothing if it is another hierarchy. See proc(5).
fn mount<'a>(line: &'a str, version: Version, controllers: &[&str]) -> Option<(&'a str, &'a str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
    let fits = match version {
        Version::Two => name == "cgroup2",
        Version::One => {
            name == "cgroup" && controllers.iter().all(|one| options.split(',').any(|option| option == *one))
        }
    };
    fits.then_some((top, point))
}

/// The groups from that of a process up to what is mounted. A path that lies outside of that, as seen from within a
/// container, stands for what is mounted itself.
fn groups(root: &Path, top: &str, point: &str, path: &str, version: Version) -> Vec<Group> {
    let within = |path: &'_ Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let below = Path::new(path).strip_prefix(top).ok().filter(|below| within(below)).unwrap_or(Path::new(""));
    let point = root.join(point.trim_start_matches('/'));
    let group = |below: &Path| Group { directory: point.join(below), version, used: None };
    // The last of the ancestors is the empty path.
    below.ancestors().take(DEEPEST).map(group).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A directory that stands for the root of a host, and goes with this.
    pub(in super::super) struct Files(PathBuf);

    impl Files {
        pub(in super::super) fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("unisono-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        pub(in super::super) fn root(&self) -> &Path {
            &self.0
        }

        pub(in super::super) fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn all(&self, below: &str, files: &[(&str, &str)]) {
            files.iter().for_each(|(file, text)| self.write(&format!("{below}/{file}"), text));
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-6)
    }

    const MOUNT_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_tightest_limit_of_any_level_counts() {
        let files = Files::new("tightest");
        files.write("proc/self/cgroup", "0::/pods/larry\n");
        files.write("proc/self/mountinfo", &["22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", MOUNT_2].concat());
        files.all(
            "sys/fs/cgroup/pods/larry",
            &[
                ("cpu.max", "200000 100000\n"),
                ("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
                ("memory.max", "max\n"),
                ("memory.current", "900\n"),
            ],
        );
        files.all(
            "sys/fs/cgroup/pods",
            &[
                ("cpu.max", "max 100000\n"),
                ("cpu.stat", "usage_usec 9000000\n"),
                ("memory.max", "2000\n"),
                ("memory.current", "1500\n"),
                ("memory.stat", "anon 400\ninactive_file 500\n"),
            ],
        );
        let mut cgroups = Cgroups::find(files.root());
        assert!(near(cgroups.memory_percent(), 50.0), "without what is cached: {:?}", cgroups.memory_percent());
        assert_eq!(cgroups.cpu_percent(at(0)), None, "there is nothing yet to reckon from");
        files.write("sys/fs/cgroup/pods/larry/cpu.stat", "usage_usec 6000000\n");
        assert!(near(cgroups.cpu_percent(at(10)), 25.0), "5 s of 10 s on 2 cores");
        assert!(near(cgroups.cpu_percent(at(20)), 0.0));
        // Limits may change while a process runs.
        files.write("sys/fs/cgroup/pods/larry/cpu.stat", "usage_usec 7000000\n");
        files.write("sys/fs/cgroup/pods/larry/cpu.max", "50000 100000\n");
        files.write("sys/fs/cgroup/pods/larry/memory.max", "1000\n");
        assert!(near(cgroups.cpu_percent(at(24)), 50.0));
        assert!(near(cgroups.memory_percent(), 90.0));
    }

    #[test]
    fn within_a_container_the_path_of_the_host_means_what_is_mounted() {
        let files = Files::new("container");
        files.write("proc/self/mountinfo", "30 23 0:26 /docker/7 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        files.all("sys/fs/cgroup", &[("memory.max", "1000\n"), ("memory.current", "100\n")]);
        for path in ["/docker/7", "/../../other", "/elsewhere", "/"] {
            files.write("proc/self/cgroup", &format!("0::{path}\n"));
            assert!(near(Cgroups::find(files.root()).memory_percent(), 10.0), "{path}");
        }
        files.all("sys/fs/cgroup/inner", &[("memory.max", "100\n"), ("memory.current", "20\n")]);
        files.write("proc/self/cgroup", "0::/docker/7/inner\n");
        assert!(near(Cgroups::find(files.root()).memory_percent(), 20.0));
    }

    #[test]
    fn the_first_version_is_read_too() {
        let files = Files::new("first");
        files.write("proc/self/cgroup", "4:memory:/larry\n2:cpu,cpuacct:/larry\n1:name=systemd:/\n0::/\n");
        let mounts = "40 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      42 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        files.write("proc/self/mountinfo", mounts);
        let memory =
            |limit: &str| [("memory.limit_in_bytes", limit.to_owned()), ("memory.usage_in_bytes", "800\n".into())];
        for (file, text) in memory("1000\n") {
            files.write(&format!("sys/fs/cgroup/memory/larry/{file}"), &text);
        }
        files.write("sys/fs/cgroup/memory/larry/memory.stat", "cache 9\ninactive_file 1\ntotal_inactive_file 300\n");
        for (file, text) in memory("9223372036854771712\n") {
            files.write(&format!("sys/fs/cgroup/memory/{file}"), &text);
        }
        let cpu = "sys/fs/cgroup/cpu,cpuacct/larry";
        files.all(cpu, &[("cpu.cfs_quota_us", "50000\n"), ("cpu.cfs_period_us", "100000\n"), ("cpuacct.usage", "0\n")]);
        let mut cgroups = Cgroups::find(files.root());
        assert!(near(cgroups.memory_percent(), 50.0), "{:?}", cgroups.memory_percent());
        cgroups.cpu_percent(at(0));
        files.write(&format!("{cpu}/cpuacct.usage"), "1000000000\n");
        assert!(near(cgroups.cpu_percent(at(4)), 50.0), "1 s of 4 s on half a core");
        files.write(&format!("{cpu}/cpu.cfs_quota_us"), "-1\n");
        assert_eq!(cgroups.cpu_percent(at(8)), None, "no quota any more");
        files.write("sys/fs/cgroup/memory/larry/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(cgroups.memory_percent(), None, "no limit any more");
    }

    #[test]
    fn what_is_not_there_sets_no_limit() {
        let files = Files::new("nothing");
        let mut cgroups = Cgroups::find(files.root());
        assert_eq!((cgroups.cpu_percent(at(0)), cgroups.memory_percent()), (None, None));
        files.write("proc/self/cgroup", "0::/larry\nnonsense\n7\n");
        files.write("proc/self/mountinfo", &["nonsense - \n - cgroup2\n", MOUNT_2].concat());
        files.all("sys/fs/cgroup/larry", &[("cpu.max", "1\n"), ("memory.max", "-5\n"), ("memory.current", "x\n")]);
        let mut cgroups = Cgroups::find(files.root());
        assert_eq!(cgroups.cpu.len(), 2);
        assert_eq!((cgroups.cpu_percent(at(0)), cgroups.memory_percent()), (None, None));
    }
}
