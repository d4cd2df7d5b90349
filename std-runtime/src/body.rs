//! Bodies of message families as payloads: what nodes say to each other of themselves, typed on both sides.
//!
//! Convenience over [`family`](hyphal_core::family), which decides what a body is; to the node they are bytes like any.

use bytes::Bytes;
use hyphal_core::family::{Body, Unreadable};
use hyphal_core::ids::{MessageId, NodeId};

use crate::error::SendError;
use crate::message::{Message, MessageRef, Outgoing, SendOptions};
use crate::node::Node;
use crate::send::Broadcast;

impl Node {
    /// Queues a body for one peer as a message of its type; otherwise as [`send_direct`](Self::send_direct).
    ///
    /// # Errors
    /// As there.
    pub async fn send_body<'b>(
        &self,
        peer: NodeId,
        body: &impl Body<'b>,
        options: SendOptions,
    ) -> Result<MessageId, SendError> {
        let Outgoing { kind, payload, .. } = Outgoing::body(body);
        self.send_direct(peer, kind, payload, options).await
    }

    /// Queues a body for all peers as a message of its type; otherwise as [`broadcast`](Self::broadcast).
    ///
    /// # Errors
    /// As there.
    pub async fn broadcast_body<'b>(
        &self,
        body: &impl Body<'b>,
        options: SendOptions,
    ) -> Result<Broadcast, SendError> {
        let Outgoing { kind, payload, .. } = Outgoing::body(body);
        self.broadcast(kind, payload, options).await
    }
}

impl Outgoing<'static> {
    /// A message with a body of one of the families and default options.
    pub fn body<'b>(body: &impl Body<'b>) -> Self {
        Self::new(kind_of(body), encoded(body))
    }
}

impl Message {
    /// The body, if the message is of this type and a version that this build reads.
    ///
    /// # Errors
    /// See [`Unreadable`]; the payload is there in any case.
    pub fn body<'m, B: Body<'m>>(&'m self) -> Result<B, Unreadable<'m>> {
        B::decode(self.kind, &self.payload)
    }
}

impl<'m> MessageRef<'m> {
    /// The same as [`Message::body`].
    ///
    /// # Errors
    /// As there.
    pub fn body<B: Body<'m>>(&self) -> Result<B, Unreadable<'m>> {
        B::decode(self.kind, self.payload)
    }
}

fn kind_of<'b, B: Body<'b>>(_: &B) -> u16 {
    B::KIND
}

fn encoded<'b, B: Body<'b>>(body: &B) -> Bytes {
    let mut buf = vec![0; B::MAX_LEN];
    let len = body.encode(&mut buf).expect("a body is at most so long");
    buf.truncate(len);
    buf.into()
}
