//! A relay between two UDP ends that does what networks do: loses, doubles, delays and reorders, and gives the near end
//! another port. What it does follows from a seed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// Of a thousand datagrams in each direction, what becomes of how many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) late: u32,
}

/// A relay to one far end, for one near end.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    far: SocketAddr,
    /// The side towards the far end, which sees this socket's port as the near end's.
    outside: Mutex<Arc<UdpSocket>>,
    moved: tokio::sync::Notify,
    is_cut: AtomicBool,
    carried: AtomicU32,
}

impl Relay {
    pub(crate) async fn start(far: SocketAddr, weather: Weather, seed: u64) -> Self {
        #[expect(clippy::print_stdout, reason = "a failed test shows its seed")]
        {
            println!("relay with seed {seed}");
        }
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let outside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let shared = Arc::new(Shared {
            far,
            outside: Mutex::new(outside),
            moved: tokio::sync::Notify::new(),
            is_cut: AtomicBool::new(false),
            carried: AtomicU32::new(0),
        });
        let task = tokio::spawn(run(inside, Arc::clone(&shared), weather, seed)).abort_handle();
        Self { address, shared, task }
    }

    /// Where the near end dials.
    pub(crate) fn endpoint(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// From here on the near end seems to be at another port, as after its router has forgotten it.
    pub(crate) async fn rebind(&self) -> SocketAddr {
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = outside.local_addr().unwrap();
        *self.shared.outside.lock().unwrap() = Arc::new(outside);
        self.shared.moved.notify_one();
        address
    }

    /// Whether anything gets through.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Relaxed);
    }

    /// How many datagrams have come to the relay.
    pub(crate) fn carried(&self) -> u32 {
        self.shared.carried.load(Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(inside: UdpSocket, shared: Arc<Shared>, weather: Weather, seed: u64) {
    let inside = Arc::new(inside);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut near = None;
    let (mut there, mut back) = ([0; 2048], [0; 2048]);
    loop {
        let outside = Arc::clone(&shared.outside.lock().unwrap());
        let (datagram, socket, to) = tokio::select! {
            () = shared.moved.notified() => continue,
            received = inside.recv_from(&mut there) => {
                let Ok((len, from)) = received else { continue };
                near = Some(from);
                (&there[..len], outside, shared.far)
            }
            received = outside.recv_from(&mut back) => {
                let (Ok((len, _)), Some(near)) = (received, near) else { continue };
                (&back[..len], Arc::clone(&inside), near)
            }
        };
        shared.carried.fetch_add(1, Relaxed);
        let fate = rng.next_u32() % 1000;
        let Weather { lost, doubled, late } = weather;
        if shared.is_cut.load(Relaxed) || fate < lost {
            continue;
        }
        if fate < lost + late {
            let (datagram, wait) = (datagram.to_vec(), Duration::from_millis(u64::from(rng.next_u32() % 20)));
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let _ = socket.send_to(&datagram, to).await;
            });
            continue;
        }
        let copies = if fate < lost + late + doubled { 2 } else { 1 };
        for _ in 0..copies {
            let _ = socket.send_to(datagram, to).await;
        }
    }
}
