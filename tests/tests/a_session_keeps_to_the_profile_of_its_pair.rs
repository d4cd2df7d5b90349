//! What two nodes are decides how long their records are and how often their heartbeats come, and both ends agree.

use hyphal_core::{
    ids::NodeType::{self, Hyphae, Rhizomorph, Sclerotia},
    profile::{Profile, Security},
    time::Duration,
    wire::record::MAX_LENGTH_LEN,
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

const PAIRS: [(NodeType, NodeType); 9] = [
    (Sclerotia, Sclerotia),
    (Sclerotia, Rhizomorph),
    (Sclerotia, Hyphae),
    (Rhizomorph, Sclerotia),
    (Rhizomorph, Rhizomorph),
    (Rhizomorph, Hyphae),
    (Hyphae, Sclerotia),
    (Hyphae, Rhizomorph),
    (Hyphae, Hyphae),
];

#[test]
fn both_ends_know_the_same_profile() {
    for (one, other) in PAIRS {
        let mut pair = pair(one, other);

        let ends = [Side::Opener, Side::Target]
            .map(|side| *pair.end(side).link.session.peer().expect("it is up").terms());

        assert_eq!(ends[0].profile, Profile::of(one, other));
        assert_eq!(ends[0], ends[1], "{one:?} and {other:?} differ in nothing but their types");
    }
}

#[test]
fn records_are_as_long_as_the_profile_says_and_no_longer() {
    for (one, other) in PAIRS {
        let mut pair = pair(one, other);
        for sequence in 0..40 {
            pair.send(Side::Opener, header(sequence), &[7; 1000]).expect("there is room");
        }
        let (now, mut buf) = (pair.now(), vec![0; 1 << 16]);
        let most = usize::from(Profile::of(one, other).numbers().record) + MAX_LENGTH_LEN;

        let opener = pair.opener();
        let len = opener.link.session.poll_transmit(now, &mut opener.outbox, &mut buf).expect("a record");

        assert!(len <= most && len > most - 1100, "{one:?} {other:?}: {len} of {most}");
        pair.inject(Side::Target, &buf[..len]);
        pair.drive_for(Duration::from_secs(10));
        assert_eq!(pair.target().delivered.len(), 40);
    }
}

#[test]
fn long_messages_arrive_in_parts_that_fit_the_records_of_the_profile() {
    for (one, other) in PAIRS {
        let mut pair = pair(one, other);
        pair.send(Side::Opener, header(0), &[7; 60_000]).expect("there is room");

        pair.drive_for(Duration::from_secs(10));

        let longest = pair.target().parts.iter().map(|part| part.payload.len()).max().expect("parts");
        let record = usize::from(Profile::of(one, other).numbers().record);
        assert!(longest <= record && longest > record / 2, "{one:?} {other:?}: {longest} of {record}");
        assert_eq!(pair.target().payloads(), [vec![7; 60_000]]);
    }
}

#[test]
fn heartbeats_come_as_the_profile_says_and_an_idle_link_stays_up() {
    for (one, other) in PAIRS {
        let mut pair = pair(one, other);
        let before = pair.opener().link.round_trips.len();

        pair.drive_for(Duration::from_secs(80));

        let expected = 80 / Profile::of(one, other).numbers().heartbeats as usize;
        let heard = pair.opener().link.round_trips.len() - before;
        assert!(heard.abs_diff(expected) <= 1, "{one:?} {other:?}: {heard} of {expected}");
        assert!(pair.opener().link.session.is_up() && pair.target().link.session.is_up());
    }
}

#[test]
fn a_security_that_one_end_raises_is_its_own_matter() {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    setup.opener().config.node_type = Hyphae;
    setup.opener().config.security = Security::Standard;

    let mut pair = Pair::up_with(&seed, setup);

    let [opener, target] = [Side::Opener, Side::Target]
        .map(|side| pair.end(side).link.session.peer().expect("it is up").terms().security);
    assert_eq!((opener, target), (Security::Standard, Security::Minimal));
}

fn pair(one: NodeType, other: NodeType) -> Pair {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    setup.buffer = 1 << 16;
    for (end, node_type) in setup.ends.iter_mut().zip([one, other]) {
        end.config.node_type = node_type;
        end.config.max_message = 1 << 20;
        end.config.max_record = u16::MAX;
        end.config.compression = hyphal_core::wire::message::Methods::ALL;
    }
    let mut pair = Pair::up_with(&seed, setup);
    pair.drive_for(Duration::from_millis(100));
    pair
}
