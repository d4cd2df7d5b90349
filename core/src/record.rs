//! The keys of a session's records: seals and opens, counts, and changes keys. Knows neither layouts nor messages.
//!
//! A direction uses one key after another, each derived from the one before, which is wiped at once: whoever reads a
//! node's memory cannot open what was sealed under earlier keys. The sender decides when and says so in a record.
//!
//! Invariant: a counter value is used for one record only, and moves on opening only after the tag verified; it goes on
//! when the key changes.

use crate::aead::{Aead, Cipher, Forged};
use crate::noise::{self, Secret, SplitKey};
use crate::time::{Duration, Instant};

/// What leads from one key to the next.
const REKEY_LABEL: &[u8] = b"hyphal/1 rekey";

/// What leads to the places of a session in time.
const SPREAD_LABEL: &[u8] = b"hyphal/1 spread";

/// Records that one direction may seal. Far below the 2^64 - 1 of the Noise specification, so that no path can reach it.
const MOST_RECORDS: u64 = 1 << 48;

/// How long a key is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyLife {
    /// Records that it seals.
    records: u64,
    /// How long, however few records it seals.
    span: Option<Duration>,
}

impl KeyLife {
    /// A key that seals as many records as any key may, and is used for `span` at most.
    pub(crate) const fn of(span: Option<Duration>) -> Self {
        Self { records: 1 << 20, span }
    }
}

/// The sending direction of a session.
pub(crate) struct Sealer<A> {
    key: RecordKey<A>,
    counter: u64,
    life: KeyLife,
    /// The first record under the current key.
    first: u64,
    since: Instant,
    /// Whether the peer has shown that it opened a record under the current key.
    is_proven: bool,
    /// Changes with each key: the phase bit of datagrams.
    phase: bool,
}

impl<A: Aead> Sealer<A> {
    pub(crate) fn new(now: Instant, cipher: Cipher, split: &SplitKey, life: KeyLife) -> Self {
        Self {
            key: RecordKey::first(cipher, split),
            counter: 0,
            life,
            first: 0,
            since: now,
            is_proven: false,
            phase: false,
        }
    }

    /// Whether the number of the current key is odd, counted from 0.
    pub(crate) fn phase(&self) -> bool {
        self.phase
    }

    /// When the current key was taken up.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// The key in use.
    fn key(&self) -> &Secret {
        &self.key.key
    }

    /// Records sealed so far, which is also the counter of the next one.
    pub(crate) fn count(&self) -> u64 {
        self.counter
    }

    /// Whether as many records are sealed as may be but one: the last is for the close.
    pub(crate) fn is_worn(&self) -> bool {
        self.counter >= MOST_RECORDS - 1
    }

    /// The peer has opened all records below `through`.
    pub(crate) fn handle_opened(&mut self, through: u64) {
        self.is_proven |= through > self.first;
    }

    /// Whether the next record should be the last under its key.
    pub(crate) fn is_rekey_due(&self, now: Instant) -> bool {
        let sealed = self.counter - self.first + 1;
        let is_old = self.life.span.is_some_and(|span| now.since(self.since) >= span);
        self.is_proven && (sealed >= self.life.records || is_old)
    }

    /// The record just sealed said that the next key follows.
    pub(crate) fn rekey(&mut self, now: Instant) {
        self.key = self.key.next();
        self.first = self.counter;
        self.since = now;
        self.is_proven = false;
        self.phase = !self.phase;
    }

    /// Seals `buf`, a plaintext followed by room for the tag, and gives the record's counter.
    pub(crate) fn seal(&mut self, header: &[u8], buf: &mut [u8]) -> u64 {
        let counter = self.counter;
        assert!(counter < MOST_RECORDS, "the session closes before its keys are worn");
        self.key.aead.seal(counter, header, buf);
        self.counter += 1;
        counter
    }
}

/// The receiving direction of a session.
pub(crate) struct Opener<A> {
    key: RecordKey<A>,
    counter: u64,
}

impl<A: Aead> Opener<A> {
    pub(crate) fn new(cipher: Cipher, split: &SplitKey) -> Self {
        Self { key: RecordKey::first(cipher, split), counter: 0 }
    }

    /// The key in use.
    fn key(&self) -> &Secret {
        &self.key.key
    }

    /// Opens `buf`, ciphertext and tag, as the next record in order, and gives its counter.
    pub(crate) fn open(&mut self, header: &[u8], buf: &mut [u8]) -> Result<u64, Forged> {
        let counter = self.counter;
        if counter >= MOST_RECORDS {
            return Err(Forged);
        }
        self.key.aead.open(counter, header, buf)?;
        self.counter += 1;
        Ok(counter)
    }

    /// The record just opened said that the next key follows.
    pub(crate) fn rekey(&mut self) {
        self.key = self.key.next();
    }
}

/// Eight bytes that only the two ends of a session can tell, for where it stands among others in time.
pub(crate) fn places(sending: &SplitKey) -> [u8; 8] {
    let (bytes, _) = noise::hkdf2(sending.as_bytes(), SPREAD_LABEL);
    let [a, b, c, d, e, f, g, h, ..] = *bytes.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The first record keys of a session: with a recording of it, all that is needed to read every record.
///
/// Wiped when dropped; `Debug` does not show the keys.
#[derive(Debug)]
pub struct SessionKeys {
    frame_id: u64,
    dialled: bool,
    cipher: Cipher,
    sending: Secret,
    receiving: Secret,
}

impl SessionKeys {
    pub(crate) fn of<A: Aead>(
        frame_id: u64,
        dialled: bool,
        cipher: Cipher,
        sealer: &Sealer<A>,
        opener: &Opener<A>,
    ) -> Self {
        Self { frame_id, dialled, cipher, sending: sealer.key().clone(), receiving: opener.key().clone() }
    }

    /// The same of a session over datagrams.
    pub(crate) fn of_datagrams<A: Aead>(
        frame_id: u64,
        dialled: bool,
        sealer: &Sealer<A>,
        opener: &PhasedOpener<A>,
    ) -> Self {
        let (sending, receiving) = (sealer.key().clone(), opener.key.key.clone());
        Self { frame_id, dialled, cipher: opener.key.cipher, sending, receiving }
    }

    /// The message id of the handshake's frames, by which the session is found in a recording.
    pub const fn frame_id(&self) -> u64 {
        self.frame_id
    }

    /// What seals the records.
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The first record key of the records that the initiator seals.
    pub const fn initiator(&self) -> &[u8; 32] {
        if self.dialled { self.sending.as_bytes() } else { self.receiving.as_bytes() }
    }

    /// The first record key of the records that the responder seals.
    pub const fn responder(&self) -> &[u8; 32] {
        if self.dialled { self.receiving.as_bytes() } else { self.sending.as_bytes() }
    }
}

/// The receiving direction of a session over datagrams: records come in any order, so the counter is told, and the key
/// before the current one opens what is late.
///
/// Invariant: nothing but the count of forgeries changes before a tag has verified.
pub(crate) struct PhasedOpener<A> {
    key: RecordKey<A>,
    phase: bool,
    /// The lowest counter that was opened under the current key; 0 for the first key.
    first: u64,
    /// The key before, and until when it is kept.
    old: Option<(RecordKey<A>, Instant)>,
    forgeries: u64,
}

impl<A: Aead> PhasedOpener<A> {
    pub(crate) fn new(cipher: Cipher, split: &SplitKey) -> Self {
        Self { key: RecordKey::first(cipher, split), phase: false, first: 0, old: None, forgeries: 0 }
    }

    /// Opens record `counter` of key phase `phase`; should it be the first of the next key, the one before is kept for `keep`.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        keep: Duration,
        (counter, phase): (u64, bool),
        header: &[u8],
        buf: &mut [u8],
    ) -> Result<(), Forged> {
        let opened = if counter >= MOST_RECORDS {
            Err(Forged)
        } else if phase == self.phase {
            self.key.aead.open(counter, header, buf)
        } else if counter < self.first {
            match &self.old {
                Some((old, until)) if now < *until => old.aead.open(counter, header, buf),
                _ => Err(Forged),
            }
        } else {
            let next = self.key.next();
            next.aead.open(counter, header, buf).map(|()| {
                self.old = Some((core::mem::replace(&mut self.key, next), now.after(keep)));
                self.phase = phase;
                self.first = counter;
            })
        };
        match opened {
            Ok(()) if phase == self.phase => self.first = self.first.min(counter),
            Ok(()) => {}
            Err(Forged) => self.forgeries = self.forgeries.saturating_add(1),
        }
        opened
    }

    /// Wipes the key before the current one, once its time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.old.take_if(|(_, until)| *until <= now);
    }

    /// When the key before the current one is wiped.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.old.as_ref().map(|(_, until)| *until)
    }

    /// Whether so many forged records were tried that one more could succeed by chance: RFC 9001, section 6.6.
    pub(crate) fn is_worn(&self) -> bool {
        self.forgeries
            >= match self.key.cipher {
                Cipher::ChaCha20Poly1305 => 1 << 36,
                Cipher::Aes256Gcm => 1 << 52,
            }
    }
}

/// A key, ready for use, and what the next one is made of.
struct RecordKey<A> {
    cipher: Cipher,
    aead: A,
    key: Secret,
}

impl<A: Aead> RecordKey<A> {
    fn first(cipher: Cipher, split: &SplitKey) -> Self {
        Self::derived(cipher, split, label(cipher))
    }

    fn next(&self) -> Self {
        Self::derived(self.cipher, &self.key, REKEY_LABEL)
    }

    fn derived(cipher: Cipher, from: &Secret, label: &[u8]) -> Self {
        let (key, _) = noise::hkdf2(from.as_bytes(), label);
        Self { cipher, aead: A::record(cipher, key.as_bytes()), key }
    }
}

/// What binds a record key to its cipher, so that no two ciphers ever share a key.
const fn label(cipher: Cipher) -> &'static [u8] {
    match cipher {
        Cipher::ChaCha20Poly1305 => b"hyphal/1 record ChaCha20-Poly1305",
        Cipher::Aes256Gcm => b"hyphal/1 record AES-256-GCM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::{ChaChaPoly, TAG_LEN};

    #[test]
    fn a_worn_direction_seals_one_more_record_which_the_peer_opens() {
        let (mut sealer, mut opener) = pair(HOURLY);
        (sealer.counter, opener.counter) = (MOST_RECORDS - 2, MOST_RECORDS - 2);
        let mut buf = [0; TAG_LEN];

        assert!(!sealer.is_worn());
        sealer.seal(&[], &mut buf);
        assert_eq!(opener.open(&[], &mut buf), Ok(MOST_RECORDS - 2));

        assert!(sealer.is_worn());
        sealer.seal(&[], &mut buf);
        assert_eq!(opener.open(&[], &mut buf), Ok(MOST_RECORDS - 1));
        assert_eq!(opener.open(&[], &mut buf), Err(Forged));
    }
    #[test]
    fn the_key_changes_after_so_many_records_or_so_long_and_never_before_the_peer_has_opened_one() {
        let life = KeyLife { records: 3, span: Some(Duration::from_secs(10)) };
        let (mut sealer, _) = pair(life);
        let later = NOW.after(Duration::from_secs(10));
        seal(&mut sealer);
        assert!(!sealer.is_rekey_due(later), "no record is known to have arrived");

        sealer.handle_opened(1);
        assert!(!sealer.is_rekey_due(NOW) && sealer.is_rekey_due(later));
        seal(&mut sealer);
        assert!(sealer.is_rekey_due(NOW), "the third record is the last");

        seal(&mut sealer);
        sealer.rekey(later);
        sealer.handle_opened(3);
        assert!(!sealer.is_rekey_due(later.after(Duration::from_secs(10))), "those were under the old key");
        sealer.handle_opened(4);
        assert!(sealer.is_rekey_due(later.after(Duration::from_secs(10))));
    }

    #[test]
    fn a_key_without_a_span_lives_by_its_records_alone() {
        let (mut sealer, _) = pair(KeyLife { records: 3, span: None });
        let much_later = NOW.after(Duration::from_secs(86_400));
        seal(&mut sealer);
        sealer.handle_opened(1);

        assert!(!sealer.is_rekey_due(much_later));

        seal(&mut sealer);
        assert!(sealer.is_rekey_due(NOW));
    }

    #[test]
    fn both_ends_go_from_key_to_key_while_the_counter_goes_on() {
        let (mut sealer, mut opener) = pair(HOURLY);
        let mut before = *sealer.key.key.as_bytes();

        for counter in 0..100 {
            assert_eq!(opener.open(&[], &mut seal(&mut sealer)), Ok(counter));
            sealer.rekey(NOW);
            opener.rekey();
            assert_ne!(*sealer.key.key.as_bytes(), before);
            before = *sealer.key.key.as_bytes();
        }
    }

    #[test]
    fn a_record_under_another_key_of_the_same_direction_is_forged() {
        let (mut sealer, mut opener) = pair(HOURLY);
        seal(&mut sealer);
        let (mut early, _) = pair(HOURLY);
        early.rekey(NOW);
        let mut too_early = seal(&mut early);

        assert_eq!(opener.open(&[], &mut too_early), Err(Forged));

        opener.rekey();
        let (mut late, _) = pair(HOURLY);
        assert_eq!(opener.open(&[], &mut seal(&mut late)), Err(Forged));
    }

    #[test]
    fn late_records_open_under_the_key_before_as_long_as_it_is_kept() {
        let (mut sealer, mut opener) = phased();
        let records: [_; 4] = core::array::from_fn(|i| {
            if i == 2 {
                sealer.rekey(NOW);
            }
            (sealer.phase(), seal(&mut sealer))
        });
        let mut open = |now, counter: usize| {
            let (phase, mut record) = records[counter];
            opener.open(now, KEEP, (counter as u64, phase), &[], &mut record)
        };

        assert_eq!(open(NOW, 3), Ok(()));
        assert_eq!(open(NOW, 0), Ok(()));
        assert_eq!(open(NOW, 2), Ok(()));
        assert_eq!(open(NOW.after(KEEP), 1), Err(Forged));
    }

    #[test]
    fn a_forged_phase_or_counter_changes_no_key() {
        let (mut sealer, mut opener) = phased();
        let record = seal(&mut sealer);

        for counter in [0, 1, 1 << 20, MOST_RECORDS, u64::MAX] {
            for phase in [true, false] {
                if (counter, phase) != (0, false) {
                    assert_eq!(
                        opener.open(NOW, KEEP, (counter, phase), &[], &mut record.clone()),
                        Err(Forged)
                    );
                }
            }
        }

        assert_eq!(opener.forgeries, 9);
        assert!(opener.due_at().is_none());
        assert_eq!(opener.open(NOW, KEEP, (0, false), &[], &mut record.clone()), Ok(()));
    }

    #[test]
    fn the_key_before_is_wiped_in_time() {
        let (mut sealer, mut opener) = phased();
        sealer.rekey(NOW);
        opener.open(NOW, KEEP, (0, true), &[], &mut seal(&mut sealer)).unwrap();

        assert_eq!(opener.due_at(), Some(NOW.after(KEEP)));
        opener.handle_timeout(NOW);
        assert!(opener.old.is_some());
        opener.handle_timeout(NOW.after(KEEP));
        assert!(opener.old.is_none());
    }

    #[test]
    fn forgeries_wear_a_key_out_at_the_limit_of_its_cipher() {
        let (_, mut opener) = phased();

        opener.forgeries = (1 << 36) - 1;
        assert!(!opener.is_worn());
        opener.open(NOW, KEEP, (0, false), &[], &mut [0; TAG_LEN]).unwrap_err();
        assert!(opener.is_worn());
    }

    const KEEP: Duration = Duration::from_secs(3);

    fn phased() -> (Sealer<ChaChaPoly>, PhasedOpener<ChaChaPoly>) {
        let split = Secret::from_bytes([7; 32]);
        (Sealer::new(NOW, CIPHER, &split, HOURLY), PhasedOpener::new(CIPHER, &split))
    }

    const HOURLY: KeyLife = KeyLife::of(Some(Duration::from_secs(3600)));
    const NOW: Instant = Instant::from_micros(5);
    const CIPHER: Cipher = Cipher::ChaCha20Poly1305;

    fn pair(life: KeyLife) -> (Sealer<ChaChaPoly>, Opener<ChaChaPoly>) {
        let split = Secret::from_bytes([7; 32]);
        (Sealer::new(NOW, CIPHER, &split, life), Opener::new(CIPHER, &split))
    }

    fn seal(sealer: &mut Sealer<ChaChaPoly>) -> [u8; 3 + TAG_LEN] {
        let mut buf = [0; 3 + TAG_LEN];
        sealer.seal(&[], &mut buf);
        buf
    }
}
