//! Repeats a recorded trial step by step.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Write, stdout};

use unisono::testkit::{Trace, in_words};

pub(crate) fn run(file: &str) -> Result<(), String> {
    let trace = File::open(file).map_err(|error| error.to_string());
    let trace = trace.and_then(|file| Trace::read(BufReader::new(file)).map_err(|error| error.to_string()));
    let trace = trace.map_err(|why| format!("{file}: {why}"))?;
    let mut out = BufWriter::new(stdout().lock());
    let mut gone = false;
    let outcome = trace.replay(|record, outputs| {
        if !gone {
            let step = || -> std::io::Result<()> {
                writeln!(out, "{record}")?;
                in_words(outputs).iter().try_for_each(|output| writeln!(out, "{:>29}{output}", "└ "))
            };
            // Whoever read this has seen enough; the replay itself goes on.
            gone = { step }().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        }
    });
    if !gone {
        out.flush().map_err(|error| error.to_string())?;
    }
    outcome.map_err(|diverged| diverged.to_string())?;
    eprintln!("{} steps of seed {} repeated, each with the same outcome", trace.records.len(), trace.seed);
    Ok(())
}
