//! Where a node listens and whom it dials: endpoints, and peers as `ID@ENDPOINT`.
//!
//! A value of this module is well formed; whether the host, the device or the name exists is only known when it is used.
//! DNS names are kept as names and resolved at every dial, so a peer may move.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use hyphal_core::ids::NodeId;

/// One end of a link as a person writes it, for listening and for dialling alike.
///
/// ```text
/// 192.0.2.7:4857   tcp://relay.example.org:4857   udp://[2001:db8::7]:4857
/// serial:///dev/ttyUSB0?baud=115200               memory://name
/// ```
/// Without a scheme it is TCP. [`Display`](fmt::Display) writes what [`FromStr`] reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP port.
    Tcp(HostPort),
    /// A UDP port.
    Udp(HostPort),
    /// A serial line.
    Serial {
        /// The device, as `/dev/ttyUSB0`.
        path: PathBuf,
        /// Bits a second, the same at both ends.
        baud: u32,
    },
    /// A name within this process: both nodes live in it.
    Memory(String),
}

impl Endpoint {
    /// Bits a second of a serial line that names none.
    pub const DEFAULT_BAUD: u32 = 115_200;

    /// The socket address, if the endpoint is one: a TCP or UDP port of an IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(HostPort { host: Host::Ip(ip), port })
            | Self::Udp(HostPort { host: Host::Ip(ip), port }) => Some(SocketAddr::new(*ip, *port)),
            _ => None,
        }
    }

    /// The endpoint, if it can be dialled: port 0 means a free port and only makes sense for listening.
    pub(crate) fn dialable(self) -> Result<Self, BadEndpoint> {
        match &self {
            Self::Tcp(HostPort { port: 0, .. }) | Self::Udp(HostPort { port: 0, .. }) => {
                Err(BadEndpoint::Port("0".to_owned()))
            }
            _ => Ok(self),
        }
    }

    /// Whether there are links of this kind on this system.
    pub(crate) fn is_supported(&self) -> bool {
        cfg!(unix) || !matches!(self, Self::Serial { .. })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => place.fmt(f),
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Serial { path, baud } => write!(f, "serial://{}?baud={baud}", path.display()),
            Self::Memory(name) => write!(f, "memory://{name}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let place = text.parse().map(Self::Tcp);
            // A host may be named as a transport is, so only what is no place was meant to have slashes.
            return place.map_err(|error| match text.split_once(':') {
                Some((scheme, _)) if SCHEMES.contains(&scheme) => BadEndpoint::Slashes(scheme.to_owned()),
                _ => error,
            });
        };
        match scheme {
            "tcp" => rest.parse().map(Self::Tcp),
            "udp" => rest.parse().map(Self::Udp),
            "serial" => parse_serial(rest),
            "memory" if is_memory_name(rest) => Ok(Self::Memory(rest.to_owned())),
            "memory" => Err(BadEndpoint::Name(rest.to_owned())),
            _ => Err(BadEndpoint::Scheme(scheme.to_owned())),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    /// The TCP port at this address.
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.into())
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = BadEndpoint;

    fn try_from(text: &str) -> Result<Self, BadEndpoint> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = BadEndpoint;

    fn try_from(text: String) -> Result<Self, BadEndpoint> {
        text.parse()
    }
}

/// A port of a machine: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The machine.
    pub host: Host,
    /// The port; 0 listens on a free one and cannot be dialled.
    pub port: u16,
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl FromStr for HostPort {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        if let Some(rest) = text.strip_prefix('[') {
            let brackets = || BadEndpoint::Brackets(text.to_owned());
            let (inside, port) = rest.split_once(']').ok_or_else(brackets)?;
            let ip: Ipv6Addr = inside.parse().map_err(|_| brackets())?;
            let port = port.strip_prefix(':').ok_or(BadEndpoint::NoPort)?;
            return Ok(Self { host: Host::Ip(ip.into()), port: parse_port(port)? });
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(BadEndpoint::BareV6);
        }
        let (host, port) = text.rsplit_once(':').ok_or(BadEndpoint::NoPort)?;
        if host.contains(':') {
            return Err(BadEndpoint::BareV6);
        }
        Ok(Self { host: parse_host(host)?, port: parse_port(port)? })
    }
}

/// The machine part of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address that needs no resolver.
    Ip(IpAddr),
    /// A DNS name, resolved at every dial.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A peer as a person writes it: the id that must answer, and where it listens.
///
/// ```text
/// ID@192.0.2.7:4857    ID@udp://[2001:db8::7]:4857    ID@serial:///dev/ttyUSB0
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr {
    /// Who must answer; another id behind the endpoint is refused.
    pub id: NodeId,
    /// Where it listens; its port is not 0.
    pub endpoint: Endpoint,
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.endpoint)
    }
}

impl FromStr for PeerAddr {
    type Err = BadPeerAddr;

    fn from_str(text: &str) -> Result<Self, BadPeerAddr> {
        let (id, endpoint) = text.split_once('@').ok_or(BadPeerAddr::NoId)?;
        let id = id.parse().map_err(BadPeerAddr::Id)?;
        let endpoint = endpoint.parse().and_then(Endpoint::dialable).map_err(BadPeerAddr::Endpoint)?;
        Ok(Self { id, endpoint })
    }
}

/// What is wrong with the text of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadEndpoint {
    /// What stands before `://` is no transport.
    Scheme(String),
    /// The name of a transport is followed by `:` and not by `://`.
    Slashes(String),
    /// There is no `:PORT` at the end.
    NoPort,
    /// What stands after the last colon is not a port, or is 0 where a port must be dialled.
    Port(String),
    /// A bracket is not closed, or holds no IPv6 address.
    Brackets(String),
    /// An IPv6 address stands without brackets, so the port cannot be told apart.
    BareV6,
    /// The host is neither an IP address nor a DNS name.
    Host(String),
    /// A serial line has no absolute path to its device.
    Device(String),
    /// What stands after `?` is not `baud=NUMBER`.
    Option(String),
    /// A name in memory is empty, too long, or has other characters.
    Name(String),
}

impl std::error::Error for BadEndpoint {}

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(text) => {
                write!(f, "'{text}' before '://' is no transport; there are tcp, udp, serial and memory")
            }
            Self::Slashes(scheme) => {
                write!(f, "after '{scheme}:' there are not two slashes; write {scheme}://…")
            }
            Self::NoPort => f.write_str("there is no port; write HOST:PORT"),
            Self::Port(text) => write!(f, "'{text}' is not a port (1 to 65535)"),
            Self::Brackets(text) => {
                write!(f, "'{text}' is not an IPv6 address in brackets, as [2001:db8::7]")
            }
            Self::BareV6 => f.write_str("an IPv6 address stands in brackets, as [2001:db8::7]:4857"),
            Self::Host(text) => write!(f, "'{text}' is neither an IP address nor a DNS name"),
            Self::Device(text) => {
                write!(f, "'{text}' is not the full path of a device; write serial:///dev/ttyUSB0")
            }
            Self::Option(text) => {
                write!(f, "'{text}' after '?' is no setting of a serial line; write ?baud=115200")
            }
            Self::Name(text) => write!(
                f,
                "'{text}' is not a name in memory: 1 to {LONGEST_NAME} letters, digits, '-', '_' or '.'"
            ),
        }
    }
}

impl From<Infallible> for BadEndpoint {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What is wrong with the text of a peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPeerAddr {
    /// There is no `@`.
    NoId,
    /// The part before `@` is not a node id.
    Id(<NodeId as FromStr>::Err),
    /// The part after `@` is not an endpoint.
    Endpoint(BadEndpoint),
}

impl std::error::Error for BadPeerAddr {}

impl fmt::Display for BadPeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoId => f.write_str("there is no '@' (a peer is written ID@HOST:PORT)"),
            Self::Id(error) => write!(f, "the id before '@' is wrong: {error}"),
            Self::Endpoint(error) => write!(f, "after '@', {error}"),
        }
    }
}

const SCHEMES: [&str; 4] = ["tcp", "udp", "serial", "memory"];

fn parse_port(text: &str) -> Result<u16, BadEndpoint> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_plain => Ok(port),
        _ => Err(BadEndpoint::Port(text.to_owned())),
    }
}

fn parse_host(text: &str) -> Result<Host, BadEndpoint> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if is_dns_name(text) { Ok(Host::Name(text.to_owned())) } else { Err(BadEndpoint::Host(text.to_owned())) }
}

/// RFC 1123 with underscores, which container networks use. A last label of digits only is a mistyped IPv4 address.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ends_in_digits =
        name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && !ends_in_digits
}

fn parse_serial(text: &str) -> Result<Endpoint, BadEndpoint> {
    let (path, option) = match text.split_once('?') {
        Some((path, option)) => (path, Some(option)),
        None => (text, None),
    };
    if !path.starts_with('/') || path.len() < 2 || path.contains('\0') {
        return Err(BadEndpoint::Device(path.to_owned()));
    }
    let baud = match option {
        None => Endpoint::DEFAULT_BAUD,
        Some(option) => option
            .strip_prefix("baud=")
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|number| number.parse().ok())
            .filter(|baud| *baud > 0)
            .ok_or_else(|| BadEndpoint::Option(option.to_owned()))?,
    };
    Ok(Endpoint::Serial { path: path.into(), baud })
}

fn is_memory_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_letter)
}

const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use hyphal_core::identity::Identity;

    use super::*;

    #[test]
    fn every_form_of_endpoint_reads_back_as_it_was_written() {
        for endpoint in [
            "192.0.2.7:4857",
            "[2001:db8::7]:1",
            "localhost:65535",
            "a-b.example.org.:4857",
            "my_node:1",
            "udp://192.0.2.7:4857",
            "udp://[::1]:4857",
            "serial:///dev/ttyUSB0?baud=9600",
            "memory://a-b_c.1",
        ] {
            let text = format!("{}@{endpoint}", id());

            let peer: PeerAddr = text.parse().unwrap();

            assert_eq!(peer.to_string(), text);
            assert_eq!(peer.endpoint.to_string(), endpoint);
            assert_eq!(peer.id, id());
        }
    }

    #[test]
    fn what_may_be_left_out_has_a_default() {
        let tcp: Endpoint = "tcp://192.0.2.7:4857".parse().unwrap();
        let serial: Endpoint = "serial:///dev/ttyACM0".parse().unwrap();

        assert_eq!(tcp, "192.0.2.7:4857".parse().unwrap());
        assert_eq!(tcp.socket_addr(), "192.0.2.7:4857".parse().ok());
        assert_eq!(serial, Endpoint::Serial { path: "/dev/ttyACM0".into(), baud: 115_200 });
    }

    #[test]
    fn port_0_is_for_listening_only() {
        let endpoint: Endpoint = "udp://127.0.0.1:0".parse().unwrap();

        assert_eq!(endpoint.dialable(), Err(BadEndpoint::Port("0".to_owned())));
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            ("host:4857", "no '@'"),
            ("nonsense@host:4857", "the id before '@' is wrong"),
            ("ID@host", "no port"),
            ("ID@host:", "'' is not a port"),
            ("ID@host:0", "'0' is not a port"),
            ("ID@host:+1", "'+1' is not a port"),
            ("ID@host:70000", "'70000' is not a port"),
            ("ID@[::1:4857", "is not an IPv6 address in brackets"),
            ("ID@[1.2.3.4]:4857", "is not an IPv6 address in brackets"),
            ("ID@[::1]", "no port"),
            ("ID@udp:127.0.0.1:4857", "write udp://"),
            ("ID@udp:/x", "write udp://"),
            ("ID@serial:/dev/ttyUSB0", "write serial://"),
            ("ID@memory:a", "write memory://"),
            ("ID@::1", "stands in brackets"),
            ("ID@2001:db8::7:4857", "stands in brackets"),
            ("ID@:4857", "'' is neither"),
            ("ID@300.1.1.1:4857", "'300.1.1.1' is neither"),
            ("ID@-a.org:4857", "'-a.org' is neither"),
            ("ID@a b:4857", "'a b' is neither"),
            ("ID@quic://host:4857", "'quic' before '://' is no transport"),
            ("ID@tcp://host", "no port"),
            ("ID@udp://host:0", "'0' is not a port"),
            ("ID@serial://ttyUSB0", "'ttyUSB0' is not the full path"),
            ("ID@serial:///", "'/' is not the full path"),
            ("ID@serial:///dev/ttyUSB0?baud=fast", "'baud=fast' after '?'"),
            ("ID@serial:///dev/ttyUSB0?baud=0", "'baud=0' after '?'"),
            ("ID@serial:///dev/ttyUSB0?parity=even", "'parity=even' after '?'"),
            ("ID@memory://", "'' is not a name"),
            ("ID@memory://a/b", "'a/b' is not a name"),
        ];
        for (text, expected) in cases {
            let text = text.replace("ID", &id().to_string());

            let error = text.parse::<PeerAddr>().unwrap_err().to_string();

            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    fn id() -> NodeId {
        (0..=255).find_map(|byte| Identity::from_seed(&[byte; 32]).ok()).unwrap().id()
    }
}
