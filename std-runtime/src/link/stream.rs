//! A line whose bytes arrive complete and in order: TCP, or memory within the process.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use hyphal_core::session::{Closed, MAX_TRANSMIT, Received};
use hyphal_core::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{Desk, Line, OnStream, Turn};
use crate::buffers::{Pool, ReadBuffer, WriteBuffer};
use crate::farewell;

/// A stream and its buffers.
pub(crate) struct StreamLine<S> {
    stream: S,
    reading: ReadBuffer,
    /// Whether what was read may hold another whole record.
    has_unparsed: bool,
    writing: WriteBuffer,
    /// Whether the stream did not take all of the last write.
    is_full: bool,
}

impl<S> StreamLine<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            reading: ReadBuffer::new(),
            has_unparsed: false,
            writing: WriteBuffer::default(),
            is_full: false,
        }
    }

    /// Seals records into the buffer: as many as it holds, or one after the other while the stream is full, because what is
    /// sealed cannot be overtaken any more.
    fn fill(&mut self, now: Instant, desk: &mut Desk<OnStream>) {
        let Self { writing, is_full, .. } = self;
        let hub = std::sync::Arc::clone(&desk.hub);
        desk.with_outbox(|session, outbox| {
            loop {
                let room = writing.room(&hub.pool);
                if room.len() < MAX_TRANSMIT {
                    break;
                }
                let Some(len) = session.poll_transmit(now, outbox, room) else { break };
                writing.fill(len);
                if *is_full && writing.pending().len() >= ENOUGH {
                    break;
                }
            }
        });
        desk.log_keys();
    }

    /// Takes all whole frames and records that were read, until somebody must be asked.
    fn parse(&mut self, now: Instant, desk: &mut Desk<OnStream>) -> Turn {
        let Self { reading, .. } = self;
        self.has_unparsed = true;
        while !reading.bytes.is_empty() {
            let base = reading.bytes.as_ptr().addr();
            let input =
                desk.with_outbox(|session, outbox| session.handle_input(now, outbox, &mut reading.bytes));
            let used = input.used;
            match input.received {
                Received::NeedMore => break,
                Received::Absorbed => reading.advance(used),
                // The same bytes are given again, once the answer is there.
                Received::Hint(hint) => return Turn::Hint(hint),
                Received::Offer(offer) => {
                    reading.advance(used);
                    return Turn::Offer(Box::new(offer));
                }
                Received::Messages(messages) => match desk.admit(messages, base) {
                    Some((mark, contents)) => {
                        let bytes = reading.take(used);
                        desk.deliver(now, mark, bytes, contents);
                    }
                    None => reading.advance(used),
                },
                Received::Dropped(reason) => {
                    reading.advance(used);
                    desk.tell_refused(reason);
                }
            }
            if desk.is_news() {
                return Turn::Busy;
            }
        }
        self.has_unparsed = false;
        desk.tell_if_drained();
        Turn::Busy
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Line for StreamLine<S> {
    type Session = OnStream;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnStream>,
    ) -> Poll<io::Result<Turn>> {
        if self.has_unparsed {
            return Poll::Ready(Ok(self.parse(now, desk)));
        }
        self.reading.make_room(&desk.hub.pool);
        let bytes = &mut self.reading.bytes;
        let room = bytes.capacity() - bytes.len();
        let len = ready!(pin!(self.stream.read_buf(bytes)).poll(cx))?;
        if len == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.reading.handle_read(len, room);
        desk.count_received(len);
        Poll::Ready(Ok(self.parse(now, desk)))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<OnStream>,
    ) -> Poll<io::Result<bool>> {
        if self.writing.is_empty() {
            self.fill(now, desk);
            // An abandonment is done with as soon as it is on its way.
            desk.tell_if_drained();
            if self.writing.is_empty() {
                return Poll::Ready(Ok(false));
            }
        }
        match Pin::new(&mut self.stream).poll_write(cx, self.writing.pending()) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(len)) => {
                self.writing.advance(len);
                self.is_full = !self.writing.is_empty();
                desk.count_sent(len);
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.is_full = true;
                desk.handle_full_line(now);
                Poll::Pending
            }
        }
    }

    fn is_flushed(&self) -> bool {
        self.writing.is_empty()
    }

    fn rest(&mut self, pool: &Pool) {
        self.reading.rest(pool);
        self.writing.rest(pool);
    }

    async fn close(self, why: Closed) {
        farewell::linger(self.stream, why).await;
    }
}

/// Bytes that are sealed ahead for a full stream: one shared record.
const ENOUGH: usize = 16 * 1024;
