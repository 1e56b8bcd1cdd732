//! What rows take beyond their keys and values; see the documentation of the package.
//!
//! Counted is what was asked of the allocator and not given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use unisono_benches::{Alone, Chat, Map, Registers, Rows, key, value};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let counts: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number of keys")).collect();
    let counts = if counts.is_empty() { vec![100_000, 1_000_000] } else { counts };
    for keys in counts {
        println!("{keys} keys of 16 bytes, values of 64; bytes per key beyond these 80:");
        measure::<Alone>(keys);
        measure::<Chat>(keys);
        measure::<Map>(keys);
        measure::<Registers>(keys);
    }
}

fn measure<R: Rows>(keys: u64) {
    let before = LIVE.load(Ordering::Relaxed);
    let mut rows = R::empty();
    for number in 0..keys {
        rows.put(key(number), value(0));
    }
    let beyond = (LIVE.load(Ordering::Relaxed) - before) as f64 / keys as f64 - 80.0;
    rows.check(keys, 0);
    println!("  {:26} {beyond:6.1}", R::NAME);
}
