//! A place at a UDP socket: datagrams come through a mailbox and go out in runs of one length, as the system takes them at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyphal_core::session::{Closed, ConnectionId, MAX_DATAGRAM, Path};
use hyphal_core::time::Instant;
use hyphal_core::wire::datagram;

use super::super::{Desk, Line, OnDatagrams, Turn};
use super::Taken;
use crate::buffers::{Pool, WriteBuffer};
use crate::mailbox::Run;
use crate::udp::{Berth, address_of, path_of};

/// A link's end of a UDP socket.
pub(crate) struct UdpLine {
    berth: Berth,
    /// Where the peer was last seen: an address with all that the system needs to reach it.
    seen_at: SocketAddr,
    /// Which address of this machine the peer writes to.
    own: Option<IpAddr>,
    /// Datagrams that came together and are not all taken.
    run: Option<(Run, usize)>,
    /// A datagram that the session wants once more.
    again: Option<BytesMut>,
    writing: WriteBuffer,
    /// The datagrams in the buffer: lengths and receivers.
    sealed: VecDeque<(usize, Path)>,
    /// While the socket takes nothing: resolves when it may.
    full: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
}

impl UdpLine {
    pub(crate) fn new(berth: Berth, remote: SocketAddr) -> Self {
        Self {
            berth,
            seen_at: remote,
            own: None,
            run: None,
            again: None,
            writing: WriteBuffer::default(),
            sealed: VecDeque::new(),
            full: None,
        }
    }

    /// What the peer addresses its records with.
    pub(crate) fn cid(&self) -> ConnectionId {
        self.berth.cid
    }

    /// Seals as many datagrams as are due and fit the buffer.
    fn fill(&mut self, now: Instant, desk: &mut Desk<OnDatagrams>) {
        let Self { berth, writing, sealed, .. } = self;
        let hub = Arc::clone(&desk.hub);
        desk.with_outbox(|session, outbox| {
            loop {
                let room = writing.room(&hub.pool);
                if room.len() < MAX_DATAGRAM {
                    break;
                }
                let Some(len) = session.poll_transmit(now, outbox, room) else { break };
                if datagram::is_handshake(&room[..len]) {
                    berth.handle_own_packet(&room[..len], address_of(session.path()));
                }
                sealed.push_back((len, session.path()));
                writing.fill(len);
            }
        });
        desk.log_keys();
    }

    /// The first datagrams that can go at once: to one receiver, of one length but for the last. Gives their number, the length
    /// of each and of all, and where they go.
    fn next_run(&self) -> Option<(usize, usize, usize, SocketAddr)> {
        let &(stride, to) = self.sealed.front()?;
        let (mut count, mut all) = (0, 0);
        for &(len, path) in self.sealed.iter().take(self.berth.port.most_at_once()) {
            if path != to || len > stride {
                break;
            }
            count += 1;
            all += len;
            if len < stride {
                break;
            }
        }
        let to = if path_of(self.seen_at) == to { self.seen_at } else { address_of(to) };
        Some((count, stride, all, to))
    }
}

impl Line for UdpLine {
    type Session = OnDatagrams;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnDatagrams>,
    ) -> Poll<io::Result<Turn>> {
        let (mut run, shared) = match self.run.take() {
            Some(run) => run,
            None => {
                let run = ready!(self.berth.mailbox.poll_take(cx));
                desk.count_received(run.bytes.len());
                self.seen_at = run.from;
                self.own = run.to;
                let shared = run.bytes.len();
                (run, shared)
            }
        };
        let from = path_of(run.from);
        while let Some(datagram) = self.again.take().or_else(|| run.next_datagram()) {
            let turn = match desk.take_datagram(now, from, datagram, shared) {
                Taken::Done => continue,
                Taken::Due(turn) => turn,
                Taken::Ask(hint, datagram) => {
                    self.again = Some(datagram);
                    Turn::Hint(hint)
                }
            };
            if self.again.is_some() || !run.bytes.is_empty() {
                self.run = Some((run, shared));
            }
            return Poll::Ready(Ok(turn));
        }
        desk.tell_if_drained();
        Poll::Ready(Ok(Turn::Busy))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnDatagrams>,
    ) -> Poll<io::Result<bool>> {
        if self.sealed.is_empty() {
            self.fill(now, desk);
        }
        let mut has_moved = false;
        while let Some((count, stride, len, to)) = self.next_run() {
            if let Some(full) = &mut self.full {
                ready!(full.as_mut().poll(cx))?;
                self.full = None;
            }
            match self.berth.port.try_send(to, self.own, stride, &self.writing.pending()[..len]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full = Some(Box::pin(Arc::clone(&self.berth.port).writable()));
                    desk.handle_full_line(now);
                    continue;
                }
                // An unreachable network is a loss like any other; it may come back.
                Err(error) => tracing::trace!(%to, %error, "datagrams were not sent"),
                Ok(()) => {}
            }
            desk.count_sent(len);
            self.writing.advance(len);
            self.sealed.drain(..count);
            has_moved = true;
        }
        Poll::Ready(Ok(has_moved))
    }

    fn is_flushed(&self) -> bool {
        self.sealed.is_empty()
    }

    fn rest(&mut self, pool: &Pool) {
        self.writing.rest(pool);
        if self.sealed.is_empty() {
            self.sealed = VecDeque::new();
        }
    }

    async fn close(self, _: Closed) {}
}
