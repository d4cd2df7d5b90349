//! The numbers that a user may choose, with their defaults. Plain values; `builder` checks them.

use std::time::Duration;

/// Bounds on what peers and applications can make a node hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections that peers opened, in all (4,096). Further ones are refused.
    pub connections: usize,
    /// Connections from one IPv4 address or IPv6 /64 (128).
    pub connections_per_address: usize,
    /// Connections from peers whose handshake is under way (256); from one IPv4 address or IPv6 /64 at most a quarter of
    /// them, at least one.
    pub handshakes: usize,
    /// Peers that the node knows at once, strangers included (16,384).
    pub peers: usize,
    /// Messages that wait for one peer (8,192); with those under way there may be four times as many.
    pub outbox_messages: usize,
    /// Payload bytes that wait for one peer (32 MiB); at least `max_message`.
    pub outbox_bytes: usize,
    /// Batches that wait in one subscription, or in the inbox (256).
    pub queue_batches: usize,
    /// Bytes that wait in one subscription, or in the inbox (8 MiB).
    pub queue_bytes: usize,
    /// The longest payload that this node takes, in bytes (16 MiB).
    pub max_message: u32,
    /// Bytes that large messages of all peers may hold while they arrive, or wait for room in a subscription (64 MiB); at least
    /// `max_message`.
    ///
    /// The last bytes of it, as many as `max_message` says and half of it at most, are for messages whose subscriptions hold none of
    /// it. So a subscription that does not read holds the rest at most, or one message, and messages for others go on: make it
    /// at least twice `max_message`. A peer that sends more to the one that does not read waits.
    pub assembly_bytes: usize,
    /// Bytes of messages of one peer that the node holds until the application is done with them (1 MiB). A peer far away
    /// needs as many as are under way in one round trip.
    pub window: u32,
    /// Bytes of Guaranteed messages that may wait in the store, each counted with 512 bytes more (256 MiB); at least
    /// `max_message`.
    pub store_bytes: u64,
    /// Lanes of peers, each of one class, whose Guaranteed arrivals the store remembers (16,384).
    pub store_receive_lanes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 128,
            handshakes: 256,
            peers: 16_384,
            outbox_messages: 8192,
            outbox_bytes: 32 << 20,
            queue_batches: 256,
            queue_bytes: 8 << 20,
            max_message: 16 << 20,
            assembly_bytes: 64 << 20,
            window: 1 << 20,
            store_bytes: 256 << 20,
            store_receive_lanes: 16_384,
        }
    }
}

/// How long a node waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a TCP connection to one address, name resolution included (5 s).
    pub connect: Duration,
    /// For a whole handshake (5 s).
    pub handshake: Duration,
    /// How often a peer hears from this node when there is nothing to send (1 s); four missed ones end a session.
    pub heartbeat: Duration,
    /// How long a peer may take no byte while some wait to be written (10 s); and how long an unfinished large message of
    /// one peer may stand still while others wait for the memory that it holds.
    pub write_stall: Duration,
    /// How long a Guaranteed message that nobody receives waits for somebody who does (10 s), before it is refused. What waits takes
    /// at most as much memory as the inbox, [`Limits::queue_batches`] and [`Limits::queue_bytes`], and of one
    /// peer a quarter of that, or one message; what is more is refused at once.
    pub unclaimed: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            write_stall: Duration::from_secs(10),
            unclaimed: Duration::from_secs(10),
        }
    }
}

/// How TCP sockets are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// `TCP_NODELAY` (on): the runtime batches by itself.
    pub nodelay: bool,
    /// The idle time before the first keepalive probe and the time between probes (30 s, 10 s); `None` = no probes.
    pub keepalive: Option<Keepalive>,
    /// `SO_REUSEADDR` on listeners (on): a restarted node gets its port back at once.
    pub reuse_address: bool,
    /// `SO_REUSEPORT` on listeners (off): several processes share a port.
    pub reuse_port: bool,
    /// `SO_SNDBUF` in bytes; `None` = as the operating system tunes it.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` in bytes; `None` = as the operating system tunes it.
    pub receive_buffer: Option<usize>,
    /// `TCP_NOTSENT_LOWAT` in bytes (16 KiB), on Linux: what the system keeps that it has not sent yet, and that an urgent
    /// message cannot overtake; `None` = as much as fits its send buffer.
    pub unsent: Option<usize>,
    /// Connections that wait to be accepted (1,024).
    pub backlog: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            reuse_address: true,
            reuse_port: false,
            send_buffer: None,
            receive_buffer: None,
            unsent: Some(16 * 1024),
            backlog: 1024,
        }
    }
}

/// When TCP asks whether the other end is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub time: Duration,
    /// Time between probes.
    pub interval: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), interval: Duration::from_secs(10) }
    }
}

/// What happens to received messages of a type that this version assigns to no family, as a newer peer may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTypes {
    /// The application gets them as opaque bytes.
    #[default]
    Deliver,
    /// They are dropped with reason `UnknownType`.
    Refuse,
}
