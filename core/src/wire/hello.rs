//! The hello, protocol section 4: what each end tells about itself inside the handshake's encrypted payloads.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | versions offered: high nibble lowest, low nibble highest |
//! | 1 | 1 | node type |
//! | 2 | 2 | capability bits |
//! | 4 | 4 | largest message payload |
//! | 8 | 2 | largest record, bytes after its length field |
//! | 10 | 2 | heartbeat interval, 10 ms |
//! | 12 | 8 | boot id |
//! | 20 | 8 | wall time, microseconds since 1970 |
//! | 28 | 1 | quality of that time |
//!
//! then optional fields. A decoded hello is within the bounds of the protocol; whether it is acceptable, the session decides.

use core::{fmt, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    cursor::{Reader, Writer},
    datagram::ConnectionId,
    message::Methods,
    reason::Reason,
    record,
    tlv::{Tlv, Tlvs},
};
use crate::{
    ids::NodeType,
    time::{TimeQuality, UnixTime},
};

/// The fixed part of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions that the node speaks.
    pub versions: Versions,
    /// What the node is.
    pub node_type: NodeType,
    /// What the node can do beyond the least: [`FAST_AES`](Self::FAST_AES),
    /// [`KEEPS_GUARANTEED`](Self::KEEPS_GUARANTEED) and the bits of [`Methods`]; others are ignored.
    pub capabilities: u16,
    /// The largest message payload that the node takes.
    pub max_message: u32,
    /// The largest record that the node takes, bytes after the length field, at least [`record::MIN_MAX_LEN`].
    pub max_record: u16,
    /// How often the node is heard at least: 10 ms to [`MAX_HEARTBEAT`](Self::MAX_HEARTBEAT), in steps of 10 ms.
    pub heartbeat: Duration,
    /// Random at every boot; the epoch of the node's message ids.
    pub boot_id: u64,
    /// The node's wall time; zero if it has none.
    pub time: UnixTime,
    /// How far that time can be trusted.
    pub quality: TimeQuality,
}

impl Hello {
    /// Bytes without optional fields.
    pub const LEN: usize = 29;
    /// The capability bit of a node with AES-256-GCM in hardware.
    pub const FAST_AES: u16 = 1;
    /// The capability bit of a node that keeps Guaranteed messages.
    pub const KEEPS_GUARANTEED: u16 = 1 << 3;
    /// The longest heartbeat interval that a hello can name.
    pub const MAX_HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_UNIT_MS * u16::MAX as u64);

    /// Whether the node keeps Guaranteed messages.
    pub const fn keeps_guaranteed(&self) -> bool {
        self.capabilities & Self::KEEPS_GUARANTEED != 0
    }

    /// The methods of compression that the node takes.
    pub const fn methods(&self) -> Methods {
        Methods::from_bits(self.capabilities)
    }

    /// Bytes with these optional fields.
    pub fn encoded_len(&self, extensions: &Extensions<'_>) -> usize {
        Self::LEN + extensions.iter().map(|tlv| Tlv::len_with(tlv.value.len())).sum::<usize>()
    }

    /// Writes hello and optional fields and returns their length; the heartbeat is rounded up to 10 ms.
    ///
    /// `None` if they do not fit `out`, or a field is out of the bounds of the protocol.
    pub fn encode(&self, extensions: &Extensions<'_>, out: &mut [u8]) -> Option<usize> {
        let heartbeat = self.heartbeat.as_micros().div_ceil(u128::from(HEARTBEAT_UNIT_MS) * 1000);
        let heartbeat = u16::try_from(heartbeat).ok()?;
        if !self.is_in_bounds(heartbeat) {
            return None;
        }
        let mut w = Writer::new(out);
        w.u8(self.versions.to_byte())?;
        w.u8(self.node_type as u8)?;
        w.u16(self.capabilities)?;
        w.u32(self.max_message)?;
        w.u16(self.max_record)?;
        w.u16(heartbeat)?;
        w.u64(self.boot_id)?;
        w.u64(self.time.as_micros())?;
        w.u8(self.quality as u8)?;
        for tlv in extensions.iter() {
            tlv.encode(&mut w)?;
        }
        Some(w.written())
    }

    /// The capability bits of a hello, whatever else is wrong with it; none if it ends before them.
    pub fn peek_capabilities(bytes: &[u8]) -> u16 {
        match bytes {
            [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        }
    }

    /// Reads a hello with its optional fields to the end of `bytes`.
    ///
    /// [`Reason::Malformed`] if anything is out of the bounds of the protocol, [`Reason::UnknownCritical`] for an optional
    /// field that is critical and unknown.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Extensions<'_>), Reason> {
        let mut r = Reader::new(bytes);
        let versions = Versions::from_byte(r.u8()?)?;
        let node_type = NodeType::from_code(r.u8()?).ok_or(Reason::Malformed)?;
        let capabilities = r.u16()?;
        let max_message = r.u32()?;
        let max_record = r.u16()?;
        let heartbeat_units = r.u16()?;
        let boot_id = r.u64()?;
        let time = UnixTime::from_micros(r.u64()?);
        let quality = match r.u8()? {
            0 => TimeQuality::None,
            1 => TimeQuality::Unsynced,
            2 => TimeQuality::Synced,
            _ => return Err(Reason::Malformed),
        };
        let heartbeat = Duration::from_millis(HEARTBEAT_UNIT_MS * u64::from(heartbeat_units));
        let hello = Self {
            versions,
            node_type,
            capabilities,
            max_message,
            max_record,
            heartbeat,
            boot_id,
            time,
            quality,
        };
        if !hello.is_in_bounds(heartbeat_units) {
            return Err(Reason::Malformed);
        }
        Ok((hello, Extensions::read(r)?))
    }

    fn is_in_bounds(&self, heartbeat_units: u16) -> bool {
        let has_time = self.time != UnixTime::default();
        self.versions.is_valid()
            && self.max_record >= record::MIN_MAX_LEN
            && heartbeat_units != 0
            && (self.quality != TimeQuality::None || !has_time)
    }
}

/// The optional fields of a hello that this version knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// Which network the node belongs to; in the initiator's hello.
    pub network: Option<NetworkTag>,
    /// A certificate of the network's authority.
    pub certificate: Option<&'a [u8]>,
    /// An admission token.
    pub token: Option<&'a [u8]>,
    /// A [delegation](super::delegation::Delegation) of the node's identity to the static key of the handshake.
    pub delegation: Option<&'a [u8]>,
    /// What the records to the node are addressed with, on a datagram link.
    pub connection_id: ConnectionId,
}

impl<'a> Extensions<'a> {
    fn iter(&self) -> impl Iterator<Item = Tlv<'_>> {
        let network = self.network.as_ref().map(|tag| (NETWORK, true, tag.as_bytes().as_slice()));
        let certificate = self.certificate.map(|value| (CERTIFICATE, false, value));
        let token = self.token.map(|value| (TOKEN, false, value));
        // Who does not understand a delegation would take the wrong key for the node's own.
        let delegation = self.delegation.map(|value| (DELEGATION, true, value));
        // Whoever skips this could not send a record.
        let id = self.connection_id.as_bytes();
        let connection_id = (!id.is_empty()).then_some((CONNECTION_ID, true, id));
        let all = [network, certificate, token, delegation, connection_id];
        all.into_iter().flatten().map(|(kind, critical, value)| Tlv { kind, critical, value })
    }

    fn read(r: Reader<'a>) -> Result<Self, Reason> {
        let mut extensions = Self::default();
        let mut tlvs = Tlvs::new(r);
        while let Some(tlv) = tlvs.next()? {
            match tlv.kind {
                NETWORK => {
                    let bytes = tlv.value.try_into().map_err(|_| Reason::Malformed)?;
                    extensions.network = Some(NetworkTag(bytes));
                }
                CERTIFICATE => extensions.certificate = Some(tlv.value),
                TOKEN => extensions.token = Some(tlv.value),
                DELEGATION => extensions.delegation = Some(tlv.value),
                CONNECTION_ID => {
                    extensions.connection_id = ConnectionId::new(tlv.value).ok_or(Reason::Malformed)?;
                }
                _ => tlv.skip()?,
            }
        }
        Ok(extensions)
    }
}

/// A span of protocol versions, 1 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub lowest: u8,
    /// The highest, not below `lowest`.
    pub highest: u8,
}

impl Versions {
    /// What this crate speaks.
    pub const SUPPORTED: Self = Self { lowest: 1, highest: 1 };

    /// The span, if it is one: `1 <= lowest <= highest <= 15`.
    pub const fn new(lowest: u8, highest: u8) -> Option<Self> {
        let span = Self { lowest, highest };
        if span.is_valid() { Some(span) } else { None }
    }

    /// The highest version that both spans hold.
    pub fn common(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    const fn is_valid(self) -> bool {
        1 <= self.lowest && self.lowest <= self.highest && self.highest <= 15
    }

    const fn to_byte(self) -> u8 {
        self.lowest << 4 | self.highest
    }

    fn from_byte(byte: u8) -> Result<Self, Reason> {
        Self::new(byte >> 4, byte & 0x0F).ok_or(Reason::Malformed)
    }
}

/// Names a network without revealing its name: the first 8 bytes of SHA-256(`hyphal/1 network` 00 name).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkTag([u8; NetworkTag::LEN]);

impl NetworkTag {
    /// Bytes of a tag.
    pub const LEN: usize = 8;

    /// The tag of the network called `name`.
    pub fn of(name: &str) -> Self {
        let digest = Sha256::new_with_prefix(b"hyphal/1 network\0").chain_update(name.as_bytes()).finalize();
        let mut tag = [0; Self::LEN];
        for (to, from) in tag.iter_mut().zip(digest) {
            *to = from;
        }
        Self(tag)
    }

    /// The tag with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the tag.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for NetworkTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkTag({:016x})", u64::from_be_bytes(self.0))
    }
}

const HEARTBEAT_UNIT_MS: u64 = 10;

const NETWORK: u8 = 1;
const CERTIFICATE: u8 = 2;
const TOKEN: u8 = 3;
const DELEGATION: u8 = 4;
const CONNECTION_ID: u8 = 5;
