//! A list of addresses given beforehand.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Context, Run, Strategy};

/// Yields the same addresses again and again: every second while this node is alone, every 30 s otherwise.
///
/// The list need not be complete. One node that lives is enough to meet all others.
///
/// ```
/// use unisono::discovery::{StaticList, Strategy};
///
/// let seeds = StaticList::new(["10.0.0.1:4871".parse()?, "10.0.0.2:4871".parse()?]);
/// assert_eq!(seeds.name(), "static list");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StaticList {
    addresses: Vec<SocketAddr>,
}

impl StaticList {
    const WHILE_ALONE: Duration = Duration::from_secs(1);
    const OTHERWISE: Duration = Duration::from_secs(30);

    /// A list of the advertised addresses of nodes; this node's own may be among them.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { addresses: addresses.into_iter().collect() }
    }
}

impl Strategy for StaticList {
    fn name(&self) -> &str {
        "static list"
    }

    fn run(&mut self, context: Context) -> Run<'_> {
        Box::pin(async move {
            loop {
                for &address in &self.addresses {
                    context.found(address).await;
                }
                context.pause(Self::WHILE_ALONE, Self::OTHERWISE).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn yields_everything_each_second_while_alone_and_seldom_otherwise() {
        let addresses: Vec<SocketAddr> = (2..5).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let (sender, mut found) = mpsc::channel(16);
        let (alone, is_alone) = watch::channel(true);
        let context = Context::new(SocketAddr::from(([127, 0, 0, 1], 1)), sender, is_alone);
        let mut list = StaticList::new(addresses.clone());
        let run = tokio::spawn(async move { list.run(context).await });
        let started = Instant::now();
        for second in 0..3 {
            for address in &addresses {
                assert_eq!(found.recv().await.unwrap(), *address);
            }
            assert_eq!(started.elapsed().as_secs(), second);
        }
        alone.send_replace(false);
        assert_eq!(found.recv().await.unwrap(), addresses[0]);
        assert_eq!(started.elapsed().as_secs(), 32);
        run.abort();
    }
}
