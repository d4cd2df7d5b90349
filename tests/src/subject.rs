//! A single session without a network, for tests that decide each byte it hears and look at each byte it says.

use std::collections::BTreeMap;

use hyphal_core::{
    identity::Identity,
    ids::{Acquaintance, Hint},
    outbox::{Header, Payload},
    session::{Config, Expect, Session, Wall},
    time::{Duration, Instant, TimeQuality, UnixTime},
    wire::reason::Reason,
};

use crate::{
    link::{Delivered, LabOutbox, LinkEnd, Reading, lab_outbox},
    pair::lab_config,
    scripted::Scripted,
    seed::Seed,
};

/// A session under examination, with its outbox.
pub struct Subject {
    /// Who it is.
    pub identity: Identity,
    /// The session and its diary.
    pub link: LinkEnd,
    /// What it sends.
    pub outbox: LabOutbox,
    /// What it answers to an offer.
    pub verdict: Result<(), Reason>,
    /// The hints that it keeps, and whom it gave them to; each is forgotten when it is asked for.
    pub given: BTreeMap<Hint, Acquaintance>,
    /// What it let through to its application.
    pub delivered: Vec<Delivered>,
    /// Whether its application takes messages without ever being done with them.
    hoards: bool,
    now: Instant,
    buffer: Vec<u8>,
}

impl Subject {
    /// A session that dialled, with the identity and ephemeral that `seed` gives a dialling one.
    pub fn dialling(seed: &Seed) -> Self {
        Self::dialling_for(seed, Expect::Anyone)
    }

    /// A session that dialled whom `expect` says, with the identity and ephemeral that `seed` gives a dialling one.
    pub fn dialling_for(seed: &Seed, expect: Expect) -> Self {
        Self::new("dialling", seed, |now, wall, identity, config, rng| {
            Session::connect(now, wall, identity, config, expect, rng)
        })
    }

    /// A session that was dialled, with the identity and ephemeral that `seed` gives an accepting one.
    pub fn accepting(seed: &Seed) -> Self {
        Self::new("accepting", seed, |now, wall, identity, config, rng| {
            Session::accept(now, wall, identity, config, rng)
        })
    }

    /// As [`accepting`](Self::accepting), with an application that takes messages without ever being done with them, and
    /// that holds at most `window` bytes.
    pub fn accepting_slowly(seed: &Seed, window: u32) -> Self {
        let subject = Self::new("accepting", seed, |now, wall, identity, config, rng| {
            Session::accept(now, wall, identity, Config { window, ..config }, rng)
        });
        Self { hoards: true, ..subject }
    }

    fn new(
        label: &str,
        seed: &Seed,
        session: impl FnOnce(
            Instant,
            Wall,
            &Identity,
            Config,
            &mut rand_chacha::ChaCha8Rng,
        ) -> Session<hyphal_core::aead::ChaChaPoly>,
    ) -> Self {
        let mut chance = seed.generator(label);
        let identity = Identity::generate(chance.generator());
        let wall = Wall { time: UnixTime::from_micros(1_800_000_000_000_000), quality: TimeQuality::Synced };
        let config = lab_config(chance.below(u64::MAX));
        Self {
            link: LinkEnd::new(session(Instant::ZERO, wall, &identity, config, chance.generator())),
            identity,
            outbox: lab_outbox(),
            verdict: Ok(()),
            given: BTreeMap::new(),
            delivered: Vec::new(),
            hoards: false,
            now: Instant::ZERO,
            buffer: vec![0; 16 * 1024 + 3],
        }
    }

    /// Reads `bytes` and all that came before and was not complete.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.link.handle_bytes(bytes);
        loop {
            match self.link.read(self.now, &mut self.outbox) {
                Reading::Done => break,
                Reading::Absorbed | Reading::Dropped(_) => {}
                Reading::Hint(hint) => self.link.session.handle_hint(self.given.remove(&hint)),
                Reading::Offer(_) => {
                    self.link.session.handle_verdict(self.now, &mut self.outbox, self.verdict);
                }
                Reading::Messages { mark, messages } => {
                    self.delivered.extend(messages);
                    if !self.hoards {
                        self.link.session.handle_consumed(self.now, mark);
                    }
                }
            }
        }
        self.link.note_events(self.now);
    }

    /// Hears the whole handshake of `peer`, which dialled it, and gives the records that `peer` hears first.
    pub fn hear_handshake(&mut self, peer: &mut Scripted) -> Vec<Vec<u8>> {
        self.hear(&peer.first());
        let third = peer.third(&self.say());
        self.hear(&third);
        peer.hear_records(&self.say())
    }

    /// All that it has to say at this moment, one frame or record after another.
    pub fn say(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some(len) = self.link.session.poll_transmit(self.now, &mut self.outbox, &mut self.buffer) {
            said.extend_from_slice(&self.buffer[..len]);
        }
        self.link.note_events(self.now);
        said
    }

    /// Lets `span` pass and does what is due.
    pub fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.link.session.handle_timeout(self.now, &mut self.outbox);
        self.link.note_events(self.now);
    }

    /// Queues a message to the peer.
    ///
    /// # Panics
    /// If the outbox refuses it.
    pub fn send(&mut self, header: Header, payload: &[u8]) {
        self.outbox.push(self.now, header, Payload::Copied(payload)).expect("the outbox has room");
    }

    /// The virtual clock.
    pub const fn now(&self) -> Instant {
        self.now
    }
}

/// Carries what each says to the other until both are quiet.
pub fn converse(one: &mut Subject, other: &mut Subject) {
    loop {
        let (said, answered) = (one.say(), other.say());
        if said.is_empty() && answered.is_empty() {
            return;
        }
        other.hear(&said);
        one.hear(&answered);
    }
}
