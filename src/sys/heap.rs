//! The allocator of the program: dlmalloc, without the locks of its own, which cost as much as it does.

#![allow(unsafe_code)]

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked of the kernel at a time: all that a command needs. Of it only those pages are there that are written to.
const GRANULARITY: usize = 1 << 20;

/// An allocator for a program that has one thread nearly always, as ours has whenever it clones.
#[derive(Debug)]
pub struct Heap {
    taken: AtomicBool,
    blocks: UnsafeCell<Dlmalloc>,
}

// SAFETY: `blocks` is used by whoever has set `taken`, and by nobody else.
unsafe impl Sync for Heap {}

impl Heap {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "of use as a constant only")]
    pub const fn new() -> Self {
        let mut blocks = Dlmalloc::new();
        assert!(blocks.set_granularity(GRANULARITY), "a power of two");
        Self { taken: AtomicBool::new(false), blocks: UnsafeCell::new(blocks) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: taken, until it is given back below.
        let done = work(unsafe { &mut *self.blocks.get() });
        self.taken.store(false, Ordering::Release);
        done
    }
}

// SAFETY: the methods do what their namesakes in `Dlmalloc` do, which were made for this, and none panics.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a layout has a size and an alignment that fit.
        self.with(|blocks| unsafe { blocks.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|blocks| unsafe { blocks.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller has the block from here, with this layout.
        self.with(|blocks| unsafe { blocks.free(block, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        self.with(|blocks| unsafe { blocks.realloc(block, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::multiple_unsafe_ops_per_block,
    reason = "not the runtime"
)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_many_threads_stay_apart() {
        static HEAP: Heap = Heap::new();
        let layout = |size| Layout::from_size_align(size, 16).unwrap();
        let work = |number: u8| {
            for size in 1..2000 {
                // SAFETY: each block is written to within its size, and freed with the layout it has then.
                unsafe {
                    let block = HEAP.alloc(layout(size));
                    block.write_bytes(number, size);
                    let block = HEAP.realloc(block, layout(size), 2 * size);
                    assert_eq!((*block, *block.add(size - 1)), (number, number));
                    let zeroed = HEAP.alloc_zeroed(layout(size));
                    assert_eq!((*zeroed, *zeroed.add(size - 1)), (0, 0));
                    zeroed.write_bytes(0xff, size);
                    HEAP.dealloc(zeroed, layout(size));
                    HEAP.dealloc(block, layout(2 * size));
                }
            }
        };
        std::thread::scope(|scope| (1..=4).for_each(|number| drop(scope.spawn(move || work(number)))));
    }
}
