//! One UDP socket and the sessions behind it: a task that receives and sorts, and the places of links.
//!
//! ```text
//!   socket ─▶ record ──────── by connection id ─────────▶ mailbox of its link
//!          └▶ handshake ───── by attempt and address ───▶ mailbox of its link
//!                 └─ nobody's ─▶ gate (cookie) ─▶ rate ─▶ doors ─▶ a new link
//! ```
//! It reads no more of a datagram than shows before any key. What it refuses it counts, and nobody gets more bytes than it
//! sent before it has proven that it receives at its address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use getrandom::SysRng;
use hyphal_core::gate::{self, Admission, Gate};
use hyphal_core::session::Path;
use hyphal_core::wire::datagram::{self, ConnectionId, Peek};
use hyphal_core::wire::frame::{Kind, Refusal};
use hyphal_core::wire::reason::Reason;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rand_core::{Rng, UnwrapErr};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::address::{Endpoint, HostPort};
use crate::hub::{Hub, origin};
use crate::listener;
use crate::log::Throttle;
use crate::mailbox::{Mailbox, Run};
use crate::rate::Rate;

/// A UDP socket that many sessions share.
pub(crate) struct UdpPort {
    socket: UdpSocket,
    offload: UdpSocketState,
    address: SocketAddr,
    sessions: Mutex<Sessions>,
}

/// Whose datagrams are whose.
#[derive(Default)]
struct Sessions {
    by_cid: HashMap<ConnectionId, Arc<Mailbox>>,
    by_attempt: HashMap<Attempt, Arc<Mailbox>>,
}

/// One handshake with one address, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    /// Whether this end began it. Both ends of a node that dials itself have the same name for it.
    is_own: bool,
    frame_id: u64,
    with: SocketAddr,
}

impl UdpPort {
    /// Opens the socket.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Arc<Self>> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // As for TCP: one on the IPv4 address of the same port can stand beside it.
            socket.set_only_v6(true)?;
        }
        // As much as the system grants, for all sessions together.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let offload = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Arc::new(Self { socket, offload, address, sessions: Mutex::default() }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A place for a link, with a connection id that no other one has.
    pub(crate) fn berth(self: &Arc<Self>) -> Berth {
        let mailbox = Arc::<Mailbox>::default();
        let mut sessions = self.sessions();
        let cid = loop {
            let mut id = [0; ConnectionId::MAX_LEN];
            UnwrapErr(SysRng).fill_bytes(&mut id);
            if let Some(cid) = ConnectionId::new(&id)
                && let Entry::Vacant(vacant) = sessions.by_cid.entry(cid)
            {
                vacant.insert(Arc::clone(&mailbox));
                break cid;
            }
        };
        drop(sessions);
        Berth { port: Arc::clone(self), cid, mailbox, attempts: Vec::new() }
    }

    /// Sends datagrams of `stride` bytes each, the last one perhaps shorter, without waiting.
    pub(crate) fn try_send(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        stride: usize,
        contents: &[u8],
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: Some(stride),
            // A socket with an address of its own sends from there anyway.
            src_ip: from.filter(|_| self.address.ip().is_unspecified()),
        };
        self.socket.try_io(Interest::WRITABLE, || self.offload.try_send((&self.socket).into(), &transmit))
    }

    /// The most datagrams that [`try_send`](Self::try_send) takes at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.offload.max_gso_segments()
    }

    /// Resolves when the socket may take datagrams again.
    pub(crate) async fn writable(self: Arc<Self>) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Receives and sorts until the node ends; `door` lets strangers in.
    pub(crate) async fn receive(self: Arc<Self>, hub: Arc<Hub>, mut door: Option<Door>) {
        let mut metas = [RecvMeta::default(); CHUNKS];
        loop {
            tokio::select! {
                ready = self.socket.readable() => if let Err(error) = ready {
                    tracing::warn!(address = %self.address, %error, "the UDP socket is broken");
                    return;
                },
                // Nobody is there any more for whom it could matter.
                () = hub.control.closed() => return,
            }
            let mut chunks: [Box<[u8]>; CHUNKS] = std::array::from_fn(|_| hub.pool.take_writing());
            for _ in 0..ROUNDS {
                let mut slices = chunks.each_mut().map(|chunk| IoSliceMut::new(chunk));
                let received = self.socket.try_io(Interest::READABLE, || {
                    self.offload.recv((&self.socket).into(), &mut slices, &mut metas)
                });
                match received {
                    Ok(count) => {
                        for (meta, chunk) in metas.iter().zip(&chunks).take(count) {
                            self.sort(&hub, door.as_mut(), meta, &chunk[..meta.len]);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What the network says of datagrams sent before concerns no session: it notices by itself.
                    Err(error) => {
                        tracing::trace!(address = %self.address, %error, "a datagram did not arrive");
                    }
                }
            }
            chunks.into_iter().for_each(|chunk| hub.pool.give_writing(chunk));
            tokio::task::yield_now().await;
        }
    }

    /// Gives each session its part of what came together, in as few pieces as possible.
    fn sort(self: &Arc<Self>, hub: &Arc<Hub>, mut door: Option<&mut Door>, meta: &RecvMeta, bytes: &[u8]) {
        let stride = meta.stride.max(1);
        let mut rest = bytes;
        while !rest.is_empty() {
            let first = &rest[..stride.min(rest.len())];
            let peeked = datagram::peek(first, ConnectionId::MAX_LEN);
            let len = match peeked {
                Ok(Peek::Record { cid }) => {
                    let same = |datagram: &&[u8]| {
                        datagram::peek(datagram, ConnectionId::MAX_LEN) == Ok(Peek::Record { cid })
                    };
                    rest.chunks(stride).take_while(same).map(<[u8]>::len).sum()
                }
                _ => first.len(),
            };
            let (run, left) = rest.split_at(len);
            rest = left;
            let refused = match peeked {
                Ok(Peek::Record { cid }) => {
                    let mailbox = self.sessions().by_cid.get(&cid).cloned();
                    mailbox.map_or(Some(Reason::UnexpectedFrame), |mailbox| deliver(&mailbox, meta, run))
                }
                Ok(Peek::Handshake { frame_id, kind }) => {
                    let is_own = !matches!(kind, Kind::Xx1 | Kind::Xx3 | Kind::Kk1);
                    let attempt = Attempt { is_own, frame_id, with: meta.addr };
                    let mailbox = self.sessions().by_attempt.get(&attempt).cloned();
                    match (mailbox, &mut door) {
                        (Some(mailbox), _) => deliver(&mailbox, meta, run),
                        (None, Some(door)) => self.admit(hub, door, attempt, kind, meta, run).err(),
                        (None, None) => Some(Reason::UnexpectedFrame),
                    }
                }
                // A foreign version is answered by the gate.
                Err(Reason::Version) => match &mut door {
                    Some(door) => self.judge(hub, door, meta, run).err(),
                    None => Some(Reason::Version),
                },
                Err(reason) => Some(reason),
            };
            if let Some(reason) = refused {
                hub.tally.strays.add(reason, run.len().div_ceil(stride) as u64);
            }
        }
    }

    /// Opens a session for a first packet, if the gate, the rate and the limits agree.
    fn admit(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        door: &mut Door,
        attempt: Attempt,
        kind: Kind,
        meta: &RecvMeta,
        packet: &[u8],
    ) -> Result<(), Reason> {
        if hub.is_draining.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Reason::Shutdown);
        }
        if !self.judge(hub, door, meta, packet)? {
            return Ok(());
        }
        // Nobody has shown a cookie for a message 1 of KK, so made-up ones must not take all places, nor use up what the
        // address that they name may begin: without a hint its dialler goes on with a handshake that needs a cookie.
        let (now, from) = (hub.clock.now(), origin(meta.addr.ip()));
        let refused = match kind {
            Kind::Kk1 if hub.doors.is_crowded(hub) || !door.reconnects.allows(now, from) => {
                Some(Reason::UnknownHint)
            }
            Kind::Kk1 => None,
            _ => (!door.rate.allows(now, from)).then_some(Reason::Busy),
        };
        if let Some(reason) = refused {
            self.refuse(meta, attempt.frame_id, reason);
            return Err(Reason::Busy);
        }
        let remote = Endpoint::Udp(HostPort::from(meta.addr));
        let places = match listener::admit(hub, &remote, &door.refusals) {
            Ok(places) => places,
            Err(reason) => {
                self.refuse(meta, attempt.frame_id, reason);
                return Err(reason);
            }
        };
        let mut berth = self.berth();
        berth.expect(attempt);
        let _ = deliver(&berth.mailbox, meta, packet);
        listener::run_datagrams(hub, berth, meta.addr, remote, places);
        Ok(())
    }

    /// Asks the gate; says whether the packet may open a session.
    fn judge(&self, hub: &Hub, door: &mut Door, meta: &RecvMeta, packet: &[u8]) -> Result<bool, Reason> {
        let mut reply = [0; 128];
        match door.gate.handle_datagram(hub.clock.now(), path_of(meta.addr), packet, &mut reply) {
            Admission::Admit => Ok(true),
            Admission::Reply(len) => {
                // If the socket is full, the packet comes again.
                let _ = self.try_send(meta.addr, meta.dst_ip, len, &reply[..len]);
                Ok(false)
            }
            Admission::Ignore(reason) => Err(reason),
        }
    }

    fn refuse(&self, meta: &RecvMeta, frame_id: u64, reason: Reason) {
        let refusal = match reason {
            Reason::Busy => Refusal { detail: listener::BUSY_MILLIS, ..Refusal::new(reason) },
            _ => Refusal::new(reason),
        };
        let mut packet = [0; 128];
        if let Some(len) = gate::refuse(frame_id, &refusal, &mut packet) {
            // A hint only: whoever misses it sees a timeout.
            let _ = self.try_send(meta.addr, meta.dst_ip, len, &packet[..len]);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deliver(mailbox: &Mailbox, meta: &RecvMeta, run: &[u8]) -> Option<Reason> {
    let bytes = BytesMut::from(run);
    let run = Run { from: meta.addr, to: meta.dst_ip, stride: meta.stride.max(1), bytes };
    (!mailbox.push(run)).then_some(Reason::Limit)
}

/// What lets strangers in.
pub(crate) struct Door {
    gate: Gate,
    /// Of addresses that have shown a cookie.
    rate: Rate,
    /// Of addresses that anybody may have made up.
    reconnects: Rate,
    refusals: Throttle,
}

impl Door {
    pub(crate) fn new() -> Self {
        Self {
            gate: Gate::new(&mut UnwrapErr(SysRng)),
            rate: Rate::new(BURST, INTERVAL),
            reconnects: Rate::new(BURST, INTERVAL),
            refusals: Throttle::default(),
        }
    }
}

/// The place of one link at a socket: its mailbox, under the names by which datagrams find it. Given back when it is dropped.
pub(crate) struct Berth {
    pub(crate) port: Arc<UdpPort>,
    pub(crate) cid: ConnectionId,
    pub(crate) mailbox: Arc<Mailbox>,
    attempts: Vec<Attempt>,
}

impl Berth {
    /// The link sends this packet of a handshake that it has begun: answers to it are for this link.
    pub(crate) fn handle_own_packet(&mut self, packet: &[u8], to: SocketAddr) {
        if let Ok(Peek::Handshake { frame_id, kind: Kind::Xx1 | Kind::Kk1 }) =
            datagram::peek(packet, ConnectionId::MAX_LEN)
        {
            self.expect(Attempt { is_own: true, frame_id, with: to });
        }
    }

    fn expect(&mut self, attempt: Attempt) {
        if !self.attempts.contains(&attempt) {
            self.attempts.push(attempt);
            self.port.sessions().by_attempt.insert(attempt, Arc::clone(&self.mailbox));
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let mut sessions = self.port.sessions();
        sessions.by_cid.remove(&self.cid);
        for attempt in &self.attempts {
            sessions.by_attempt.remove(attempt);
        }
    }
}

/// An address as the protocol has it.
pub(crate) fn path_of(address: SocketAddr) -> Path {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Path { address: ip.octets(), port: address.port() }
}

/// The address that a path stands for.
pub(crate) fn address_of(path: Path) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(path.address).to_canonical(), path.port)
}

/// Any address of the family of `address`, with a free port.
pub(crate) fn anywhere(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// What is asked of the system for the buffers of a socket.
const SOCKET_BUFFER: usize = 2 << 20;

/// Buffers for one system call, each of which takes datagrams of one sender.
const CHUNKS: usize = 4;

/// System calls after which other tasks get their turn.
const ROUNDS: usize = 16;

/// Sessions that may begin from one address at once, and how much later each further one.
const BURST: u32 = 64;
const INTERVAL: Duration = Duration::from_millis(50);
