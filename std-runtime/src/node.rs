//! The node as applications hold it. Every method is a few lines: the work is done in `send`, `subscription` and `control`.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyphal_core::aead::Cipher;
use hyphal_core::ids::{MessageId, NodeId};
use hyphal_core::node::{Outcome as Verdict, PeerStatus};
use hyphal_core::profile::Terms;
use hyphal_core::recovery::{self, Recovery};
use hyphal_core::wire::reason::Reason;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::address::Endpoint;
use crate::builder::NodeBuilder;
use crate::control::Command;
use crate::counters::{ByReliability, Certification, Counters, Protected, Sent};
use crate::error::{AddPeerError, PeerError, ReloadError, SendError};
use crate::event::Events;
use crate::guaranteed::Guaranteed;
use crate::held::HeldSubscription;
use crate::hub::Hub;
use crate::message::{Batch, Message, Outgoing, Payload, SendOptions};
use crate::queue::Queue;
use crate::receipt::Receipt;
use crate::roster::{Reloaded, Roster};
use crate::send::{self, Broadcast, SendBatch};
use crate::subscription::{Filter, Reader, Registry, StreamSubscription, Subscription};
use crate::trust::{Credential, TrustError, TrustSettings, TrustState};

/// A running node. Clones are the same node; when the last one is dropped, it ends without a word to its peers.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    inbox: Mutex<Reader>,
    addresses: Vec<Endpoint>,
    doors: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.doors.iter().for_each(AbortHandle::abort);
        self.hub.abort();
    }
}

impl Node {
    /// A builder with all defaults.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) fn new(hub: Arc<Hub>, addresses: Vec<Endpoint>, doors: Vec<AbortHandle>) -> Self {
        let inbox = Mutex::new(Reader::new(Arc::clone(&hub.inbox.queue), Arc::clone(&hub.registry)));
        Self { inner: Arc::new(Inner { hub, inbox, addresses, doors }) }
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.hub().plan.identity.id()
    }

    /// Where this node listens, with the ports that it was given.
    pub fn local_addrs(&self) -> &[Endpoint] {
        &self.inner.addresses
    }

    /// Queues a message for one peer, waiting while its queue is full unless the [`overflow`](SendOptions::overflow) of its
    /// options says otherwise. It is sent when a session is up.
    ///
    /// That holds for an absent stranger too: the message waits until it comes back, its place in a full table is given
    /// away or it is removed, or the time to live passes.
    ///
    /// Cancellation safe: dropped before it is ready, it has queued nothing; a Guaranteed message that was on its way to the disk
    /// is accepted all the same if it gets there.
    ///
    /// Await it, or drop it. One that was polled and is kept without being polled further keeps its place: those who wait for
    /// room at that peer wait behind it, and where it is Guaranteed nothing that is accepted later in the same priority is sent
    /// to that peer. So in a `select!` in a loop, let each turn finish it or drop it, or give it a task of its own.
    ///
    /// # Errors
    /// Anything of [`SendError`]; `QueueFull` only if the message does not wait.
    pub async fn send_direct(
        &self,
        peer: NodeId,
        kind: u16,
        payload: impl Into<Payload<'_>>,
        options: SendOptions,
    ) -> Result<MessageId, SendError> {
        let message = Outgoing { kind, payload: payload.into(), options };
        Ok(send::send(self.hub(), peer, message, false).await?.0)
    }

    /// The same, with a receipt that tells what became of the message.
    ///
    /// At most 65,536 receipts to one peer may be open; further tracked messages find the queue full. To be awaited or dropped
    /// as [`send_direct`](Self::send_direct).
    ///
    /// # Errors
    /// Anything of [`SendError`]; `QueueFull` only if the message does not wait.
    pub async fn send_direct_tracked(
        &self,
        peer: NodeId,
        kind: u16,
        payload: impl Into<Payload<'_>>,
        options: SendOptions,
    ) -> Result<(MessageId, Receipt), SendError> {
        let message = Outgoing { kind, payload: payload.into(), options };
        let (id, receipt) = send::send(self.hub(), peer, message, true).await?;
        Ok((id, receipt.expect("a tracked message has a receipt")))
    }

    /// Queues a message for one peer if there is room at once and nobody waits for it, or if it may shed others.
    ///
    /// # Errors
    /// Anything of [`SendError`].
    pub fn try_send_direct<'a>(
        &self,
        peer: NodeId,
        kind: u16,
        payload: impl Into<Payload<'a>>,
        options: SendOptions,
    ) -> Result<MessageId, SendError> {
        let message = Outgoing { kind, payload: payload.into(), options };
        Ok(send::try_send(self.hub(), peer, &message, false)?.0)
    }

    /// Queues many messages for one peer, with one lock and one wake-up for many, waiting whenever the queue is full unless
    /// the options of a message say otherwise: one that is refused ends the batch.
    ///
    /// This is the fast way: millions of small messages a second. See [`SendBatch`] for stopping half-way.
    pub fn send_batch<'m, I>(&self, peer: NodeId, messages: I) -> SendBatch<'m, I::IntoIter>
    where
        I: IntoIterator<Item = Outgoing<'m>>,
    {
        SendBatch::new(Arc::clone(self.hub()), peer, messages.into_iter())
    }

    /// Queues one message for all peers, sharing its payload and its id.
    ///
    /// Waits for room in the queues of peers as long as they have a session. At a peer without one the message is queued if
    /// there is room at once, and refused as `QueueFull` if not, so that an absent peer holds nobody up. With another
    /// [`overflow`](SendOptions::overflow) it waits for nobody.
    ///
    /// Strangers, peers that connected and were never added, get it only while they have a session: one that is absent
    /// is passed over, and broadcasts that are still queued for it when its session ends are dropped (`PeerGone`).
    /// Dropped before it is ready, the broadcast may have reached some of the queues.
    ///
    /// # Errors
    /// [`SendError::TooLong`], [`SendError::UnknownType`] if no peer could take it; what concerns one peer is in the result.
    pub async fn broadcast(
        &self,
        kind: u16,
        payload: impl Into<Payload<'_>>,
        options: SendOptions,
    ) -> Result<Broadcast, SendError> {
        send::broadcast(self.hub(), kind, payload.into(), options, false).await
    }

    /// The same, with a receipt for each peer.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub async fn broadcast_tracked(
        &self,
        kind: u16,
        payload: impl Into<Payload<'_>>,
        options: SendOptions,
    ) -> Result<Broadcast, SendError> {
        send::broadcast(self.hub(), kind, payload.into(), options, true).await
    }

    /// The next message that no subscription takes; `None` when the node has been shut down and everything was taken.
    ///
    /// Several tasks may receive; each message goes to one of them, and whoever comes back first acknowledges for all.
    /// On a node with subscriptions such messages are dropped (`NoReceiver`) until this was called once, and so are those that came
    /// before the first subscription and that it does not take. Cancellation safe.
    pub async fn recv(&self) -> Option<Message> {
        self.poll_inbox(|inbox, cx| inbox.poll_recv(cx)).await
    }

    /// The next messages that arrived together and that no subscription takes, see [`recv`](Self::recv).
    pub async fn recv_batch(&self) -> Option<Batch> {
        self.poll_inbox(|inbox, cx| inbox.poll_recv_batch(cx)).await
    }

    async fn poll_inbox<T>(&self, mut poll: impl FnMut(&mut Reader, &Context<'_>) -> Poll<T>) -> T {
        let hub = self.hub();
        if hub.inbox.handle_read()
            && let Some(guaranteed) = &hub.guaranteed
        {
            guaranteed.unclaimed().look_again();
        }
        poll_fn(|cx| poll(&mut self.inner.inbox.lock().unwrap_or_else(PoisonError::into_inner), cx)).await
    }

    /// Receives the messages that match `filter`, from here on.
    ///
    /// It begins with the Guaranteed ones that have come and that nobody has received so far; a node's first subscription with all that
    /// have come, unless somebody receives from the inbox ([`recv`](Self::recv)).
    pub fn subscribe(&self, filter: Filter) -> Subscription {
        self.open(filter, Registry::subscribe)
    }

    /// Receives the messages that match `filter`, as [`subscribe`](Self::subscribe), large ones part by part while they arrive.
    ///
    /// Such a message takes nothing of the memory for unfinished ones, only the window of its session, and its reader sets
    /// its sender's pace. Other subscriptions that match get it whole.
    pub fn subscribe_streams(&self, filter: Filter) -> StreamSubscription {
        self.open(filter, Registry::subscribe_streams)
    }

    /// Receives the messages that match `filter`, as [`subscribe`](Self::subscribe), each to be acknowledged by whoever has it:
    /// what was done with a message can be made durable before its sender hears that it is delivered.
    pub fn subscribe_held(&self, filter: Filter) -> HeldSubscription {
        self.open(filter, Registry::subscribe_held)
    }

    fn open<S>(&self, filter: Filter, subscribe: impl FnOnce(&Arc<Registry>, Filter, Queue) -> S) -> S {
        let hub = self.hub();
        hub.inbox.handle_subscription();
        let queue = Queue::new(hub.plan.limits.queue_batches, hub.plan.limits.queue_bytes);
        hub.empty_unread_inbox(Some((&filter, &queue)));
        let Some(guaranteed) = &hub.guaranteed else { return subscribe(&hub.registry, filter, queue) };
        guaranteed
            .unclaimed()
            .claim(hub, filter, queue, |filter, queue| subscribe(&hub.registry, filter, queue))
    }

    /// What happens to peers, from here on.
    pub fn events(&self) -> Events {
        Events { receiver: self.hub().events.subscribe() }
    }

    /// What the node has done since its start.
    pub fn counters(&self) -> Counters {
        let hub = self.hub();
        let tally = &hub.tally;
        let fates = hub.fates();
        Counters {
            sent: hub.sent(),
            sent_dropped: fates.dropped(),
            fates,
            received: tally.traffic.messages_received.load(Relaxed),
            received_dropped: tally.traffic.dropped(),
            protected: tally.traffic.envelopes.snapshot(),
            bytes_sent: tally.traffic.bytes_sent.load(Relaxed),
            bytes_received: tally.traffic.bytes_received.load(Relaxed),
            compressed_sent: tally.traffic.packed.snapshot(),
            compressed_received: tally.traffic.unpacked.snapshot(),
            accepted: tally.accepted.load(Relaxed),
            dialled: tally.dialled.load(Relaxed),
            refused: tally.refused.snapshot(),
            strays: tally.strays.snapshot(),
            sessions: tally.sessions.load(Relaxed),
            failed: tally.failed.snapshot(),
            closed: tally.closed.snapshot(),
            reloads: tally.reloads.load(Relaxed),
            trust_changes: tally.trust_changes.load(Relaxed),
            reloads_refused: tally.refused_reloads.snapshot(),
            certification: tally.traffic.vetting.snapshot(),
            lists_from_files: tally.lists_from_files.load(Relaxed),
            lists_unkept: tally.lists_unkept.load(Relaxed),
            lanes_refused: hub.guaranteed.as_ref().map_or(0, Guaranteed::refused_lanes),
            store: hub.guaranteed.as_ref().map(Guaranteed::store_counters),
        }
    }

    /// All peers with their states and numbers, in order of id. Empty once the node has been shut down.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        let Some(listed) = self.ask(|reply| Command::Peers { reply }).await else { return Vec::new() };
        let info = |(status, endpoint): (PeerStatus, Option<Endpoint>)| {
            let peer = self.hub().peer(&status.id);
            let fates = peer.as_ref().map(|peer| peer.fates()).unwrap_or_default();
            PeerInfo {
                status,
                endpoint,
                certificate: status.session.and_then(|session| session.credential.ok()),
                cipher: peer.as_ref().and_then(|peer| *peer.cipher.borrow()),
                terms: peer.as_ref().and_then(|peer| peer.lane().terms().copied()),
                sent: peer.as_ref().map(|peer| peer.sent()).unwrap_or_default(),
                sent_dropped: fates.dropped(),
                fates,
                queued_bytes: peer.as_ref().map_or(0, |peer| peer.lane().outbox.queued_bytes() as u64),
                received: peer.as_ref().map_or(0, |peer| peer.tally.messages_received.load(Relaxed)),
                received_dropped: peer.as_ref().map(|peer| peer.tally.dropped()).unwrap_or_default(),
                protected: peer.as_ref().map(|peer| peer.tally.envelopes.snapshot()).unwrap_or_default(),
                certification: peer.as_ref().map(|peer| peer.tally.vetting.snapshot()).unwrap_or_default(),
                bytes_sent: peer.as_ref().map_or(0, |peer| peer.tally.bytes_sent.load(Relaxed)),
                bytes_received: peer.as_ref().map_or(0, |peer| peer.tally.bytes_received.load(Relaxed)),
                max_message: peer.as_ref().map_or(0, |peer| peer.lane().outbox.max_message()),
            }
        };
        listed.into_iter().map(info).collect()
    }

    /// What the session with a peer runs by, or the last one ran by; `None` if there was none yet.
    pub fn terms(&self, id: NodeId) -> Option<Terms> {
        self.hub().peer(&id)?.lane().terms().copied()
    }

    /// Adds a peer, or changes its endpoint; with an endpoint it is dialled at once and whenever it is lost.
    ///
    /// # Errors
    /// See [`AddPeerError`].
    pub async fn add_peer(&self, id: NodeId, endpoint: Option<Endpoint>) -> Result<(), AddPeerError> {
        self.ask(|reply| Command::AddPeer { id, endpoint, reply }).await.unwrap_or(Err(AddPeerError::Closed))
    }

    /// Removes a peer: its session is closed, and what is queued for it is dropped. Guaranteed messages to it fail
    /// ([`Reason::PeerGone`]) and leave the store; what it has sent stays known, so that nothing comes twice if it is added again.
    /// A peer that was never added, or is gone, is removed so from the store too.
    ///
    /// Only this does: Guaranteed messages to peers that the node gives up by itself, or that have to make room for others, stay
    /// stored until those come back.
    ///
    /// # Errors
    /// [`PeerError::UnknownPeer`], [`PeerError::Closed`].
    pub async fn remove_peer(&self, id: NodeId) -> Result<(), PeerError> {
        self.ask(|reply| Command::RemovePeer { id, reply }).await.unwrap_or(Err(PeerError::Closed))
    }

    /// Puts this roster in the place of the one in force: whom the node admits, and its peers. The files that its trust names are
    /// read. Peers that are not in it are removed, those whose endpoint changed keep their sessions and are dialled there next,
    /// and sessions with nodes that the policy does not admit any more are closed, as [`Reason::Untrusted`] or with what is
    /// wrong with their certificate.
    ///
    /// All of it, or on `Err` nothing. Peers that were added by [`add_peer`](Self::add_peer) are in it or removed like the others.
    ///
    /// # Errors
    /// See [`ReloadError`].
    pub async fn reload(&self, roster: Roster) -> Result<Reloaded, ReloadError> {
        let reloaded = self.take_roster(roster).await;
        let tally = &self.hub().tally;
        let count = match &reloaded {
            Ok(_) => &tally.reloads,
            Err(ReloadError::Trust { .. }) => &tally.refused_reloads.trust,
            Err(ReloadError::Peer { .. }) => &tally.refused_reloads.peer,
            Err(ReloadError::Full { .. }) => &tally.refused_reloads.room,
            Err(ReloadError::Closed) => return reloaded,
        };
        count.fetch_add(1, Relaxed);
        reloaded
    }

    async fn take_roster(&self, roster: Roster) -> Result<Reloaded, ReloadError> {
        let Roster { trust, peers } = roster;
        let trust = Box::new(self.load(trust).await?);
        let reloaded = self.ask(|reply| Command::Reload { trust, peers, reply }).await;
        reloaded.unwrap_or(Err(ReloadError::Closed))
    }

    /// Takes note that what a user wrote could not be read, so that there was no roster to [`reload`](Self::reload): it counts
    /// among those that were refused.
    pub fn note_unreadable_roster(&self) {
        self.hub().tally.refused_reloads.unreadable.fetch_add(1, Relaxed);
    }

    /// Trusts whom `trust` says from here on, a policy alone or all settings: reads the files that they name, checks all, and
    /// closes the sessions with nodes that are not admitted any more, as [`Reason::Untrusted`] or with what is wrong with their
    /// certificate.
    ///
    /// # Errors
    /// See [`TrustError`]; then nothing has changed.
    pub async fn set_trust(&self, trust: impl Into<TrustSettings>) -> Result<(), TrustError> {
        let taken = match self.load(trust.into()).await {
            Ok(trust) => {
                let trust = Box::new(trust);
                self.ask(|reply| Command::SetTrust { trust, reply }).await.ok_or(TrustError::Closed)
            }
            Err(error) => Err(error),
        };
        let tally = &self.hub().tally;
        match &taken {
            Ok(()) => drop(tally.trust_changes.fetch_add(1, Relaxed)),
            Err(TrustError::Closed) => {}
            Err(_) => drop(tally.refused_reloads.trust.fetch_add(1, Relaxed)),
        }
        taken
    }

    async fn load(&self, settings: TrustSettings) -> Result<TrustState, TrustError> {
        let subject = self.hub().subject();
        let loaded = tokio::task::spawn_blocking(move || settings.load(&subject)).await;
        loaded.map_err(|_| TrustError::Closed)?
    }

    /// Takes the application's verdict on an exchange with a peer; it counts for its health and its breaker.
    ///
    /// # Errors
    /// [`PeerError::UnknownPeer`], [`PeerError::Closed`].
    pub async fn update_peer_health(&self, id: NodeId, verdict: Verdict) -> Result<(), PeerError> {
        let command = |reply| Command::UpdateHealth { id, outcome: verdict, reply };
        self.ask(command).await.unwrap_or(Err(PeerError::Closed))
    }

    /// What the node does next after `reason`: the one recovery table.
    pub const fn recover_from_error(reason: Reason) -> Recovery {
        recovery::recover_from_error(reason)
    }

    /// Measures the round trip to a peer's node and back; its application has no part in it. Cancellation safe.
    ///
    /// # Errors
    /// [`PeerError::UnknownPeer`]; [`PeerError::NotConnected`] if there is no session or it ends meanwhile.
    pub async fn ping(&self, id: NodeId) -> Result<Duration, PeerError> {
        let peer = self.hub().peer(&id).ok_or(PeerError::UnknownPeer)?;
        let mut rtt = peer.rtt.subscribe();
        match peer.lane().signal() {
            Some(link) => link.ping(),
            None => return Err(PeerError::NotConnected),
        }
        match rtt.changed().await {
            Ok(()) => (*rtt.borrow_and_update()).ok_or(PeerError::NotConnected),
            Err(_) => Err(PeerError::NotConnected),
        }
    }

    /// Ends the node in good order: accepts nothing more, sends what is queued and waits for its acknowledgement, at most
    /// `drain`; then closes all sessions with [`Reason::Shutdown`]. Returns what became of all messages.
    ///
    /// Of these last numbers `queued` are the messages that never left and never will: they are dropped afterwards, and
    /// their receipts resolve to `Failed(Shutdown)`. `dropped` counts only what was dropped before; nothing is in flight. `stored`
    /// are Guaranteed messages that stay in the store: the node sends them when it runs again.
    ///
    /// Acknowledgements of Guaranteed messages count until the end of this: what is taken afterwards comes again.
    ///
    /// Receivers still get what has arrived, and then `None`. Of several calls the shortest `drain` counts for all, they
    /// return the same numbers, and a call after the end waits for nothing.
    pub async fn shutdown(&self, drain: Duration) -> Sent {
        let hub = self.hub();
        self.inner.doors.iter().for_each(AbortHandle::abort);
        hub.is_draining.store(true, Ordering::SeqCst);
        for peer in hub.peers().iter() {
            peer.lane().close(SendError::Closed);
        }
        hub.unattended.notify_one();
        tokio::select! {
            () = self.drained() => {}
            // What it leaves behind is told by the numbers.
            () = tokio::time::sleep(drain) => {}
            // Another call has stopped waiting, and nothing is sent any more.
            () = hub.control.closed() => {}
        }
        *hub.last_sent.get_or_init(|| self.end()).await
    }

    /// Ends all tasks and settles what they leave behind.
    async fn end(&self) -> Sent {
        let hub = self.hub();
        // Without a control task, nothing is up any more.
        let _ = hub.control.send(Command::Shutdown).await;
        let mut tasks = hub.take_tasks();
        let _ = tokio::time::timeout(CLOSING, async { while tasks.join_next().await.is_some() {} }).await;
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        let peers = hub.peers();
        for peer in peers.iter() {
            let mut lane = peer.lane();
            // Peers that came while the others were drained are open still.
            lane.close(SendError::Closed);
            lane.end_session();
        }
        let sent = hub.sent();
        for peer in peers.iter() {
            peer.lane().outbox.clear(Reason::Shutdown);
        }
        // Messages that waited for another session and had left in an earlier one.
        let unconfirmed = hub.sent().unconfirmed;
        let sent = Sent { queued: sent.queued - (unconfirmed - sent.unconfirmed), unconfirmed, ..sent };
        hub.inbox.queue.close(true);
        hub.registry.close();
        if let Some(guaranteed) = &hub.guaranteed {
            // What the application has acknowledged by now is still kept, and the next node may have the file at once.
            guaranteed.close().await;
        }
        sent
    }

    async fn drained(&self) {
        let hub = self.hub();
        loop {
            let drained = hub.drained.notified();
            let is_settled = hub.guaranteed.as_ref().is_none_or(Guaranteed::is_settled);
            if is_settled && hub.peers().iter().all(|peer| peer.lane().outbox.is_idle()) {
                return;
            }
            drained.await;
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.hub().control.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).field("local_addrs", &self.local_addrs()).finish()
    }
}

/// A peer in the listing of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who it is, and how it stands.
    pub status: PeerStatus,
    /// Where it is dialled; `None` if it is not.
    pub endpoint: Option<Endpoint>,
    /// What the certificate says that it has shown in this session: authority, serial, roles, expiry. Only policy
    /// [`Trust::Certified`](crate::Trust::Certified) has checked more of it than its signature.
    pub certificate: Option<Credential>,
    /// What seals the records of the session with it; `None` without a session.
    pub cipher: Option<Cipher>,
    /// The profile of the pair, with the numbers that the session runs by, or the last one ran by, and why it fell back if it
    /// did; `None` if there was none yet.
    pub terms: Option<Terms>,
    /// What became of the messages to it.
    pub sent: Sent,
    /// Messages to it that were given up before they had left as a whole, by reason, the expired ones among them.
    pub sent_dropped: Vec<(Reason, u64)>,
    /// The same for each reliability, and how often messages were put back to be sent again.
    pub fates: ByReliability,
    /// Payload bytes that wait to be sent to it at the moment.
    pub queued_bytes: u64,
    /// Messages received from it and delivered.
    pub received: u64,
    /// Messages received from it and not delivered, by reason.
    pub received_dropped: Vec<(Reason, u64)>,
    /// Seals and signatures of messages to it and from it. A broadcast, which is signed for all, counts for none.
    pub protected: Protected,
    /// Certificates that it showed, and revocation lists that it sent and was sent.
    pub certification: Certification,
    /// Bytes written to its links since they came up.
    pub bytes_sent: u64,
    /// Bytes read from its links since they came up.
    pub bytes_received: u64,
    /// The longest payload that can be sent to it: what it said in the last session that it takes, or what its queue holds if
    /// that is less.
    pub max_message: u32,
}

/// How long closing may take after draining: writing the close, and the peer's reading it.
const CLOSING: Duration = Duration::from_secs(2);
