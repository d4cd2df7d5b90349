//! Where a node keeps its peers: storage only, a list in the order that the node gives it. No rule lives here.
//!
//! The node keeps the list sorted by id, so a lookup is a binary search. Invariant of every implementation: `insert` at
//! `len() < capacity()` succeeds, and entries keep their order.

use super::peer::Peer;

/// Storage for the peers of a node: a bounded list with insertion and removal at an index.
pub trait Table {
    /// Entries at present.
    fn len(&self) -> usize;

    /// Entries that fit at most.
    fn capacity(&self) -> usize;

    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry at `index`, if there is one.
    fn peer(&self, index: usize) -> Option<&Peer>;

    /// The entry at `index`, if there is one, to be changed.
    fn peer_mut(&mut self, index: usize) -> Option<&mut Peer>;

    /// Inserts before the entry at `index`; fails if the table is full.
    fn insert(&mut self, index: usize, peer: Peer) -> Result<(), Full>;

    /// Removes the entry at `index`, if there is one.
    fn remove(&mut self, index: usize);
}

/// The table holds as many peers as it can: remove one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Room for `N` peers inside the node; allocates nothing.
#[derive(Debug, Default)]
pub struct FixedTable<const N: usize> {
    peers: heapless::Vec<Peer, N>,
}

impl<const N: usize> FixedTable<N> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { peers: heapless::Vec::new() }
    }
}

impl<const N: usize> Table for FixedTable<N> {
    fn len(&self) -> usize {
        self.peers.len()
    }

    fn capacity(&self) -> usize {
        N
    }

    fn peer(&self, index: usize) -> Option<&Peer> {
        self.peers.get(index)
    }

    fn peer_mut(&mut self, index: usize) -> Option<&mut Peer> {
        self.peers.get_mut(index)
    }

    fn insert(&mut self, index: usize, peer: Peer) -> Result<(), Full> {
        if index > self.peers.len() {
            return Err(Full);
        }
        self.peers.insert(index, peer).map_err(|_| Full)
    }

    fn remove(&mut self, index: usize) {
        if index < self.peers.len() {
            self.peers.remove(index);
        }
    }
}

/// Peers on the heap, up to a maximum.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct GrowingTable {
    // Boxed, so that an insertion among thousands moves pointers and not peers.
    #[allow(clippy::vec_box)]
    peers: alloc::vec::Vec<alloc::boxed::Box<Peer>>,
    max: usize,
}

#[cfg(feature = "alloc")]
impl GrowingTable {
    /// An empty table that grows up to `max` peers.
    pub const fn new(max: usize) -> Self {
        Self { peers: alloc::vec::Vec::new(), max }
    }
}

#[cfg(feature = "alloc")]
impl Table for GrowingTable {
    fn len(&self) -> usize {
        self.peers.len()
    }

    fn capacity(&self) -> usize {
        self.max
    }

    fn peer(&self, index: usize) -> Option<&Peer> {
        self.peers.get(index).map(|peer| &**peer)
    }

    fn peer_mut(&mut self, index: usize) -> Option<&mut Peer> {
        self.peers.get_mut(index).map(|peer| &mut **peer)
    }

    fn insert(&mut self, index: usize, peer: Peer) -> Result<(), Full> {
        if self.peers.len() >= self.max || index > self.peers.len() {
            return Err(Full);
        }
        self.peers.insert(index, alloc::boxed::Box::new(peer));
        Ok(())
    }

    fn remove(&mut self, index: usize) {
        if index < self.peers.len() {
            self.peers.remove(index);
        }
    }
}
