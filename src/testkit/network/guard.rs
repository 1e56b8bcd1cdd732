//! What ends a rule.

use std::fmt;

use super::Network;

/// Keeps a rule in force; dropped, the network heals of it.
///
/// ```
/// use std::time::Duration;
/// use unisono::testkit::{NodeOptions, Simulation};
///
/// let mut simulation = Simulation::new(1);
/// let [larry, gary] = [simulation.add(NodeOptions::named("larry")), simulation.add(NodeOptions::named("gary"))];
/// {
///     let _cut = simulation.network().cut(&[larry], &[gary]);
///     simulation.run_for(Duration::from_secs(5));
///     assert_eq!(simulation.view(larry).len(), 1);
/// }
/// simulation.run_until(Duration::from_secs(40), |simulation| simulation.view(larry).len() == 2).unwrap();
/// ```
#[must_use = "the rule ends when its guard is dropped; `keep` it to let it stay"]
pub struct Guard {
    network: Network,
    rule: u64,
}

impl Guard {
    pub(super) fn new(network: Network, rule: u64) -> Self {
        Self { network, rule }
    }

    /// Ends the rule now, as dropping the guard does.
    pub fn heal(self) {}

    /// Lets the rule stay, until [`Network::heal`].
    pub fn keep(mut self) {
        // No rule has this number, so nothing ends when the guard is dropped.
        self.rule = 0;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.network.end(self.rule);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.rule).finish()
    }
}
