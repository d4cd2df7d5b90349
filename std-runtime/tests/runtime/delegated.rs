//! A node that runs with a delegated key: the same to its peers, except that it signs nothing and starts only while the key counts.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use getrandom::SysRng;
use hyphal::{
    Event, Filter, Identity, Outcome, Reason, Reliability, Security, SendError, SendOptions, StartError,
    Trust, UnixTime,
};
use rand_core::UnwrapErr;

use crate::pair::{builder, dialling, identity, listening, up, within};

#[tokio::test]
async fn messages_are_sealed_to_the_key_of_the_session_and_opened_at_both_ends() {
    let own = identity();
    let left = listening(builder().identity(delegated(&own, -60, 3600))).await;
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;

    let sealed = SendOptions::default().seal(true);
    within(left.send_direct(right.id(), 7, "from it", sealed)).await.unwrap();
    let from = within(right.recv()).await.unwrap();
    // Before its session is up, the other end would seal to the own key of the node.
    within(right.send_direct(left.id(), 7, "to it", sealed)).await.unwrap();
    let to = within(left.recv()).await.unwrap();

    assert_eq!(left.id(), own.id());
    assert!(left.snapshot().await.holdings.delegation_expires.is_some());
    assert!(to.is_encrypted && from.is_encrypted);
    assert_eq!((to.payload, from.payload), ("to it".into(), "from it".into()));
    assert_eq!(from.source, own.id());
}

#[tokio::test]
async fn what_is_sealed_where_the_session_is_told_is_sealed_to_the_key_that_it_has_shown() {
    let own = identity();
    let left = listening(builder().known_peer(own.id())).await;
    let (mut events, sender, to) = (left.events(), left.clone(), own.id());
    let hasty = Hasty::begin(async move {
        while events.recv().await != Some(Event::PeerUp { peer: to }) {}
        sender.try_send_direct(to, 7, "at once", SendOptions::default().seal(true)).unwrap();
    });

    let right = dialling(builder().identity(delegated(&own, -60, 3600)), &left).await;

    assert_eq!(within(right.recv()).await.unwrap().payload, "at once");
    assert!(hasty.act.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_guaranteed_message_that_was_sealed_before_the_key_was_shown_fails_and_is_not_called_delivered() {
    let own = identity();
    let stores = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let sealed = SendOptions::default().seal(true).ttl(0).reliability(Reliability::Guaranteed);
    let left = listening(builder().store(stores[0].path()).known_peer(own.id())).await;
    let mut events = left.events();
    let mut early = Vec::new();
    for (kind, len) in [(7, 10), (7, 200_000), (8, 200_000)] {
        early.push(left.send_direct_tracked(own.id(), kind, vec![0; len], sealed).await.unwrap().1);
    }

    let right = dialling(builder().identity(delegated(&own, -60, 3600)).store(stores[1].path()), &left).await;
    let _streams = right.subscribe_streams(Filter::all().kind(8));
    up(&mut events, own.id()).await;

    for receipt in early {
        assert_eq!(within(receipt).await, Outcome::Failed(Reason::BadSeal));
    }
    let (_, receipt) = left.send_direct_tracked(own.id(), 7, "in time", sealed).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap().payload, "in time");
    let (outcome, _) =
        tokio::join!(within(receipt), tokio::time::timeout(Duration::from_secs(1), right.recv()));
    assert_eq!(outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_pinned_peer_admits_it_by_its_id_and_notices_no_change_of_keys() {
    let own = identity();
    let left = listening(builder().trust(Trust::Pinned).known_peer(own.id())).await;
    let mut events = left.events();

    for key in [own.clone(), delegated(&own, -60, 3600), delegated(&own, -60, 7200)] {
        let right = dialling(builder().identity(key), &left).await;
        up(&mut events, own.id()).await;
        within(right.send_direct(left.id(), 7, "again", SendOptions::default())).await.unwrap();
        assert_eq!(within(left.recv()).await.unwrap().source, own.id());
        within(right.shutdown(Duration::ZERO)).await;
    }

    assert_eq!(left.peers().await.len(), 1);
}

#[tokio::test]
async fn what_is_to_be_signed_is_refused() {
    let left = listening(builder().identity(delegated(&identity(), -60, 3600))).await;
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;

    let refused = within(left.send_direct(right.id(), 7, "signed", SendOptions::default().sign(true))).await;
    let high = builder().identity(delegated(&identity(), -60, 3600)).security(Security::High).start().await;

    assert_eq!(refused.err(), Some(SendError::DelegatedKey));
    assert!(matches!(high.err(), Some(StartError::DelegatedKey)));
}

#[tokio::test]
async fn a_key_that_has_ended_or_not_begun_starts_no_node() {
    for (from, until) in [(-3600, -60), (60, 3600)] {
        let started = builder().identity(delegated(&identity(), from, until)).start().await;

        let error = started.err().unwrap();
        assert!(matches!(error, StartError::DelegationExpired { .. }), "{error:?}");
        assert!(error.to_string().starts_with("the node's key is a delegated one, valid from 20"), "{error}");
    }
}

/// A key that stands for the node from and until so many seconds from this moment on.
fn delegated(own: &Identity, from: i64, until: i64) -> Identity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let now = u64::try_from(now).unwrap();
    let [from, until] =
        [from, until].map(|seconds| UnixTime::from_micros(now.saturating_add_signed(seconds * 1_000_000)));
    own.delegate(from, until, &mut UnwrapErr(SysRng)).unwrap()
}

/// Somebody who acts where he is told what he waits for, while whoever tells him still does so: nothing else has gone on.
struct Hasty {
    act: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Hasty {
    fn begin(act: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let hasty = Arc::new(Self { act: Mutex::new(Some(Box::pin(act))) });
        Arc::clone(&hasty).wake();
        hasty
    }
}

impl Wake for Hasty {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut act = self.act.lock().unwrap();
        act.take_if(|act| act.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}
