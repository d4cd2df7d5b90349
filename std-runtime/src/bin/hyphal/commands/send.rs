//! `hyphal send`: one message to one peer or to all, and what became of it.
//!
//! A message is queued at once and leaves when its session is up. Refusals end the wait early, since no further attempt
//! would change them; an address that cannot be reached is tried until the time is over. Time counts while nothing of the
//! message moves. What is given up is cancelled, so that a receiver of its first parts does not wait for the rest.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyphal::compression::Rule;
use hyphal::{MessageId, Node, NodeId, Outcome, Reason, Receipt, SendError, SendOptions};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::progress::Bar;
use super::reach::{self, Obstacle};
use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, SendArgs};
use crate::output::{self, BAD, Exit, Failure, GOOD, HINT};

/// Sends and waits.
pub(crate) fn run(global: &Global, args: &SendArgs) -> Result<Exit, Failure> {
    let mut setup = Setup::load(global, &args.visitor.node, Key::of(args.visitor.ephemeral_key))?;
    let store = setup.config.store.directory.clone();
    setup.dial_only();
    if args.is_guaranteed() && args.broadcast {
        return Err(Failure::new(
            Exit::Usage,
            "a broadcast cannot be sent with --reliability guaranteed",
            "send it to each peer with --to, or with --reliability high",
        ));
    }
    if args.is_guaranteed() {
        setup.config.store.directory = Some(store.ok_or_else(|| without_store(args))?);
    }
    if let Some(target) = &args.to {
        setup.select(target)?;
    } else if setup.config.peers.is_empty() {
        return Err(Failure::new(
            Exit::Setup,
            "there are no peers to broadcast to",
            "set peers, or pass --peer ID@HOST:PORT",
        ));
    }
    if let Some(method) = args.compress {
        if args.seal || args.sign {
            return Err(Failure::new(
                Exit::Usage,
                "--compress: what is sealed or signed is never compressed",
                "send it without --compress, or compress it yourself before",
            ));
        }
        let kind = args.kind.unwrap_or_default();
        let rule = Rule::new(kind..=kind, method.into()).map_err(|error| {
            Failure::new(Exit::Usage, format!("--compress: {error}"), "send it without --compress")
        })?;
        setup.config.compression.send = vec![rule];
    }
    output::start_quiet_logs(global, &setup.config.log, "error");
    let payload = read_payload(args)?;
    // What the peer takes is for the peer to say.
    setup.config.limits.outbox_bytes = setup.config.limits.outbox_bytes.max(room_for(payload.len()));
    start::block_on(&setup.config, serve(&setup, args, payload))
}

/// Bytes that a payload may take in the queue: sealed and signed, it has an envelope, and 16 bytes more in each 16 KiB.
fn room_for(len: usize) -> usize {
    len.saturating_add(len / 512).saturating_add(4096)
}

/// A Guaranteed message is accepted when it is stored, so there must be a store.
fn without_store(args: &SendArgs) -> Failure {
    if args.visitor.ephemeral_key {
        return Failure::new(
            Exit::Usage,
            "--reliability guaranteed needs this node's own key, which the store belongs to",
            "send it without --ephemeral-key, or with --reliability high",
        );
    }
    Failure::new(
        Exit::Setup,
        "--reliability guaranteed needs a store, and none is configured",
        "set store.directory, pass --store DIR, or send it with --reliability high",
    )
}

fn read_payload(args: &SendArgs) -> Result<Bytes, Failure> {
    let (bytes, name) = match (&args.text, &args.file) {
        (Some(text), _) => (Some(text.clone().into_bytes()), "the text".to_owned()),
        (None, Some(path)) if path.as_os_str() != "-" => {
            (read_file(path).map_err(|error| unreadable(path, &error))?, path.display().to_string())
        }
        (None, _) => {
            if io::stdin().is_terminal() {
                // Nobody needs to see the hint.
                let _ = writeln!(anstream::stderr(), "{HINT}type the message, then Ctrl-D{HINT:#}");
            }
            let bytes = read_bounded(io::stdin().lock()).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot read standard input: {error}"), "")
            })?;
            (Some(bytes), "standard input".to_owned())
        }
    };
    match bytes.filter(|bytes| bytes.len() <= MOST_BYTES) {
        Some(bytes) => Ok(bytes.into()),
        None => Err(Failure::new(
            Exit::Failed,
            format!("{name} is too long: no peer takes more than {MOST_BYTES} bytes in one message"),
            "split it, as: split -b 16M FILE part-",
        )),
    }
}

/// Reads the file, into a buffer of its size from the start; of one that is too long, nothing is read.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    // What is no plain file says any length, or none.
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len > MOST_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(len + 1);
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Reads no more than is needed to know that it is too much.
fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot read {}: {error}", path.display()),
        "check the path and its permissions",
    )
}

/// The longest payload that any peer takes.
const MOST_BYTES: usize = 1 << 30;

async fn serve(setup: &Setup, args: &SendArgs, payload: Bytes) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let node = setup.start().await?;
    if args.seal {
        tokio::select! {
            () = learn_key(setup, &node, args) => {}
            () = signals.recv() => {
                start::shut_down(&node, FAREWELL).await;
                return Err(Failure::new(Exit::Interrupted, "interrupted before the message was sealed; nothing was sent", ""));
            }
        }
    }
    let (id, queued) = queue(setup, &node, args, &payload).await?;
    let tracked = queued.iter().filter(|(_, receipt)| receipt.is_ok()).count();
    let bar = Bar::new(payload.len() * tracked, !args.quiet && !args.json);
    let (cancel, cancelled) = watch::channel(false);
    let mut waiting = JoinSet::new();
    let mut deliveries = Vec::new();
    for (peer, receipt) in queued {
        match receipt {
            Ok(receipt) => {
                let attempt = Attempt {
                    node: node.clone(),
                    network: setup.config.network.clone(),
                    peer,
                    len: payload.len(),
                    timeout: args.timeout,
                    is_stored: args.is_guaranteed(),
                    bar: bar.clone(),
                };
                waiting.spawn(attempt.follow(receipt, cancelled.clone()));
            }
            Err(error) => deliveries.push(Delivery::refused(peer, payload.len(), error)),
        }
    }
    // The queues hold it.
    drop(payload);
    let is_interrupted = loop {
        tokio::select! {
            settled = waiting.join_next() => match settled {
                Some(Ok(delivery)) => deliveries.push(delivery),
                Some(Err(error)) => return Err(Failure::new(Exit::Failed, error.to_string(), "")),
                None => break false,
            },
            () = signals.recv() => break true,
        }
    };
    bar.clear();
    if is_interrupted {
        cancel.send_replace(true);
        while waiting.join_next().await.is_some() {}
    } else {
        deliveries.sort_by(|a, b| a.peer.cmp(&b.peer));
        tell(id, &deliveries, args.json)?;
    }
    start::shut_down(&node, FAREWELL).await;
    if is_interrupted {
        let rest = match args.is_guaranteed() {
            true => "it stays in the store, and is sent when this node runs next",
            false => "what was not sent of it is cancelled",
        };
        let message = format!("interrupted before it was known what became of the message; {rest}");
        return Err(Failure::new(Exit::Interrupted, message, ""));
    }
    Ok(exit_of(&deliveries))
}

/// Waits a while for the session that shows with which key the peer opens: its own, or a delegated one. To a peer that is not there,
/// the message is sealed with the key of its id.
async fn learn_key(setup: &Setup, node: &Node, args: &SendArgs) {
    if let Some(peer) = setup.config.peers.first() {
        let deadline = Instant::now() + args.timeout.min(KEY_PATIENCE);
        // Why there is none shows when the message is not delivered.
        let _ = reach::session(node, &setup.config.network, peer.id, deadline).await;
    }
}

/// A peer that takes longer for a handshake is not there.
const KEY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the word that a message is abandoned may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

type Queued = Vec<(NodeId, Result<Receipt, SendError>)>;

async fn queue(
    setup: &Setup,
    node: &Node,
    args: &SendArgs,
    payload: &Bytes,
) -> Result<(Option<MessageId>, Queued), Failure> {
    let kind = args.kind.unwrap_or_default();
    let mut options =
        SendOptions::default().priority(args.priority.into()).ttl(args.ttl).overflow(args.overflow.into());
    // Without the flags, the security of the configuration and the profile of the pair count.
    options.seal = args.seal.then_some(true);
    options.sign = args.sign.then_some(true);
    options.reliability = args.reliability.map(Into::into);
    if args.broadcast {
        let sent = node.broadcast_tracked(kind, payload.clone(), options).await.map_err(unsendable)?;
        let accepted = sent
            .accepted
            .into_iter()
            .filter_map(|(peer, receipt)| receipt.map(|receipt| (peer, Ok(receipt))));
        let refused = sent.refused.into_iter().map(|(peer, error)| (peer, Err(error)));
        return Ok((Some(sent.id), accepted.chain(refused).collect()));
    }
    let Some(peer) = setup.config.peers.first().map(|peer| peer.id) else { return Ok((None, Vec::new())) };
    match node.send_direct_tracked(peer, kind, payload.clone(), options).await {
        Ok((id, receipt)) => Ok((Some(id), vec![(peer, Ok(receipt))])),
        Err(error @ (SendError::TooLong { .. } | SendError::QueueFull)) => {
            Ok((None, vec![(peer, Err(error))]))
        }
        Err(error) => Err(unsendable(error)),
    }
}

fn unsendable(error: SendError) -> Failure {
    match error {
        SendError::ReservedType => Failure::new(
            Exit::Usage,
            "--type: nodes use messages of this type among themselves",
            "applications use 0 to 255 and 4096 to 65535",
        ),
        SendError::UnknownType => Failure::new(
            Exit::Usage,
            "--type: no family of message types has this number",
            "applications use 0 to 255 and 4096 to 65535",
        ),
        SendError::DiskFull => Failure::new(
            Exit::Failed,
            "the message is not accepted: the disk of the store is full",
            "make room on the disk, or choose another directory (store.directory); then send it again",
        ),
        SendError::StoreFull => Failure::new(
            Exit::Failed,
            "the message is not accepted: the store is full",
            "wait until peers have acknowledged what it holds, or raise store.bytes",
        ),
        SendError::StoreFailed => Failure::new(
            Exit::Failed,
            "the message is not accepted: the disk of the store fails",
            "see the log for what the system said, and check the disk",
        ),
        SendError::DelegatedKey => Failure::new(
            Exit::Setup,
            "the message cannot be signed: this node has a delegated key",
            "send it without --sign, or from where the node's own key is",
        ),
        error => Failure::new(Exit::Failed, format!("the message cannot be sent: {error}"), ""),
    }
}

/// The message on its way to one peer.
struct Attempt {
    node: Node,
    network: String,
    peer: NodeId,
    len: usize,
    /// How long nothing may move.
    timeout: Duration,
    /// Whether the message stays in the store when this command ends.
    is_stored: bool,
    bar: Bar,
}

impl Attempt {
    /// Waits for what becomes of the message.
    async fn follow(self, mut receipt: Receipt, mut cancelled: watch::Receiver<bool>) -> Delivery {
        let Self { node, network, peer, len, timeout, is_stored, bar } = self;
        let mut refusal = std::pin::pin!(reach::refusal(&node, &network, peer));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut moved, mut deadline) = (0, Instant::now() + timeout);
        loop {
            let before = moved;
            tokio::select! {
                // A message that was delivered just before the time was over is delivered.
                biased;
                outcome = &mut receipt => {
                    bar.advance(len as u64 - moved);
                    return match outcome {
                        Outcome::Delivered => Delivery::new(peer, Fate::Delivered),
                        Outcome::Expired => Delivery::expired(peer, &reach::obstacle(&node, &network, peer).await),
                        Outcome::Unconfirmed if is_stored => {
                            Delivery::unconfirmed(peer, "its time to live passed before it was confirmed")
                        }
                        Outcome::Unconfirmed => Delivery::cut_off(peer),
                        Outcome::Unknown => Delivery::unknown(peer),
                        Outcome::Failed(Reason::PeerLimit) => Delivery::too_long(&node, peer, len).await,
                        Outcome::Failed(reason) => Delivery::failed(peer, reason),
                    };
                }
                () = called_off(&mut cancelled) => {
                    if is_stored {
                        return Delivery::stored(peer, None);
                    }
                    receipt.cancel();
                    return Delivery::unconfirmed(peer, "it was cancelled");
                }
                obstacle = &mut refusal => {
                    return match is_stored {
                        true => Delivery::stored(peer, Some(obstacle)),
                        false if receipt.cancel() => Delivery::unreachable(peer, obstacle),
                        false => Delivery::cut_off(peer),
                    };
                }
                _ = looks.tick() => {}
                () = tokio::time::sleep_until(deadline) => {
                    if is_stored {
                        let obstacle = match reach::is_up(&node, peer).await {
                            true => None,
                            false => Some(reach::obstacle(&node, &network, peer).await),
                        };
                        return Delivery::stored(peer, obstacle);
                    }
                    let is_called_back = receipt.cancel();
                    return if reach::is_up(&node, peer).await {
                        Delivery::unconfirmed(
                            peer,
                            "it was not confirmed in time: the receiving application may be slow",
                        )
                    } else if is_called_back {
                        Delivery::unreachable(peer, reach::obstacle(&node, &network, peer).await)
                    } else {
                        Delivery::cut_off(peer)
                    };
                }
            }
            // A message that begins anew in another session goes back for a while.
            // With its envelope it is longer than its payload.
            moved = u64::from(receipt.progress().written).min(len as u64).max(before);
            if moved > before {
                bar.advance(moved - before);
                deadline = Instant::now() + timeout;
            }
        }
    }
}

async fn called_off(cancelled: &mut watch::Receiver<bool>) {
    // Whoever could call it off has gone with the command.
    let _ = cancelled.wait_for(|is_cancelled| *is_cancelled).await;
}

/// How often the progress of a message is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What became of the message at one peer.
#[derive(Serialize)]
struct Delivery {
    peer: String,
    outcome: Fate,
    /// Why, by the name of the protocol.
    reason: Option<&'static str>,
    detail: Option<String>,
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// The application there has taken it.
    Delivered,
    /// Its time to live passed before it could be sent.
    Expired,
    /// It was sent; whether it arrived is unknown.
    Unconfirmed,
    /// It was sent; the receiver has forgotten whether it came.
    Unknown,
    /// It was not confirmed in time, and stays in the store of this node until it is.
    Stored,
    /// It was not sent, for what it is.
    Failed,
    /// It was not sent, as there was no session.
    Unreachable,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Unconfirmed => "unconfirmed",
            Self::Unknown => "unknown",
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What to do about a message that its receiver refused.
fn remedy(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::NoReceiver => Some(
            "start what receives this message type there; it may come up to timeouts.unclaimed (10 s) late",
        ),
        Reason::UnknownType => Some("send another message type, or use a newer release there"),
        Reason::BadSeal => Some(
            "the peer opens with a delegated key that it had not shown when the message was sealed; send it again while the \
             peer is there",
        ),
        Reason::NotKept => Some("give the peer a store (store.directory), or send with --reliability high"),
        _ => None,
    }
}

impl Delivery {
    fn new(peer: NodeId, outcome: Fate) -> Self {
        Self { peer: peer.to_string(), outcome, reason: None, detail: None, remedy: None }
    }

    fn with_obstacle(self, obstacle: Obstacle) -> Self {
        Self {
            reason: obstacle.reason.map(Reason::name),
            detail: Some(obstacle.message),
            remedy: Some(obstacle.remedy).filter(|remedy| !remedy.is_empty()),
            ..self
        }
    }

    fn unreachable(peer: NodeId, obstacle: Obstacle) -> Self {
        Self::new(peer, Fate::Unreachable).with_obstacle(obstacle)
    }

    fn expired(peer: NodeId, obstacle: &Obstacle) -> Self {
        let detail = match obstacle.reason {
            Some(_) => format!("its time to live passed before it could be sent: {}", obstacle.message),
            None => "its time to live passed before it could be sent".to_owned(),
        };
        Self { reason: Some(Reason::Expired.name()), detail: Some(detail), ..Self::new(peer, Fate::Expired) }
    }

    /// It has left, and may have arrived.
    fn cut_off(peer: NodeId) -> Self {
        Self::unconfirmed(peer, "the session ended before it was confirmed")
    }

    fn unconfirmed(peer: NodeId, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..Self::new(peer, Fate::Unconfirmed) }
    }

    fn unknown(peer: NodeId) -> Self {
        Self {
            reason: Some(Reason::LaneUnknown.name()),
            detail: Some("the receiver has forgotten whether it came".to_owned()),
            ..Self::new(peer, Fate::Unknown)
        }
    }

    fn stored(peer: NodeId, obstacle: Option<Obstacle>) -> Self {
        let stored =
            "it was not confirmed in time; it stays in the store, and is sent when this node runs next";
        let (reason, detail) = match obstacle {
            Some(obstacle) => (obstacle.reason.map(Reason::name), format!("{stored}: {}", obstacle.message)),
            None => (None, stored.to_owned()),
        };
        let remedy = Some(
            "run hyphal node with the same key and store, and with this peer among its peers".to_owned(),
        );
        Self { reason, detail: Some(detail), remedy, ..Self::new(peer, Fate::Stored) }
    }

    fn failed(peer: NodeId, reason: Reason) -> Self {
        Self {
            reason: Some(reason.name()),
            detail: Some(reason.to_string()),
            remedy: remedy(reason).map(str::to_owned),
            ..Self::new(peer, Fate::Failed)
        }
    }

    /// The peer's limit was told when its session came up.
    async fn too_long(node: &Node, peer: NodeId, len: usize) -> Self {
        match node.peers().await.into_iter().find(|known| known.status.id == peer) {
            Some(known) => Self::refused(peer, len, SendError::TooLong { max: known.max_message }),
            None => Self::failed(peer, Reason::PeerLimit),
        }
    }

    fn refused(peer: NodeId, len: usize, error: SendError) -> Self {
        let failed = Self::new(peer, Fate::Failed);
        match error {
            SendError::TooLong { max } => Self {
                reason: Some(Reason::PeerLimit.name()),
                detail: Some(format!("the message has {len} bytes and the peer takes at most {max}")),
                remedy: Some(format!(
                    "split it, as: split -b {max} FILE part-; or raise limits.max_message there"
                )),
                ..failed
            },
            error => Self { detail: Some(error.to_string()), ..failed },
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    message_id: Option<String>,
    deliveries: &'a [Delivery],
}

fn tell(id: Option<MessageId>, deliveries: &[Delivery], is_json: bool) -> Result<(), Failure> {
    if is_json {
        return output::print_json(&Report { message_id: id.map(|id| id.to_string()), deliveries });
    }
    let mut out = anstream::stdout().lock();
    for Delivery { peer, outcome, detail, remedy, .. } in deliveries {
        let style = if *outcome == Fate::Delivered { GOOD } else { BAD };
        write!(out, "{style}{}{style:#} {peer}", outcome.name())?;
        match detail {
            Some(detail) => writeln!(out, ": {detail}")?,
            None => writeln!(out)?,
        }
        if let Some(remedy) = remedy {
            // Results are all that standard output gets.
            let _ = writeln!(anstream::stderr(), "  {HINT}help:{HINT:#} {remedy}");
        }
    }
    Ok(out.flush()?)
}

/// What is wrong with the message comes before what is wrong with a peer.
fn exit_of(deliveries: &[Delivery]) -> Exit {
    let any = |fate| deliveries.iter().any(|delivery| delivery.outcome == fate);
    if any(Fate::Failed) {
        Exit::Failed
    } else if deliveries.iter().any(|delivery| delivery.outcome != Fate::Delivered) {
        Exit::Unreachable
    } else {
        Exit::Done
    }
}
