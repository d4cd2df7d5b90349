//! Every reason why something was refused, dropped or closed: one registry for logs, counters and the wire.
//!
//! A reason is noise from the network, never misuse of this crate. Codes are stable: they are never renumbered or reused.

use core::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// Why something was refused, dropped or closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Reason {
            /// Every reason, in order of code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason with this code, if this version knows it.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }

            /// The name as it stands in logs and counters.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    /// A decoder met bytes that no version of the protocol writes.
    Malformed = 0x0101, "the bytes do not follow the protocol";
    /// A length field exceeds the limit that applies there.
    TooLong = 0x0102, "the length exceeds the limit";
    /// A frame's CRC-32 does not match its bytes.
    Checksum = 0x0103, "the checksum does not match";
    /// A frame is compressed where none may be, or with an unknown method.
    Compression = 0x0104, "compressed where no compression is allowed";
    /// A frame of another kind or attempt than the state awaits.
    UnexpectedFrame = 0x0105, "a frame of another kind than awaited";
    /// A Noise message or record does not verify under its key.
    Forged = 0x0106, "the authentication tag does not verify";
    /// A hello carries a critical extension that this node does not know.
    UnknownCritical = 0x0107, "a critical extension is unknown here";

    /// The ends share no protocol version.
    Version = 0x0201, "no protocol version in common";
    /// The peer belongs to another network.
    Network = 0x0202, "the peer belongs to another network";
    /// Two synchronised clocks are too far apart.
    ClockSkew = 0x0203, "the clocks of both ends are too far apart";
    /// The peer has this node's own id: a connection to itself, or a copied key.
    OwnId = 0x0204, "the peer has this node's own id";
    /// The trust policy does not admit the peer.
    Untrusted = 0x0205, "the trust policy does not admit the peer";
    /// A limit on peers or sessions is reached.
    Limit = 0x0206, "a limit on peers or connections is reached";
    /// Another id answered than the one that was dialled.
    UnexpectedId = 0x0207, "another node answered than the one that was dialled";
    /// The node is too busy for a handshake; try later.
    Busy = 0x0208, "the node is too busy";
    /// The peer's static key is not canonical, not on the curve or of low order.
    BadKey = 0x0209, "the peer's key is not a valid one";
    /// The handshake did not finish in time.
    HandshakeTimeout = 0x020A, "the handshake did not finish in time";
    /// The hint of a reconnect is unknown, or was used: a full handshake follows on the same link.
    UnknownHint = 0x020B, "the reconnect hint is unknown; a full handshake follows";
    /// The trust policy asks for a certificate, and there is none.
    NoCertificate = 0x020C, "a certificate is required, and there is none";
    /// A certificate does not decode, is of another node or network, or its signature does not verify.
    BadCertificate = 0x020D, "the certificate does not verify for this node";
    /// A certificate's time has passed.
    CertificateExpired = 0x020E, "the certificate has expired";
    /// A certificate's time has not come, or a clock is wrong.
    CertificateNotYetValid = 0x020F, "the certificate is not valid yet";
    /// The authority has revoked the certificate.
    Revoked = 0x0210, "the certificate was revoked";
    /// The certificate is for another type of node, or lacks a role that is asked for.
    WrongRole = 0x0211, "the certificate lacks a required role or is for another node type";
    /// The authority's revocation list is too old or missing, and the policy is strict.
    StaleList = 0x0212, "the revocation list is too old";
    /// The peer's key is a delegated one, and the delegation is not signed by the node that it names, or is for another key.
    BadDelegation = 0x0213, "the delegation of the peer's key is not genuine";
    /// The delegation of a key has ended, or has not begun, or there is no clock to tell.
    DelegationExpired = 0x0214, "the delegation of the key is not valid at this time, or no clock can tell";

    /// The node shuts down in good order.
    Shutdown = 0x0301, "the node shuts down";
    /// Nothing was received from the peer for too long.
    Silent = 0x0302, "nothing was heard from the peer for too long";
    /// Another session with the same peer took this one's place.
    Replaced = 0x0303, "another session with the same peer took its place";
    /// The peer broke a rule of the session, as acknowledging what was never sent.
    Violation = 0x0304, "the peer broke a rule of the session";
    /// The peer was removed from this node's list.
    PeerRemoved = 0x0305, "the peer was removed";
    /// The peer took no bytes for too long.
    Stalled = 0x0306, "the peer took no bytes for too long";
    /// The link under the session ended without a close.
    LinkLost = 0x0307, "the connection ended without a close";
    /// The session reached the end of its keys' life.
    Worn = 0x0308, "the session's keys reached the end of their life";
    /// The address did not answer or refused the connection.
    Unreachable = 0x0309, "the address cannot be reached";
    /// The peer gave a reason that this version does not know.
    Unspecified = 0x030A, "the peer gave a reason that is unknown here";

    /// A message's ttl had passed.
    Expired = 0x0401, "the message's time to live had passed";
    /// A message had been received before.
    Duplicate = 0x0402, "the message had been received before";
    /// A message is addressed to another node.
    NotForMe = 0x0403, "the message is addressed to another node";
    /// The message type is unassigned, or refused by configuration.
    UnknownType = 0x0404, "the message type is unknown";
    /// The message gave way to a more urgent one in a full queue.
    Shed = 0x0406, "a full queue dropped it for a more urgent message";
    /// The peer was removed while the message was queued.
    PeerGone = 0x0407, "the peer was removed while the message waited";
    /// The message is longer than the peer takes.
    PeerLimit = 0x0408, "the message is longer than the peer takes";
    /// Nobody on this node takes messages.
    NoReceiver = 0x0409, "nobody receives messages on this node";
    /// The sender gave the message up before all of it was sent.
    Cancelled = 0x040A, "its sender gave the message up";
    /// A received payload does not decompress to the length that it named, or a queued one is compressed as the peer does
    /// not take it.
    BadCompression = 0x040B, "the receiver cannot decompress the message";
    /// There is no memory for a large message beside those that arrive.
    NoRoom = 0x040C, "no memory is left for a large message";
    /// A sealed payload does not open: it is for someone else, of another envelope, or not what its source sealed.
    BadSeal = 0x040D, "the sealed payload does not open";
    /// A signature is not that of the envelope's source over this envelope in this network.
    BadSignature = 0x040E, "the signature does not verify";
    /// An envelope's source is not the peer that sent it.
    ForeignSource = 0x040F, "the envelope comes from another node than the peer";
    /// An envelope does not decode, or does not agree with the message that carried it.
    BadEnvelope = 0x0410, "the envelope does not agree with its message";
    /// A Guaranteed message is for a node that keeps none, or came to one.
    NotKept = 0x0411, "the receiver keeps no Guaranteed messages";
    /// One end of a lane has forgotten what the other says of it.
    LaneUnknown = 0x0412, "the other end no longer knows the lane of the message";
    /// The store of Guaranteed messages cannot be written or read.
    StoreFailed = 0x0413, "the store of Guaranteed messages failed";
}

impl Reason {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_stand_in_order_of_their_codes() {
        assert!(Reason::ALL.is_sorted_by(|one, next| one.code() < next.code() && one < next));
    }
}
