//! From the configuration to a running node: what all commands that run one share.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use hyphal::address::{Endpoint, Host, HostPort, PeerAddr};
use hyphal::config::Config;
use hyphal::{AddPeerError, Identity, Node, NodeBuilder, NodeId, StartError, keyfile};

use crate::cli::{Global, NodeFlags, Target};
use crate::output::{Exit, Failure, WARN};

/// Where the identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The configured key file.
    File,
    /// Drawn for this run.
    Ephemeral,
}

impl Key {
    /// By the flag `--ephemeral-key`.
    pub(crate) const fn of(is_ephemeral: bool) -> Self {
        if is_ephemeral { Self::Ephemeral } else { Self::File }
    }
}

/// What a node is made of.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
}

impl Setup {
    /// Reads configuration and key.
    pub(crate) fn load(global: &Global, flags: &NodeFlags, key: Key) -> Result<Self, Failure> {
        let config = configuration(global, flags)?;
        match key {
            Key::File => {
                keyfile::read(&config.key).map(|identity| Self { config, identity }).map_err(Failure::from)
            }
            Key::Ephemeral => Ok(Self::ephemeral(config)),
        }
    }

    /// A node that is nobody known: store and certificate are those of the configured key.
    pub(crate) fn ephemeral(mut config: Config) -> Self {
        config.store.directory = None;
        config.trust.certificate = None;
        Self { config, identity: fresh_identity() }
    }

    /// Makes it a node that only dials: nobody can connect to it, it knows only peers that it can reach, and leaves the store to a
    /// node that runs beside it.
    pub(crate) fn dial_only(&mut self) {
        self.config.store.directory = None;
        self.config.listen.clear();
        self.config.trust.admit.clear();
    }

    /// Reduces the peers to the one that is addressed.
    pub(crate) fn select(&mut self, target: &Target) -> Result<PeerAddr, Failure> {
        let peer = match target {
            Target::Address(peer) if matches!(peer.endpoint, Endpoint::Memory(_)) => {
                return Err(in_memory(&peer.endpoint, Exit::Usage));
            }
            Target::Address(peer) => peer.clone(),
            Target::Id(id) => {
                self.config.peers.iter().find(|peer| peer.id == *id).cloned().ok_or_else(|| {
                    Failure::new(
                        Exit::Usage,
                        format!("no peer with the id {id} is configured"),
                        "write ID@HOST:PORT, or add the peer to peers in the configuration",
                    )
                })?
            }
        };
        self.config.peers = vec![peer.clone()];
        Ok(peer)
    }

    /// Starts the node.
    pub(crate) async fn start(&self) -> Result<Node, Failure> {
        let node = NodeBuilder::from(&self.config)
            .identity(self.identity.clone())
            .start()
            .await
            .map_err(Failure::from)?;
        if let Some(path) = &self.config.key_log {
            // Said even where nothing is logged; a standard error that is gone has no reader.
            let _ = writeln!(
                anstream::stderr(),
                "{WARN}warning:{WARN:#} the keys of all sessions are appended to {}: whoever reads that file can decrypt this traffic",
                path.display()
            );
        }
        Ok(node)
    }
}

/// Reads the configuration; one with names in memory is of no use to a process with a single node.
pub(crate) fn configuration(global: &Global, flags: &NodeFlags) -> Result<Config, Failure> {
    let config = Config::load(&global.sources(flags))?;
    let mut endpoints = config.listen.iter().chain(config.peers.iter().map(|peer| &peer.endpoint));
    if let Some(endpoint) = endpoints.find(|endpoint| matches!(endpoint, Endpoint::Memory(_))) {
        let name = endpoint.to_string();
        let is_typed = flags.listen.iter().chain(&flags.peer).any(|text| text.contains(&name));
        return Err(in_memory(endpoint, if is_typed { Exit::Usage } else { Exit::Setup }));
    }
    Ok(config)
}

fn in_memory(endpoint: &Endpoint, exit: Exit) -> Failure {
    Failure::new(
        exit,
        format!("{endpoint} joins nodes of one process, and this process is one node"),
        "write HOST:PORT, udp://HOST:PORT or serial:///dev/ttyX?baud=N",
    )
}

/// An identity that is stored nowhere.
pub(crate) fn fresh_identity() -> Identity {
    // Without a source of randomness there is no identity to speak of, so a failing one ends the process.
    Identity::generate(&mut UnwrapErr(SysRng))
}

/// Runs a command on as many threads as configured.
pub(crate) fn block_on<T>(
    config: &Config,
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut builder = match config.worker_threads {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = config.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot start the runtime: {error}"),
            "raise the limits of open files and processes: ulimit -n, ulimit -u",
        )
    })?;
    let result = runtime.block_on(command);
    // A name that the resolver still works on, or a pipe that nobody reads, must not hold the process.
    runtime.shutdown_background();
    result
}

/// Ends the node in good order; says whether nothing was left without a confirmation.
pub(crate) async fn shut_down(node: &Node, drain: Duration) -> bool {
    let before = node.counters().sent.unconfirmed;
    let sent = node.shutdown(drain).await;
    sent.queued == 0 && sent.in_flight == 0 && sent.unconfirmed == before
}

/// Where others reach the node, as they write it: `ID@ENDPOINT`.
pub(crate) fn addresses(node: &Node) -> Vec<String> {
    let id = node.id();
    node.local_addrs().iter().map(|address| written(&id, address)).collect()
}

fn written(id: &NodeId, endpoint: &Endpoint) -> String {
    let endpoint = match endpoint.clone() {
        Endpoint::Tcp(place) => Endpoint::Tcp(outside(place)),
        Endpoint::Udp(place) => Endpoint::Udp(outside(place)),
        endpoint => endpoint,
    };
    PeerAddr { id: *id, endpoint }.to_string()
}

/// For a port on all addresses, the same port on the one that others use.
fn outside(place: HostPort) -> HostPort {
    let ip = match place.host {
        Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => {
            own_ip(ip.into(), DOCUMENTATION_V4).unwrap_or(LOOPBACK_V4)
        }
        Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => {
            own_ip(ip.into(), DOCUMENTATION_V6).unwrap_or(LOOPBACK_V6)
        }
        _ => return place,
    };
    HostPort { host: Host::Ip(ip), ..place }
}

/// The address that this machine would use to the outside. Nothing is sent: connecting a UDP socket chooses a route only.
fn own_ip(any: IpAddr, outside: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((outside, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

const DOCUMENTATION_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const DOCUMENTATION_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const LOOPBACK_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        use std::io::ErrorKind::{AddrInUse, PermissionDenied};
        match &error {
            StartError::Listen { endpoint, error: cause } => {
                let (message, remedy) = match cause.kind() {
                    AddrInUse => (
                        format!("{endpoint} is in use"),
                        "stop the program that uses it (a node that runs already?), or choose another address with --listen",
                    ),
                    _ if matches!(endpoint, Endpoint::Serial { .. }) => (
                        format!("cannot listen on {endpoint}: {cause}"),
                        "check that the device is there and serial, and that this user may open it",
                    ),
                    PermissionDenied => (
                        format!("this user may not listen on {endpoint}"),
                        "choose a port above 1023 with --listen",
                    ),
                    _ => (
                        format!("cannot listen on {endpoint}: {cause}"),
                        "choose an address of this machine with --listen",
                    ),
                };
                Self::new(Exit::Failed, message, remedy)
            }
            StartError::KeyLog { path, error: cause } => Self::new(
                Exit::Setup,
                format!("cannot use the key log {}: {cause}", path.display()),
                if cause.kind() == PermissionDenied {
                    "choose another file with --key-log, or make it its owner's only, as the key itself: chmod 600"
                } else {
                    "choose another file with --key-log, in a directory that exists"
                },
            ),
            StartError::Store(cause) => Self::new(Exit::Setup, error.to_string(), cause.remedy()),
            StartError::Trust(cause) => Self::new(Exit::Setup, cause.to_string(), cause.remedy()),
            StartError::Peer { error: AddPeerError::OwnId, .. } => Self::new(
                Exit::Setup,
                "the peer has this node's own id",
                "use another key for this command: --ephemeral-key or --key PATH",
            ),
            StartError::DelegatedKey => Self::new(
                Exit::Setup,
                error.to_string(),
                "choose a lower security, or run the node with its own key",
            ),
            StartError::DelegationExpired { .. } => Self::new(
                Exit::Setup,
                error.to_string(),
                "make a new one where the node's own key is: hyphal key delegate; or check the clock: hyphal doctor",
            ),
            _ => Self::new(Exit::Setup, error.to_string(), ""),
        }
    }
}
