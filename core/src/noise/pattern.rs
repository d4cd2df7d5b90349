//! Sections 7 to 9: handshake patterns as tables of tokens.
//!
//! The protocol uses the three patterns below. Others need no code, only a table; the test vectors bring their own.

/// One step of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The sender's ephemeral key, in clear.
    E,
    /// The sender's static key, encrypted once there is a key.
    S,
    /// Diffie-Hellman between both ephemerals.
    EE,
    /// Diffie-Hellman between the initiator's ephemeral and the responder's static.
    ES,
    /// Diffie-Hellman between the initiator's static and the responder's ephemeral.
    SE,
    /// Diffie-Hellman between both statics.
    SS,
    /// The pre-shared key. At most one in a pattern.
    Psk,
}

/// Which keys a handshake exchanges and mixes, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The full protocol name, which both ends hash first.
    pub protocol_name: &'static str,
    /// Whether the responder knows the initiator's static beforehand (pre-message `-> s`).
    pub knows_initiator: bool,
    /// Whether the initiator knows the responder's static beforehand (pre-message `<- s`).
    pub knows_responder: bool,
    /// The tokens of each message; the initiator writes the first, then the roles alternate.
    pub messages: &'static [&'static [Token]],
}

impl Pattern {
    /// Whether a pre-shared key is mixed in, upon which ephemerals are mixed into the key as well (section 9.2).
    pub(super) fn uses_psk(&self) -> bool {
        self.messages.iter().any(|tokens| tokens.contains(&Token::Psk))
    }
}

use Token::{E, EE, ES, S, SE, SS};

/// Two strangers: statics are sent, encrypted. The handshake of every first contact.
pub static XX: Pattern = Pattern {
    protocol_name: "Noise_XX_25519_ChaChaPoly_SHA256",
    knows_initiator: false,
    knows_responder: false,
    messages: &[&[E], &[E, EE, S, ES], &[S, SE]],
};

/// Two who know each other: the reconnect in one round trip.
pub static KK: Pattern = Pattern {
    protocol_name: "Noise_KK_25519_ChaChaPoly_SHA256",
    knows_initiator: true,
    knows_responder: true,
    messages: &[&[E, ES, SS], &[E, EE, SE]],
};

/// One way, from a known sender to a known recipient: sealing end to end.
pub static K: Pattern = Pattern {
    protocol_name: "Noise_K_25519_ChaChaPoly_SHA256",
    knows_initiator: true,
    knows_responder: true,
    messages: &[&[E, ES, SS]],
};
