//! Revocation lists that peers send: verified once, kept one after another, and then counting.
//!
//! ```text
//!   list ─▶ news? ─▶ verified ─▶ [one being kept, the newest behind it] ─▶ on the disk ─▶ control: it counts, and goes on
//! ```
//! What is no news costs no signature and no write, also while the news is on its way to the disk: whatever peers send, there is
//! at most one list of each authority in each of these two places.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyphal_core::ids::NodeId;
use hyphal_core::trust::Revocations;
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::RevocationList;
use tokio::sync::{mpsc, oneshot};

use super::{TrustState, persist};
use crate::control::Command;
use crate::hub::Hub;

/// The lists that are on their way to the disk, by authority.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    by_authority: Mutex<BTreeMap<NodeId, Place>>,
}

/// A list of an authority is being kept.
#[derive(Debug)]
struct Place {
    /// Of the newest list of it that came.
    version: u64,
    /// That list, if it is not the one that is being kept.
    next: Option<Arrived>,
}

/// A list, and who sent it.
#[derive(Debug)]
struct Arrived {
    list: Revocations<Bytes>,
    from: NodeId,
}

/// Why a list was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It says nothing that this node wants to know.
    NoNews(Reason),
    /// Nobody passes on what does not verify.
    Forged(Reason),
}

impl Arriving {
    /// Takes a list from a peer.
    pub(crate) fn take(self: &Arc<Self>, hub: &Hub, from: NodeId, bytes: Bytes) -> Result<(), Refused> {
        let list = RevocationList::decode(&bytes).map_err(Refused::Forged)?;
        check_news(&hub.trust(), &self.places(), &list)?;
        let network = hub.plan.session.network;
        let list = Revocations::verify(bytes, network).map_err(Refused::Forged)?;
        let (authority, version) = (list.header().authority, list.header().version);
        // Again, with the places held: what had one a moment ago counts by now, or still has it.
        let mut places = self.places();
        let trust = hub.trust();
        check_news(&trust, &places, &list.list())?;
        let arrived = Arrived { list, from };
        match places.get_mut(&authority) {
            Some(place) => *place = Place { version, next: Some(arrived) },
            None => {
                places.insert(authority, Place { version, next: None });
                hub.spawn(Arc::clone(self).keep_all(hub.control.clone(), trust, network, arrived));
            }
        }
        Ok(())
    }

    /// Keeps a list where it survives the node and has it count, and then those that came meanwhile.
    async fn keep_all(
        self: Arc<Self>,
        control: mpsc::Sender<Command>,
        trust: Arc<TrustState>,
        network: NetworkTag,
        first: Arrived,
    ) {
        let authority = first.list.header().authority;
        let mut next = Some(first);
        while let Some(Arrived { list, from }) = next {
            let is_kept = keep(&trust, network, &list).await;
            let (done, adopted) = oneshot::channel();
            // Without a control task nobody needs it.
            let _ = control.send(Command::Adopt { list, from, is_kept, done }).await;
            // It keeps its place until it counts, or the same one would be news meanwhile.
            let _ = adopted.await;
            let mut places = self.places();
            next = places.get_mut(&authority).and_then(|place| place.next.take());
            if next.is_none() {
                places.remove(&authority);
            }
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<NodeId, Place>> {
        self.by_authority.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the list is newer than the one of its authority that counts, and than those that are on their way.
fn check_news(
    trust: &TrustState,
    places: &BTreeMap<NodeId, Place>,
    list: &RevocationList<'_>,
) -> Result<(), Refused> {
    trust.authorities.is_news(list).map_err(Refused::NoNews)?;
    match places.get(&list.header().authority) {
        Some(place) if place.version >= list.header().version => Err(Refused::NoNews(Reason::Duplicate)),
        _ => Ok(()),
    }
}

/// Writes the list to the directory of lists, if there is one; says whether it need not be written again.
async fn keep(trust: &TrustState, network: NetworkTag, list: &Revocations<Bytes>) -> bool {
    let Some(directory) = trust.settings.revocations.clone() else { return true };
    let list = list.clone();
    match tokio::task::spawn_blocking(move || persist(&directory, network, &list)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!("the revocation list counts, but it is not kept and not passed on: {error}");
            false
        }
        Err(_) => false,
    }
}
