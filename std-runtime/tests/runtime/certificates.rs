//! Nodes that admit by certificate: who gets in, what ends a session, and how a revocation reaches everybody.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hyphal::trust::{
    Certificate, Existing, ListHeader, Network, RevocationList, Roles, read_revocations, revocations_path,
    sign_certificate, sign_revocations, write_certificate, write_revocations,
};
use hyphal::{
    Event, Identity, Node, NodeBuilder, NodeId, NodeType, Reason, SendError, SendOptions, Trust,
    TrustSettings, UnixTime,
};
use tempfile::TempDir;

use crate::pair::{PATIENCE, builder, dialling, find, identity, listening, up, within};

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_talk_and_see_them() {
    let authority = Authority::new();
    let left = Member::new(&authority, 1, relay(), DAY);
    let right = Member::new(&authority, 2, Roles::NONE, DAY);

    let left_node = listening(left.builder()).await;
    let right_node = dialling(right.builder(), &left_node).await;
    let mut events = right_node.events();
    if right_node.peers().await[0].status.session.is_none() {
        up(&mut events, left_node.id()).await;
    }
    right_node.send_direct(left_node.id(), 7, b"hello".to_vec(), SendOptions::default()).await.unwrap();

    assert_eq!(within(left_node.recv()).await.unwrap().payload, &b"hello"[..]);
    let shown = right_node.peers().await[0].certificate.unwrap();
    assert_eq!((shown.authority(), shown.serial(), shown.roles()), (authority.key.id(), 1, relay()));
}

#[tokio::test]
async fn a_node_without_a_certificate_or_with_a_foreign_one_is_refused_and_hears_why() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let member = Member::new(&authority, 1, Roles::NONE, DAY);
    let stranger = Member::new(&foreign, 1, Roles::NONE, DAY);
    let node = listening(member.builder()).await;

    for (builder, reason) in
        [(builder(), Reason::NoCertificate), (stranger.builder().trust(Trust::Open), Reason::Untrusted)]
    {
        let refused = dialling(builder, &node).await;

        assert_eq!(ending(&refused).await, reason);
    }
}

#[tokio::test]
async fn a_required_role_is_enforced() {
    let authority = Authority::new();
    let strict = Member::new(&authority, 1, relay(), DAY);
    let plain = Member::new(&authority, 2, Roles::NONE, DAY);
    let mut settings = strict.settings();
    settings.roles = relay();
    let node = listening(strict.builder().trust_settings(settings)).await;

    let refused = dialling(plain.builder(), &node).await;

    assert_eq!(ending(&refused).await, Reason::WrongRole);
}

#[tokio::test]
async fn a_session_ends_when_the_certificate_expires() {
    let authority = Authority::new();
    let lasting = Member::new(&authority, 1, Roles::NONE, DAY);
    let fleeting = Member::new(&authority, 2, Roles::NONE, Duration::from_secs(2));
    let node = listening(lasting.builder()).await;
    let mut events = node.events();
    let mut other = dialling(fleeting.builder(), &node).await;
    // Where the machine stands still until the certificate has expired, the next one lasts longer.
    let mut lasts = 2;
    while !had_session(&other).await {
        lasts *= 2;
        fleeting.certify(&authority, lasts, Roles::NONE, Duration::from_secs(lasts));
        other = dialling(fleeting.builder(), &node).await;
    }

    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;

    assert_eq!(down, Event::PeerDown { peer: other.id(), reason: Reason::CertificateExpired });
}

#[tokio::test]
async fn whoever_refused_an_old_certificate_is_shown_a_new_one_at_once() {
    let authority = Authority::new();
    let node = Member::new(&authority, 1, Roles::NONE, DAY);
    let late = Member::new(&authority, 2, Roles::NONE, Duration::ZERO);
    let node = listening(node.builder()).await;
    let late_node = dialling(late.builder(), &node).await;
    assert_eq!(ending(&late_node).await, Reason::CertificateExpired);

    late.certify(&authority, 3, Roles::NONE, DAY);
    late_node.set_trust(late.settings()).await.unwrap();

    // By itself it would be dialled again after five minutes.
    await_session(&late_node, node.id()).await;
}

#[tokio::test]
async fn an_older_list_that_is_copied_over_the_newest_is_not_what_a_restart_finds() {
    let authority = Authority::new();
    let member = Member::new(&authority, 1, Roles::NONE, DAY);
    member.keep(&authority.list(5, &[50]));
    let node = listening(member.builder()).await;

    member.keep(&authority.list(4, &[]));
    node.set_trust(member.settings()).await.unwrap();
    await_list(member.directory.path(), authority.key.id(), 5).await;

    std::fs::remove_file(revocations_path(member.directory.path(), &authority.key.id())).unwrap();
    node.set_trust(member.settings()).await.unwrap();
    await_list(member.directory.path(), authority.key.id(), 5).await;
}

#[tokio::test]
async fn a_revocation_spreads_over_three_nodes_is_kept_and_ends_the_session() {
    let authority = Authority::new();
    let [first, middle, last] = [1, 2, 3].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    let first_node = listening(first.builder()).await;
    let middle_node = dialling(middle.builder().listen("127.0.0.1:0"), &first_node).await;
    let mut of_middle = middle_node.events();
    let last_node = dialling(last.builder(), &middle_node).await;
    up(&mut of_middle, last_node.id()).await;
    await_session(&first_node, middle_node.id()).await;

    // A certificate of nobody here: the list passes through all of them.
    first.keep(&authority.list(1, &[99]));
    first_node.set_trust(first.settings()).await.unwrap();
    for member in [&middle, &last] {
        await_list(member.directory.path(), authority.key.id(), 1).await;
    }
    assert_eq!(last_node.peers().await[0].status.sessions, 1, "nobody's session ended");

    // And one of the last: the middle hears it from the first.
    first.keep(&authority.list(2, &[3, 99]));
    first_node.set_trust(first.settings()).await.unwrap();
    let down = find(&mut of_middle, |event| matches!(event, Event::PeerDown { .. })).await;

    assert_eq!(down, Event::PeerDown { peer: last_node.id(), reason: Reason::Revoked });
    await_list(middle.directory.path(), authority.key.id(), 2).await;
    assert_eq!(ending(&last_node).await, Reason::Revoked);
    assert_eq!(last_node.counters().received, 0, "lists are not for applications");
}

#[tokio::test]
async fn nothing_waits_for_a_peer_whose_session_ended_with_the_list_that_revokes_it() {
    let authority = Authority::new();
    let [staying, revoked] = [1, 2].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    let staying_node = listening(staying.builder()).await;
    let mut events = staying_node.events();
    let revoked_node = dialling(revoked.builder(), &staying_node).await;
    up(&mut events, revoked_node.id()).await;

    staying.keep(&authority.list(1, &[2]));
    staying_node.set_trust(staying.settings()).await.unwrap();
    assert_eq!(ending(&staying_node).await, Reason::Revoked);
    let sent = within(staying_node.shutdown(PATIENCE * 2)).await;

    assert_eq!(sent.queued, 0, "the list is for nobody any more: {sent:?}");
}

#[tokio::test]
async fn a_newer_list_comes_with_the_session_and_an_older_one_changes_nothing() {
    let authority = Authority::new();
    let [ahead, behind] = [1, 2].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    ahead.keep(&authority.list(5, &[50]));
    behind.keep(&authority.list(4, &[40, 50]));

    let ahead_node = listening(ahead.builder()).await;
    let _behind_node = dialling(behind.builder(), &ahead_node).await;

    await_list(behind.directory.path(), authority.key.id(), 5).await;
    within(async {
        while ahead_node.counters().received_dropped.iter().all(|(reason, _)| *reason != Reason::Duplicate) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    await_list(ahead.directory.path(), authority.key.id(), 5).await;
}

#[tokio::test]
async fn settings_that_are_wrong_change_nothing_and_say_what_is_wrong() {
    let authority = Authority::new();
    let member = Member::new(&authority, 1, Roles::NONE, DAY);
    let node = listening(member.builder()).await;
    let other = Member::new(&authority, 2, Roles::NONE, DAY);
    let with = |change: &dyn Fn(&mut TrustSettings)| {
        let mut settings = member.settings();
        change(&mut settings);
        settings
    };
    let bad = member.directory.path().join("bad");
    std::fs::write(&bad, "hyphal-certificate-v1 00").unwrap();
    let cases = [
        (with(&|settings| settings.authorities.clear()), "no authority is named"),
        (with(&|settings| settings.authorities.push(NodeId::from_bytes([0; 32]))), "cannot be an authority"),
        (with(&|settings| settings.certificate = other.settings().certificate), "is for node"),
        (with(&|settings| settings.certificate = Some(bad.clone())), "not a good certificate file"),
        (with(&|settings| settings.revocations = Some("/nowhere/at/all".into())), "no directory"),
    ];

    for (settings, problem) in cases {
        let error = node.set_trust(settings).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert!(!error.remedy().is_empty(), "{error}");
    }

    let peer = dialling(other.builder(), &node).await;
    await_session(&peer, node.id()).await;
}

#[tokio::test]
async fn whoever_has_no_certificate_is_closed_when_certificates_are_asked_for() {
    let authority = Authority::new();
    let member = Member::new(&authority, 1, Roles::NONE, DAY);
    let certified = Member::new(&authority, 2, Roles::NONE, DAY);
    let node = listening(member.builder().trust(Trust::Open)).await;
    let mut events = node.events();
    let plain = dialling(builder(), &node).await;
    up(&mut events, plain.id()).await;
    let shown = dialling(certified.builder(), &node).await;
    up(&mut events, shown.id()).await;

    node.set_trust(member.settings()).await.unwrap();

    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    assert_eq!(down, Event::PeerDown { peer: plain.id(), reason: Reason::NoCertificate });
    let stays = node.peers().await.into_iter().find(|peer| peer.status.id == shown.id()).unwrap();
    assert!(stays.status.session.is_some() && stays.status.sessions == 1);
}

#[tokio::test]
async fn applications_cannot_send_revocation_lists() {
    let authority = Authority::new();
    let member = Member::new(&authority, 1, Roles::NONE, DAY);
    let node = listening(member.builder().known_peer(identity().id())).await;
    let peer = node.peers().await[0].status.id;

    let refused = node.send_direct(peer, 0x0A01, b"x".to_vec(), SendOptions::default()).await;

    assert_eq!(refused, Err(SendError::ReservedType));
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn relay() -> Roles {
    Roles::named("relay").unwrap()
}

pub(crate) struct Authority {
    pub(crate) key: Identity,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self { key: identity() }
    }

    pub(crate) fn list(&self, version: u64, serials: &[u64]) -> Vec<u8> {
        let header = ListHeader {
            authority: self.key.id(),
            version,
            issued_at: after(Duration::ZERO),
            next_update: after(DAY),
        };
        let mut bytes = vec![0; RevocationList::len_with(serials.len())];
        sign_revocations(&self.key, Network::of("test"), header, serials, &mut bytes).unwrap();
        bytes
    }
}

/// A node of the network with its files.
pub(crate) struct Member {
    identity: Identity,
    authority: NodeId,
    pub(crate) directory: TempDir,
}

impl Member {
    pub(crate) fn new(authority: &Authority, serial: u64, roles: Roles, lasts: Duration) -> Self {
        let (identity, directory) = (identity(), tempfile::tempdir().unwrap());
        let member = Self { identity, authority: authority.key.id(), directory };
        member.certify(authority, serial, roles, lasts);
        member
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.id()
    }

    /// Gives the node another certificate, in the place of the one it has.
    fn certify(&self, authority: &Authority, serial: u64, roles: Roles, lasts: Duration) {
        let certificate = Certificate {
            authority: authority.key.id(),
            serial,
            node: self.identity.id(),
            node_type: NodeType::Sclerotia,
            roles,
            not_before: UnixTime::from_micros(after(Duration::ZERO).as_micros() - 60_000_000),
            not_after: after(lasts),
            signature: [0; 64],
        };
        let signed = sign_certificate(&authority.key, Network::of("test"), certificate).unwrap();
        write_certificate(&self.directory.path().join("certificate"), &signed, Existing::Replace).unwrap();
    }

    pub(crate) fn settings(&self) -> TrustSettings {
        let mut settings = TrustSettings::new(Trust::Certified);
        settings.authorities = vec![self.authority];
        settings.certificate = Some(self.directory.path().join("certificate"));
        settings.revocations = Some(self.directory.path().to_owned());
        settings
    }

    pub(crate) fn builder(&self) -> NodeBuilder {
        let identity = Identity::from_seed(self.identity.seed().unwrap()).unwrap();
        builder().identity(identity).trust_settings(self.settings())
    }

    /// The user copies a list to where the node keeps it.
    pub(crate) fn keep(&self, list: &[u8]) {
        write_revocations(&revocations_path(self.directory.path(), &self.authority), list, Existing::Replace)
            .unwrap();
    }
}

fn after(span: Duration) -> UnixTime {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + span;
    UnixTime::from_micros(time.as_micros() as u64)
}

/// Why the node's only peer has no session, once it knows.
async fn ending(node: &Node) -> Reason {
    within(async {
        loop {
            let status = node.peers().await.remove(0).status;
            if let (None, Some(reason)) = (status.session, status.last_reason) {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Whether the node's only peer let it in at all, once it knows.
async fn had_session(node: &Node) -> bool {
    within(async {
        loop {
            let status = node.peers().await.remove(0).status;
            match status.last_reason {
                _ if status.sessions > 0 => return true,
                Some(_) => return false,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

pub(crate) async fn await_session(node: &Node, peer: NodeId) {
    within(async {
        while node.peers().await.iter().all(|other| other.status.id != peer || other.status.session.is_none())
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn await_list(directory: &Path, authority: NodeId, version: u64) {
    let path = revocations_path(directory, &authority);
    let found = tokio::time::timeout(PATIENCE, async {
        while read_revocations(&path)
            .ok()
            .is_none_or(|bytes| RevocationList::decode(&bytes).unwrap().header().version != version)
        {
            tokio::task::yield_now().await;
        }
    });
    assert!(found.await.is_ok(), "list {version} at {}", path.display());
}
