//! What the script measures, and how it is printed.
//!
//! All but one are spans between moments at which this one process did something or received a line from a node. The
//! exception is `write → visible`: from the wall clock of the node that wrote to the wall clock of the last of the
//! others to see it, which is the same clock, as all run on one host.

use std::time::Duration;

/// The names of the figures, in the order of the script.
pub(crate) const NAMES: [&str; 5] = [
    "first node started → it runs all gates",
    "two more started → all three converged",
    "write → visible on both others",
    "kill -9 → its gates run elsewhere",
    "restart → converged, with all cars",
];

/// The figures of one run.
pub(crate) type Figures = [Duration; NAMES.len()];

/// Prints a table: one column for one run; minimum, median and maximum for several.
pub(crate) fn print(runs: &[Figures]) {
    println!();
    if runs.len() > 1 {
        println!("{:42}       min    median       max", "");
    }
    for (index, name) in NAMES.iter().enumerate() {
        let mut column: Vec<Duration> = runs.iter().map(|run| run[index]).collect();
        column.sort();
        let cells = match column.as_slice() {
            [] => continue,
            [only] => milliseconds(*only),
            [min, .., max] => [*min, median(&column), *max].map(milliseconds).concat(),
        };
        println!("{name:42}{cells}");
    }
    println!(
        "\n{}: write → visible by the nodes' wall clock, which is one; the rest by this process's.",
        count(runs.len())
    );
}

fn count(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// The middle one, or the mean of the two in the middle; the column is sorted and not empty.
fn median(column: &[Duration]) -> Duration {
    let middle = column.len() / 2;
    if column.len() % 2 == 1 { column[middle] } else { (column[middle - 1] + column[middle]) / 2 }
}

fn milliseconds(span: Duration) -> String {
    format!("{:7.1} ms", span.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let column = |values: &[u64]| values.iter().map(|&ms| Duration::from_millis(ms)).collect::<Vec<_>>();
        assert_eq!(median(&column(&[7])), Duration::from_millis(7));
        assert_eq!(median(&column(&[1, 2, 9])), Duration::from_millis(2));
        assert_eq!(median(&column(&[1, 2, 4, 9])), Duration::from_millis(3));
    }
}
