//! The memory of the frame cache: blocks of [`BLOCK`] bytes in large pieces, each of which is mapped when a block in it
//! is first written.
//!
//! Pages of random frames are copied from all over the cache, and then the processor looks up addresses for longer than one would
//! think: with huge pages (<https://docs.kernel.org/admin-guide/mm/transhuge.html>) a copy takes three quarters of the time. And
//! no allocator is asked for each page while the cache fills.

use memmap2::MmapMut;

use crate::sync::RwLock;

/// Bytes of a block: most databases have pages of this size.
pub const BLOCK: usize = 4096;
/// Blocks in a piece of memory: 2 MiB, a huge page.
pub const SLAB_BLOCKS: usize = 512;

/// See the module.
pub struct Slabs {
    slabs: Box<[RwLock<Option<MmapMut>>]>,
}

impl Slabs {
    /// Room for `blocks` blocks.
    pub fn new(blocks: usize) -> Slabs {
        Slabs { slabs: (0..blocks.div_ceil(SLAB_BLOCKS)).map(|_| RwLock::default()).collect() }
    }

    fn locate(&self, block: u32) -> (&RwLock<Option<MmapMut>>, usize) {
        let block = block as usize;
        (&self.slabs[block / SLAB_BLOCKS], block % SLAB_BLOCKS * BLOCK)
    }

    /// Copy bytes of a block, from `offset` on, into `buf`. False: it was never written. The bytes must lie in the block.
    pub fn read(&self, block: u32, offset: usize, buf: &mut [u8]) -> bool {
        let (slab, start) = self.locate(block);
        let slab = slab.read();
        let Some(memory) = &*slab else { return false };
        let start = start + offset;
        buf.copy_from_slice(&memory[start..start + buf.len()]);
        true
    }

    /// Fill a block from its start. At most [`BLOCK`] bytes. False: the system has no memory for it.
    pub fn write(&self, block: u32, bytes: &[u8]) -> bool {
        let (slab, start) = self.locate(block);
        let mut slab = slab.write();
        let memory = match &mut *slab {
            Some(memory) => memory,
            none => match map() {
                Some(memory) => none.insert(memory),
                None => return false,
            },
        };
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        true
    }

    /// Have the memory of a block at hand before it is written: it takes a while to get a huge page, and longer in a virtual
    /// machine that gives back what it does not use.
    pub fn prepare(&self, block: u32) {
        let slab = &self.slabs[block as usize / SLAB_BLOCKS];
        if slab.read().is_some() {
            return;
        }
        let Some(mut memory) = map() else { return };
        memory.chunks_mut(BLOCK).for_each(|block| block[0] = 0);
        slab.write().get_or_insert(memory);
    }

    #[cfg(test)]
    pub fn is_mapped(&self, block: u32) -> bool {
        self.slabs[block as usize / SLAB_BLOCKS].read().is_some()
    }

    /// Give all memory back.
    pub fn clear(&self) {
        for slab in &self.slabs {
            *slab.write() = None;
        }
    }
}

fn map() -> Option<MmapMut> {
    let memory = MmapMut::map_anon(SLAB_BLOCKS * BLOCK).ok()?;
    // Where the system has no huge pages, small ones do as well.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    Some(memory)
}
