//! The two directions, with the contexts that they need: taken for one message, given back after it.
//!
//! Zstandard runs in one pass over whole buffers. It then allocates no window, whatever a frame's header claims, and
//! writes into the caller's slice only; the context itself is of a fixed size (about 160 KiB to decompress). Only whole,
//! single frames without a dictionary are taken.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyphal_core::compress;
use hyphal_core::wire::message::{Compressed, MAX_COMPRESSED_LEN, Method, Methods};
use hyphal_core::wire::reason::Reason;
use zstd_safe::{CCtx, CParameter, DCtx};

use super::Rule;

/// A payload that was compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) bytes: Bytes,
    pub(crate) compressed: Compressed,
}

/// Compresses by rules, decompresses what comes. Shared by all senders and receivers of a node.
#[derive(Default)]
pub(crate) struct Codec {
    rules: Vec<Rule>,
    presses: Mutex<Vec<Press>>,
    zstd: Mutex<Vec<DCtx<'static>>>,
}

impl Codec {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// How messages of this type are to be compressed: by the first rule that names it.
    #[inline]
    pub(crate) fn method_for(&self, kind: u16) -> Option<Method> {
        self.rules.iter().find(|rule| rule.names(kind)).map(Rule::method)
    }

    /// Compresses a payload for somebody who takes these methods, if a rule names its type and it gets shorter.
    pub(crate) fn pack(&self, kind: u16, takes: Methods, original: &[u8]) -> Option<Packed> {
        let method = self.method_for(kind).filter(|method| takes.has(*method))?;
        let length = u32::try_from(original.len()).ok().filter(|_| original.len() >= SHORTEST)?;
        let mut press = pop(&self.presses).unwrap_or_default();
        let packed = press.pack(method, original).map(Bytes::copy_from_slice);
        if press.room.len() <= KEPT_ROOM {
            push(&self.presses, press);
        }
        Some(Packed { bytes: packed?, compressed: Compressed { method, original: length } })
    }

    /// Decompresses a payload into exactly as many bytes as it says that it has.
    ///
    /// # Errors
    /// [`Reason::BadCompression`] if it does not come to that.
    pub(crate) fn unpack(&self, compressed: Compressed, packed: &[u8]) -> Result<Bytes, Reason> {
        let len = usize::try_from(compressed.original).map_err(|_| Reason::BadCompression)?;
        match compressed.method {
            Method::Lz4 => {
                if !compress::is_possible(packed.len(), len) {
                    return Err(Reason::BadCompression);
                }
                let mut original = vec![0; len];
                compress::unpack(packed, &mut original)?;
                Ok(original.into())
            }
            Method::Zstd => {
                if !is_frame_of(packed, compressed.original) {
                    return Err(Reason::BadCompression);
                }
                let mut original = vec![0; len];
                let mut context = pop(&self.zstd).unwrap_or_else(DCtx::create);
                let written = context.decompress(&mut original[..], packed);
                push(&self.zstd, context);
                match written {
                    Ok(written) if written == len => Ok(original.into()),
                    _ => Err(Reason::BadCompression),
                }
            }
        }
    }
}

/// What compressing needs.
#[derive(Default)]
struct Press {
    zstd: Option<CCtx<'static>>,
    room: Vec<u8>,
}

impl Press {
    /// The compressed bytes, if they are worth it.
    fn pack(&mut self, method: Method, original: &[u8]) -> Option<&[u8]> {
        match method {
            Method::Lz4 => {
                let room = self.room(compress::room_for(original.len()));
                let len = compress::pack(original, room)?;
                self.room.get(..len)
            }
            Method::Zstd => {
                // With less room than that it stops as soon as it is not worth it.
                let most = original.len().checked_sub(MAX_COMPRESSED_LEN + 1)?;
                self.room(most);
                let context = self.zstd.get_or_insert_with(new_context);
                let len = context.compress2(&mut self.room[..most], original).ok()?;
                self.room.get(..len)
            }
        }
    }

    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.room.len() < len {
            self.room.resize(len, 0);
        }
        &mut self.room[..len]
    }
}

fn new_context() -> CCtx<'static> {
    let mut context = CCtx::create();
    // The level is within the range that the library has; it could but stay at its own default.
    let _ = context.set_parameter(CParameter::CompressionLevel(LEVEL));
    context
}

/// Whether the bytes are one whole frame, and one that does not itself claim another length.
fn is_frame_of(packed: &[u8], original: u32) -> bool {
    let is_whole = zstd_safe::find_frame_compressed_size(packed).is_ok_and(|len| len == packed.len());
    let claimed = zstd_safe::get_frame_content_size(packed);
    is_whole && claimed.is_ok_and(|claimed| claimed.is_none_or(|claimed| claimed == u64::from(original)))
}

fn pop<T>(spare: &Mutex<Vec<T>>) -> Option<T> {
    spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn push<T>(spare: &Mutex<Vec<T>>, context: T) {
    let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < KEPT {
        spare.push(context);
    }
}

/// The shortest payload that is worth a try.
const SHORTEST: usize = 64;

/// Zstandard's level.
const LEVEL: i32 = 1;

/// Contexts of each direction that a node keeps.
const KEPT: usize = 4;

/// The longest room that a kept context has.
const KEPT_ROOM: usize = 256 * 1024;
