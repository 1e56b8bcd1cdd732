//! What may stand on the command line.

use unisono::{PartitionPolicy, Preset};

/// Printed by `help` and after a mistake.
pub(crate) const USAGE: &str = "\
A car park run by several nodes without a leader.

  parking_lot [--bench N]        start three nodes, play the script, check what happens; N times for figures
  parking_lot node NAME          be one node, with a terminal to type at (then try `help`)

Options
  --gates N        how many gates there are (4); tell every node the same
  --spaces N       how many cars fit (100); tell every node the same
  --partition HOW  when the network is cut: `overlap`, each side lets cars in (the default), or
                   `majority`, only the larger side does; tell every node the same
  --net CIDR       the subnet on which nodes look for each other (127.0.0.0/8: this computer)
  --port N         the port on which they do (node: 4870; script: a free one)
  --preset NAME    how patient the timers are: local, lan or wan (what the subnet suggests)
  --cluster NAME   nodes of other clusters are ignored (node: parking; script: one of its own)
  --json           node: print everything as JSON, one object per line";

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Play {
    /// Play the script with three processes.
    Script {
        /// How often.
        times: usize,
    },
    /// Be one node.
    Node {
        /// Its name.
        name: String,
    },
    /// Explain.
    Help,
}

/// The command line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) play: Play,
    pub(crate) gates: u32,
    pub(crate) spaces: usize,
    pub(crate) partition: PartitionPolicy,
    pub(crate) net: String,
    pub(crate) port: Option<u16>,
    pub(crate) preset: Option<Preset>,
    pub(crate) cluster: Option<String>,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            play: Play::Script { times: 1 },
            gates: 4,
            spaces: 100,
            partition: PartitionPolicy::Overlap,
            net: "127.0.0.0/8".to_owned(),
            port: None,
            preset: None,
            cluster: None,
            json: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "node" => options.play = Play::Node { name: value()? },
                "--bench" => options.play = Play::Script { times: number(&argument, &value()?)? },
                "--gates" => options.gates = number(&argument, &value()?)?,
                "--spaces" => options.spaces = number(&argument, &value()?)?,
                "--partition" => options.partition = partition(&value()?)?,
                "--net" => options.net = value()?,
                "--port" => options.port = Some(number(&argument, &value()?)?),
                "--preset" => options.preset = Some(preset(&value()?)?),
                "--cluster" => options.cluster = Some(value()?),
                "--json" => options.json = true,
                "help" | "--help" | "-h" => options.play = Play::Help,
                other => return Err(format!("{other}: there is no such option")),
            }
        }
        Ok(options)
    }
}

fn partition(text: &str) -> Result<PartitionPolicy, String> {
    match text {
        "overlap" => Ok(PartitionPolicy::Overlap),
        "majority" => Ok(PartitionPolicy::Majority),
        other => Err(format!("--partition {other}: give it overlap or majority")),
    }
}

fn preset(text: &str) -> Result<Preset, String> {
    match text {
        "local" => Ok(Preset::Local),
        "lan" => Ok(Preset::Lan),
        "wan" => Ok(Preset::Wan),
        other => Err(format!("--preset {other}: give it local, lan or wan")),
    }
}

fn number<N: std::str::FromStr + Default + PartialEq>(option: &str, text: &str) -> Result<N, String> {
    match text.parse() {
        Ok(number) if number != N::default() => Ok(number),
        _ => Err(format!("{option} {text}: give it a number from 1 up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn nothing_means_the_script_with_four_gates_and_a_hundred_spaces() {
        let options = parse("").unwrap();
        assert_eq!(options.partition, PartitionPolicy::Overlap);
        assert_eq!((options.play, options.gates, options.spaces), (Play::Script { times: 1 }, 4, 100));
    }

    #[test]
    fn a_node_takes_its_options_in_any_order() {
        let options = parse(
            "--json node larry --gates 2 --spaces 5 --net 10.77.0.0/24 --port 5000 --preset wan --partition majority",
        )
        .unwrap();
        assert_eq!(options.play, Play::Node { name: "larry".to_owned() });
        assert_eq!((options.gates, options.spaces, options.port, options.json), (2, 5, Some(5000), true));
        assert_eq!(options.partition, PartitionPolicy::Majority);
        assert_eq!((options.net.as_str(), options.preset), ("10.77.0.0/24", Some(Preset::Wan)));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse("node").unwrap_err(), "node needs a value");
        assert_eq!(parse("--gates 0").unwrap_err(), "--gates 0: give it a number from 1 up");
        assert_eq!(parse("--port 70000").unwrap_err(), "--port 70000: give it a number from 1 up");
        assert_eq!(parse("--preset moon").unwrap_err(), "--preset moon: give it local, lan or wan");
        assert_eq!(parse("--partition half").unwrap_err(), "--partition half: give it overlap or majority");
        assert_eq!(parse("--fast").unwrap_err(), "--fast: there is no such option");
    }
}
