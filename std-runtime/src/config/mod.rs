//! Every knob of a node, in one table, and where its value comes from.
//!
//! ```text
//! defaults  <  TOML file  <  HYPHAL_* variables  <  command line
//! ```
//! The table at the end of this file is the only list of settings: the structs, the names in the file, the names of the
//! variables, the limits and the documentation all come from it. A [`Config`] that [`Config::load`] returned has been
//! checked; nothing validates a second time.

mod error;
mod kinds;
mod layers;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hyphal_core::ids::{NodeId, NodeType, Roles};
use hyphal_core::profile::Security;
use hyphal_core::time::TimeQuality;
use hyphal_core::trust::Stale;

pub use self::error::{ConfigError, Origin};
use self::kinds::{
    Choice, FilePath, Filter, Kind, List, Maybe, Network, Number, Problem, Raw, Role, Span, Switch, Text,
};
use crate::address::{Endpoint, Host, HostPort, PeerAddr};
use crate::compression::{Method, Rule};
use crate::keyfile;
use crate::options::UnknownTypes;

impl Config {
    /// Reads all sources in rising order and checks the result.
    ///
    /// # Errors
    /// The first mistake of the first source that has one: it names the file and line, the variable or the flag, the
    /// setting, and what is allowed there.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        layers::load(sources)
    }

    /// The settings in which `new` differs from this configuration and that count from the next start on only: those whose
    /// [`Setting::reloads`] is false.
    pub fn awaiting_restart(&self, new: &Self) -> Vec<&'static str> {
        let differs = |field: &&Field| !reloads(field.name) && (field.write)(self) != (field.write)(new);
        FIELDS.iter().filter(differs).map(|field| field.name).collect()
    }

    /// The defaults around this path of the identity key.
    pub fn with_key(key: PathBuf) -> Self {
        Self { key, ..Self::default_but_key() }
    }
}

impl Default for Config {
    /// The defaults for the user who runs the process. Reads the environment for the key's path only.
    fn default() -> Self {
        Self::with_key(default_key(|name| std::env::var_os(name)))
    }
}

/// Where [`Config::load`] looks. Empty sources give the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file. Without one, the variable `HYPHAL_CONFIG` may name it; no other place is searched.
    pub file: Option<PathBuf>,
    /// The environment: names and values. Only `HYPHAL_*` and the variables of the key's default path are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line sets, the later the stronger.
    pub arguments: Vec<Argument>,
}

impl Sources {
    /// Sources with the environment of this process.
    pub fn of_process() -> Self {
        Self { environment: std::env::vars_os().collect(), ..Self::default() }
    }

    /// The TOML file that is read, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        layers::file_of(self).map(|(path, _)| path)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Argument {
    /// The flag as it was written, for the error message: `--listen`.
    pub flag: String,
    /// The setting: `listen`, `limits.max_message`.
    pub setting: String,
    /// Its value; several for a list.
    pub values: Vec<String>,
}

/// Which peers may have a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustPolicy {
    /// Every node of the same network.
    Open,
    /// The nodes in `peers` and `trust.admit` only.
    Pinned,
    /// The nodes to whom an authority in `trust.authorities` has given a certificate.
    Certified,
}

/// How log lines are written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// One row of the table of settings, as the documentation shows it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The name, with its section: `limits.max_message`.
    pub name: &'static str,
    /// What it does.
    pub doc: String,
    /// The environment variable that sets it.
    pub variable: String,
    /// The values that are allowed.
    pub allowed: String,
    /// The default, written as in the TOML file.
    pub default: String,
    /// Whether a running node takes a new value when its configuration is reloaded.
    pub reloads: bool,
}

/// All settings, in the order of the documentation.
pub fn settings() -> impl Iterator<Item = Setting> {
    let defaults = Config::with_key("~/.local/share/hyphal/identity.key".into());
    FIELDS.iter().map(move |field| Setting {
        name: field.name,
        doc: field.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
        variable: variable_of(field.name),
        allowed: (field.allowed)(),
        default: (field.write)(&defaults),
        reloads: reloads(field.name),
    })
}

/// What a running node takes anew: who its peers are, whom it trusts, and what it says about that.
const RELOADED: &[&str] = &[
    "peers",
    "trust.policy",
    "trust.admit",
    "trust.authorities",
    "trust.certificate",
    "trust.revocations",
    "trust.roles",
    "trust.stale_list",
    "log.filter",
];

fn reloads(setting: &str) -> bool {
    RELOADED.contains(&setting)
}

/// A row of the table, with access to its place in a [`Config`].
struct Field {
    name: &'static str,
    doc: &'static [&'static str],
    read: fn(&mut Config, &Raw) -> Result<(), Problem>,
    write: fn(&Config) -> String,
    allowed: fn() -> String,
}

fn variable_of(setting: &str) -> String {
    format!("HYPHAL_{}", setting.replace('.', "_").to_ascii_uppercase())
}

fn default_key(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    keyfile::default_path(variable).unwrap_or_else(|| PathBuf::from("identity.key"))
}

macro_rules! settings {
    (
        $(#[doc = $root_doc:literal])+
        Config { $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $kind:expr;)+ }
        $(
            $(#[doc = $section_doc:literal])+
            $section:ident: $Section:ident { $($(#[doc = $sdoc:literal])+ $sfield:ident: $stype:ty = $sdefault:expr, $skind:expr;)+ }
        )+
    ) => {
        $(#[doc = $root_doc])+
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            #[non_exhaustive]
            pub struct $Section { $($(#[doc = $sdoc])+ pub $sfield: $stype,)+ }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($sfield: $sdefault,)+ }
                }
            }
        )+

        impl Config {
            fn default_but_key() -> Self {
                Self { $($field: $default,)+ $($section: $Section::default(),)+ }
            }
        }

        const FIELDS: &[Field] = &[
            $(Field {
                name: stringify!($field),
                doc: &[$($doc),+],
                read: |config, raw| { config.$field = $kind.read(raw)?; Ok(()) },
                write: |config| $kind.write(&config.$field),
                allowed: || $kind.allowed(),
            },)+
            $($(Field {
                name: concat!(stringify!($section), ".", stringify!($sfield)),
                doc: &[$($sdoc),+],
                read: |config, raw| { config.$section.$sfield = $skind.read(raw)?; Ok(()) },
                write: |config| $skind.write(&config.$section.$sfield),
                allowed: || $skind.allowed(),
            },)+)+
        ];
        const SECTIONS: &[&str] = &[$(stringify!($section)),+];
    };
}

/// The port that the documentation uses and the default address has.
pub const DEFAULT_PORT: u16 = 4857;

fn default_endpoint() -> Endpoint {
    Endpoint::Tcp(HostPort { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port: DEFAULT_PORT })
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

settings! {
    /// The whole configuration of a node.
    Config {
        /// File of the identity key. A relative path counts from the directory of the configuration file, or from the
        /// working directory; `~/` is the home directory.
        key: PathBuf = PathBuf::new(), FilePath;
        /// File to which the keys of every session are appended, for decrypting recordings of this node's traffic. Whoever
        /// reads it can read everything the node sends and receives. It is made with mode 0600 and refused if others can
        /// read it. Relative paths as for `key`.
        key_log: Option<PathBuf> = None, Maybe { word: "off", means: "no keys are logged", kind: FilePath };
        /// Name of the network. Only nodes that give the same name have sessions; it is no password.
        network: String = "hyphal".to_owned(), Network;
        /// What the node is in the network: a heavy server, a relay or a client.
        node_type: NodeType = NodeType::Sclerotia, Choice(&[
            ("sclerotia", NodeType::Sclerotia), ("rhizomorph", NodeType::Rhizomorph), ("hyphae", NodeType::Hyphae),
        ]);
        /// Where the node accepts connections. The default is reachable from this machine only; `[::]:4857` listens on all
        /// IPv6 addresses; add `0.0.0.0:4857` for IPv4.
        listen: Vec<Endpoint> = vec![default_endpoint()],
            List(Text::<Endpoint>::new("HOST:PORT (TCP), as 0.0.0.0:4857 or [::]:4857; udp://HOST:PORT; serial:///dev/ttyX?baud=N; memory://NAME"));
        /// Peers to which the node connects and stays connected.
        peers: Vec<PeerAddr> = Vec::new(),
            List(Text::<PeerAddr>::new("ID@ENDPOINT, as ID@HOST:PORT (TCP) or ID@udp://HOST:PORT, where HOST is an IP address (IPv6 in brackets) or a DNS name"));
        /// What happens to messages of a type that no version assigns.
        unknown_types: UnknownTypes = UnknownTypes::Deliver,
            Choice(&[("deliver", UnknownTypes::Deliver), ("refuse", UnknownTypes::Refuse)]);
        /// The least security of sessions and messages: what the profile of the pair says, or more. `standard` changes keys by
        /// time in every session; `high` also seals and signs what is sent to one peer, unless its sender says otherwise.
        security: Security = Security::Minimal, Choice(&[
            ("profile", Security::Minimal), ("standard", Security::Standard), ("high", Security::High),
        ]);
        /// Where `hyphal node` serves its numbers for Prometheus, at `/metrics` over HTTP. There is no authentication: whoever
        /// reaches the address reads them, so it should be one of the loopback, as 127.0.0.1:4859.
        metrics: Option<SocketAddr> = None,
            Maybe { word: "off", means: "they are not served", kind: Text::<SocketAddr>::new("IP:PORT, as 127.0.0.1:4859 or [::1]:4859") };
        /// Peers whose numbers are shown one by one; those in `peers` first, then those with a session. The
        /// others are in the totals.
        metrics_peers: usize = 1000, Number::<usize>::plain(0, 1_000_000);
        /// Threads that run the node.
        worker_threads: Option<usize> = None,
            Maybe { word: "auto", means: "one for each core", kind: Number::<usize>::plain(1, 1024) };
    }

    /// Whom the node trusts.
    trust: Trust {
        /// Which peers may have a session: every node of the network, the listed ones, or those with a certificate.
        policy: TrustPolicy = TrustPolicy::Open,
            Choice(&[
                ("open", TrustPolicy::Open), ("pinned", TrustPolicy::Pinned), ("certified", TrustPolicy::Certified),
            ]);
        /// Ids that policy `pinned` admits beside those in `peers`: nodes that connect to this one.
        admit: Vec<NodeId> = Vec::new(), List(Text::<NodeId>::new("a node id, as `hyphal id` prints it"));
        /// Ids of the authorities whose certificates policy `certified` takes, at most 8.
        authorities: Vec<NodeId> = Vec::new(), List(Text::<NodeId>::new("the id of an authority, as `hyphal ca list` prints it"));
        /// File of this node's own certificate, as `hyphal ca issue` writes it; shown to every peer. Relative paths as for
        /// `key`.
        certificate: Option<PathBuf> = None, Maybe { word: "none", means: "the node shows none", kind: FilePath };
        /// Directory in which the node keeps the newest revocation list of each authority, as `ID.revocations`. Relative
        /// paths as for `key`.
        revocations: Option<PathBuf> = None,
            Maybe { word: "none", means: "lists are forgotten when the node ends", kind: FilePath };
        /// Roles that policy `certified` asks of a certificate, all of them.
        roles: Vec<Roles> = Vec::new(), List(Role);
        /// What it means under policy `certified` that a newer revocation list is due, or there is none: a warning, or that
        /// no new session of the authority's nodes is admitted.
        stale_list: Stale = Stale::Warn, Choice(&[("warn", Stale::Warn), ("strict", Stale::Strict)]);
        /// How far this machine's clock can be trusted: kept right by NTP or the like, running free, or absent.
        clock: TimeQuality = TimeQuality::Synced, Choice(&[
            ("synced", TimeQuality::Synced),
            ("unsynced", TimeQuality::Unsynced),
            ("none", TimeQuality::None),
        ]);
        /// How far the clocks of two nodes may lie apart. Only two synchronised clocks are compared.
        max_clock_skew: Duration = Duration::from_secs(60), Span::between("100ms", "1day");
    }

    /// Bounds on what peers can make the node hold.
    limits: Limits {
        /// Longest payload of a message that the node takes; what it sends, its peers limit likewise.
        max_message: u32 = 16 * 1024 * 1024, Number::<u32>::bytes(KIB, GIB);
        /// Bytes that large messages of all peers may hold while they arrive; at least `limits.max_message`, and from twice that on no
        /// subscription that does not read keeps out what is for others. Reserved by their announced length, taken as they come.
        assembly_bytes: usize = 64 * 1024 * 1024, Number::<usize>::bytes(KIB, 64 * GIB);
        /// Peers that the node remembers, connected or not.
        max_peers: usize = 16_384, Number::<usize>::plain(1, 1_000_000);
        /// Accepted connections in all. Those that the node dials do not count.
        max_connections: usize = 4096, Number::<usize>::plain(1, 1_000_000);
        /// Accepted connections from one IPv4 address or one IPv6 /64.
        max_connections_per_address: usize = 128, Number::<usize>::plain(1, 1_000_000);
        /// Accepted connections whose handshake is not finished. One IPv4 address or IPv6 /64 takes a quarter of them at most.
        max_handshakes: usize = 256, Number::<usize>::plain(1, 100_000);
        /// Messages that wait to be sent to one peer; those under way do not count, up to three times as many.
        outbox_messages: usize = 8192, Number::<usize>::plain(1, 16_777_216);
        /// Payload bytes that wait to be sent to one peer; at least `limits.max_message`.
        outbox_bytes: usize = 32 * 1024 * 1024, Number::<usize>::bytes(KIB, 4 * GIB - 1);
        /// Bytes of messages of one peer that the node holds until the application is done with them. A peer that has sent as
        /// much waits; everything else of its session goes on. A peer far away needs as much as is under way in one round trip.
        window: u32 = 1024 * 1024, Number::<u32>::bytes(64 * KIB, GIB);
        /// Received batches that wait for the application; when they are full the peer is slowed down.
        inbox_batches: usize = 256, Number::<usize>::plain(1, 65_536);
    }

    /// Where Guaranteed messages wait until they are acknowledged, and what has come in of others' is remembered.
    store: Store {
        /// Directory of the store, made if it is missing; of this node alone. Without one, Guaranteed messages are neither
        /// sent nor taken. It belongs on a local disk. Do not put an old copy of it back: its numbers would come twice, and peers take
        /// what they have seen for repetitions. Relative paths as for `key`.
        directory: Option<PathBuf> = None, Maybe { word: "off", means: "no Guaranteed messages", kind: FilePath };
        /// Bytes of messages that may wait in the store, each counted with 512 bytes more; at least `limits.max_message`. The file may
        /// take twice as much.
        bytes: u64 = 256 * MIB, Number::<u64>::bytes(64 * KIB, 1024 * GIB);
        /// Lanes of others (a peer and a class each) whose arrivals the node remembers; beyond them it forgets the least
        /// recently used one, whose sender then hears `unknown` of what is in doubt.
        receive_lanes: usize = 16_384, Number::<usize>::plain(1, 1_000_000);
    }

    /// Which messages travel compressed: none, unless a type is named here.
    compression: Compression {
        /// Message types that the node compresses for peers that take it, where that makes them shorter; the first that
        /// names a type counts. Not for types in whose messages a stranger can choose a part beside a secret.
        send: Vec<Rule> = Vec::new(),
            List(Text::<Rule>::new("TYPE=METHOD or FIRST-LAST=METHOD, as 0x1000-0x10ff=auto; METHOD is lz4, zstd or auto (what the profile of the pair says); the families configuration and security are never compressed"));
        /// Methods of compression that the node takes from its peers.
        accept: Vec<Method> = Method::ALL.to_vec(),
            List(Choice(&[("lz4", Method::Lz4), ("zstd", Method::Zstd)]));
    }

    /// How long the node waits.
    timeouts: Timeouts {
        /// For the TCP connection to a peer, name resolution included.
        connect: Duration = Duration::from_secs(5), Span::between("10ms", "5min");
        /// For the whole handshake, from the connection to the peer's acceptance.
        handshake: Duration = Duration::from_secs(5), Span::between("10ms", "5min");
        /// For a peer that takes no bytes, before its session is closed; and for an unfinished large message that stands
        /// still while others wait for its memory, before it is dropped.
        write_stall: Duration = Duration::from_secs(10), Span::between("100ms", "5min");
        /// For somebody to receive a Guaranteed message that nobody receives yet, before its sender is told that nobody does. What
        /// waits takes at most as much memory as the inbox, and of one peer a quarter of that; what is more is refused at once.
        unclaimed: Duration = Duration::from_secs(10), Span::between("0s", "1h");
        /// Between two signs of life on an idle link; sent in steps of 10 ms. Peers notice silence by it.
        heartbeat: Duration = Duration::from_secs(1), Span::between("10ms", "10min");
        /// For queued messages to leave when the node shuts down.
        drain: Duration = Duration::from_secs(5), Span::between("0s", "1h");
    }

    /// The TCP sockets.
    tcp: Tcp {
        /// Send small segments at once (TCP_NODELAY).
        nodelay: bool = true, Switch;
        /// Idle time before the system probes a silent connection (SO_KEEPALIVE).
        keepalive: Option<Duration> = Some(Duration::from_secs(30)),
            Maybe { word: "off", means: "no probes", kind: Span::between("1s", "2h") };
        /// Listen although connections of an earlier run linger (SO_REUSEADDR).
        reuse_address: bool = true, Switch;
        /// Let several processes listen on one port (SO_REUSEPORT). Unix only.
        reuse_port: bool = false, Switch;
        /// The socket's send buffer (SO_SNDBUF).
        send_buffer: Option<u32> = None,
            Maybe { word: "system", means: "what the system sets", kind: Number::<u32>::bytes(4 * KIB, GIB) };
        /// The socket's receive buffer (SO_RCVBUF).
        receive_buffer: Option<u32> = None,
            Maybe { word: "system", means: "what the system sets", kind: Number::<u32>::bytes(4 * KIB, GIB) };
        /// What the system keeps of a connection that it has not sent yet, and that an urgent message cannot overtake
        /// (TCP_NOTSENT_LOWAT). Linux only.
        unsent: Option<u32> = Some(16 * 1024),
            Maybe { word: "system", means: "what fits the send buffer", kind: Number::<u32>::bytes(4 * KIB, GIB) };
        /// Connections that the system holds ready before the node accepts them.
        backlog: u32 = 1024, Number::<u32>::plain(1, 65_535);
    }

    /// What is logged to standard error.
    log: Log {
        /// The least level that is logged, and exceptions by module: `info,hyphal::link=debug`.
        filter: String = "info".to_owned(), Filter;
        /// How lines are written.
        format: LogFormat = LogFormat::Text, Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }
}

#[cfg(test)]
mod tests;
