//! The tables of the database and the bytes of their rows. All numbers are little-endian.
//!
//! ```text
//! key of a lane: id of the other node 32 | class 1          key of a message: key of its lane | number
//! send_lanes     key of the lane    -> epoch 8 | base 8 | fresh 8 | next 8
//! messages       key of the message -> type 2 | flags 1 (bit 0: full) | ttl 4 | accepted at 8 | CRC-32 4 | payload
//! receive_lanes  key of the lane    -> epoch 8 | since 8 | base 8 | window 128 | last used 8
//! ```
//! The CRC covers the key and all but itself: the database checks its pages when it is opened, this is for the time after.

use bytes::Bytes;
use hyphal_core::ids::{NodeId, Priority};
use hyphal_core::time::UnixTime;
use redb::TableDefinition;

use super::file::CHECKSUM;
use super::{LaneKey, StoredMessage, StoredReceiveLane, StoredSendLane};

pub(super) const SEND_LANES: TableDefinition<'_, &LaneBytes, &[u8; 32]> = TableDefinition::new("send_lanes");
pub(super) const MESSAGES: TableDefinition<'_, (&LaneBytes, u64), &[u8]> = TableDefinition::new("messages");
pub(super) const RECEIVE_LANES: TableDefinition<'_, &LaneBytes, &[u8; 160]> =
    TableDefinition::new("receive_lanes");

/// The key of a lane.
pub(super) type LaneBytes = [u8; 33];

pub(super) fn lane_bytes(lane: LaneKey) -> LaneBytes {
    let mut bytes = [0; 33];
    bytes[..32].copy_from_slice(lane.node.as_bytes());
    bytes[32] = lane.class as u8;
    bytes
}

/// `None` if no lane has this key.
pub(super) fn lane_of(bytes: &LaneBytes) -> Option<LaneKey> {
    let (node, [class]) =
        bytes.split_first_chunk::<32>().and_then(|(node, rest)| Some((node, rest.first_chunk()?)))?;
    let class = *Priority::ALL.get(usize::from(*class))?;
    Some(LaneKey { node: NodeId::from_bytes(*node), class })
}

pub(super) fn send_row(lane: &StoredSendLane) -> [u8; 32] {
    let mut row = [0; 32];
    for (place, number) in row.chunks_exact_mut(8).zip([lane.epoch, lane.base, lane.fresh, lane.next]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    row
}

/// `None` if this was never written so.
pub(super) fn send_lane(key: &LaneBytes, row: &[u8; 32]) -> Option<StoredSendLane> {
    let key = lane_of(key)?;
    let mut numbers = numbers(row);
    let (epoch, base) = (numbers.next()?, numbers.next()?);
    let (fresh, next) = (numbers.next()?, numbers.next()?);
    let lane = StoredSendLane { key, epoch, base, fresh, next };
    (1 <= lane.base && lane.base <= lane.next).then_some(lane)
}

pub(super) fn receive_row(lane: &StoredReceiveLane, last_used: u64) -> [u8; 160] {
    let mut row = [0; 160];
    let all = [lane.epoch, lane.since, lane.base].into_iter().chain(lane.window).chain([last_used]);
    for (place, number) in row.chunks_exact_mut(8).zip(all) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    row
}

/// `None` if this was never written so.
pub(super) fn receive_lane(key: &LaneBytes, row: &[u8; 160]) -> Option<(StoredReceiveLane, u64)> {
    let key = lane_of(key)?;
    let mut numbers = numbers(row);
    let (epoch, since, base) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let mut window = [0; 16];
    for (place, number) in window.iter_mut().zip(numbers.by_ref()) {
        *place = number;
    }
    Some((StoredReceiveLane { key, epoch, since, base, window }, numbers.next()?))
}

/// Bytes of a message's row before its payload.
pub(super) const HEAD: usize = 19;
const CHECKED_HEAD: usize = 15;

/// Writes the row of a message into its place, which has [`HEAD`] bytes more than the payload.
pub(super) fn write_message(row: &mut [u8], lane: &LaneBytes, number: u64, message: &StoredMessage) {
    let mut head = [0; CHECKED_HEAD];
    head[..2].copy_from_slice(&message.kind.to_le_bytes());
    head[2] = u8::from(message.full);
    head[3..7].copy_from_slice(&message.ttl.to_le_bytes());
    head[7..].copy_from_slice(&message.accepted_at.as_micros().to_le_bytes());
    let checksum = checksum(lane, number, &head, &message.payload);
    row[..CHECKED_HEAD].copy_from_slice(&head);
    row[CHECKED_HEAD..HEAD].copy_from_slice(&checksum.to_le_bytes());
    row[HEAD..].copy_from_slice(&message.payload);
}

/// `None` if this was never written so.
pub(super) fn message(lane: &LaneBytes, number: u64, row: &[u8]) -> Option<StoredMessage> {
    let (head, rest) = row.split_first_chunk::<CHECKED_HEAD>()?;
    let (sum, payload) = rest.split_first_chunk::<4>()?;
    if checksum(lane, number, head, payload) != u32::from_le_bytes(*sum) || head[2] > 1 {
        return None;
    }
    let (kind, after_kind) = head.split_first_chunk()?;
    let (ttl, accepted_at) = after_kind[1..].split_first_chunk()?;
    Some(StoredMessage {
        kind: u16::from_le_bytes(*kind),
        ttl: u32::from_le_bytes(*ttl),
        accepted_at: UnixTime::from_micros(u64::from_le_bytes(*accepted_at.first_chunk()?)),
        full: head[2] == 1,
        payload: Bytes::copy_from_slice(payload),
    })
}

fn checksum(lane: &LaneBytes, number: u64, head: &[u8; CHECKED_HEAD], payload: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(lane);
    digest.update(&number.to_le_bytes());
    digest.update(head);
    digest.update(payload);
    digest.finalize()
}

fn numbers(row: &[u8]) -> impl Iterator<Item = u64> {
    row.chunks_exact(8).filter_map(|chunk| chunk.first_chunk()).map(|chunk| u64::from_le_bytes(*chunk))
}
