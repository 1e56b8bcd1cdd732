//! How often a member of a large cluster reports its fingerprint.
//!
//! Where many change at a time, every member draws another picture every few milliseconds, and every report goes to
//! everybody. So while they follow each other their pause doubles, up to one that grows with the cluster: what everybody
//! hears of everybody in a second is then the same at any size. After a rest the first goes out at once again.

use std::time::Duration;

use crate::time::Instant;

/// So many members hear of each other at the shortest pause; of twice as many each reports half as often.
const MEMBERS: usize = 50;

/// When this node reported.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    last: Option<Instant>,
    /// The pause that the last report has to be followed by.
    pause: Duration,
}

impl Reporting {
    /// Takes note of a report that is made now, or says when it may be.
    pub(super) fn next(&mut self, now: Instant, shortest: Duration, members: usize) -> Result<(), Instant> {
        let times = u32::try_from(members / MEMBERS).unwrap_or(u32::MAX).max(1);
        let longest = shortest.saturating_mul(times);
        let pause = self.pause.clamp(shortest, longest);
        let since = self.last.map(|last| now.since(last));
        if let (Some(last), true) = (self.last, since.is_some_and(|since| since < pause)) {
            return Err(last + pause);
        }
        let rested = since.is_none_or(|since| since >= pause * 2);
        self.pause = if rested { shortest } else { (pause * 2).min(longest) };
        self.last = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When the reports go out of one who wants to report all the time, in milliseconds.
    fn restless(reporting: &mut Reporting, members: usize, from: u32, to: u32) -> Vec<u32> {
        let wants = |ms: &u32| reporting.next(Instant::ZERO + MS * *ms, MS * 50, members).is_ok();
        (from..to).filter(wants).collect()
    }

    #[test]
    fn reports_that_follow_each_other_become_rare_as_far_as_the_cluster_is_large() {
        let few = restless(&mut Reporting::default(), 60, 0, 300);
        assert_eq!(few, [0, 50, 100, 150, 200, 250]);
        let many = restless(&mut Reporting::default(), 250, 0, 1_300);
        assert_eq!(many, [0, 50, 150, 350, 600, 850, 1_100], "50 · 250 / 50 at the most");
    }

    #[test]
    fn after_a_rest_a_report_goes_out_at_once() {
        let mut reporting = Reporting::default();
        assert_eq!(restless(&mut reporting, 250, 0, 500), [0, 50, 150, 350]);
        assert_eq!(restless(&mut reporting, 250, 1_000, 1_200), [1_000, 1_050, 1_150]);
        let held = reporting.next(Instant::ZERO + MS * 1_160, MS * 50, 250);
        assert_eq!(held, Err(Instant::ZERO + MS * 1_350), "and says when");
    }
}
