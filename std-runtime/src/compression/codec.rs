//! The two directions, with the contexts that they need: taken for one message, given back after it.
//!
//! Zstandard runs in one pass over whole buffers. It then allocates no window, whatever a frame's header claims, and
//! writes into the caller's slice only; the context itself is of a fixed size (some 100 KiB to decompress, up to a MiB to compress). Only whole,
//! single frames without a dictionary are taken.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyphal_core::compress;
use hyphal_core::profile::Compression;
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

    /// Whether messages of this type are to be compressed.
    #[inline]
    pub(crate) fn names(&self, kind: u16) -> bool {
        self.rule_for(kind).is_some()
    }

    /// How messages of this type are to be compressed for this peer, if they are: the first rule that names the type counts.
    pub(crate) fn effort_for(&self, kind: u16, taker: Taker) -> Option<Effort> {
        match self.rule_for(kind)?.method() {
            Some(method) => {
                taker.methods.has(method).then_some(Effort { method, level: LEVEL, shortest: SHORTEST })
            }
            None => {
                let Taker { methods, wants } = taker;
                let method = wants.method(methods)?;
                Some(Effort { method, level: wants.zstd_level(), shortest: wants.shortest() })
            }
        }
    }

    #[inline]
    fn rule_for(&self, kind: u16) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.names(kind))
    }

    /// Compresses a payload for this peer, if a rule names its type and it gets shorter.
    pub(crate) fn pack(&self, kind: u16, taker: Taker, original: &[u8]) -> Option<Packed> {
        self.press(self.effort_for(kind, taker)?, original)
    }

    /// Compresses a payload, if it gets shorter.
    pub(crate) fn press(&self, effort: Effort, original: &[u8]) -> Option<Packed> {
        let Effort { method, level, shortest } = effort;
        let length = u32::try_from(original.len()).ok().filter(|_| original.len() >= shortest)?;
        let mut press = pop(&self.presses).unwrap_or_default();
        let packed = press.pack(method, level, original).map(Bytes::copy_from_slice);
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

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What is known of a peer that messages are compressed for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    /// The methods that it takes.
    pub(crate) methods: Methods,
    /// What the profile of the pair says.
    pub(crate) wants: Compression,
}

/// How a message is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    method: Method,
    /// Zstandard's.
    level: i32,
    /// The shortest payload that is worth a try.
    shortest: usize,
}

/// What compressing needs.
#[derive(Default)]
struct Press {
    zstd: Option<CCtx<'static>>,
    room: Vec<u8>,
}

impl Press {
    /// The compressed bytes, if they are worth it.
    fn pack(&mut self, method: Method, level: i32, original: &[u8]) -> Option<&[u8]> {
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
                let context = self.zstd.get_or_insert_with(CCtx::create);
                // The levels are within the range that the library has; it could but stay at the one before.
                let _ = context.set_parameter(CParameter::CompressionLevel(level));
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

/// The shortest payload that is worth a try by a named method.
const SHORTEST: usize = 64;

/// Zstandard's level where it is named: the higher ones up to 6 took several times as long for at most 3 % less.
const LEVEL: i32 = 1;

/// Contexts of each direction that a node keeps.
const KEPT: usize = 4;

/// The longest room that a kept context has.
const KEPT_ROOM: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: u16 = 0x1000;
    const ANYBODY: Taker = Taker { methods: Methods::ALL, wants: Compression::Medium };

    #[test]
    fn payloads_come_back_from_fewer_bytes_in_any_order_of_methods_and_lengths() {
        for round in 0..3 {
            for method in Method::ALL {
                let codec = codec(method);
                for len in [200, 1000, 16 << 10, 70_000, 2 << 20, 300] {
                    let original = readings(len + round);

                    let packed = codec.pack(KIND, ANYBODY, &original).unwrap();

                    assert!(packed.bytes.len() + MAX_COMPRESSED_LEN < original.len(), "{method:?} {len}");
                    assert_eq!(packed.compressed, Compressed { method, original: original.len() as u32 });
                    assert_eq!(codec.unpack(packed.compressed, &packed.bytes).unwrap(), original);
                }
            }
        }
    }

    #[test]
    fn the_payloads_of_the_document_come_to_their_originals() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/vectors/wire.json");
        let vectors: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let vectors = vectors["compression"].as_array().unwrap();

        for vector in vectors {
            let [packed, original] = ["hex", "original"].map(|name| unhex(vector[name].as_str().unwrap()));
            let method = u8::try_from(vector["method"].as_u64().unwrap()).unwrap();
            let method = Method::from_code(method).unwrap();
            let compressed = Compressed { method, original: original.len() as u32 };

            assert_eq!(Codec::default().unpack(compressed, &packed).unwrap(), original, "{method:?}");
        }
        assert_eq!(vectors.len(), 2);
    }

    #[test]
    fn only_types_of_a_rule_are_compressed_and_only_for_peers_that_take_it() {
        let text = readings(1000);
        let codec = Codec::new(vec!["0x1000=lz4".parse().unwrap(), "0x1000-0x1001=zstd".parse().unwrap()]);

        let method = |kind, methods| {
            codec.pack(kind, Taker { methods, ..ANYBODY }, &text).map(|packed| packed.compressed.method)
        };

        assert_eq!(method(0x1000, Methods::ALL), Some(Method::Lz4), "the first rule counts");
        assert_eq!(method(0x1001, Methods::ALL), Some(Method::Zstd));
        assert_eq!(method(0x1001, Methods::LZ4), None);
        assert_eq!(method(0x1000, Methods::NONE), None);
        assert_eq!(method(0x1002, Methods::ALL), None);
    }

    #[test]
    fn where_a_rule_leaves_it_open_the_profile_says_method_level_and_least_length() {
        let codec = Codec::new(vec!["0x1000=auto".parse().unwrap()]);
        let text = readings(4096);
        let pack = |methods, wants, len| codec.pack(KIND, Taker { methods, wants }, &text[..len]);
        let method = |methods, wants| pack(methods, wants, 4096).map(|packed| packed.compressed.method);

        for wants in Compression::ALL {
            assert_eq!(method(Methods::ALL, wants), wants.method(Methods::ALL));
            assert_eq!(method(Methods::LZ4, wants), Some(Method::Lz4));
            assert_eq!(method(Methods::NONE, wants), None);
            assert!(pack(Methods::ALL, wants, wants.shortest() - 1).is_none());
        }
        let high = pack(Methods::ALL, Compression::High, 4096).unwrap();
        let packed = pack(Methods::ALL, Compression::Medium, 4096).unwrap();
        assert_ne!(high.bytes, packed.bytes, "another level of the same method");
    }

    #[test]
    fn what_gets_no_shorter_stays_as_it_is() {
        let mut noise = [0; 4096];
        getrandom::fill(&mut noise).unwrap();

        for method in Method::ALL {
            for original in [&noise[..], &[0; SHORTEST - 1], b"", b"short"] {
                assert_eq!(codec(method).pack(KIND, ANYBODY, original), None);
            }
        }
    }

    #[test]
    fn a_length_that_is_not_the_originals_is_refused_in_either_direction() {
        for method in Method::ALL {
            let codec = codec(method);
            let packed = codec.pack(KIND, ANYBODY, &readings(5000)).unwrap();
            for original in [0, 1, 4999, 5001, 1 << 24, u32::MAX] {
                let said = Compressed { method, original };
                assert_eq!(codec.unpack(said, &packed.bytes), Err(Reason::BadCompression), "{said:?}");
            }
            assert!(codec.unpack(packed.compressed, &packed.bytes).is_ok(), "the context is as good as new");
        }
    }

    #[test]
    fn a_zstandard_frame_without_its_length_is_held_to_the_one_beside_it() {
        let codec = codec(Method::Zstd);
        let original = vec![7; 100_000];
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
        let mut frame = vec![0; 1000];
        let len = context.compress2(&mut frame[..], &original).unwrap();
        frame.truncate(len);

        assert!(zstd_safe::get_frame_content_size(&frame).unwrap().is_none());
        assert_eq!(codec.unpack(zstd(100_000), &frame).unwrap(), original);
        for wrong in [10, 99_999, 100_001] {
            assert_eq!(codec.unpack(zstd(wrong), &frame), Err(Reason::BadCompression), "{wrong}");
        }
    }

    #[test]
    fn frames_that_claim_gigabytes_of_window_or_content_get_no_memory_for_it() {
        let codec = codec(Method::Zstd);
        // RFC 8878, 3.1.1.1: no single segment, a window of 2 GiB; a last block of 20 times the same byte.
        let window = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0xA3, 0x00, 0x00, b'x'];
        // A single segment whose content is said to be 2^40 bytes long; the same block.
        let content = [0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 1, 0, 0, 0xA3, 0x00, 0x00, b'x'];

        assert_eq!(codec.unpack(zstd(20), &window).unwrap(), [b'x'; 20].as_slice());
        assert_eq!(codec.unpack(zstd(19), &window), Err(Reason::BadCompression));
        assert_eq!(codec.unpack(zstd(20), &content), Err(Reason::BadCompression));
    }

    #[test]
    fn only_one_whole_frame_without_a_dictionary_is_taken() {
        let codec = codec(Method::Zstd);
        let original = readings(1000);
        let frame = codec.pack(KIND, ANYBODY, &original).unwrap().bytes;
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        // The dictionary of this id is nobody's.
        let dictionary = [0x28, 0xB5, 0x2F, 0xFD, 0x21, 42, 20, 0xA3, 0x00, 0x00, b'x'];

        for bad in [
            [&frame[..], &frame].concat(),
            [&skippable[..], &frame].concat(),
            [&frame[..], &skippable].concat(),
            [&frame[..], b"x"].concat(),
            frame[..frame.len() - 1].to_vec(),
            skippable.to_vec(),
            Vec::new(),
        ] {
            for claimed in [1000, 2000] {
                assert_eq!(codec.unpack(zstd(claimed), &bad), Err(Reason::BadCompression));
            }
        }
        assert_eq!(codec.unpack(zstd(20), &dictionary), Err(Reason::BadCompression));
    }

    #[test]
    fn damaged_payloads_are_refused_or_have_the_length_that_they_name() {
        for method in Method::ALL {
            let codec = codec(method);
            let packed = codec.pack(KIND, ANYBODY, &readings(3000)).unwrap();
            for at in 0..packed.bytes.len() * 8 {
                let mut damaged = packed.bytes.to_vec();
                damaged[at / 8] ^= 1 << (at % 8);
                if let Ok(original) = codec.unpack(packed.compressed, &damaged) {
                    assert_eq!(original.len(), 3000);
                }
            }
        }
    }

    #[test]
    fn contexts_are_kept_up_to_a_bound_and_long_rooms_are_not() {
        let codec = codec(Method::Lz4);
        let presses = || codec.presses.lock().unwrap();

        codec.pack(KIND, ANYBODY, &readings(KEPT_ROOM)).unwrap();
        assert_eq!(presses().len(), 0);
        codec.pack(KIND, ANYBODY, &readings(1000)).unwrap();
        codec.pack(KIND, ANYBODY, &readings(2000)).unwrap();
        assert_eq!(presses().len(), 1);
        for _ in 0..2 * KEPT {
            push(&codec.presses, Press::default());
        }
        assert_eq!(presses().len(), KEPT);
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn codec(method: Method) -> Codec {
        Codec::new(vec![Rule::new(KIND..=KIND, method).unwrap()])
    }

    fn zstd(original: u32) -> Compressed {
        Compressed { method: Method::Zstd, original }
    }

    /// Text as sensors send it, `len` bytes of it.
    fn readings(len: usize) -> Vec<u8> {
        let lines = (0_u32..).flat_map(|i| {
            let value = i.wrapping_mul(2_654_435_761) >> 20;
            format!("{{\"sensor\":\"hall-{}\",\"celsius\":{}.{}}}\n", i % 7, value % 40, value % 10)
                .into_bytes()
        });
        lines.take(len).collect()
    }
}
