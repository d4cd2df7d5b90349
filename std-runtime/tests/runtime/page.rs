//! The page that a node serves for Prometheus, as a test reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hyphal::metrics::{Exposition, Server, table};
use hyphal::{Node, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pair::within;

/// Sends bytes and reads what comes back, up to the end of the connection.
pub(crate) async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that has read enough closes, which is no failure of the test.
        let _ = stream.write_all(sent).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

/// A page as Prometheus understands it: what is not in the format fails the test.
pub(crate) struct Page {
    pub(crate) text: String,
    /// By name and labels as they are written.
    pub(crate) series: BTreeMap<String, f64>,
}

impl Page {
    /// The numbers of a node at this moment, without a port.
    pub(crate) async fn of(node: &Node) -> Self {
        let page = Exposition::default();
        node.snapshot().await.record(&page, usize::MAX);
        Self::parse(page.to_string())
    }

    pub(crate) async fn scrape(address: SocketAddr) -> Self {
        Self::try_scrape(address).await.expect("the server answers")
    }

    /// `None` if the server closed the connection without an answer.
    pub(crate) async fn try_scrape(address: SocketAddr) -> Option<Self> {
        let answer = exchange(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains(&format!("content-type: {}", Exposition::CONTENT_TYPE)), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        Some(Self::parse(body.to_owned()))
    }

    pub(crate) fn parse(text: String) -> Self {
        let mut series = BTreeMap::new();
        let mut described = None;
        let mut typed = BTreeMap::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                described = help.split_once(' ').map(|(name, _)| name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(described.as_deref(), Some(name));
                assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = key
                    .split_once('{')
                    .map_or((key, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap()));
                let metric = table().find(|metric| metric.name == name).unwrap();
                let kind = if metric.is_counter { "counter" } else { "gauge" };
                assert_eq!(typed.get(name).map(String::as_str), Some(kind), "{name}");
                let names: Vec<_> = labels.split(',').filter_map(|label| label.split_once('=')).collect();
                assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), metric.labels, "{line}");
                assert!(names.iter().all(|(_, value)| value.len() >= 2 && value.starts_with('"')), "{line}");
                let value = value.parse().unwrap();
                assert!(series.insert(key.to_owned(), value).is_none(), "{key} is there twice");
            }
        }
        assert_eq!(typed.len(), table().count());
        Self { text, series }
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let key = if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) };
        self.series.get(&key).copied()
    }

    #[track_caller]
    pub(crate) fn assert(&self, name: &str, labels: &[(&str, &str)], expected: u64) {
        assert_eq!(self.value(name, labels), Some(expected as f64), "{name} {labels:?}\n{}", self.text);
    }

    #[track_caller]
    pub(crate) fn assert_peer(&self, name: &str, peer: NodeId, expected: u64) {
        self.assert(name, &[("peer", &peer.to_string())], expected);
    }
}

/// Serves the numbers of `node`; the port closes with the test.
pub(crate) async fn serve(node: &Node, peers: usize) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(node.clone(), peers));
    address
}

/// Waits for what will hold soon.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
