//! The buffers of links: taken when bytes move, given back when a link rests. An idle link holds none.
//!
//! Read buffers start small and grow while a link is busy; received messages keep slices of them alive, so a buffer that
//! somebody still reads is let go instead of being given back. The pool is bounded, and so is what it keeps.

use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};

/// Spare buffers that all links of a node share.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    reading: Mutex<Vec<BytesMut>>,
    writing: Mutex<Vec<Box<[u8]>>>,
}

impl Pool {
    fn take_reading(&self, size: usize) -> BytesMut {
        if size == ReadBuffer::LARGEST {
            let spare = self.reading.lock().unwrap_or_else(PoisonError::into_inner).pop();
            if let Some(buffer) = spare {
                return buffer;
            }
        }
        BytesMut::with_capacity(size)
    }

    fn give_reading(&self, buffer: BytesMut) {
        let mut spare = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() >= ReadBuffer::LARGEST && spare.len() < KEPT {
            spare.push(buffer);
        }
    }

    pub(crate) fn take_writing(&self) -> Box<[u8]> {
        let spare = self.writing.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; WriteBuffer::LEN].into_boxed_slice())
    }

    pub(crate) fn give_writing(&self, buffer: Box<[u8]>) {
        let mut spare = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    }
}

/// Received bytes that are not taken yet, and room for more.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    pub(crate) bytes: BytesMut,
    /// What the next buffer is to hold; follows the traffic.
    size: usize,
    /// Bytes received since the link rested.
    received: usize,
}

impl ReadBuffer {
    const SMALLEST: usize = 4 * 1024;
    /// Four of the longest records.
    const LARGEST: usize = 256 * 1024;

    pub(crate) fn new() -> Self {
        Self { bytes: BytesMut::new(), size: Self::SMALLEST, received: 0 }
    }

    /// Makes room for a read, in a fresh buffer if this one is nearly used up; what is not taken moves along.
    pub(crate) fn make_room(&mut self, pool: &Pool) {
        while self.size < Self::LARGEST && self.bytes.len() * 2 >= self.size {
            self.grow();
        }
        if self.bytes.capacity() - self.bytes.len() >= self.size / 4 {
            return;
        }
        let wanted = self.size.saturating_sub(self.bytes.len());
        if self.bytes.capacity() != 0 && self.bytes.try_reclaim(wanted) {
            return;
        }
        let mut fresh = pool.take_reading(self.size);
        fresh.extend_from_slice(&self.bytes);
        self.bytes = fresh;
    }

    /// Takes note of a read of `len` bytes into `room`.
    pub(crate) fn handle_read(&mut self, len: usize, room: usize) {
        self.received += len;
        if len == room {
            self.grow();
        }
    }

    /// Takes `len` bytes from the front, for as long as somebody reads them.
    ///
    /// A small part is copied, since a slice of it would keep the whole buffer alive.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        if len * SHARED_PART < self.size {
            let copied = Bytes::copy_from_slice(&self.bytes[..len]);
            self.bytes.advance(len);
            return copied;
        }
        self.bytes.split_to(len).freeze()
    }

    /// Drops `len` bytes from the front.
    pub(crate) fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
    }

    /// The link rests: gives the buffer back, unless it holds the beginning of a record.
    pub(crate) fn rest(&mut self, pool: &Pool) {
        if self.received < self.size / 4 {
            self.size = (self.size / 2).max(Self::SMALLEST);
        }
        self.received = 0;
        if self.bytes.is_empty() && self.bytes.capacity() != 0 {
            let mut bytes = std::mem::take(&mut self.bytes);
            if bytes.try_reclaim(Self::LARGEST) {
                pool.give_reading(bytes);
            }
        }
    }

    fn grow(&mut self) {
        self.size = (self.size * 4).min(Self::LARGEST);
    }
}

/// Bytes that are sealed and wait to be written.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    buffer: Option<Box<[u8]>>,
    from: usize,
    to: usize,
}

impl WriteBuffer {
    /// The longest record with its length field, rounded up.
    pub(crate) const LEN: usize = 65 * 1024;

    /// What waits to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        self.buffer.as_deref().map_or(&[], |buffer| &buffer[self.from..self.to])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Room behind what waits.
    pub(crate) fn room(&mut self, pool: &Pool) -> &mut [u8] {
        let buffer = self.buffer.get_or_insert_with(|| pool.take_writing());
        &mut buffer[self.to..]
    }

    /// `len` bytes of the room were filled.
    pub(crate) fn fill(&mut self, len: usize) {
        self.to += len;
    }

    /// `len` bytes were written.
    pub(crate) fn advance(&mut self, len: usize) {
        self.from += len;
        if self.from == self.to {
            self.from = 0;
            self.to = 0;
        }
    }

    /// The link rests: gives the buffer back, unless bytes wait.
    pub(crate) fn rest(&mut self, pool: &Pool) {
        if self.is_empty()
            && let Some(buffer) = self.buffer.take()
        {
            pool.give_writing(buffer);
        }
    }
}

/// The part of a buffer from which on it is shared rather than copied, so that what waits in a queue keeps at most 32 times its
/// size alive. In the largest buffer that is 8 KiB: records that many messages share are never copied.
const SHARED_PART: usize = 32;

/// Spare buffers of each kind that a node keeps: 5 MiB in all.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resting_link_holds_no_buffers() {
        let pool = Pool::default();
        let mut reading = ReadBuffer::new();
        let mut writing = WriteBuffer::default();
        reading.make_room(&pool);
        reading.bytes.extend_from_slice(&[1; 100]);
        writing.room(&pool);
        writing.fill(10);

        reading.advance(100);
        writing.advance(10);
        reading.rest(&pool);
        writing.rest(&pool);

        assert_eq!(reading.bytes.capacity(), 0);
        assert!(writing.buffer.is_none());
    }

    #[test]
    fn a_small_record_does_not_keep_a_large_buffer_alive() {
        let pool = Pool::default();
        let mut reading = ReadBuffer { size: ReadBuffer::LARGEST, ..ReadBuffer::new() };
        reading.make_room(&pool);
        reading.bytes.extend_from_slice(&[7; 16_400]);

        let small = reading.take(20);
        let large = reading.take(16_380);

        assert_eq!((small.len(), large.len()), (20, 16_380));
        assert!(small.is_unique(), "copied");
        assert!(!large.is_unique(), "shared with the rest of the buffer");
    }

    #[test]
    fn the_beginning_of_a_record_survives_a_rest_and_a_growing_buffer() {
        let pool = Pool::default();
        let mut reading = ReadBuffer::new();
        let record: Vec<u8> = (0..65_000_u32).map(|i| (i % 251) as u8).collect();

        for part in record.chunks(997) {
            reading.make_room(&pool);
            let room = reading.bytes.capacity() - reading.bytes.len();
            assert!(room >= part.len());
            reading.bytes.extend_from_slice(part);
            reading.handle_read(part.len(), room);
            reading.rest(&pool);
        }

        assert_eq!(reading.bytes, record);
    }
}
