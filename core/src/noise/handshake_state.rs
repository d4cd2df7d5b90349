//! Section 5.3: runs a pattern's tokens over messages, one call for each message.
//!
//! Keys come in from outside, ephemerals included: it draws no randomness, so a flight can be frozen and a run
//! repeated. Every message is worked on a copy of what changes, which takes effect when the whole message passed.

use super::pattern::{Pattern, Token};
use super::symmetric_state::SymmetricState;
use super::{DH_LEN, KeyPair, MAX_MESSAGE_LEN, Misuse, NoiseError, Secret, SplitKey, dh};
use crate::aead::Aead;
use crate::wire::reason::Reason;

/// A handshake under way: under 400 bytes, no buffers. All secrets in it are wiped when it is dropped.
pub struct HandshakeState<A> {
    pattern: &'static Pattern,
    role: Role,
    s: Option<KeyPair>,
    e: Option<KeyPair>,
    progress: Progress<A>,
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Writes the first message.
    Initiator,
    /// Reads the first message.
    Responder,
}

/// What this end brings into a handshake; which of it is needed is the pattern's decision.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Our static key pair.
    pub s: Option<KeyPair>,
    /// Our ephemeral key pair: freshly drawn for this handshake and used for no other.
    pub e: Option<KeyPair>,
    /// The peer's static key, where the pattern knows it beforehand.
    pub rs: Option<[u8; DH_LEN]>,
    /// The pre-shared key.
    pub psk: Option<Secret>,
}

impl<A: Aead> HandshakeState<A> {
    /// `Initialize`: starts `pattern` as `role`. Both ends must give the same `prologue`.
    ///
    /// # Errors
    /// [`Misuse::MissingKey`] if the pattern's pre-messages need a static that `keys` lacks.
    pub fn new(pattern: &'static Pattern, role: Role, prologue: &[u8], keys: Keys) -> Result<Self, Misuse> {
        let Keys { s, e, rs, psk } = keys;
        let mut symmetric = SymmetricState::new(pattern.protocol_name);
        symmetric.mix_hash(prologue);

        let ours = s.as_ref().map(KeyPair::public);
        let (initiator, responder) = role.in_order(ours, rs.as_ref());
        for (is_known, public) in [(pattern.knows_initiator, initiator), (pattern.knows_responder, responder)]
        {
            if is_known {
                symmetric.mix_hash(public.ok_or(Misuse::MissingKey)?);
            }
        }
        Ok(Self { pattern, role, s, e, progress: Progress { symmetric, done: 0, re: None, rs, psk } })
    }

    /// Writes the next message with `payload` into `out` and returns its length.
    ///
    /// # Errors
    /// [`NoiseError::Misuse`], or `BadKey` if a key that the peer sent before is of low order or on the twist.
    pub fn write_message(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, NoiseError> {
        self.write(payload.len(), out, |place| place.copy_from_slice(payload))
    }

    /// As [`write_message`](Self::write_message), for a payload of `len` bytes that stands where the message will have it.
    ///
    /// # Errors
    /// As [`write_message`](Self::write_message).
    pub fn write_message_around(&mut self, len: usize, out: &mut [u8]) -> Result<usize, NoiseError> {
        self.write(len, out, |_| ())
    }

    fn write(
        &mut self,
        payload_len: usize,
        out: &mut [u8],
        place_payload: impl FnOnce(&mut [u8]),
    ) -> Result<usize, NoiseError> {
        let tokens = self.next_message(self.role)?;
        let mut next = self.progress.clone();
        let mut at = 0;

        for token in tokens {
            match token {
                Token::E => {
                    let public = self.e.as_ref().ok_or(Misuse::MissingKey)?.public();
                    take_room(out, &mut at, DH_LEN)?.copy_from_slice(public);
                    next.mix_ephemeral(public, self.pattern);
                }
                Token::S => {
                    let public = self.s.as_ref().ok_or(Misuse::MissingKey)?.public();
                    let field = take_room(out, &mut at, DH_LEN + next.symmetric.overhead())?;
                    field[..DH_LEN].copy_from_slice(public);
                    next.symmetric.encrypt_and_hash(field);
                }
                Token::EE | Token::ES | Token::SE | Token::SS => self.mix_dh(*token, &mut next)?,
                Token::Psk => next.mix_psk()?,
            }
        }
        let len = payload_len.checked_add(next.symmetric.overhead()).ok_or(Misuse::NoRoom)?;
        let field = take_room(out, &mut at, len)?;
        place_payload(&mut field[..payload_len]);
        next.symmetric.encrypt_and_hash(field);

        self.commit(next);
        Ok(at)
    }

    /// Reads the next message, decrypting it in place, and returns its payload.
    ///
    /// # Errors
    /// [`NoiseError::Refused`] with `Malformed`, `Forged` or `BadKey`: the handshake still awaits this message, but what
    /// `message` holds is spoilt.
    pub fn read_message<'m>(&mut self, message: &'m mut [u8]) -> Result<&'m mut [u8], NoiseError> {
        let tokens = self.next_message(self.role.other())?;
        if message.len() > MAX_MESSAGE_LEN {
            return Err(Reason::Malformed.into());
        }
        let mut next = self.progress.clone();
        let mut rest = message;

        for token in tokens {
            match token {
                Token::E => {
                    let field;
                    (field, rest) = rest.split_first_chunk_mut::<DH_LEN>().ok_or(Reason::Malformed)?;
                    next.mix_ephemeral(field, self.pattern);
                    next.re = Some(*field);
                }
                Token::S => {
                    let len = DH_LEN + next.symmetric.overhead();
                    let field;
                    (field, rest) = rest.split_at_mut_checked(len).ok_or(Reason::Malformed)?;
                    let public = next.symmetric.decrypt_and_hash(field)?;
                    next.rs = public.first_chunk().copied();
                }
                Token::EE | Token::ES | Token::SE | Token::SS => self.mix_dh(*token, &mut next)?,
                Token::Psk => next.mix_psk()?,
            }
        }
        let payload = next.symmetric.decrypt_and_hash(rest)?;

        self.commit(next);
        Ok(payload)
    }

    /// Whether all messages were written and read, so that the keys can be split.
    pub const fn is_finished(&self) -> bool {
        self.progress.done == self.pattern.messages.len()
    }

    /// The pattern that is run.
    pub const fn pattern(&self) -> &'static Pattern {
        self.pattern
    }

    /// Whether the next message is ours to write.
    pub fn is_our_turn(&self) -> bool {
        self.next_message(self.role).is_ok()
    }

    /// The hash over all that was exchanged so far; once finished, a name for the session that both ends share.
    pub const fn handshake_hash(&self) -> &[u8; 32] {
        self.progress.symmetric.handshake_hash()
    }

    /// The peer's static key, given beforehand or received.
    ///
    /// Received is not yet proven, nor valid: `identity::id_of_static` says whether it names a node.
    pub const fn remote_static(&self) -> Option<&[u8; DH_LEN]> {
        self.progress.rs.as_ref()
    }

    /// The keys of both directions, the initiator's sending key first.
    ///
    /// # Errors
    /// [`Misuse::OutOfTurn`] before the handshake is finished.
    pub fn split(&self) -> Result<(SplitKey, SplitKey), Misuse> {
        if self.is_finished() { Ok(self.progress.symmetric.split()) } else { Err(Misuse::OutOfTurn) }
    }

    /// The third output of `Split`'s HKDF: a secret of both ends that says nothing of their keys, nor these of it.
    ///
    /// # Errors
    /// [`Misuse::OutOfTurn`] before the handshake is finished.
    pub fn resumption(&self) -> Result<Secret, Misuse> {
        if self.is_finished() { Ok(self.progress.symmetric.resumption()) } else { Err(Misuse::OutOfTurn) }
    }

    /// The tokens of the next message, if `writer` is the one to write it.
    fn next_message(&self, writer: Role) -> Result<&'static [Token], Misuse> {
        let due = if self.progress.done.is_multiple_of(2) { Role::Initiator } else { Role::Responder };
        let tokens = self.pattern.messages.get(self.progress.done).filter(|_| due == writer);
        tokens.copied().ok_or(Misuse::OutOfTurn)
    }

    /// Mixes the Diffie-Hellman output that `token` names; its first letter is the initiator's key.
    fn mix_dh(&self, token: Token, next: &mut Progress<A>) -> Result<(), NoiseError> {
        let (initiator, responder) = match token {
            Token::ES => (Half::Ephemeral, Half::Static),
            Token::SE => (Half::Static, Half::Ephemeral),
            Token::SS => (Half::Static, Half::Static),
            _ => (Half::Ephemeral, Half::Ephemeral),
        };
        let (ours, theirs) = self.role.in_order(initiator, responder);
        let pair = match ours {
            Half::Ephemeral => self.e.as_ref(),
            Half::Static => self.s.as_ref(),
        };
        let public = match theirs {
            Half::Ephemeral => next.re.as_ref(),
            Half::Static => next.rs.as_ref(),
        };
        let shared = dh(pair.ok_or(Misuse::MissingKey)?, public.ok_or(Misuse::MissingKey)?)?;
        next.symmetric.mix_key(shared.as_bytes());
        Ok(())
    }

    /// Lets the message take effect; the last one also ends the use of our secrets, so they are wiped.
    fn commit(&mut self, mut next: Progress<A>) {
        next.done += 1;
        self.progress = next;
        if self.is_finished() {
            (self.s, self.e) = (None, None);
        }
    }
}

impl Role {
    /// The peer's role.
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// Turns (ours, theirs) into (initiator's, responder's), and back.
    fn in_order<T>(self, ours: T, theirs: T) -> (T, T) {
        match self {
            Self::Initiator => (ours, theirs),
            Self::Responder => (theirs, ours),
        }
    }
}

#[derive(Clone, Copy)]
enum Half {
    Ephemeral,
    Static,
}

/// All that a message changes.
struct Progress<A> {
    symmetric: SymmetricState<A>,
    /// Messages written and read.
    done: usize,
    re: Option<[u8; DH_LEN]>,
    rs: Option<[u8; DH_LEN]>,
    psk: Option<Secret>,
}

impl<A: Aead> Progress<A> {
    fn mix_ephemeral(&mut self, public: &[u8; DH_LEN], pattern: &Pattern) {
        self.symmetric.mix_hash(public);
        if pattern.uses_psk() {
            self.symmetric.mix_key(public);
        }
    }

    /// Uses the pre-shared key up: a pattern with two of them fails here instead of mixing one twice.
    fn mix_psk(&mut self) -> Result<(), Misuse> {
        let psk = self.psk.take().ok_or(Misuse::MissingKey)?;
        self.symmetric.mix_key_and_hash(psk.as_bytes());
        Ok(())
    }
}

impl<A> Clone for Progress<A> {
    fn clone(&self) -> Self {
        Self {
            symmetric: self.symmetric.clone(),
            done: self.done,
            re: self.re,
            rs: self.rs,
            psk: self.psk.clone(),
        }
    }
}

/// The next `len` bytes of the message being written at `at`, which moves past them.
fn take_room<'b>(out: &'b mut [u8], at: &mut usize, len: usize) -> Result<&'b mut [u8], Misuse> {
    let end = at.checked_add(len).filter(|end| *end <= MAX_MESSAGE_LEN).ok_or(Misuse::NoRoom)?;
    let room = out.get_mut(*at..end).ok_or(Misuse::NoRoom)?;
    *at = end;
    Ok(room)
}

#[cfg(test)]
mod tests {
    use super::super::{KK, XX};
    use super::*;
    use crate::aead::ChaChaPoly;

    type State = HandshakeState<ChaChaPoly>;

    /// A half-open session may take 512 bytes in all.
    #[test]
    fn a_handshake_is_small() {
        assert!(size_of::<State>() <= 384, "{} bytes", size_of::<State>());
    }

    #[test]
    fn both_ends_of_a_handshake_share_keys_hash_and_each_others_static() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];

        relay(&mut ours, &mut theirs, b"", &mut buf);
        relay(&mut theirs, &mut ours, b"responder", &mut buf);
        relay(&mut ours, &mut theirs, b"initiator", &mut buf);

        assert!(ours.is_finished() && theirs.is_finished());
        assert_eq!(ours.handshake_hash(), theirs.handshake_hash());
        assert_eq!(ours.remote_static(), Some(pair(2).public()));
        assert_eq!(theirs.remote_static(), Some(pair(1).public()));
        let (sending, receiving) = ours.split().unwrap();
        let (received, sent) = theirs.split().unwrap();
        assert_eq!((sending.as_bytes(), receiving.as_bytes()), (received.as_bytes(), sent.as_bytes()));
        assert_ne!(sending.as_bytes(), receiving.as_bytes());
    }

    #[test]
    fn a_forged_message_is_refused_and_the_true_one_is_still_taken() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];
        relay(&mut ours, &mut theirs, b"", &mut buf);
        let len = theirs.write_message(b"hello", &mut buf).unwrap();
        let before = *ours.handshake_hash();

        for byte in 0..len {
            let mut bent = buf;
            bent[byte] ^= 1;
            let refused = ours.read_message(&mut bent[..len]).unwrap_err();
            let off_curve = byte < DH_LEN && refused == NoiseError::Refused(Reason::BadKey);
            assert!(off_curve || refused == NoiseError::Refused(Reason::Forged), "byte {byte}: {refused:?}");
        }
        assert_eq!((ours.handshake_hash(), ours.remote_static()), (&before, None));

        assert_eq!(ours.read_message(&mut buf[..len]).unwrap(), b"hello");
    }

    #[test]
    fn a_message_cut_anywhere_is_refused() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];
        relay(&mut ours, &mut theirs, b"", &mut buf);
        let len = theirs.write_message(b"hello", &mut buf).unwrap();

        for cut in 0..len {
            let refused = ours.read_message(&mut { buf }[..cut]).unwrap_err();
            assert!(
                matches!(refused, NoiseError::Refused(Reason::Malformed | Reason::Forged)),
                "cut at {cut}: {refused:?}"
            );
        }
        assert!(ours.read_message(&mut buf[..len]).is_ok());
    }

    #[test]
    fn a_message_longer_than_noise_allows_is_neither_written_nor_read() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = std::vec![0; MAX_MESSAGE_LEN + 1];
        let longest = MAX_MESSAGE_LEN - DH_LEN;

        let refused = theirs.read_message(&mut buf).unwrap_err();
        let misused = ours.write_message(&std::vec![0; longest + 1], &mut buf).unwrap_err();

        assert_eq!(refused, NoiseError::Refused(Reason::Malformed));
        assert_eq!(misused, NoiseError::Misuse(Misuse::NoRoom));
        assert_eq!(ours.write_message(&std::vec![0; longest], &mut buf), Ok(MAX_MESSAGE_LEN));
    }

    #[test]
    fn a_low_order_ephemeral_is_refused_and_costs_the_handshake_nothing() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];
        let len = ours.write_message(b"", &mut buf).unwrap();
        let mut other = [0; 256];
        theirs.read_message(&mut buf[..len]).unwrap();
        theirs.write_message(b"", &mut other).unwrap();

        other[..DH_LEN].fill(0);

        assert_eq!(ours.read_message(&mut other[..96]).unwrap_err(), NoiseError::Refused(Reason::BadKey));
        assert_eq!(ours.remote_static(), None);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_refused_and_a_larger_one_is_taken() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];
        relay(&mut ours, &mut theirs, b"", &mut buf);

        for len in 0..101 {
            let refused = theirs.write_message(b"hello", &mut buf[..len]).unwrap_err();
            assert_eq!(refused, NoiseError::Misuse(Misuse::NoRoom), "{len} bytes");
        }
        let len = theirs.write_message(b"hello", &mut buf[..101]).unwrap();

        assert_eq!(ours.read_message(&mut buf[..len]).unwrap(), b"hello");
    }

    #[test]
    fn steps_out_of_turn_are_refused() {
        let (mut ours, mut theirs) = strangers();
        let mut buf = [0; 256];

        assert!(ours.is_our_turn() && !theirs.is_our_turn());
        assert_eq!(ours.read_message(&mut buf).unwrap_err(), Misuse::OutOfTurn.into());
        assert_eq!(theirs.write_message(b"", &mut buf).unwrap_err(), Misuse::OutOfTurn.into());
        assert_eq!(ours.split().unwrap_err(), Misuse::OutOfTurn);

        relay(&mut ours, &mut theirs, b"", &mut buf);
        relay(&mut theirs, &mut ours, b"", &mut buf);
        relay(&mut ours, &mut theirs, b"", &mut buf);
        assert_eq!(ours.write_message(b"", &mut buf).unwrap_err(), Misuse::OutOfTurn.into());
        assert_eq!(theirs.read_message(&mut buf).unwrap_err(), Misuse::OutOfTurn.into());
    }

    #[test]
    fn a_key_that_the_pattern_needs_is_missed() {
        let no_rs = Keys { s: Some(pair(1)), e: Some(pair(3)), ..Keys::default() };
        let no_e = Keys { s: Some(pair(1)), ..Keys::default() };

        let known = State::new(&KK, Role::Initiator, b"", no_rs);
        let mut ours = State::new(&XX, Role::Initiator, b"", no_e).unwrap();

        assert_eq!(known.err(), Some(Misuse::MissingKey));
        assert_eq!(ours.write_message(b"", &mut [0; 64]), Err(Misuse::MissingKey.into()));
    }

    #[test]
    fn another_prologue_fails_the_first_encrypted_message() {
        let keys = |s, e| Keys { s: Some(pair(s)), e: Some(pair(e)), ..Keys::default() };
        let mut ours = State::new(&XX, Role::Initiator, b"hyphal/1", keys(1, 3)).unwrap();
        let mut theirs = State::new(&XX, Role::Responder, b"hyphal/2", keys(2, 4)).unwrap();
        let mut buf = [0; 256];
        relay(&mut ours, &mut theirs, b"", &mut buf);

        let len = theirs.write_message(b"", &mut buf).unwrap();

        assert_eq!(ours.read_message(&mut buf[..len]).unwrap_err(), Reason::Forged.into());
    }

    fn strangers() -> (State, State) {
        let keys = |s, e| Keys { s: Some(pair(s)), e: Some(pair(e)), ..Keys::default() };
        let ours = State::new(&XX, Role::Initiator, b"prologue", keys(1, 3)).unwrap();
        let theirs = State::new(&XX, Role::Responder, b"prologue", keys(2, 4)).unwrap();
        (ours, theirs)
    }

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_secret(Secret::from_bytes([byte; 32]))
    }

    fn relay(from: &mut State, to: &mut State, payload: &[u8], buf: &mut [u8]) {
        let len = from.write_message(payload, buf).unwrap();
        assert_eq!(to.read_message(&mut buf[..len]).unwrap(), payload);
    }
}
