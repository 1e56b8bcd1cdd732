//! Nodes of one host that find each other.

use super::*;

async fn finds(node: &mut Node, address: SocketAddr) {
    let found = |input| matches!(input, Input::Discovered { address: found } if found == address).then_some(());
    node.input("the other's address", found).await;
}

fn calling() -> Setup {
    Setup { beacon: true, ..Setup::default() }
}

#[tokio::test]
async fn nodes_of_one_host_find_each_other_with_no_list() {
    let port = cluster_port();
    let mut first = Node::start(port, calling()).await;
    let mut second = Node::start(port, calling()).await;
    finds(&mut first, second.address).await;
    finds(&mut second, first.address).await;
}

#[tokio::test]
async fn a_taken_beacon_port_stops_nobody() {
    // Bound without sharing it, as a stranger would.
    let stranger = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let mut first = Node::start(port, calling()).await;
    let mut second = Node::start(port, calling()).await;
    finds(&mut first, second.address).await;
    finds(&mut second, first.address).await;
}

#[tokio::test]
async fn clusters_on_one_port_do_not_mix() {
    let port = cluster_port();
    let mut first = Node::start(port, calling()).await;
    let foreign = Node::start(port, Setup { cluster: "other".to_owned(), ..calling() }).await;
    until("the foreign beacon is counted", || {
        first.driver.beacon_counts().foreign.load(std::sync::atomic::Ordering::Relaxed) > 0
    })
    .await;
    let told = |input| if let Input::Stranger { address, cluster } = input { Some((address, cluster)) } else { None };
    let stranger = first.input("the foreign node", told).await;
    assert_eq!(stranger, (foreign.address, crate::wire::cluster_hash("other")));
    let third = Node::start(port, calling()).await;
    let found = |input| if let Input::Discovered { address } = input { Some(address) } else { None };
    let found = first.input("anybody", found).await;
    assert_eq!(found, third.address, "and not {}", foreign.address);
}
