//! What stands in front of the body of a frame, but for the first of either side of a stream, which begins as a datagram
//! does.

use bytes::Bytes;

use super::Malformed;
use super::sum::{SUM_BYTES, is_sum, sum};

/// The length of what stands in front of the body.
const FRONT: usize = 1 + SUM_BYTES;

/// The front of a frame, for the body to be put behind it; [`seal_frame`] when it is complete.
pub fn open_frame(kind: u8) -> Vec<u8> {
    let mut frame = vec![0; FRONT];
    frame[0] = kind;
    frame
}

/// Completes a frame that [`open_frame`] began.
pub fn seal_frame(mut frame: Vec<u8>) -> Bytes {
    let sum = sum(frame[0].into(), &frame[FRONT..]);
    frame[1..FRONT].copy_from_slice(&sum);
    frame.into()
}

/// Splits a frame into what its body is and the body.
pub fn split_frame(frame: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let (front, body) = frame.split_first_chunk::<FRONT>().ok_or(Malformed)?;
    let [kind, sum @ ..] = front;
    if is_sum(sum, (*kind).into(), body) { Ok((*kind, body)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_and_one_flipped_bit_is_noticed() {
        let mut frame = open_frame(3);
        frame.extend_from_slice(b"body");
        let frame = seal_frame(frame);
        assert_eq!(split_frame(&frame), Ok((3, &b"body"[..])));
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(split_frame(&damaged), Err(Malformed), "bit {bit}");
        }
        assert_eq!(split_frame(&frame[..4]), Err(Malformed));
    }
}
