//! The recovery table: what happens next, for every reason why something was refused, dropped or closed.
//!
//! One function decides and one document shows it (`docs/recovery.md`, written by [`Document`] and held equal by a
//! test). It is not where the waiting happens: `node` turns a [`Recovery`] into dials. Invariant: the match has no
//! catch-all, so a new reason does not compile before someone has decided what follows from it.

use crate::wire::reason::Reason;
use core::fmt;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// The peer failed: dial again after the backoff.
    Reconnect,
    /// The session ended in good order: dial again after the backoff, and count no failure.
    RetrySoon,
    /// Dialling again soon cannot help, as the ends disagree: dial again after the long wait.
    RetryLater,
    /// Only a changed configuration can help: do not dial before.
    GiveUp,
    /// The link is out of step or under attack: close this session, then as `Reconnect`.
    CloseSession,
    /// Drop this message and count it; the session goes on.
    DropMessage,
    /// Send less or slower; the least urgent messages were dropped.
    SlowDown,
    /// Nothing is wrong: count it and go on.
    Ignore,
}

/// What happens next after `reason`: the one recovery table.
pub const fn recover_from_error(reason: Reason) -> Recovery {
    match reason {
        Reason::Malformed
        | Reason::TooLong
        | Reason::Checksum
        | Reason::Compression
        | Reason::UnexpectedFrame
        | Reason::Forged
        | Reason::Violation => Recovery::CloseSession,

        // A limit passes when others leave, and its cleartext hint can be forged: neither is worth minutes.
        Reason::Busy
        | Reason::HandshakeTimeout
        | Reason::Limit
        | Reason::Silent
        | Reason::Stalled
        | Reason::LinkLost
        | Reason::Unspecified
        | Reason::Unreachable => Recovery::Reconnect,

        // The handshake goes on without the hint; a peer that ends a session for it has nothing against this node.
        Reason::Shutdown | Reason::Worn | Reason::UnknownHint => Recovery::RetrySoon,

        // A peer that answers with another id or a bad key may be an interceptor who goes away again, and a refusal may
        // end with the other end's configuration: so none of these is given up for good.
        Reason::UnknownCritical
        | Reason::Version
        | Reason::Network
        | Reason::ClockSkew
        | Reason::Untrusted
        | Reason::UnexpectedId
        | Reason::BadKey
        | Reason::NoCertificate
        | Reason::BadCertificate
        | Reason::CertificateExpired
        | Reason::CertificateNotYetValid
        | Reason::Revoked
        | Reason::WrongRole
        | Reason::StaleList
        | Reason::BadDelegation
        | Reason::DelegationExpired
        | Reason::PeerRemoved => Recovery::RetryLater,

        Reason::OwnId => Recovery::GiveUp,

        Reason::Expired
        | Reason::NotForMe
        | Reason::UnknownType
        | Reason::PeerGone
        | Reason::PeerLimit
        | Reason::NoReceiver
        | Reason::Cancelled
        | Reason::BadCompression
        | Reason::NoRoom
        | Reason::BadSeal
        | Reason::BadSignature
        | Reason::ForeignSource
        | Reason::BadEnvelope
        | Reason::NotKept
        | Reason::LaneUnknown
        | Reason::StoreFailed => Recovery::DropMessage,

        Reason::Shed => Recovery::SlowDown,

        Reason::Duplicate | Reason::Replaced => Recovery::Ignore,
    }
}

impl Recovery {
    /// Every recovery, in the order of the document.
    pub const ALL: [Self; 8] = [
        Self::Reconnect,
        Self::RetrySoon,
        Self::RetryLater,
        Self::GiveUp,
        Self::CloseSession,
        Self::DropMessage,
        Self::SlowDown,
        Self::Ignore,
    ];

    /// The name as it stands in logs and in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconnect => "Reconnect",
            Self::RetrySoon => "RetrySoon",
            Self::RetryLater => "RetryLater",
            Self::GiveUp => "GiveUp",
            Self::CloseSession => "CloseSession",
            Self::DropMessage => "DropMessage",
            Self::SlowDown => "SlowDown",
            Self::Ignore => "Ignore",
        }
    }

    /// Whether the end of a session with this recovery speaks against the peer; a dial that failed always does.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Reconnect | Self::RetryLater | Self::GiveUp | Self::CloseSession => true,
            Self::RetrySoon | Self::DropMessage | Self::SlowDown | Self::Ignore => false,
        }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconnect => {
                "count a failure and dial again after the backoff (100 ms to 30 s, growing, with jitter)"
            }
            Self::RetrySoon => {
                "the session ended in good order: count no failure and dial again after the backoff"
            }
            Self::RetryLater => {
                "count a failure and dial again after the long wait (5 minutes, and up to a quarter more)"
            }
            Self::GiveUp => "do not dial this peer before its configuration changes",
            Self::CloseSession => "close the session with this reason, then as Reconnect",
            Self::DropMessage => "drop the message and count it; the session goes on",
            Self::SlowDown => "send less or slower: a full queue dropped the least urgent message",
            Self::Ignore => {
                "count it and go on, nothing is wrong; where a session ended so, dial again after the backoff"
            }
        })
    }
}

/// The recovery table as a Markdown document, for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document;

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OPENING)?;
        for recovery in Recovery::ALL {
            writeln!(f, "- **{}**: {recovery}.", recovery.name())?;
        }
        f.write_str(HEADING)?;
        for reason in Reason::ALL {
            let recovery = recover_from_error(*reason).name();
            writeln!(f, "| `0x{:04X}` | {} | {reason} | **{recovery}** |", reason.code(), reason.name())?;
        }
        Ok(())
    }
}

const OPENING: &str = "\
# Recovery: what happens after an error

Everything that Hyphal refuses, drops or closes has a reason, and each reason has exactly one consequence. The function
`recover_from_error` answers it; this page is written by the code and checked by its tests.

A node dials only peers that it was told to dial. An open circuit breaker holds a due dial back until its cooldown is
over. The waits are defaults and configurable.

";

const HEADING: &str = "
| code | reason | what happened | what happens next |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_recovery_is_the_answer_to_some_reason() {
        for recovery in Recovery::ALL {
            assert!(
                Reason::ALL.iter().any(|reason| recover_from_error(*reason) == recovery),
                "no reason leads to {}",
                recovery.name()
            );
        }
    }

    #[test]
    fn every_reason_has_one_row_in_the_document() {
        let document = Document.to_string();

        for reason in Reason::ALL {
            let rows = document.lines().filter(|line| line.contains(&std::format!("| {} |", reason.name())));
            assert_eq!(rows.count(), 1, "{}", reason.name());
        }
    }

    #[test]
    fn rejections_that_do_not_pass_by_themselves_never_lead_to_the_short_backoff() {
        let rejections = [
            Reason::Version,
            Reason::Network,
            Reason::ClockSkew,
            Reason::OwnId,
            Reason::Untrusted,
            Reason::UnexpectedId,
            Reason::BadKey,
            Reason::BadDelegation,
            Reason::DelegationExpired,
            Reason::UnknownCritical,
        ];

        for reason in rejections {
            let recovery = recover_from_error(reason);
            assert!(matches!(recovery, Recovery::RetryLater | Recovery::GiveUp), "{}", reason.name());
        }
    }

    /// `HYPHAL_BLESS=1 cargo test -p hyphal-core` writes the document anew.
    #[test]
    fn the_document_says_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recovery.md");
        let expected = Document.to_string();
        if std::env::var_os("HYPHAL_BLESS").is_some() {
            std::fs::write(path, &expected).expect("docs/recovery.md can be written");
        }

        let written = std::fs::read_to_string(path).expect("docs/recovery.md can be read");

        assert_eq!(written, expected, "docs/recovery.md is stale: run the tests with HYPHAL_BLESS=1");
    }
}
