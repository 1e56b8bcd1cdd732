//! What happens when, in order of time and, at one time, in the order in which it was asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Happening;
use crate::time::Instant;

/// The queue of a discrete-event simulation. The heap holds small keys only; what happens stays where it is.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// When, the how-manieth that was asked for, and where it is kept.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    kept: Vec<Option<Happening>>,
    free: Vec<usize>,
    count: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.kept[slot] = Some(happening);
                slot
            }
            None => {
                self.kept.push(Some(happening));
                self.kept.len() - 1
            }
        };
        self.heap.push(Reverse((at, self.count, slot)));
    }

    /// When the next thing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, Happening)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.kept[slot].take().map(|happening| (at, happening))
    }
}
