//! A TCP connection that carries whatever a test wants. It knows frames, so that refusals can be read, and nothing else.

use std::io;
use std::net::SocketAddr;

use hyphal::Reason;
use hyphal_core::wire::frame::{self, Decoded, Frame, Header, Kind, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::scene::soon;

/// One end of a connection to a node, and what was read and not taken.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(soon(TcpStream::connect(address)).await.unwrap())
    }

    /// Connects from another loopback address than the usual 127.0.0.1.
    pub(crate) async fn connect_from(source: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        Self::new(soon(socket.connect(address)).await.unwrap())
    }

    /// Connects with a receive buffer as small as the system allows.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1024).unwrap();
        Self::new(soon(socket.connect(address)).await.unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends as long as the other end takes anything, at most `most` bytes; says how many it took.
    pub(crate) async fn pump(&mut self, bytes: &[u8], most: usize) -> usize {
        let mut sent = 0;
        while sent < most {
            match soon(self.stream.write(bytes)).await {
                Ok(len) => sent += len,
                Err(_) => break,
            }
        }
        sent
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        soon(self.stream.shutdown()).await.unwrap();
    }

    /// All bytes until the other end closes or resets the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// The other end closes the connection and has said nothing more.
    pub(crate) async fn expect_end(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{} bytes before the end: {rest:02x?}", rest.len());
    }

    /// The next frame, whole.
    pub(crate) async fn frame(&mut self) -> (Header, Vec<u8>) {
        loop {
            match frame::decode(&self.unread, frame::MAX_UNAUTHENTICATED).unwrap() {
                Decoded::Frame { frame: Frame { header, payload }, used } => {
                    let payload = payload.to_vec();
                    self.unread.drain(..used);
                    return (header, payload);
                }
                Decoded::Incomplete { .. } => {
                    assert!(self.fill().await, "the connection ended within a frame");
                }
                Decoded::Foreign { version, .. } => panic!("a frame of version {version}"),
            }
        }
    }

    /// A refusal in the clear for `reason`, then the end; gives the attempt that it names, and its detail.
    pub(crate) async fn expect_refusal(&mut self, reason: Reason) -> (u64, u64) {
        let (header, payload) = self.frame().await;
        let refusal = Refusal::decode(&payload).unwrap();
        assert_eq!((header.kind, refusal.reason()), (Kind::Refusal, Some(reason)));
        self.expect_end().await;
        (header.id, refusal.detail)
    }

    /// What was read so far and not taken.
    pub(crate) fn unread(&mut self) -> &mut Vec<u8> {
        &mut self.unread
    }

    /// Reads once; false at the end of the connection, in whichever way it came.
    pub(crate) async fn fill(&mut self) -> bool {
        match soon(self.stream.read_buf(&mut self.unread)).await {
            Ok(len) => len > 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading: {error}"),
        }
    }

    /// Whether the other end has closed the connection, as far as is known at once.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.stream.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A frame of version 1 as a well-behaved node writes it.
pub(crate) fn frame_of(kind: Kind, id: u64, payload: &[u8]) -> Vec<u8> {
    encode(Header::new(kind, id), payload)
}

pub(crate) fn encode(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; header.frame_len(payload.len())];
    header.encode(payload, &mut frame).unwrap();
    frame
}
