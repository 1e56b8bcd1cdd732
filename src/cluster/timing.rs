//! Timers one by one, for whoever measured that those of a preset are wrong for him.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config_error::ConfigError;
use crate::engine::Timing;

/// Timers that differ from those of the [preset](crate::Preset): what is `None` is as the preset has it. Milliseconds all,
/// but for the two counts.
///
/// All nodes of a cluster should have the same ones. They are checked against each other when a node starts, and by
/// [`Config::check`](crate::Config::check): what a suspect needs to refute is not there if it is probed less often than
/// that.
///
/// In a file they are the table `[timing]`:
///
/// ```
/// use unisono::Config;
///
/// let config = Config::from_toml_str(
///     r#"
///     preset = "lan"
///
///     [timing]
///     suspicion_ms = 3_000
///     "#,
/// )?;
/// assert!(config.check().is_ok());
/// let hasty = Config::from_toml_str("[timing]\nsuspicion_ms = 200").unwrap();
/// assert!(hasty.check().unwrap_err().to_string().contains("at least 300ms"));
/// # Ok::<(), unisono::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimingConfig {
    /// How often one member is probed, and how long a probe may take with its indirect stage: 150 (`local`), 200 (`lan`) or
    /// 2,000 (`wan`). At least twice `probe_timeout_ms`. Shorter finds hosts that vanish in silence sooner and costs two
    /// datagrams per node and period.
    pub probe_period_ms: Option<u64>,
    /// How long the direct answer to a probe may take before others are asked to probe as well: 50, 70 or 800. The
    /// slowest of a hundred round trips; shorter asks in vain, longer leaves the others too little of the period.
    pub probe_timeout_ms: Option<u64>,
    /// How long a suspect may take to refute before it is Down: 500, 1,400 or 6,000. At least twice `probe_period_ms`, and
    /// twice `gossip_interval_ms`. Shorter declares busy members Down, and everything they host moves; longer keeps the
    /// roles of a vanished host without one.
    pub suspicion_ms: Option<u64>,
    /// How often news about members is sent on, while there is news: 40, 80 or 300. News needs about log(members) rounds.
    pub gossip_interval_ms: Option<u64>,
    /// How often a member that is Down is told that we are here, which heals partitions: 1,000.
    pub announce_down_ms: Option<u64>,
    /// How often the member list is exchanged with somebody whose list differs: 10,000.
    pub push_pull_ms: Option<u64>,
    /// How long a Down member stays in the list: an hour. At least ten times `suspicion_ms`: forgetting early lets late
    /// datagrams revive the dead.
    pub forget_down_ms: Option<u64>,
    /// How many members are asked to probe one that did not answer, and to how many news is sent at a time: 3. With 1, one
    /// lost datagram is an accusation.
    pub indirect_probes: Option<u8>,
    /// How many datagrams carry one piece of news: 10, 10 or 15. About three times log2(members).
    pub transmissions: Option<u8>,
    /// How long a new node looks for a cluster before it makes one of its own, at least: 150, 150 or 1,000. Drawn between
    /// this and `alone_after_most_ms`, so that of several that start at once one is first.
    pub alone_after_least_ms: Option<u64>,
    /// The same, at most: 300, 300 or 2,000.
    pub alone_after_most_ms: Option<u64>,
    /// How long agreement must last to count as converged: 20, 100 or 500. Longer than a datagram takes to everybody, or
    /// roles move on a picture that is about to change; every move waits for it.
    pub settle_ms: Option<u64>,
    /// How long to wait for agreement before roles that nobody runs are started without it: 10,000. At least twice
    /// `settle_ms`.
    pub patience_ms: Option<u64>,
    /// The pause between digests while nothing changes: 1,000, 1,000 or 2,000. Each is two datagrams of about 500 bytes.
    pub digest_idle_ms: Option<u64>,
    /// The same shortly after a change: 50, 100 or 400. What nobody noticed to be missing is found after two.
    pub digest_busy_ms: Option<u64>,
    /// How long a write may be overtaken by later ones of its author before it is fetched: 50, 50 or 200; three round trips
    /// if that is longer.
    pub hole_patience_ms: Option<u64>,
    /// How long a member stays Down before it is evicted from the roster: an hour. Until then the rows that were removed
    /// meanwhile are remembered for it. At least twice `suspicion_ms`. Shorter frees memory sooner; a member that comes
    /// back later may bring removed rows along.
    pub evict_after_ms: Option<u64>,
}

/// The longest of them, in milliseconds: 30 days.
const MOST_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

impl TimingConfig {
    /// These over a preset, checked against each other.
    pub(super) fn over(&self, mut timing: Timing) -> Result<Timing, ConfigError> {
        let membership = &mut timing.membership;
        for (field, ms, timer) in [
            ("timing.probe_period_ms", self.probe_period_ms, &mut membership.probe_period),
            ("timing.probe_timeout_ms", self.probe_timeout_ms, &mut membership.probe_timeout),
            ("timing.suspicion_ms", self.suspicion_ms, &mut membership.suspicion),
            ("timing.gossip_interval_ms", self.gossip_interval_ms, &mut membership.gossip_interval),
            ("timing.announce_down_ms", self.announce_down_ms, &mut membership.announce_down),
            ("timing.push_pull_ms", self.push_pull_ms, &mut membership.push_pull),
            ("timing.forget_down_ms", self.forget_down_ms, &mut membership.forget_down),
            ("timing.alone_after_least_ms", self.alone_after_least_ms, &mut timing.alone_after.0),
            ("timing.alone_after_most_ms", self.alone_after_most_ms, &mut timing.alone_after.1),
            ("timing.settle_ms", self.settle_ms, &mut timing.settle),
            ("timing.patience_ms", self.patience_ms, &mut timing.patience),
            ("timing.digest_idle_ms", self.digest_idle_ms, &mut timing.digest_idle),
            ("timing.digest_busy_ms", self.digest_busy_ms, &mut timing.digest_busy),
            ("timing.hole_patience_ms", self.hole_patience_ms, &mut timing.hole_patience),
            ("timing.evict_after_ms", self.evict_after_ms, &mut timing.evict_after),
        ] {
            let Some(ms) = ms else { continue };
            if !(1..=MOST_MS).contains(&ms) {
                return Err(ConfigError::Span { field, ms, max_ms: MOST_MS });
            }
            *timer = Duration::from_millis(ms);
        }
        membership.indirect_probes = self.indirect_probes.unwrap_or(membership.indirect_probes);
        membership.transmissions = self.transmissions.unwrap_or(membership.transmissions);
        timing.validate()?;
        Ok(timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_the_preset() {
        for preset in [Timing::local(), Timing::lan(), Timing::wan()] {
            assert_eq!(TimingConfig::default().over(preset.clone()), Ok(preset));
        }
    }

    #[test]
    fn what_is_set_counts_and_the_rest_stays_as_the_preset_has_it() {
        let slow = TimingConfig { suspicion_ms: Some(4_000), transmissions: Some(12), ..TimingConfig::default() };
        let mut expected = Timing::local();
        expected.membership.suspicion = Duration::from_secs(4);
        expected.membership.transmissions = 12;
        assert_eq!(slow.over(Timing::local()), Ok(expected));
    }

    #[test]
    fn each_timer_reaches_its_place() {
        // Scaled from a valid preset by different factors, so that no two are mixed up unnoticed.
        let all = TimingConfig {
            probe_period_ms: Some(501),
            probe_timeout_ms: Some(202),
            suspicion_ms: Some(1_503),
            gossip_interval_ms: Some(104),
            announce_down_ms: Some(1_005),
            push_pull_ms: Some(10_006),
            forget_down_ms: Some(3_600_007),
            indirect_probes: Some(4),
            transmissions: Some(9),
            alone_after_least_ms: Some(158),
            alone_after_most_ms: Some(309),
            settle_ms: Some(110),
            patience_ms: Some(10_011),
            digest_idle_ms: Some(1_012),
            digest_busy_ms: Some(113),
            hole_patience_ms: Some(54),
            evict_after_ms: Some(3_600_015),
        };
        let ms = Duration::from_millis;
        let timing = all.over(Timing::wan()).unwrap();
        let membership = &timing.membership;
        assert_eq!((membership.probe_period, membership.probe_timeout), (ms(501), ms(202)));
        assert_eq!((membership.suspicion, membership.gossip_interval), (ms(1_503), ms(104)));
        assert_eq!((membership.announce_down, membership.push_pull), (ms(1_005), ms(10_006)));
        assert_eq!((membership.forget_down, membership.indirect_probes), (ms(3_600_007), 4));
        assert_eq!((membership.transmissions, timing.alone_after), (9, (ms(158), ms(309))));
        assert_eq!((timing.settle, timing.patience), (ms(110), ms(10_011)));
        assert_eq!((timing.digest_idle, timing.digest_busy), (ms(1_012), ms(113)));
        assert_eq!((timing.hole_patience, timing.evict_after), (ms(54), ms(3_600_015)));
    }

    #[test]
    fn what_does_not_work_together_is_refused_by_name() {
        let error = |change: fn(&mut TimingConfig)| {
            let mut timing = TimingConfig::default();
            change(&mut timing);
            timing.over(Timing::lan()).unwrap_err()
        };
        for (error, field) in [
            (error(|timing| timing.settle_ms = Some(0)), "timing.settle_ms"),
            (error(|timing| timing.patience_ms = Some(u64::MAX)), "timing.patience_ms"),
            (error(|timing| timing.transmissions = Some(0)), "timing"),
            (error(|timing| timing.suspicion_ms = Some(399)), "timing"),
            (error(|timing| timing.evict_after_ms = Some(2_799)), "timing"),
        ] {
            assert_eq!(error.field(), field, "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
