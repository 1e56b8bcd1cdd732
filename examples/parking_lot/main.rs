//! A car park that any number of computers run together: `unisono` in one small program.
//!
//! ```text
//!        larry                gary               harry          nodes: they find each other on the subnet
//!   ┌───────────────┐     ┌─────────┐         ┌─────────┐
//!   │ gate-1 gate-2 │     │ gate-3  │         │ gate-4  │       roles: each runs on exactly one node, moves to another
//!   │               │     │         │         │attendant│       one when its node dies, and is called from any node
//!   └───────┬───────┘     └────┬────┘         └────┬────┘
//!   ┌───────┴──────────────────┴───────────────────┴────┐
//!   │  "ABC 123" → gate 1, entered at larry             │       table `cars`: a whole copy on every node, so that
//!   │  "XYZ 789" → gate 3, entered at harry             │       reading never waits and no node's death loses a car
//!   └───────────────────────────────────────────────────┘
//! ```
//!
//! Start here: [`node::start`] is all the code that it takes to be a member, and [`lot`] says what the car park promises.
//! Cars are let in and out by the roles [`gate`] and [`attendant`]. The rest is a terminal around it ([`command`],
//! [`line`], [`rush`]) and a script that plays with three processes ([`script`], [`stage`]).
//!
//! ```text
//! cargo run --example parking_lot                    # three processes; one is killed; see what happens
//! cargo run --example parking_lot -- node larry      # one node to type at; start gary in another terminal
//! cargo run --example parking_lot -- help
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core, not its users")]

mod attendant;
mod command;
mod figures;
mod gate;
mod line;
mod lot;
mod node;
mod options;
mod rush;
mod script;
mod stage;

use std::process::ExitCode;

use options::{Options, Play};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let result = match &options.play {
        Play::Help => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Play::Script { times } => script::play(&options, *times).await,
        Play::Node { name } => {
            let result = node::run(name, &options).await;
            if let Err(why) = &result {
                eprintln!("{name}: {why}");
            }
            // Returning would wait for the thread that still reads the terminal.
            std::process::exit(i32::from(result.is_err()));
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}
