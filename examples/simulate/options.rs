//! What the command line asks for.

use unisono::Preset;
use unisono::testkit::Plan;

use crate::measure::{Measure, What};
use crate::stories::Story;

/// How to call it.
pub(crate) const USAGE: &str = "\
cargo run --release --example simulate -- [--nodes 5] [--seeds 1000] [--first 0] [--plan NAME] [--threads N]
                                          [--failures 1] [--trace FILE]
cargo run --release --example simulate -- --replay FILE
cargo run --release --example simulate -- --nodes 4 --seeds 1000 --story NAME
cargo run --release --example simulate -- --nodes 100 --idle SECONDS [--writes PER_SECOND]
cargo run --release --example simulate -- --nodes 100 --seeds 20 --measure NAME [--loss 25] [--span 60] [--preset lan]

  --nodes     how many nodes a cluster begins with
  --seeds     how many trials; --first is the seed of the first one
  --plan      one kind of harm for all: hurt, evicted, skewed, lossy or islands; drawn from the seed otherwise
  --threads   how many trials run at a time; as many as there are cores otherwise
  --failures  stops after so many trials that failed
  --trace     records the first trial into a file
  --replay    repeats a recorded trial step by step, without the simulated network
  --story     what has to end well in every seed: split (two halves that both run a role meet again), loss or leave (a
              node goes, and of twenty roles only those move that it ran)
  --idle      lets a cluster that nothing happens to run for so many virtual seconds, and says how much faster than
              real time that was; with --writes its applications write
  --measure   how long a cluster takes, in virtual time: until a crash or a kill is known, until a cut of --span seconds
              is healed, until one who joins is known to all, until many that start at once have converged; or how often
              somebody is taken for dead in --span seconds: crash, kill, heal, return (of one node that was cut off from
              all), join, many or false-down; heal and return also count the members of one side that took each other
              for dead; or
              what is left of --span processes that came one after the other: restarts. --loss is in
              percent";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Trials { threads: usize, failures: usize, trace: Option<String> },
    Story { story: Story, threads: usize },
    Replay { file: String },
    Idle { seconds: u64, writes: u64 },
    Measure(Measure),
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) seeds: u64,
    pub(crate) first: u64,
    pub(crate) plan: Option<Plan>,
    pub(crate) task: Task,
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            nodes: 5,
            seeds: 1_000,
            first: 0,
            plan: None,
            task: Task::Trials { threads, failures: 1, trace: None },
        };
        let (mut most_threads, mut most_failures, mut record) = (threads, 1, None);
        let (mut replay, mut idle, mut writes, mut story) = (None, None, 0, None);
        let mut measure = Measure { what: What::Crash, loss: 0, seconds: 60, preset: Preset::Lan };
        let mut measures = false;
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value\n\n{USAGE}"));
            match name.as_str() {
                "--nodes" => options.nodes = number(&name, &value()?, 2)?,
                "--seeds" => options.seeds = number(&name, &value()?, 1)?,
                "--first" => options.first = number(&name, &value()?, 0)?,
                "--threads" => most_threads = number(&name, &value()?, 1)?,
                "--failures" => most_failures = number(&name, &value()?, 1)?,
                "--idle" => idle = Some(number(&name, &value()?, 1)?),
                "--writes" => writes = number(&name, &value()?, 0)?,
                "--trace" => record = Some(value()?),
                "--story" => story = Some(one_of(&Story::ALL, &value()?)?),
                "--replay" => replay = Some(value()?),
                "--loss" => measure.loss = number(&name, &value()?, 0)?,
                "--span" => measure.seconds = number(&name, &value()?, 1)?,
                "--preset" => measure.preset = one_of(&PRESETS, &value()?)?,
                "--measure" => (measure.what, measures) = (one_of(&What::ALL, &value()?)?, true),
                "--plan" => {
                    let wanted = value()?;
                    options.plan = Some(one_of(&Plan::ALL.map(|plan| (plan.name(), plan)), &wanted)?);
                }
                _ => return Err(format!("{name:?} is not known\n\n{USAGE}")),
            }
        }
        options.task = match (replay, idle, story) {
            _ if measures => Task::Measure(measure),
            (Some(file), ..) => Task::Replay { file },
            (None, Some(seconds), _) => Task::Idle { seconds, writes },
            (None, None, Some(story)) => Task::Story { story, threads: most_threads },
            (None, None, None) => Task::Trials { threads: most_threads, failures: most_failures, trace: record },
        };
        Ok(options)
    }
}

const PRESETS: [(&str, Preset); 3] = [("local", Preset::Local), ("lan", Preset::Lan), ("wan", Preset::Wan)];

fn one_of<T: Copy>(names: &[(&str, T)], wanted: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    found.ok_or_else(|| format!("there is no {wanted:?} here\n\n{USAGE}"))
}

fn number<T: TryFrom<u64>>(name: &str, value: &str, least: u64) -> Result<T, String> {
    let number = value.parse::<u64>().ok().filter(|number| *number >= least);
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("{name} takes a number of at least {least}, and {value:?} is none\n\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_commands_of_the_usage_are_understood() {
        let options = parse("--nodes 100 --seeds 7 --first 3 --plan lossy --threads 1 --trace a.trace").unwrap();
        assert_eq!((options.nodes, options.seeds, options.first, options.plan), (100, 7, 3, Some(Plan::Lossy)));
        assert_eq!(options.task, Task::Trials { threads: 1, failures: 1, trace: Some("a.trace".to_owned()) });
        let story = parse("--nodes 4 --story split --threads 2").unwrap();
        assert_eq!(story.task, Task::Story { story: Story::Split, threads: 2 });
        assert_eq!(parse("--replay a.trace").unwrap().task, Task::Replay { file: "a.trace".to_owned() });
        let Task::Measure(measure) = parse("--measure heal --loss 25 --span 600 --preset local").unwrap().task else {
            panic!("no measure");
        };
        assert_eq!((measure.what, measure.loss, measure.seconds), (What::Heal, 25, 600));
        assert_eq!(measure.preset, Preset::Local);
        assert_eq!(parse("--idle 60 --writes 100").unwrap().task, Task::Idle { seconds: 60, writes: 100 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, names) in [("--nodes 1", "--nodes"), ("--plan soft", "soft"), ("--seeds", "--seeds"), ("-x", "-x")] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(names) && why.contains("cargo run"), "{why}");
        }
    }
}
