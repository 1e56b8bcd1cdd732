//! What the script measures, and how it is printed.
//!
//! Most are spans between moments at which this one process did something or received a line from a node. `enter → visible`
//! goes from the wall clock of the node at which a car was brought to a gate to the wall clock of the last of the others to
//! see it inside, which is the same clock, as all run on one host. Waits of cars are measured by the node that asked.

use std::time::Duration;

/// The names of the figures, in the order of the script.
pub(crate) const NAMES: [&str; 7] = [
    "first node started → it runs all gates",
    "two more started → all three converged",
    "enter → visible on both others",
    "enter at a node that has neither → answered",
    "kill -9 → its gates run elsewhere",
    "restart → converged, with all cars",
    "kill -9 of the attendant: longest wait",
];

/// The figures of one run.
pub(crate) struct Figures {
    /// In the order of their names.
    pub(crate) spans: [Duration; NAMES.len()],
    /// Cars that were admitted each second, while all nodes brought as many as they could.
    pub(crate) admitted_per_s: f64,
}

/// Prints a table: one column for one run; minimum, median and maximum for several.
pub(crate) fn print(runs: &[Figures]) {
    println!();
    if runs.len() > 1 {
        println!("{:46}       min    median       max", "");
    }
    for (index, name) in NAMES.iter().enumerate() {
        let mut column: Vec<Duration> = runs.iter().map(|run| run.spans[index]).collect();
        column.sort();
        let cells = match column.as_slice() {
            [] => continue,
            [only] => milliseconds(*only),
            [min, .., max] => [*min, median(&column), *max].map(milliseconds).concat(),
        };
        println!("{name:46}{cells}");
    }
    let mut rates: Vec<f64> = runs.iter().map(|run| run.admitted_per_s).collect();
    rates.sort_by(f64::total_cmp);
    let rate = |rate: &f64| format!("{rate:7.0} /s");
    let cells = match rates.as_slice() {
        [only] => rate(only),
        [] => String::new(),
        [min, .., max] => [min, &rates[rates.len() / 2], max].map(rate).join(""),
    };
    println!("{:46}{cells}", "cars admitted, three nodes asking at once");
    println!(
        "\n{}: enter → visible by the nodes' wall clock, which is one; the rest by this process's.",
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
