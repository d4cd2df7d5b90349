//! A large message that the application reads part by part, while it arrives.
//!
//! The parts are bounded by the session's window: each is acknowledged, and makes room for another one, when its reader comes
//! back for more. Invariant: a stream that ends without an error has given every byte of the message, in order.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use hyphal_core::ids::{MessageId, NodeId, Priority};
use hyphal_core::time::UnixTime;
use hyphal_core::wire::reason::Reason;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::assembly::Piece;
use crate::guaranteed::Hold;
use crate::message::Message;
use crate::signal::Consumption;

/// What a [`StreamSubscription`](crate::StreamSubscription) receives.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A message that came in one piece.
    Message(Message),
    /// A message that comes in parts, and has only begun to.
    Stream(IncomingStream),
}

/// A message that arrives in parts. Its payload is read with [`next`](Self::next).
///
/// A reader that takes its time slows the sender down: of one session, only so much is under way as has not been taken.
/// Dropping the stream discards the rest of the message, which the sender is not told.
///
/// If the session ends before the last part, the stream ends with [`StreamError::SessionEnded`]; the sender then sends the
/// message again in the next session, as a new stream with the same id.
#[derive(Debug)]
pub struct IncomingStream {
    /// The message without its payload.
    head: Message,
    total: u32,
    received: u32,
    parts: Option<UnboundedReceiver<Result<Piece, StreamError>>>,
    /// Of the part handed out last.
    held: Option<Arc<Consumption>>,
    /// Of a Guaranteed message, until its reader is done with all of it.
    hold: Option<Hold>,
}

impl IncomingStream {
    /// A stream of `total` bytes and the end that the link writes to.
    pub(crate) fn new(head: Message, total: u32, hold: Option<Hold>) -> (StreamWriter, Self) {
        let (sender, parts) = unbounded_channel();
        (StreamWriter { sender }, Self { head, total, received: 0, parts: Some(parts), held: None, hold })
    }

    /// Unique together with the source.
    pub fn id(&self) -> MessageId {
        self.head.id
    }

    /// Who sends it, proven by the session it comes over.
    pub fn source(&self) -> NodeId {
        self.head.source
    }

    /// To whom it is sent: this node, or all peers of the source if `None`.
    pub fn target(&self) -> Option<NodeId> {
        self.head.target
    }

    /// The message type.
    pub fn kind(&self) -> u16 {
        self.head.kind
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.head.priority
    }

    /// Seconds after its sending at which it is worthless; 0 = never.
    pub fn ttl(&self) -> u32 {
        self.head.ttl
    }

    /// When it was sent, by this node's clock: the arrival of its first part less the time that was under way.
    pub fn timestamp(&self) -> UnixTime {
        self.head.timestamp
    }

    /// Whether the message is sealed from end to end. What [`next`](Self::next) gives is open, and each piece of it proven to be
    /// the source's.
    pub fn is_encrypted(&self) -> bool {
        self.head.is_encrypted
    }

    /// Whether the message is signed. The signature comes last: it is verified before the last piece is given, and if it is
    /// not the source's the stream ends with [`StreamError::Refused`] in its place.
    pub fn is_signed(&self) -> bool {
        self.head.is_signed
    }

    /// Bytes of the whole payload.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Bytes of the payload that [`next`](Self::next) has given.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// The next bytes of the payload, in order; `None` once all were given, or after an error.
    ///
    /// Cancellation safe. Asking for the next part acknowledges the one before; the message counts as delivered when its
    /// reader has asked once more after the last one.
    pub async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        poll_fn(|cx| self.poll_part(cx)).await
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.held = None;
        if self.received == self.total {
            self.parts = None;
            if let Some(hold) = self.hold.take() {
                hold.commit();
            }
        }
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        let Poll::Ready(part) = parts.poll_recv(cx) else { return Poll::Pending };
        match part {
            Some(Ok(Piece { bytes, consumption })) => {
                self.held = consumption;
                // The link gives no byte beyond the total.
                self.received += bytes.len() as u32;
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(error)) => {
                self.parts = None;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.parts = None;
                Poll::Ready(Some(Err(StreamError::SessionEnded)))
            }
        }
    }
}

impl Stream for IncomingStream {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_part(cx)
    }
}

/// Why a stream ended before its message was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The sender has abandoned the message: it was cancelled, or its time to live passed. It will not come again.
    Abandoned,
    /// The session ended. The sender will send the message again from its start, unless it expires before.
    SessionEnded,
    /// What came is not what its source sealed or signed ([`Reason::BadSeal`], [`Reason::BadSignature`]), or it came before
    /// ([`Reason::Duplicate`]). What was given of a sealed message is its source's, but is not all of it; what was given of one that was
    /// only signed is to be forgotten.
    Refused(Reason),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Abandoned => "the sender abandoned the message",
            Self::SessionEnded => {
                "the session ended before the message was whole; wait until it is sent again"
            }
            Self::Refused(reason) => return write!(f, "the message was refused: {reason}"),
        })
    }
}

impl std::error::Error for StreamError {}

/// The link's end of a stream. Dropped before the last byte, it ends the stream with [`StreamError::SessionEnded`].
#[derive(Debug)]
pub(crate) struct StreamWriter {
    sender: UnboundedSender<Result<Piece, StreamError>>,
}

impl StreamWriter {
    /// Gives the next bytes; says whether anybody still reads.
    pub(crate) fn push(&self, piece: Piece) -> bool {
        self.sender.send(Ok(piece)).is_ok()
    }

    /// The message is not what it should be.
    pub(crate) fn refuse(self, reason: Reason) {
        let _ = self.sender.send(Err(StreamError::Refused(reason)));
    }

    /// The sender has given the message up.
    pub(crate) fn abandon(self) {
        // A reader that has gone needs no word.
        let _ = self.sender.send(Err(StreamError::Abandoned));
    }
}
