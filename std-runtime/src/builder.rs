//! What a node is made of. It checks every number once and starts the tasks; afterwards it is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use getrandom::SysRng;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{NodeId, NodeType};
use hyphal_core::node::{self, GrowingTable, Trust};
use hyphal_core::profile::Security;
use hyphal_core::session;
use hyphal_core::time::TimeQuality;
use hyphal_core::wire::delegation::Delegation;
use hyphal_core::wire::hello::NetworkTag;
use rand_core::{TryRng, UnwrapErr};
use tokio::sync::{Notify, mpsc};

use crate::address::{BadEndpoint, Endpoint};
use crate::clock;
use crate::compression::{Methods, Rule};
use crate::config::Config;
use crate::control::{Control, CoreNode};
use crate::delegation;
use crate::error::StartError;
use crate::guaranteed::{Guaranteed, Unclaimed};
use crate::hub::{Hub, Plan};
use crate::key_log::KeyLog;
use crate::listener::Listener;
use crate::node::Node;
use crate::options::{Keepalive, Limits, TcpOptions, Timeouts, UnknownTypes};
use crate::roster::Roster;
use crate::store::{Store, StoreError, StoreFailure, StoreLimits};
use crate::trust::{Subject, TrustSettings};

/// Collects what a node needs; [`start`](Self::start) makes it. An identity and a network name are required.
#[must_use = "a builder does nothing until it is started"]
pub struct NodeBuilder {
    identity: Option<Identity>,
    network: Option<String>,
    node_type: NodeType,
    listen: Vec<Endpoint>,
    peers: Vec<(NodeId, Option<Endpoint>)>,
    /// The first text that is no endpoint.
    mistake: Option<BadEndpoint>,
    trust: TrustSettings,
    limits: Limits,
    timeouts: Timeouts,
    tcp: TcpOptions,
    quality: TimeQuality,
    max_skew: Duration,
    unknown_types: UnknownTypes,
    rules: Vec<Rule>,
    accepts: Methods,
    key_log: Option<PathBuf>,
    store: Option<PathBuf>,
    security: Security,
    policy: node::Config,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            identity: None,
            network: None,
            node_type: NodeType::Sclerotia,
            listen: Vec::new(),
            peers: Vec::new(),
            mistake: None,
            trust: TrustSettings::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            tcp: TcpOptions::default(),
            quality: TimeQuality::Synced,
            max_skew: Duration::from_secs(60),
            unknown_types: UnknownTypes::default(),
            rules: Vec::new(),
            accepts: Methods::ALL,
            key_log: None,
            store: None,
            security: Security::Minimal,
            policy: node::Config::default(),
        }
    }

    /// The key that is this node, its own or a delegated one. Required.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The name of the network; nodes of another name are rejected. Required.
    pub fn network(mut self, name: impl Into<String>) -> Self {
        self.network = Some(name.into());
        self
    }

    /// What the node is in the network (Sclerotia, a server).
    pub fn node_type(mut self, node_type: NodeType) -> Self {
        self.node_type = node_type;
        self
    }

    /// Accepts connections at `endpoint`, beside those named before; port 0 takes a free one. Nowhere by default.
    ///
    /// An [`Endpoint`], a socket address (TCP), or a text as `0.0.0.0:4857` or `memory://name`. A DNS name is resolved once,
    /// at the start, and all its addresses are listened on.
    pub fn listen(mut self, endpoint: impl TryInto<Endpoint, Error: Into<BadEndpoint>>) -> Self {
        match endpoint.try_into() {
            Ok(endpoint) => self.listen.push(endpoint),
            Err(error) => self.mistake = self.mistake.or(Some(error.into())),
        }
        self
    }

    /// Keeps a session with `id`, dialled at `endpoint` (names are resolved at each dial), beside those named before.
    pub fn peer(mut self, id: NodeId, endpoint: impl TryInto<Endpoint, Error: Into<BadEndpoint>>) -> Self {
        match endpoint.try_into() {
            Ok(endpoint) => self.peers.push((id, Some(endpoint))),
            Err(error) => self.mistake = self.mistake.or(Some(error.into())),
        }
        self
    }

    /// Knows `id` without dialling it: it may connect in, and messages for it are queued.
    pub fn known_peer(mut self, id: NodeId) -> Self {
        self.peers.push((id, None));
        self
    }

    /// Whom the node admits: only the peers that were added (the default), every node of the network, or those whom an
    /// authority has given a [certificate](Self::trust_settings).
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust.policy = trust;
        self
    }

    /// The same, with authorities, this node's own certificate, and what is asked of others. The files that they name are read
    /// at the start.
    pub fn trust_settings(mut self, settings: TrustSettings) -> Self {
        self.trust = settings;
        self
    }

    /// Bounds on what peers and applications can make the node hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long the node waits for others.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How TCP sockets are set up.
    pub fn tcp(mut self, tcp: TcpOptions) -> Self {
        self.tcp = tcp;
        self
    }

    /// How far this machine's clock can be trusted (synchronised).
    pub fn time_quality(mut self, quality: TimeQuality) -> Self {
        self.quality = quality;
        self
    }

    /// How far the clocks of two nodes, both synchronised, may lie apart (60 s).
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.max_skew = max_skew;
        self
    }

    /// What happens to messages of a type that no family has (they are delivered).
    pub fn unknown_types(mut self, unknown_types: UnknownTypes) -> Self {
        self.unknown_types = unknown_types;
        self
    }

    /// Compresses messages of some types for peers that take it, beside those named before; the first that names a type
    /// counts. None by default. Compressing takes the time of the task that sends: about 3 ms for a MiB with Zstandard.
    pub fn compress(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The methods of compression that the node takes from peers (all).
    pub fn accept_compressed(mut self, methods: Methods) -> Self {
        self.accepts = methods;
        self
    }

    /// The least security of this node's sessions and messages, whatever the profiles say (nothing is raised by default). At
    /// [`Security::High`], what is sent to one peer is sealed and signed unless its options say otherwise.
    pub fn security(mut self, least: Security) -> Self {
        self.security = least;
        self
    }

    /// Appends the keys of every session to this file, from which recordings of them can be decrypted (docs/cli.md). Whoever
    /// reads the file reads everything that the node sends and receives; it is made for its owner only, and refused if
    /// others can read it.
    pub fn key_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_log = Some(path.into());
        self
    }

    /// Keeps Guaranteed messages in this directory, which is made if it is missing and belongs to this node alone (nowhere:
    /// Guaranteed messages are neither sent nor taken).
    pub fn store(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// Backoff, breaker, health and removal of peers. Trust is set by [`trust`](Self::trust).
    pub fn peer_policy(mut self, policy: node::Config) -> Self {
        self.policy = policy;
        self
    }

    /// Starts the node on the current tokio runtime: listens, dials, and goes on until it is shut down or dropped.
    ///
    /// # Errors
    /// What is missing, out of range, or refused by the operating system; then nothing keeps running.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and network enabled.
    pub async fn start(self) -> Result<Node, StartError> {
        self.check()?;
        if let Some(error) = self.mistake {
            return Err(StartError::Endpoint(error));
        }
        let identity = self.identity.ok_or(StartError::NoIdentity)?;
        if identity.delegation().is_some() && self.security == Security::High {
            return Err(StartError::DelegatedKey);
        }
        // Without a clock its peers have to judge it.
        let delegation = identity.delegation().copied().filter(|_| self.quality != TimeQuality::None);
        if let Some(Delegation { not_before, not_after, .. }) =
            delegation.filter(|delegation| !delegation.is_valid_at(clock::wall_time()))
        {
            return Err(StartError::DelegationExpired { not_before, not_after });
        }
        let network = self.network.filter(|name| !name.is_empty()).ok_or(StartError::NoNetwork)?;
        let boot_id = SysRng.try_next_u64().map_err(|_| StartError::NoRandomness)?;
        let session = session::Config {
            network: NetworkTag::of(&network),
            node_type: self.node_type,
            boot_id,
            max_message: self.limits.max_message,
            max_record: u16::MAX,
            compression: self.accepts,
            keeps_guaranteed: self.store.is_some(),
            window: self.limits.window,
            heartbeat: self.timeouts.heartbeat,
            handshake_timeout: self.timeouts.handshake,
            max_skew: self.max_skew,
            security: self.security,
        };
        let own = identity.id();
        let subject = Subject { id: identity.id(), node_type: self.node_type, network: session.network };
        let trust = self.trust.load(&subject).map_err(StartError::Trust)?;
        let mut listeners = Vec::with_capacity(self.listen.len());
        for endpoint in &self.listen {
            let failed = |error| StartError::Listen { endpoint: endpoint.clone(), error };
            for listener in Listener::bind(endpoint, &self.tcp).await.map_err(failed)? {
                let bound = listener.endpoint().map_err(failed)?;
                listeners.push((listener, bound));
            }
        }

        let key_log = match &self.key_log {
            None => None,
            Some(path) => {
                let failed = |error| StartError::KeyLog { path: path.clone(), error };
                let key_log = KeyLog::open(path).map_err(failed)?;
                tracing::warn!(
                    path = %path.display(),
                    "the keys of all sessions are logged: whoever reads the file can decrypt this node's traffic"
                );
                Some(key_log)
            }
        };

        // Told of what a shutdown waits for.
        let drained = Arc::new(Notify::new());
        // When nothing but a peer can keep the node from starting: who failed with the store open would have to close it.
        let guaranteed = match self.store {
            None => None,
            Some(directory) => {
                let limits = StoreLimits {
                    bytes: self.limits.store_bytes,
                    receive_lanes: self.limits.store_receive_lanes,
                };
                let opened = directory.clone();
                let open = move || Store::open(&opened, own, limits);
                // It reads the whole file. A task that did not come to its end has panicked.
                let opened = tokio::task::spawn_blocking(open).await.expect("opening a store does not panic");
                let store = opened.map_err(StartError::Store)?;
                let unreadable = |failure: StoreFailure| {
                    StartError::Store(StoreError::Corrupt { file: directory, damage: failure.to_string() })
                };
                let Limits { queue_batches, queue_bytes, .. } = self.limits;
                let unclaimed = Unclaimed::new(self.timeouts.unclaimed, queue_batches, queue_bytes);
                Some(Guaranteed::open(store, unclaimed, Arc::clone(&drained)).await.map_err(unreadable)?)
            }
        };
        let plan = Plan {
            identity,
            session,
            quality: self.quality,
            limits: self.limits,
            timeouts: self.timeouts,
            tcp: self.tcp,
            unknown_types: self.unknown_types,
            rules: self.rules,
            key_log,
        };
        let (sender, commands) = mpsc::channel(COMMANDS);
        let policy = node::Config { trust: trust.policy(), ..self.policy };
        let hub = Arc::new(Hub::new(plan, trust, guaranteed, drained, sender));
        let core = CoreNode::new(own, policy, GrowingTable::new(self.limits.peers), UnwrapErr(SysRng));
        let mut control = Control::new(Arc::clone(&hub), core, commands);
        for (id, endpoint) in self.peers {
            if let Err(error) = control.add_peer(id, endpoint) {
                if let Some(guaranteed) = &hub.guaranteed {
                    guaranteed.close().await;
                }
                return Err(StartError::Peer { id, error });
            }
        }
        let mut addresses = Vec::with_capacity(listeners.len());
        let mut doors = Vec::with_capacity(listeners.len());
        for (listener, bound) in listeners {
            tracing::info!(address = %bound, "listening");
            addresses.push(bound);
            doors.extend(listener.spawn(&hub));
        }
        hub.spawn(control.run());
        if let Some(delegation) = delegation {
            hub.spawn(delegation::warn_before_the_end(delegation));
        }
        if hub.guaranteed.is_some() {
            hub.spawn(Guaranteed::watch_expiry(Arc::clone(&hub)));
            hub.spawn(Unclaimed::watch(Arc::clone(&hub)));
        }
        Ok(Node::new(hub, addresses, doors))
    }

    fn check(&self) -> Result<(), StartError> {
        let Limits { connections, connections_per_address, handshakes, peers, max_message, .. } = self.limits;
        let Limits { outbox_messages, outbox_bytes, queue_batches, queue_bytes, assembly_bytes, .. } =
            self.limits;
        let positive = [
            ("limits.connections", connections),
            ("limits.connections_per_address", connections_per_address),
            ("limits.handshakes", handshakes),
            ("limits.peers", peers),
            ("limits.outbox_messages", outbox_messages),
            ("limits.queue_batches", queue_batches),
            ("limits.queue_bytes", queue_bytes),
            ("limits.store_receive_lanes", self.limits.store_receive_lanes),
        ];
        for (field, value) in positive {
            require(value > 0, field, "1 or more")?;
        }
        require(max_message <= MAX_MESSAGE, "limits.max_message", "at most 1 GiB")?;
        let holding = [("limits.outbox_bytes", outbox_bytes), ("limits.assembly_bytes", assembly_bytes)];
        for (field, bytes) in holding {
            require(bytes >= max_message as usize, field, "as many bytes as limits.max_message, or more")?;
        }
        require(
            self.limits.store_bytes >= u64::from(max_message),
            "limits.store_bytes",
            "as many bytes as limits.max_message, or more",
        )?;
        require(self.limits.window >= u32::from(u16::MAX), "limits.window", "65,535 bytes or more")?;
        let heartbeat = Duration::from_millis(10)..=Duration::from_secs(655);
        require(heartbeat.contains(&self.timeouts.heartbeat), "timeouts.heartbeat", "10 ms to 655 s")?;
        let timeouts = [
            ("timeouts.connect", self.timeouts.connect),
            ("timeouts.handshake", self.timeouts.handshake),
            ("timeouts.write_stall", self.timeouts.write_stall),
        ];
        for (field, span) in timeouts {
            require(!span.is_zero(), field, "longer than nothing")?;
        }
        Ok(())
    }
}

impl From<&Config> for NodeBuilder {
    /// Everything that a configuration says of a node; the identity is still to be given.
    fn from(config: &Config) -> Self {
        let timeouts = Timeouts {
            connect: config.timeouts.connect,
            handshake: config.timeouts.handshake,
            heartbeat: config.timeouts.heartbeat,
            write_stall: config.timeouts.write_stall,
            unclaimed: config.timeouts.unclaimed,
        };
        let limits = Limits {
            connections: config.limits.max_connections,
            connections_per_address: config.limits.max_connections_per_address,
            handshakes: config.limits.max_handshakes,
            peers: config.limits.max_peers,
            outbox_messages: config.limits.outbox_messages,
            outbox_bytes: config.limits.outbox_bytes,
            queue_batches: config.limits.inbox_batches,
            window: config.limits.window,
            max_message: config.limits.max_message,
            assembly_bytes: config.limits.assembly_bytes,
            store_bytes: config.store.bytes,
            store_receive_lanes: config.store.receive_lanes,
            ..Limits::default()
        };
        let tcp = TcpOptions {
            nodelay: config.tcp.nodelay,
            keepalive: config.tcp.keepalive.map(|time| Keepalive { time, ..Keepalive::default() }),
            reuse_address: config.tcp.reuse_address,
            reuse_port: config.tcp.reuse_port,
            send_buffer: config.tcp.send_buffer.map(|bytes| bytes as usize),
            receive_buffer: config.tcp.receive_buffer.map(|bytes| bytes as usize),
            unsent: config.tcp.unsent.map(|bytes| bytes as usize),
            backlog: config.tcp.backlog,
        };
        let Roster { trust, peers } = Roster::from(config);
        let builder = Self::new()
            .network(config.network.as_str())
            .node_type(config.node_type)
            .trust_settings(trust)
            .time_quality(config.trust.clock)
            .max_skew(config.trust.max_clock_skew)
            .unknown_types(config.unknown_types)
            .limits(limits)
            .timeouts(timeouts)
            .tcp(tcp)
            .security(config.security);
        let builder = config.compression.send.iter().fold(builder, |builder, rule| builder.compress(*rule));
        let builder = builder.accept_compressed(config.compression.accept.iter().copied().collect());
        let builder = config.key_log.iter().fold(builder, |builder, path| builder.key_log(path));
        let builder = config.store.directory.iter().fold(builder, |builder, path| builder.store(path));
        let builder = config.listen.iter().cloned().fold(builder, Self::listen);
        Self { peers, ..builder }
    }
}

fn require(is_met: bool, field: &'static str, allowed: &'static str) -> Result<(), StartError> {
    if is_met { Ok(()) } else { Err(StartError::OutOfRange { field, allowed }) }
}

/// The longest payload that a node can be told to take: a whole message is held in memory at both ends.
pub(crate) const MAX_MESSAGE: u32 = 1 << 30;

/// Commands that may wait for the control task.
const COMMANDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_and_the_library_have_the_same_numbers_by_default() {
        let configured = NodeBuilder::from(&Config::with_key("identity.key".into()));

        let plain = NodeBuilder::new();

        assert_eq!(configured.limits, plain.limits);
        assert_eq!(configured.timeouts, plain.timeouts);
        assert_eq!(configured.tcp, plain.tcp);
        assert_eq!((configured.quality, configured.max_skew), (plain.quality, plain.max_skew));
        assert_eq!(configured.unknown_types, plain.unknown_types);
        assert_eq!(configured.security, plain.security);
        assert_eq!(configured.node_type, plain.node_type);
        assert_eq!((configured.rules, configured.accepts), (plain.rules, plain.accepts));
    }
}
