//! Datagrams, streams, deadlines.

use std::io::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::driver::BindError;
use crate::engine::StreamId;
use crate::wire::{MAX_DATAGRAM, MAX_FRAME};

async fn pair() -> (Node, Node) {
    let port = cluster_port();
    (Node::start(port, Setup::default()).await, Node::start(port, Setup::default()).await)
}

async fn accepted(node: &mut Node) -> StreamId {
    let accepted = |input| if let Input::Accepted { stream, from } = input { Some((stream, from)) } else { None };
    let (stream, from) = node.input("a stream", accepted).await;
    assert_eq!((stream.0 % 2, from.ip()), (1, node.address.ip()));
    stream
}

async fn frame(node: &mut Node, wanted: StreamId) -> Bytes {
    let frame = |input| match input {
        Input::Frame { stream, bytes } if stream == wanted => Some(bytes),
        Input::Closed { stream } if stream == wanted => panic!("closed instead of a frame"),
        _ => None,
    };
    node.input("a frame", frame).await
}

async fn closed(node: &mut Node, wanted: StreamId) {
    node.input("the end", |input| matches!(input, Input::Closed { stream } if stream == wanted).then_some(())).await;
}

#[tokio::test]
async fn nodes_take_the_first_free_ports_and_exchange_datagrams() {
    let (one, mut other) = pair().await;
    assert_ne!(one.address, other.address);
    let bytes = Bytes::from(vec![7; MAX_DATAGRAM]);
    let over = Bytes::from(vec![8; MAX_DATAGRAM + 1]);
    one.give([
        Output::Datagram { to: other.address, bytes: over.clone() },
        Output::Datagram { to: other.address, bytes: bytes.clone() },
    ]);
    let datagram = |input| if let Input::Datagram { from, bytes } = input { Some((from, bytes)) } else { None };
    assert_eq!(other.input("a datagram", datagram).await, (one.address, bytes.clone()));
    assert_eq!(one.driver.counts().datagrams_oversized.load(Ordering::Relaxed), 1);

    // And what comes in too long is dropped as well.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&over, other.address).unwrap();
    stranger.send_to(&bytes, other.address).unwrap();
    assert_eq!(other.input("a datagram", datagram).await.1, bytes);
    assert_eq!(other.driver.counts().datagrams_oversized.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn frames_of_full_length_cross_both_ways_and_are_flushed() {
    let (mut one, mut other) = pair().await;
    let stream = StreamId(2);
    let big = Bytes::from((0..MAX_FRAME).map(|byte| byte.to_le_bytes()[0]).collect::<Vec<_>>());
    // Sent before the stream is open, since nothing forbids it.
    one.give([
        Output::Connect { stream, to: other.address },
        Output::Frame { stream, bytes: big.clone() },
        Output::Frame { stream, bytes: Bytes::new() },
    ]);
    let theirs = accepted(&mut other).await;
    assert_eq!(frame(&mut other, theirs).await, big);
    assert_eq!(frame(&mut other, theirs).await, Bytes::new());
    one.input("Connected", |input| matches!(input, Input::Connected { stream: StreamId(2) }).then_some(())).await;
    for _ in 0..2 {
        one.input("Flushed", |input| matches!(input, Input::Flushed { stream: StreamId(2) }).then_some(())).await;
    }
    other.give([Output::Frame { stream: theirs, bytes: big.clone() }, Output::Close { stream: theirs }]);
    assert_eq!(frame(&mut one, stream).await, big, "a closed stream still writes what was sent");
    closed(&mut one, stream).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_its_stream_only() {
    let (mut one, mut other) = pair().await;
    one.give([Output::Connect { stream: StreamId(2), to: other.address }]);
    let good = accepted(&mut other).await;
    one.give([Output::Frame { stream: StreamId(2), bytes: Bytes::from_static(b"first") }]);
    assert_eq!(frame(&mut other, good).await, "first");

    let mut hostile = TcpStream::connect(other.address).await.unwrap();
    let bad = accepted(&mut other).await;
    let over = u32::try_from(MAX_FRAME).unwrap() + 1;
    hostile.write_all(&over.to_be_bytes()).await.unwrap();
    closed(&mut other, bad).await;
    assert_eq!(timeout(PATIENCE, hostile.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert_eq!(other.driver.counts().frames_oversized.load(Ordering::Relaxed), 1);

    one.give([Output::Frame { stream: StreamId(2), bytes: Bytes::from_static(b"second") }]);
    assert_eq!(frame(&mut other, good).await, "second");
    // The engine's own mistake costs it its stream, too.
    one.give([Output::Frame { stream: StreamId(2), bytes: Bytes::from(vec![0; MAX_FRAME + 1]) }]);
    closed(&mut one, StreamId(2)).await;
    closed(&mut other, good).await;
}

#[tokio::test]
async fn a_refused_connect_is_told_from_one_that_failed() {
    let (mut one, other) = pair().await;
    let nobody = other.address;
    drop(other);
    until("the port is free", || std::net::TcpStream::connect(nobody).is_err()).await;
    one.give([
        Output::Connect { stream: StreamId(2), to: nobody },
        Output::Connect { stream: StreamId(4), to: "[::1]:9".parse().unwrap() },
    ]);
    let mut failed = std::collections::BTreeMap::new();
    while failed.len() < 2 {
        let fail =
            |input| if let Input::ConnectFailed { stream, refused } = input { Some((stream, refused)) } else { None };
        failed.extend([one.input("ConnectFailed", fail).await]);
    }
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), [(StreamId(2), true), (StreamId(4), false)]);
}

#[tokio::test]
async fn nothing_is_heard_of_a_stream_after_it_was_closed() {
    let (mut one, mut other) = pair().await;
    one.give([Output::Connect { stream: StreamId(2), to: other.address }]);
    let theirs = accepted(&mut other).await;
    one.input("Connected", |input| matches!(input, Input::Connected { .. }).then_some(())).await;
    one.give([Output::Close { stream: StreamId(2) }]);
    closed(&mut other, theirs).await;
    other.give([Output::Datagram { to: one.address, bytes: Bytes::from_static(b"sentinel") }]);
    one.input("the sentinel", |input| match input {
        Input::Datagram { .. } => Some(()),
        Input::Closed { .. } => panic!("told of the end that it asked for"),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_reader_waits_while_the_engine_is_busy_and_loses_nothing() {
    let (one, mut other) = pair().await;
    // Many times the inbox; written from a thread that may block.
    let address = one.address;
    drop(one);
    let to = other.address;
    let writer = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(to).unwrap();
        for number in 0..2_000_u32 {
            tcp.write_all(&4_u32.to_be_bytes()).unwrap();
            tcp.write_all(&number.to_be_bytes()).unwrap();
        }
        tcp
    });
    let stream = accepted(&mut other).await;
    for number in 0..2_000_u32 {
        assert_eq!(frame(&mut other, stream).await, number.to_be_bytes()[..]);
    }
    drop(writer.await.unwrap());
    closed(&mut other, stream).await;
    assert_ne!(address, to);
}

#[tokio::test]
async fn the_deadline_is_told_when_it_has_come() {
    let (mut one, _other) = pair().await;
    *one.shared.timeout.lock().unwrap() = Some(one.clock.now().instant + Duration::from_millis(30));
    one.give([]);
    one.input("the deadline", |input| matches!(input, Input::Deadline).then_some(())).await;
}

#[tokio::test]
async fn dropping_the_driver_frees_the_port_and_closes_streams() {
    let (mut one, mut other) = pair().await;
    one.give([Output::Connect { stream: StreamId(2), to: other.address }]);
    let theirs = accepted(&mut other).await;
    one.input("Connected", |input| matches!(input, Input::Connected { .. }).then_some(())).await;
    let config = BindConfig { port: Some(one.address.port()), ..on_loopback(one.address.port() - 1) };
    assert!(matches!(bind(&config).await, Err(BindError::Occupied { .. })));
    drop(one);
    closed(&mut other, theirs).await;
    let freed = async {
        loop {
            match bind(&config).await {
                Ok(bound) => return bound,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let bound = timeout(PATIENCE, freed).await.expect("the port stays taken");
    assert_eq!(bound.address().port(), config.port.unwrap());
}

#[tokio::test]
async fn addresses_that_others_would_ignore_are_refused() {
    let config = on_loopback(cluster_port());
    let advertise = Some("10.0.0.1:4871".parse().unwrap());
    let refused = bind(&BindConfig { advertise, ..config.clone() }).await;
    assert!(matches!(refused, Err(BindError::AdvertiseOutside { .. })), "{refused:?}");
    let refused = bind(&BindConfig { bind: Some("10.0.0.1".parse().unwrap()), ..config.clone() }).await;
    assert!(matches!(refused, Err(BindError::BindOutside { .. })), "{refused:?}");
    let refused = bind(&BindConfig { net: "203.0.113.0/29".parse().unwrap(), ..config.clone() }).await;
    assert!(matches!(refused, Err(BindError::NoInterface(_))), "{refused:?}");
    let refused = bind(&BindConfig { port: Some(config.cluster_port), ..config.clone() }).await;
    assert!(matches!(refused, Err(BindError::ClusterPort { .. })), "{refused:?}");
    let advertise = Some("127.9.9.9:4871".parse().unwrap());
    let bound = bind(&BindConfig { advertise, ..config }).await.unwrap();
    assert_eq!(Some(bound.address()), advertise);
}

#[tokio::test]
async fn what_a_peer_still_sends_does_not_reset_the_last_frame() {
    let one = Node::start(cluster_port(), Setup::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stream, to) = (StreamId(2), listener.local_addr().unwrap());
    let bytes = Bytes::from(vec![1; MAX_FRAME]);
    one.give([Output::Connect { stream, to }, Output::Frame { stream, bytes }, Output::Close { stream }]);
    let talk = async {
        let mut peer = listener.accept().await.unwrap().0;
        let (mut left, mut buffer) = (MAX_FRAME + 4, [0; 1_024]);
        while left > 0 {
            peer.write_all(&[0, 0, 0, 1, 7]).await.expect("the stream was reset");
            left -= peer.read(&mut buffer).await.expect("the stream was reset");
        }
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 0);
    };
    timeout(PATIENCE, talk).await.expect("the last frame never came");
}
