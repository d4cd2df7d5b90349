//! Links within one process: names that nodes listen on, and streams of bounded buffers between two of them.
//!
//! Names belong to the process, so nodes of several runtimes meet. A name is free again when its listener is dropped.

use std::collections::HashMap;
use std::io;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Takes the connections to one name.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    name: String,
    arriving: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    /// Listens on `name`, which nobody else in this process may do; up to `backlog` connections wait.
    pub(crate) fn bind(name: &str, backlog: u32) -> io::Result<Self> {
        let (sender, arriving) = mpsc::channel(backlog.max(1) as usize);
        let mut names = names();
        if names.contains_key(name) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "a node of this process listens on this name",
            ));
        }
        names.insert(name.to_owned(), sender);
        Ok(Self { name: name.to_owned(), arriving })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next connection. Cancellation safe.
    pub(crate) async fn accept(&mut self) -> DuplexStream {
        match self.arriving.recv().await {
            Some(stream) => stream,
            // The sender stands in the table for as long as this is not dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        names().remove(&self.name);
    }
}

/// Connects to whoever listens on `name`.
pub(crate) fn connect(name: &str) -> io::Result<DuplexStream> {
    let names = names();
    let Some(listener) = names.get(name) else {
        let nobody = "nobody in this process listens on this name";
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, nobody));
    };
    let (near, far) = tokio::io::duplex(BUFFER);
    match listener.try_send(far) {
        Ok(()) => Ok(near),
        Err(_) => {
            let full = "more connections wait there than the listener's backlog holds";
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, full))
        }
    }
}

fn names() -> MutexGuard<'static, HashMap<String, mpsc::Sender<DuplexStream>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

static NAMES: LazyLock<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>> = LazyLock::new(Mutex::default);

/// Bytes that wait in each direction: as for a socket, a part and what is under way.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_ends_read_what_the_other_writes() {
        let mut listener = MemoryListener::bind("both-ends", 1).unwrap();

        let mut dialler = connect("both-ends").unwrap();
        let mut accepted = listener.accept().await;
        dialler.write_all(b"there").await.unwrap();
        accepted.write_all(b"back").await.unwrap();

        let (mut there, mut back) = ([0; 5], [0; 4]);
        accepted.read_exact(&mut there).await.unwrap();
        dialler.read_exact(&mut back).await.unwrap();
        assert_eq!((&there, &back), (b"there", b"back"));
    }

    #[test]
    fn a_name_that_nobody_listens_on_refuses_and_says_so() {
        let error = connect("nobody").unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("nobody in this process listens"), "{error}");
    }

    #[test]
    fn a_name_is_taken_once_and_free_again_afterwards() {
        let first = MemoryListener::bind("once", 1).unwrap();

        let second = MemoryListener::bind("once", 1).unwrap_err();
        drop(first);

        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(MemoryListener::bind("once", 1).is_ok());
    }

    #[test]
    fn connections_that_nobody_accepts_are_bounded() {
        let _listener = MemoryListener::bind("bounded", 2).unwrap();
        let _waiting = [connect("bounded").unwrap(), connect("bounded").unwrap()];

        let third = connect("bounded").unwrap_err();

        assert_eq!(third.kind(), io::ErrorKind::ConnectionRefused);
    }
}
