//! The gate before the sessions of a datagram socket: no stranger costs a Diffie-Hellman, or gets more bytes than it sent,
//! before it has shown that it receives at the address it sends from.
//!
//! Stateless but for the cookies that were used: a cookie is computed again to be checked. It is only asked about packets
//! of attempts that no session has. A line with two ends needs no gate.

use rand_core::CryptoRng;

use crate::noise::{self, Secret};
use crate::session::Path;
use crate::time::Instant;
use crate::wire::datagram::{self, Packet};
use crate::wire::frame::{self, Decoded, Frame, Header, Kind, Refusal};
use crate::wire::hello::Versions;
use crate::wire::reason::Reason;

/// What to do with a datagram that belongs to no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing, and count it.
    Ignore(Reason),
    /// Send back so many bytes of the buffer, never more than came.
    Reply(usize),
    /// Open a session for it, with [`accept`](crate::session::DatagramSession::accept), and give it the datagram.
    Admit,
}

/// Judges first packets of handshakes from anywhere.
pub struct Gate {
    secret: Secret,
    /// The last cookies that admitted somebody, by their first bytes: each does so once.
    used: [u64; Gate::USED],
    next: usize,
}

impl Gate {
    /// Cookies that are remembered as used.
    const USED: usize = 64;

    /// A gate with a secret of its own. Cookies of another gate, as before a restart, are worth nothing.
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self { secret: Secret::from_bytes(secret), used: [0; Self::USED], next: 0 }
    }

    /// Judges a datagram from `from`; `out` has room for at least [`REPLY_LEN`] bytes.
    ///
    /// Message 1 of XX is admitted with a cookie and answered with one without. Message 1 of KK is admitted: nothing is
    /// computed for it before its hint is known, and a hint is good once. Whatever is shorter than a full datagram, or no
    /// first message, is ignored.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
        out: &mut [u8],
    ) -> Admission {
        if datagram.len() < datagram::MAX_LEN {
            return Admission::Ignore(Reason::Malformed);
        }
        match self.judge(now, from, datagram, out) {
            Ok(admission) => admission,
            Err(reason) => Admission::Ignore(reason),
        }
    }

    fn judge(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
        out: &mut [u8],
    ) -> Result<Admission, Reason> {
        let packet = Packet::decode(datagram)?;
        let frame = packet.frame(datagram).ok_or(Reason::Malformed)?;
        let Frame { header, payload } = match frame::decode(frame, frame::MAX_UNAUTHENTICATED)? {
            Decoded::Frame { frame, .. } => frame,
            Decoded::Foreign { id, .. } => {
                let refusal = Refusal::version(Versions::SUPPORTED);
                return refuse(id, &refusal, out).map(Admission::Reply).ok_or(Reason::Version);
            }
            Decoded::Incomplete { .. } => return Err(Reason::Malformed),
        };
        match header.kind {
            Kind::Kk1 => Ok(Admission::Admit),
            Kind::Xx1 if payload.len() != noise::DH_LEN => Err(Reason::Malformed),
            Kind::Xx1 => {
                let claim = Claim { from, frame_id: header.id, ephemeral: payload };
                match packet.cookie(datagram) {
                    cookie if self.is_valid(now, &claim, cookie) => {
                        if self.take(cookie) {
                            Ok(Admission::Admit)
                        } else {
                            Err(Reason::Duplicate)
                        }
                    }
                    _ => {
                        let cookie = self.cookie(bucket(now), &claim);
                        let retry = Header::new(Kind::Retry, header.id);
                        Packet::encode(&retry, &cookie, out).map(Admission::Reply).ok_or(Reason::Malformed)
                    }
                }
            }
            _ => Err(Reason::UnexpectedFrame),
        }
    }

    fn is_valid(&self, now: Instant, claim: &Claim<'_>, cookie: &[u8]) -> bool {
        let bucket = bucket(now);
        // Of this span of time or the one before.
        [Some(bucket), bucket.checked_sub(1)].into_iter().flatten().any(|bucket| {
            let expected = self.cookie(bucket, claim);
            // No early end: the time that a comparison takes tells nothing of the cookie.
            cookie.len() == expected.len()
                && cookie.iter().zip(expected).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
        })
    }

    fn cookie(&self, bucket: u64, claim: &Claim<'_>) -> [u8; COOKIE_LEN] {
        let mac = noise::hmac(
            self.secret.as_bytes(),
            &[
                &bucket.to_be_bytes(),
                &claim.from.address,
                &claim.from.port.to_be_bytes(),
                &claim.frame_id.to_be_bytes(),
                claim.ephemeral,
            ],
        );
        let mut cookie = [0; COOKIE_LEN];
        cookie.copy_from_slice(&mac.as_bytes()[..COOKIE_LEN]);
        cookie
    }

    /// Whether a valid cookie is used for the first time.
    fn take(&mut self, cookie: &[u8]) -> bool {
        let name = cookie.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let is_first = !self.used.contains(&name);
        if is_first {
            self.used[self.next] = name;
            self.next = (self.next + 1) % Self::USED;
        }
        is_first
    }
}

/// Writes a packet that refuses the attempt `frame_id`: a hint for the other end. Of at least [`REPLY_LEN`] bytes.
///
/// For a node that cannot take a session at all: `Busy` with the milliseconds to wait, or `Limit`.
pub fn refuse(frame_id: u64, refusal: &Refusal, out: &mut [u8]) -> Option<usize> {
    let mut payload = [0; Refusal::LEN];
    refusal.encode(&mut payload)?;
    Packet::encode(&Header::new(Kind::Refusal, frame_id), &payload, out)
}

/// The longest reply of a gate.
pub const REPLY_LEN: usize = Packet::header_len(0) + frame::HEADER_LEN + COOKIE_LEN;

/// What a cookie is given for, and good for.
struct Claim<'d> {
    from: Path,
    frame_id: u64,
    ephemeral: &'d [u8],
}

/// The number of the span of time in which a cookie is made; it is good for this one and the next, 5 to 10 s.
fn bucket(now: Instant) -> u64 {
    now.as_micros() / 5_000_000
}

const COOKIE_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use rand_core::SeedableRng;

    const NOW: Instant = Instant::from_micros(77_000_000);
    const HOME: Path = Path { address: [1; 16], port: 9 };

    #[test]
    fn a_first_packet_is_admitted_with_the_cookie_that_its_sender_got_and_only_once() {
        let mut gate = gate();

        let cookie = cookie(&mut gate, HOME, 7);

        assert_eq!(ask(&mut gate, HOME, &packet(&cookie, 7)), Admission::Admit);
        assert_eq!(ask(&mut gate, HOME, &packet(&cookie, 7)), Admission::Ignore(Reason::Duplicate));
    }

    #[test]
    fn a_cookie_is_good_for_one_address_one_attempt_one_key_and_ten_seconds() {
        let mut gate = gate();
        let cookie = cookie(&mut gate, HOME, 7);
        let mut other_key = packet(&cookie, 7);
        other_key[Packet::header_len(COOKIE_LEN) + frame::HEADER_LEN] ^= 1;
        let elsewhere = Path { address: [2; 16], ..HOME };

        for (from, packet) in [
            (elsewhere, packet(&cookie, 7)),
            (Path { port: 10, ..HOME }, packet(&cookie, 7)),
            (HOME, packet(&cookie, 8)),
            (HOME, packet(&cookie[..15], 7)),
            (HOME, other_key),
        ] {
            assert!(matches!(ask(&mut gate, from, &packet), Admission::Reply(_)));
        }
        let late = NOW.after(Duration::from_secs(10));
        let answer = gate.handle_datagram(late, HOME, &packet(&cookie, 7), &mut [0; REPLY_LEN]);
        assert!(matches!(answer, Admission::Reply(_)));
        let in_time = NOW.after(Duration::from_secs(5));
        let answer = gate.handle_datagram(in_time, HOME, &packet(&cookie, 7), &mut [0; REPLY_LEN]);
        assert_eq!(answer, Admission::Admit);
    }

    #[test]
    fn no_reply_is_longer_than_what_it_answers_and_short_packets_get_none() {
        let mut gate = gate();
        let whole = packet(&[], 7);
        let mut foreign = whole;
        foreign[Packet::header_len(0) + 5] = 0x02;

        assert_eq!(ask(&mut gate, HOME, &whole), Admission::Reply(REPLY_LEN));
        assert_eq!(ask(&mut gate, HOME, &foreign), Admission::Reply(REPLY_LEN - COOKIE_LEN + Refusal::LEN));
        for len in [0, 1, 60, datagram::MAX_LEN - 1] {
            assert_eq!(ask(&mut gate, HOME, &whole[..len]), Admission::Ignore(Reason::Malformed));
        }
    }

    #[test]
    fn what_is_no_first_message_is_ignored() {
        let mut gate = gate();
        for kind in [Kind::Xx2, Kind::Xx3, Kind::Kk2, Kind::Retry, Kind::Refusal] {
            let mut packet = [0; datagram::MAX_LEN];
            let at = Packet::encode_header(&[], &mut packet).unwrap();
            Header::new(kind, 7).encode(&[9; 32], &mut packet[at..]).unwrap();

            assert_eq!(ask(&mut gate, HOME, &packet), Admission::Ignore(Reason::UnexpectedFrame));
        }
        assert_eq!(ask(&mut gate, HOME, &[0x40; datagram::MAX_LEN]), Admission::Ignore(Reason::Malformed));
    }

    fn gate() -> Gate {
        Gate::new(&mut rand_chacha::ChaCha8Rng::seed_from_u64(1))
    }

    fn packet(cookie: &[u8], frame_id: u64) -> [u8; datagram::MAX_LEN] {
        let mut packet = [0; datagram::MAX_LEN];
        let at = Packet::encode_header(cookie, &mut packet).unwrap();
        Header::new(Kind::Xx1, frame_id).encode(&[9; noise::DH_LEN], &mut packet[at..]).unwrap();
        packet
    }

    fn ask(gate: &mut Gate, from: Path, datagram: &[u8]) -> Admission {
        gate.handle_datagram(NOW, from, datagram, &mut [0; REPLY_LEN])
    }

    fn cookie(gate: &mut Gate, from: Path, frame_id: u64) -> [u8; COOKIE_LEN] {
        let mut out = [0; REPLY_LEN];
        let answer = gate.handle_datagram(NOW, from, &packet(&[], frame_id), &mut out);
        assert_eq!(answer, Admission::Reply(REPLY_LEN));
        *out.last_chunk().unwrap()
    }
}
