//! `GET /metrics` over HTTP/1, for Prometheus.
//!
//! ```text
//!   accept ──seat free?──▶ hyper: one request, within a time ──▶ page, one at a time, beside the links' threads ──▶ close
//!              └──no──▶ close
//! ```
//! There is no authentication: whoever reaches the address reads everything here, ids of peers included. Invariant: whatever
//! clients do, they take a bounded number of sockets, a bounded time each, and one thread's work at once.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::Exposition;
use crate::node::Node;

/// A page of numbers that Prometheus scrapes; bound to its address, and served once it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens at `address`. Others than those of the loopback are open to everybody who can reach them.
    ///
    /// # Errors
    /// The system's, as for a port in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens, with the port that it was given.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the numbers of `node` until the future is dropped; at most `peers` of its peers are shown one by one, see
    /// [`Snapshot::record`](super::Snapshot::record).
    pub async fn run(self, node: Node, peers: usize) {
        let page = Arc::new(Page { node, peers, turn: Mutex::default() });
        let seats = Arc::new(Semaphore::new(SEATS));
        // They end with this future.
        let mut clients = JoinSet::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            while clients.try_join_next().is_some() {}
            // One that finds no seat is closed at once, so that descriptors are left for links.
            if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
                let page = Arc::clone(&page);
                clients.spawn(async move {
                    answer(stream, page).await;
                    drop(seat);
                });
            }
        }
    }
}

/// Answers the one request of a client, if it makes one in time.
async fn answer(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(|request| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(page.respond(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // What a client does wrong is its own affair.
    let _ = tokio::time::timeout(PATIENCE, connection).await;
}

/// What is served.
struct Page {
    node: Node,
    peers: usize,
    /// Pages are made one after another.
    turn: Mutex<()>,
}

impl Page {
    async fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/metrics" if is_read => match self.write().await {
                Some(text) => response(StatusCode::OK, Exposition::CONTENT_TYPE, text),
                None => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the page cannot be made\n"),
            },
            "/metrics" => {
                let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
            _ => response(StatusCode::NOT_FOUND, PLAIN, "the numbers are at /metrics\n"),
        }
    }

    /// The text of the page; `None` if the runtime ends meanwhile.
    async fn write(&self) -> Option<String> {
        let _turn = self.turn.lock().await;
        let snapshot = self.node.snapshot().await;
        let peers = self.peers;
        // Thousands of lines, which links should not wait for.
        let written = tokio::task::spawn_blocking(move || {
            let page = Exposition::default();
            snapshot.record(&page, peers);
            page.to_string()
        });
        written.await.ok()
    }
}

fn response(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// Clients at once; a Prometheus needs one.
const SEATS: usize = 16;

/// For a request and its answer together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 16 * 1024;

/// After the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);
