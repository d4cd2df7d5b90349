//! The payloads of one class of a [`SharedStorage`](super::SharedStorage), each in a place that its message remembers.
//!
//! Small copied payloads stand one behind the other in chunks, one allocation for some sixty messages, and shared ones in a
//! block each. A block is freed with its last message, in whatever order messages leave, and its index is used again: so
//! there are never more blocks than messages had at once.

use alloc::vec::Vec;
use bytes::Bytes;

/// Where a payload lies. Small, as every queued message has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    block: u32,
    /// Where it begins in a chunk.
    at: u16,
    /// Its bytes in a chunk.
    len: u16,
}

impl Place {
    /// The place of no payload.
    pub(super) const NONE: Self = Self { block: u32::MAX, at: 0, len: 0 };

    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.block == Self::NONE.block
    }
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// Indices of blocks that are free.
    free: Vec<u32>,
    /// The chunk that payloads are copied into.
    filling: Option<u32>,
}

#[derive(Debug)]
enum Block {
    Free,
    Chunk { bytes: Vec<u8>, payloads: u32 },
    Shared(Bytes),
}

impl Blocks {
    #[inline]
    pub(super) fn copy(&mut self, payload: &[u8]) -> Place {
        if let Some(block) = self.filling
            && let Some(Block::Chunk { bytes, payloads }) = self.blocks.get_mut(block as usize)
            && bytes.capacity() - bytes.len() >= payload.len()
        {
            // A chunk is no longer than a `u16` counts.
            let place = Place { block, at: bytes.len() as u16, len: payload.len() as u16 };
            bytes.extend_from_slice(payload);
            *payloads += 1;
            return place;
        }
        self.copy_to_another(payload)
    }

    #[cold]
    fn copy_to_another(&mut self, payload: &[u8]) -> Place {
        if payload.len() > CHUNKED_MAX {
            return self.share(Bytes::copy_from_slice(payload));
        }
        let mut bytes = Vec::with_capacity(CHUNK);
        bytes.extend_from_slice(payload);
        let block = self.insert(Block::Chunk { bytes, payloads: 1 });
        self.filling = Some(block);
        Place { block, at: 0, len: payload.len() as u16 }
    }

    pub(super) fn share(&mut self, payload: Bytes) -> Place {
        Place { block: self.insert(Block::Shared(payload)), at: 0, len: 0 }
    }

    #[inline]
    pub(super) fn payload(&self, place: Place) -> Option<&[u8]> {
        match self.blocks.get(place.block as usize)? {
            Block::Chunk { bytes, .. } => bytes.get(usize::from(place.at)..)?.get(..usize::from(place.len)),
            Block::Shared(bytes) => Some(bytes),
            Block::Free => None,
        }
    }

    /// The payload goes; gives the bytes that it had.
    #[inline]
    pub(super) fn remove(&mut self, place: Place) -> usize {
        match self.blocks.get_mut(place.block as usize) {
            Some(Block::Chunk { bytes, payloads }) => {
                *payloads -= 1;
                if *payloads == 0 {
                    if self.filling == Some(place.block) {
                        bytes.clear();
                    } else {
                        self.free(place.block);
                    }
                }
                usize::from(place.len)
            }
            Some(Block::Shared(bytes)) => {
                let len = bytes.len();
                self.free(place.block);
                len
            }
            Some(Block::Free) | None => 0,
        }
    }

    /// No payload is left: keeps the memory for some, and gives back what a burst left behind.
    pub(super) fn shrink(&mut self) {
        if self.blocks.capacity() > KEPT {
            *self = Self::default();
        }
    }

    fn insert(&mut self, block: Block) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.blocks[index as usize] = block;
                index
            }
            None => {
                self.blocks.push(block);
                // As many as messages, whose number an outbox bounds far below.
                (self.blocks.len() - 1) as u32
            }
        }
    }

    #[cold]
    fn free(&mut self, index: u32) {
        self.blocks[index as usize] = Block::Free;
        self.free.push(index);
    }
}

/// Bytes of a chunk.
const CHUNK: usize = 4096;

/// Payloads up to this length begin a chunk if none has room; at worst a quarter of a chunk stays unused at its end.
const CHUNKED_MAX: usize = 1024;

/// Blocks (40 bytes each, beside what they hold) that a drained queue keeps while the outbox is busy.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn a_chunk_is_freed_with_its_last_payload_and_its_index_used_again() {
        let mut blocks = Blocks::default();
        let first: Vec<Place> = (0..4).map(|_| blocks.copy(&[1; 1024])).collect();
        let second = blocks.copy(&[2; 10]);

        let removed: usize = first.iter().rev().map(|&place| blocks.remove(place)).sum();

        assert_eq!((removed, blocks.free.as_slice()), (4096, [0].as_slice()));
        assert_eq!(blocks.payload(second), Some([2; 10].as_slice()));
        assert_eq!(blocks.share(Bytes::from_static(b"long")).block, 0);
    }

    #[test]
    fn an_empty_chunk_is_filled_anew() {
        let mut blocks = Blocks::default();
        for _ in 0..1000 {
            let place = blocks.copy(&[7; 100]);
            assert_eq!(blocks.remove(place), 100);
        }
        assert_eq!(blocks.blocks.len(), 1);
    }

    #[test]
    fn a_long_payload_has_a_block_of_its_own() {
        let mut blocks = Blocks::default();

        let long = blocks.copy(&[9; CHUNKED_MAX + 1]);
        let short = blocks.copy(b"short");

        assert_eq!((long.block, short.block), (0, 1));
        assert_eq!(blocks.payload(long), Some([9; CHUNKED_MAX + 1].as_slice()));
        assert_eq!(blocks.payload(short), Some(b"short".as_slice()));
    }

    #[test]
    fn an_empty_payload_is_one_like_others() {
        let mut blocks = Blocks::default();
        let places = [blocks.copy(b""), blocks.share(Bytes::new()), blocks.copy(&[])];

        for place in places {
            assert_eq!(blocks.payload(place), Some([].as_slice()));
            assert_eq!(blocks.remove(place), 0);
        }
    }

    proptest! {
        #[test]
        fn payloads_keep_their_bytes_and_blocks_never_outnumber_them(
            steps in prop::collection::vec((0..3000_usize, any::<bool>(), any::<prop::sample::Index>()), 1..400)
        ) {
            let mut blocks = Blocks::default();
            let (mut held, mut most): (Vec<(Place, Vec<u8>)>, usize) = (Vec::new(), 0);

            for (number, (len, is_shared, other)) in steps.into_iter().enumerate() {
                if len % 2 == 0 && !held.is_empty() {
                    let (place, bytes) = held.swap_remove(other.index(held.len()));
                    prop_assert_eq!(blocks.remove(place), bytes.len());
                } else {
                    let bytes = vec![number as u8; len];
                    let place = if is_shared { blocks.share(bytes.clone().into()) } else { blocks.copy(&bytes) };
                    held.push((place, bytes));
                }
                most = most.max(held.len());
                for (place, bytes) in &held {
                    prop_assert_eq!(blocks.payload(*place), Some(bytes.as_slice()));
                }
                // One more may be the empty chunk that is filled next.
                prop_assert!(blocks.blocks.len() <= most + 1);
            }
        }
    }
}
