//! Hurts simulated clusters by the thousand and demands that they heal.
//!
//! ```text
//! cargo run --release --example simulate -- --nodes 100 --seeds 1000
//! ```
//!
//! Every trial follows from its seed: one that fails is told with its story and with the command that repeats it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core")]

mod idle;
mod measure;
mod options;
mod progress;
mod replay;
mod stories;
mod trials;

use std::process::ExitCode;

use options::{Options, Task};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", options::USAGE);
        return ExitCode::SUCCESS;
    }
    let outcome = Options::parse(arguments).and_then(|options| match &options.task {
        Task::Trials { threads, failures, trace } => trials::run(&options, *threads, *failures, trace.as_deref()),
        Task::Story { story, threads } => story.run(options.nodes, options.first, options.seeds, *threads),
        Task::Replay { file } => replay::run(file),
        Task::Measure(measure) => measure.run(options.nodes, options.first, options.seeds),
        Task::Idle { seconds, writes } => idle::run(options.nodes, options.first, *seconds, *writes),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
