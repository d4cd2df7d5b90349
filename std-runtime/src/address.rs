//! Where a peer is and who must answer there: `ID@HOST:PORT`.
//!
//! A value of this module is well formed; whether the host exists is only known when it is dialled. Names are kept as
//! names and resolved at every dial, so a peer may move.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyphal_core::ids::NodeId;

/// A peer as a person writes it: the id that must answer, and the address where it listens.
///
/// ```text
/// ID@192.0.2.7:4857    ID@[2001:db8::7]:4857    ID@relay.example.org:4857
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr {
    /// Who must answer; another id behind the address is refused.
    pub id: NodeId,
    /// The machine.
    pub host: Host,
    /// The TCP port, not 0.
    pub port: u16,
}

impl PeerAddr {
    /// `HOST:PORT` without the id, as the resolver and `connect` take it.
    pub fn endpoint(&self) -> String {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.endpoint())
    }
}

impl FromStr for PeerAddr {
    type Err = BadPeerAddr;

    fn from_str(text: &str) -> Result<Self, BadPeerAddr> {
        let (id, endpoint) = text.split_once('@').ok_or(BadPeerAddr::NoId)?;
        let id = id.parse().map_err(BadPeerAddr::Id)?;
        let (host, port) = split_endpoint(endpoint)?;
        Ok(Self { id, host, port })
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

/// What is wrong with the text of a peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPeerAddr {
    /// There is no `@`.
    NoId,
    /// The part before `@` is not a node id.
    Id(<NodeId as FromStr>::Err),
    /// There is no `:PORT` at the end.
    NoPort,
    /// What stands after the last colon is not a port.
    Port(String),
    /// A bracket is not closed, or holds no IPv6 address.
    Brackets(String),
    /// An IPv6 address stands without brackets, so the port cannot be told apart.
    BareV6,
    /// The host is neither an IP address nor a DNS name.
    Host(String),
}

impl std::error::Error for BadPeerAddr {}

impl fmt::Display for BadPeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoId => f.write_str("there is no '@' (a peer is written ID@HOST:PORT)"),
            Self::Id(error) => write!(f, "the id before '@' is wrong: {error}"),
            Self::NoPort => f.write_str("there is no port (a peer is written ID@HOST:PORT)"),
            Self::Port(text) => write!(f, "'{text}' is not a port (1 to 65535)"),
            Self::Brackets(text) => {
                write!(f, "'{text}' is not an IPv6 address in brackets, as [2001:db8::7]")
            }
            Self::BareV6 => f.write_str("an IPv6 address stands in brackets, as [2001:db8::7]:4857"),
            Self::Host(text) => write!(f, "'{text}' is neither an IP address nor a DNS name"),
        }
    }
}

fn split_endpoint(endpoint: &str) -> Result<(Host, u16), BadPeerAddr> {
    if let Some(rest) = endpoint.strip_prefix('[') {
        let brackets = || BadPeerAddr::Brackets(endpoint.to_owned());
        let (inside, port) = rest.split_once(']').ok_or_else(brackets)?;
        let ip: Ipv6Addr = inside.parse().map_err(|_| brackets())?;
        let port = port.strip_prefix(':').ok_or(BadPeerAddr::NoPort)?;
        return Ok((Host::Ip(ip.into()), parse_port(port)?));
    }
    if endpoint.parse::<Ipv6Addr>().is_ok() {
        return Err(BadPeerAddr::BareV6);
    }
    let (host, port) = endpoint.rsplit_once(':').ok_or(BadPeerAddr::NoPort)?;
    if host.contains(':') {
        return Err(BadPeerAddr::BareV6);
    }
    Ok((parse_host(host)?, parse_port(port)?))
}

fn parse_port(text: &str) -> Result<u16, BadPeerAddr> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_plain && port != 0 => Ok(port),
        _ => Err(BadPeerAddr::Port(text.to_owned())),
    }
}

fn parse_host(text: &str) -> Result<Host, BadPeerAddr> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if is_dns_name(text) { Ok(Host::Name(text.to_owned())) } else { Err(BadPeerAddr::Host(text.to_owned())) }
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

#[cfg(test)]
mod tests {
    use hyphal_core::identity::Identity;

    use super::*;

    #[test]
    fn every_form_of_address_reads_back_as_it_was_written() {
        for endpoint in
            ["192.0.2.7:4857", "[2001:db8::7]:1", "localhost:65535", "a-b.example.org.:4857", "my_node:1"]
        {
            let text = format!("{}@{endpoint}", id());

            let peer: PeerAddr = text.parse().unwrap();

            assert_eq!(peer.to_string(), text);
            assert_eq!(peer.endpoint(), endpoint);
            assert_eq!(peer.id, id());
        }
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
            ("ID@::1", "stands in brackets"),
            ("ID@2001:db8::7:4857", "stands in brackets"),
            ("ID@:4857", "'' is neither"),
            ("ID@300.1.1.1:4857", "'300.1.1.1' is neither"),
            ("ID@-a.org:4857", "'-a.org' is neither"),
            ("ID@a b:4857", "'a b' is neither"),
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
