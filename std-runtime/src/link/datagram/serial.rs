//! A serial port for as long as one session has it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyphal_core::session::{Closed, ConnectionId, MAX_DATAGRAM, Path};
use hyphal_core::time::Instant;
use hyphal_core::wire::datagram::{self, Peek};
use hyphal_core::wire::frame::Kind;
use tokio::sync::oneshot;

use super::super::{Desk, Line, OnDatagrams, Turn};
use super::Taken;
use crate::buffers::Pool;
use crate::serial::SerialPort;

/// A serial port with a session on it.
pub(crate) struct SerialLine {
    /// There until the line goes.
    port: Option<SerialPort>,
    /// To whoever listens on the port and lent it.
    lender: Option<oneshot::Sender<SerialPort>>,
    /// The attempt that the other end began, if it did.
    attempt: Option<(u64, Kind)>,
    /// A datagram that the session wants once more.
    again: Option<BytesMut>,
}

impl SerialLine {
    /// A port over which this end dials.
    pub(crate) fn dialled(port: SerialPort) -> Self {
        Self { port: Some(port), lender: None, attempt: None, again: None }
    }

    /// A port on which the other end begins; it goes back to the lender afterwards.
    pub(crate) fn lent(port: SerialPort, lender: oneshot::Sender<SerialPort>) -> Self {
        Self { port: Some(port), lender: Some(lender), attempt: None, again: None }
    }

    /// Whether the packet begins another session than this one, as after a restart of the other end.
    fn is_another_attempt(&mut self, packet: &[u8], is_up: bool) -> bool {
        let Some((frame_id, kind)) = beginning(packet) else { return false };
        match self.attempt {
            _ if self.lender.is_none() => return false,
            None => {}
            Some((known, _)) if known == frame_id => return false,
            // Whose hint is unknown goes on with a full handshake in the same session.
            Some((_, Kind::Kk1)) if kind == Kind::Xx1 && !is_up => {}
            Some(_) => return true,
        }
        self.attempt = Some((frame_id, kind));
        false
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        if let (Some(port), Some(lender)) = (self.port.take(), self.lender.take()) {
            // Without a listener the port is closed.
            let _ = lender.send(port);
        }
    }
}

impl Line for SerialLine {
    type Session = OnDatagrams;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnDatagrams>,
    ) -> Poll<io::Result<Turn>> {
        let datagram = match self.again.take() {
            Some(datagram) => datagram,
            None => {
                let Some(port) = &mut self.port else { return Poll::Pending };
                match ready!(port.poll_datagram(cx))? {
                    Ok(datagram) => datagram,
                    Err(reason) => {
                        desk.tell_stray(reason);
                        return Poll::Ready(Ok(Turn::Busy));
                    }
                }
            }
        };
        if self.is_another_attempt(&datagram, desk.session.is_up()) {
            if let Some(port) = &mut self.port {
                port.put_back(datagram);
            }
            return Poll::Ready(Err(io::Error::other("the other end begins anew")));
        }
        desk.count_received(datagram.len());
        Poll::Ready(Ok(match desk.take_datagram(now, Path::default(), datagram, 0) {
            Taken::Done => {
                desk.tell_if_drained();
                Turn::Busy
            }
            Taken::Due(turn) => turn,
            Taken::Ask(hint, datagram) => {
                self.again = Some(datagram);
                Turn::Hint(hint)
            }
        }))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnDatagrams>,
    ) -> Poll<io::Result<bool>> {
        let Some(port) = &mut self.port else { return Poll::Pending };
        if port.is_flushed() {
            // One at a time: a line is slow, and what is sealed cannot be overtaken.
            let mut datagram = [0; MAX_DATAGRAM];
            let sealed =
                desk.with_outbox(|session, outbox| session.poll_transmit(now, outbox, &mut datagram));
            desk.log_keys();
            let Some(len) = sealed else { return Poll::Ready(Ok(false)) };
            port.queue(&datagram[..len]);
        }
        match port.poll_write(cx) {
            Poll::Ready(Ok(len)) => {
                desk.count_sent(len);
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                desk.handle_full_line(now);
                Poll::Pending
            }
        }
    }

    fn is_flushed(&self) -> bool {
        self.port.as_ref().is_none_or(SerialPort::is_flushed)
    }

    fn rest(&mut self, _: &Pool) {}

    async fn close(self, _: Closed) {}
}

/// Which attempt a packet begins, if it does.
pub(crate) fn beginning(packet: &[u8]) -> Option<(u64, Kind)> {
    match datagram::peek(packet, ConnectionId::NONE.as_bytes().len()) {
        Ok(Peek::Handshake { frame_id, kind: kind @ (Kind::Xx1 | Kind::Kk1) }) => Some((frame_id, kind)),
        _ => None,
    }
}
