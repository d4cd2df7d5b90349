//! Bodies of message families travel typed from one application to the other.

use hyphal::family::configuration::ConfigurationUpdate;
use hyphal::family::heartbeat::Heartbeat;
use hyphal::family::status::{Status, StatusUpdate};
use hyphal::family::{Body, Octets, Percent, Text, Unreadable};
use hyphal::{Family, Outgoing, SendOptions};

use crate::pair::{pair, within};

#[tokio::test]
async fn a_body_that_was_sent_is_read_as_it_was() {
    let (left, right) = pair().await;
    let heartbeat = Heartbeat { sequence: 1, uptime: 60, load: Percent::new(5) };

    left.send_body(right.id(), &heartbeat, SendOptions::default()).await.unwrap();

    let message = within(right.recv()).await.unwrap();
    assert_eq!(Family::of(message.kind), Some(Family::Heartbeat));
    assert_eq!(message.body(), Ok(heartbeat));
    // It is not what somebody else looks for.
    assert_eq!(message.body::<StatusUpdate<'_>>(), Err(Unreadable::Kind(Heartbeat::KIND)));
}

#[tokio::test]
async fn bodies_go_to_all_and_in_batches() {
    let (left, right) = pair().await;
    let (key, value) = (Text::cut("interval"), Octets::new(b"30 s"));
    let status = StatusUpdate {
        status: Status::Draining,
        since: None,
        sessions: 1,
        software: Text::cut("test"),
        detail: Text::cut(""),
    };

    left.broadcast_body(&status, SendOptions::default()).await.unwrap();
    let message = within(right.recv()).await.unwrap();
    assert_eq!((message.target, message.body()), (None, Ok(status)));

    let updates = (1..=3).map(|version| Outgoing::body(&ConfigurationUpdate { key, version, value }));
    left.send_batch(right.id(), updates).await.unwrap();
    for version in 1..=3 {
        let message = within(right.recv()).await.unwrap();
        assert_eq!(message.body(), Ok(ConfigurationUpdate { key, version, value }));
    }
}
