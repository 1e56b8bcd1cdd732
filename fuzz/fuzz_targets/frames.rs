//! Any bytes as what comes in on streams, cut into frames as the bytes say: nothing panics, nothing sent is larger than
//! it may be, and no two nodes are made to talk without an end.
//!
//! ```text
//! cargo +nightly fuzz run frames
//!
//! how (1) [length (1) bytes] | how … | …     how: what is done, and how many frames pass before it is
//! ```
//!
//! First a meddler sits on every stream while two nodes meet, write and pull (see `pair`): it puts frames between
//! theirs, in place of theirs, and spoils, doubles, drops and holds back theirs. So frames come in every state of a
//! stream, and such as are nearly right, at both ends. Then the same bytes are cut into frames by their length prefixes,
//! like what TCP brings in pieces, and said on new streams.

#![no_main]

mod pair;
mod process;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use unisono::driver::cut_frames;
use unisono::wire::MAX_FRAME;

use pair::{Meddler, Pair, first, framed};

fuzz_target!(|data: &[u8]| {
    let mut pair = Pair::met(meddles(Bytes::copy_from_slice(data)));
    // A row that fits no datagram is pushed, and letters go: streams of those kinds too, in both directions.
    for node in [0, 1] {
        pair.writes(node, &[7; 2_000]);
        pair.mails(node, &Bytes::copy_from_slice(data));
        pair.goes_on();
    }
    let frames = cut(data);
    for node in [0, 1] {
        pair.opens_and_says(node, &frames);
        let mut said: Vec<Bytes> = frames.iter().map(|frame| framed(frame)).collect();
        pair.opens_and_says(node, &said);
        if let (Some(front), Some(frame)) = (said.first_mut(), frames.first()) {
            *front = first(frame);
        }
        pair.opens_and_says(node, &said);
    }
    pair.frames(&frames.last().cloned().unwrap_or_default());
    pair.goes_on();
});

/// Takes its orders from the bytes, one at a time, until they are used up.
fn meddles(mut orders: Bytes) -> Meddler {
    let mut order = next(&mut orders);
    let mut held = None;
    Box::new(move |_, _, frame| {
        let Some(Order { how, passes, bytes }) = &mut order else { return vec![frame] };
        if *passes > 0 {
            *passes -= 1;
            return vec![frame];
        }
        let arrives = match how {
            0 => vec![like(&frame, bytes), frame],
            1 => vec![like(&frame, bytes)],
            2 | 3 => vec![spoilt(&frame, bytes, *how == 3)],
            4 => vec![frame.clone(), frame],
            5 => Vec::new(),
            6 => held.replace(frame).into_iter().collect(),
            _ => [frame].into_iter().chain(held.take()).collect(),
        };
        order = next(&mut orders);
        arrives
    })
}

/// A frame of these bytes that begins as that one does.
fn like(frame: &Bytes, bytes: &Bytes) -> Bytes {
    if frame.starts_with(b"un") { first(bytes) } else { framed(bytes) }
}

struct Order {
    how: u8,
    passes: u8,
    bytes: Bytes,
}

fn next(orders: &mut Bytes) -> Option<Order> {
    let first = take(orders, 1).first().copied()?;
    let (how, passes) = (first % 8, first / 8);
    let length = if how < 4 { take(orders, 1).first().copied().unwrap_or_default() } else { 0 };
    Some(Order { how, passes, bytes: take(orders, length.into()) })
}

fn take(orders: &mut Bytes, most: usize) -> Bytes {
    orders.split_to(most.min(orders.len()))
}

/// The frame with some of its bytes exchanged, from a place in it on; what follows stays or is cut off.
fn spoilt(frame: &Bytes, bytes: &Bytes, cut: bool) -> Bytes {
    let Some((place, bytes)) = bytes.split_first() else { return frame.slice(..frame.len() / 2) };
    let mut frame = frame.to_vec();
    let place = usize::from(*place) % (frame.len() + 1);
    let end = frame.len().min(place + bytes.len());
    frame.splice(place..if cut { frame.len() } else { end }, bytes.iter().copied());
    frame.into()
}

/// Cuts the bytes into frames as they would come in at once, and in two pieces: it makes no difference.
fn cut(data: &[u8]) -> Vec<Bytes> {
    let mut buffer = BytesMut::from(data);
    let (frames, closed) = cut_frames(&mut buffer);
    let place = data.first().map_or(0, |first| usize::from(*first)).min(data.len());
    let mut buffer = BytesMut::from(&data[..place]);
    let (mut pieces, mut over) = cut_frames(&mut buffer);
    if !over {
        buffer.extend_from_slice(&data[place..]);
        let (more, closed) = cut_frames(&mut buffer);
        pieces.extend(more);
        over = closed;
    }
    assert_eq!((&pieces, over), (&frames, closed));
    assert!(frames.iter().all(|frame| frame.len() <= MAX_FRAME));
    assert!(frames.iter().map(|frame| frame.len() + 4).sum::<usize>() <= data.len());
    frames
}
