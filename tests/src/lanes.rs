//! Guaranteed messages at a node of the lab: its lanes, and the disk on which they outlive its processes.
//!
//! Does what a runtime does around the core's lanes: keeps messages, numbers and marks, says which link owes which word, and
//! hands messages to an application that commits them or lets them go. The disk is as fast as memory: what may go wrong while
//! one waits for it is tried by the core's own model of lanes. Invariant: what is told to a peer is on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use hyphal_core::{
    ids::{NodeId, Priority, Reliability},
    lane::{ReceiveLane, SendLane},
    outbox::{Header, Payload},
    time::Instant,
    wire::{
        delivery::{Arrived, Lane, LaneState},
        reason::Reason,
    },
};

use crate::link::{Delivered, LabOutbox, header};

/// Names the lane of a class to or from a peer.
type Name = (NodeId, Priority);

/// What outlives the processes of a node.
#[derive(Debug, Default)]
pub struct Disk {
    sent: BTreeMap<Name, Stored>,
    arrived: BTreeMap<Name, (u64, Arrived)>,
}

/// A lane to a peer as it is stored.
#[derive(Debug)]
struct Stored {
    epoch: u64,
    mark: u64,
    next: u64,
    messages: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// Messages without a fate.
    pub fn outstanding(&self) -> usize {
        self.sent.values().map(|lane| lane.messages.len()).sum()
    }
}

/// The lanes of one process to and from all its peers.
#[derive(Debug)]
pub struct Lanes {
    to: BTreeMap<Name, SendLane>,
    from: BTreeMap<Name, Receiving>,
    /// The link whose session has the outbox of a peer.
    attached: BTreeMap<NodeId, u64>,
    /// Of which lane the peer has spoken over which link.
    spoken: BTreeMap<(u64, Priority), u64>,
    /// What the application has and has not committed.
    pub held: Vec<Handed>,
    /// Which messages were called delivered, by target, class and number.
    pub delivered: BTreeSet<(NodeId, Priority, u64)>,
    /// Which messages nobody knows of.
    pub unknown: BTreeSet<(NodeId, Priority, u64)>,
}

#[derive(Debug)]
struct Receiving {
    lane: ReceiveLane,
    /// The link over which the peer has spoken of the lane last.
    heard: u64,
    /// Whether the peer is to be told.
    owes: bool,
}

/// A message that is handed to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Who sent it.
    pub source: NodeId,
    /// Its class.
    pub class: Priority,
    /// Its lane's epoch.
    pub epoch: u64,
    /// Its number.
    pub number: u64,
    /// What the sender wrote.
    pub payload: Vec<u8>,
}

impl Lanes {
    /// The lanes as the disk has them.
    pub fn restore(disk: &Disk) -> Self {
        let restored = |(&(peer, class), stored): (&Name, &Stored)| {
            let base = stored.messages.first_key_value().map_or(stored.next, |(first, _)| *first);
            ((peer, class), SendLane::restore(class, stored.epoch, base, stored.mark, stored.next))
        };
        Self {
            to: disk.sent.iter().map(restored).collect(),
            from: BTreeMap::new(),
            attached: BTreeMap::new(),
            spoken: BTreeMap::new(),
            held: Vec::new(),
            delivered: BTreeSet::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// Stores a message to a peer, and says which number it has. `epoch` is for a lane that there was not before.
    pub fn accept(
        &mut self,
        disk: &mut Disk,
        peer: NodeId,
        class: Priority,
        epoch: u64,
        payload: &[u8],
    ) -> u64 {
        let is_attached = self.attached.contains_key(&peer);
        let lane = self.to.entry((peer, class)).or_insert_with(|| {
            let mut lane = SendLane::new(class, epoch);
            if is_attached {
                lane.handle_session_start();
            }
            lane
        });
        let number = lane.accept();
        let new = || Stored { epoch, mark: 1, next: 1, messages: BTreeMap::new() };
        let stored = disk.sent.entry((peer, class)).or_insert_with(new);
        stored.messages.insert(number, payload.to_vec());
        stored.next = number + 1;
        number
    }

    /// The link of this token has the peer's outbox.
    pub fn handle_session_start(&mut self, peer: NodeId, token: u64) {
        self.attached.insert(peer, token);
        self.lanes_to(peer).for_each(SendLane::handle_session_start);
    }

    /// The session of this link has ended.
    pub fn handle_session_end(&mut self, peer: NodeId, token: u64) {
        if self.attached.get(&peer) == Some(&token) {
            self.attached.remove(&peer);
            self.lanes_to(peer).for_each(SendLane::handle_session_end);
        }
    }

    /// The peer speaks of a lane over the link of this token.
    ///
    /// # Errors
    /// Why it is not heard; the session ends for [`Reason::Malformed`] and [`Reason::Violation`].
    pub fn handle_word(
        &mut self,
        disk: &mut Disk,
        peer: NodeId,
        token: u64,
        word: &Delivered,
    ) -> Result<(), Reason> {
        match word.kind {
            Lane::KIND => self.handle_lane(disk, peer, token, &Lane::decode(&word.payload)?),
            LaneState::KIND => self.handle_state(disk, peer, token, &LaneState::decode(&word.payload)?),
            _ => Err(Reason::UnknownType),
        }
    }

    fn handle_lane(&mut self, disk: &mut Disk, peer: NodeId, token: u64, lane: &Lane) -> Result<(), Reason> {
        let before = self.spoken.insert((token, lane.class), lane.epoch);
        if before.is_some_and(|epoch| epoch != lane.epoch) {
            return Err(Reason::Violation);
        }
        let name = (peer, lane.class);
        if self.from.get(&name).is_none_or(|end| end.lane.epoch() != lane.epoch) {
            let stored = disk.arrived.get(&name).filter(|(epoch, _)| *epoch == lane.epoch);
            let opened = stored.map_or_else(
                || ReceiveLane::open(lane),
                |(epoch, arrived)| ReceiveLane::restore(lane.class, *epoch, arrived),
            );
            self.from.insert(name, Receiving { lane: opened, heard: token, owes: false });
        }
        let end = self.from.get_mut(&name).expect("it was just opened");
        end.heard = token;
        end.lane.handle_lane(lane, before.is_none())?;
        end.save(disk, name);
        Ok(())
    }

    fn handle_state(
        &mut self,
        disk: &mut Disk,
        peer: NodeId,
        token: u64,
        state: &LaneState,
    ) -> Result<(), Reason> {
        let name = (peer, state.class);
        let is_answer = self.attached.get(&peer) == Some(&token);
        let (Some(lane), Some(stored)) = (self.to.get_mut(&name), disk.sent.get_mut(&name)) else {
            return Ok(());
        };
        let fates = lane.handle_state(state, is_answer)?;
        let named = |number: &u64| (peer, state.class, *number);
        let unknown = fates.unknown.clone().filter(|number| stored.messages.remove(number).is_some());
        self.unknown.extend(unknown.map(|number| named(&number)));
        let delivered = fates.delivered.clone().chain(fates.others());
        let delivered = delivered.filter(|number| stored.messages.remove(number).is_some());
        self.delivered.extend(delivered.map(|number| named(&number)));
        Ok(())
    }

    /// A message of a lane comes over the link of this token, and goes to the application.
    ///
    /// # Errors
    /// [`Reason::Duplicate`]; [`Reason::Violation`], which ends the session.
    pub fn take(&mut self, source: NodeId, token: u64, message: &Delivered) -> Result<(), Reason> {
        let class = message.priority;
        let epoch = *self.spoken.get(&(token, class)).ok_or(Reason::Violation)?;
        let end = self.from.get_mut(&(source, class)).filter(|end| end.lane.epoch() == epoch);
        let number = message.number.ok_or(Reason::Violation)?.get();
        end.ok_or(Reason::Violation)?.lane.take(number)?;
        self.held.push(Handed { source, class, epoch, number, payload: message.payload.clone() });
        Ok(())
    }

    /// The application has committed one of the messages that it [holds](Self::held).
    pub fn commit(&mut self, disk: &mut Disk, at: usize) -> Handed {
        let arrival = self.held.remove(at);
        let name = (arrival.source, arrival.class);
        if let Some(end) = self.from.get_mut(&name).filter(|end| end.lane.epoch() == arrival.epoch)
            && end.lane.commit(arrival.number)
        {
            end.save(disk, name);
        }
        arrival
    }

    /// The application lets go of one of them: it is to come again.
    pub fn release(&mut self, at: usize) -> Handed {
        let arrival = self.held.remove(at);
        let end = self.from.get_mut(&(arrival.source, arrival.class));
        if let Some(end) = end.filter(|end| end.lane.epoch() == arrival.epoch) {
            end.lane.release(arrival.number);
        }
        arrival
    }

    /// Puts into the outbox what this link owes and what may be sent.
    pub fn feed(
        &mut self,
        disk: &mut Disk,
        now: Instant,
        peer: NodeId,
        outbox: &mut LabOutbox,
        sequence: &mut u64,
    ) {
        let Some(token) = self.attached.get(&peer).copied() else { return };
        let mut push = |outbox: &mut LabOutbox, kind, priority, number, payload: &[u8]| {
            let reliability = Reliability::Guaranteed;
            *sequence += 1;
            let header = Header { kind, priority, reliability, number, ttl: 0, ..header(*sequence) };
            outbox.push(now, header, Payload::Copied(payload)).expect("the outbox has room");
        };
        for class in Priority::ALL.into_iter().rev() {
            if let Some(end) = self.from.get_mut(&(peer, class))
                && end.heard == token
                && std::mem::take(&mut end.owes)
            {
                let mut body = [0; LaneState::MAX_LEN];
                let len = end.lane.state().encode(&mut body).expect("it fits");
                push(outbox, LaneState::KIND, Priority::Critical, None, &body[..len]);
            }
            let name = (peer, class);
            let (Some(lane), Some(stored)) = (self.to.get_mut(&name), disk.sent.get_mut(&name)) else {
                continue;
            };
            if let Some(mark) = lane.poll_mark() {
                stored.mark = mark;
                lane.handle_marked(mark);
            }
            if let Some(word) = lane.poll_lane() {
                let mut body = [0; Lane::MAX_LEN];
                let len = word.encode(&mut body).expect("it fits");
                push(outbox, Lane::KIND, Priority::Critical, None, &body[..len]);
            }
            while outbox.queued() < AHEAD
                && let Some(number) = lane.poll_next()
            {
                match stored.messages.get(&number) {
                    Some(payload) => {
                        push(outbox, 0x1000, class, NonZeroU64::new(number), payload);
                        lane.handle_sent(number);
                    }
                    None => lane.settle(number),
                }
            }
        }
    }

    fn lanes_to(&mut self, peer: NodeId) -> impl Iterator<Item = &mut SendLane> {
        self.to.iter_mut().filter(move |((to, _), _)| *to == peer).map(|(_, lane)| lane)
    }
}

impl Receiving {
    fn save(&mut self, disk: &mut Disk, name: Name) {
        let snapshot = self.lane.snapshot();
        disk.arrived.insert(name, (self.lane.epoch(), snapshot));
        self.lane.handle_saved(&snapshot);
        self.owes = true;
    }
}

/// Messages in an outbox beyond which none is added from a lane.
const AHEAD: usize = 64;
