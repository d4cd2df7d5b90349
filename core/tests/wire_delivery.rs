//! What the ends of lanes say to each other: the golden vectors of `vectors/wire.json`, round trips, and what is refused.

use std::{fs, path::Path};

use hyphal_core::ids::Priority;
use hyphal_core::wire::delivery::{Arrived, Lane, LaneRefusal, LaneState, WINDOW};
use hyphal_core::wire::family::Family;
use hyphal_core::wire::reason::Reason;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};
use serde::Deserialize;

#[test]
fn every_lane_vector_holds_both_ways() {
    for vector in vectors().lane {
        let LaneVector { class, epoch, base, fresh, .. } = vector;
        let lane = Lane { class: Priority::ALL[class], epoch, base, fresh };
        let bytes = unhex(&vector.hex);

        let mut out = vec![0; bytes.len()];
        let written = lane.encode(&mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(Lane::decode(&bytes), Ok(lane), "{}", vector.name);
        assert!(bytes.len() <= Lane::MAX_LEN);
    }
}

#[test]
fn every_vector_of_a_lanes_state_holds_both_ways() {
    for vector in vectors().lane_state {
        let arrived =
            vector.since.zip(vector.base).map(|(since, base)| arrived(since, base, &vector.arrived));
        let state = LaneState { class: Priority::ALL[vector.class], epoch: vector.epoch, arrived };
        let bytes = unhex(&vector.hex);

        let mut out = vec![0; bytes.len()];
        let written = state.encode(&mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(LaneState::decode(&bytes), Ok(state), "{}", vector.name);
        assert!(bytes.len() <= LaneState::MAX_LEN);
        assert!(vector.arrived.iter().all(|&number| arrived.unwrap().contains(number)));
    }
}

#[test]
fn every_vector_of_a_refusal_holds_both_ways() {
    for vector in vectors().lane_refusal {
        let RefusalVector { class, epoch, code, first, count, .. } = vector;
        let refusal = LaneRefusal { class: Priority::ALL[class], epoch, code, first, count };
        let bytes = unhex(&vector.hex);

        let mut out = vec![0; bytes.len()];
        let written = refusal.encode(&mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(LaneRefusal::decode(&bytes), Ok(refusal), "{}", vector.name);
        assert!(bytes.len() <= LaneRefusal::MAX_LEN);
    }
}

#[test]
fn a_reason_of_a_later_version_is_read_as_unspecified() {
    let sound =
        LaneRefusal { class: Priority::Low, epoch: 1, code: Reason::NoReceiver.code(), first: 1, count: 1 };

    assert_eq!(sound.reason(), Reason::NoReceiver);
    assert_eq!(LaneRefusal { code: 0xFFFF, ..sound }.reason(), Reason::Unspecified);
}

#[test]
fn a_refusal_that_contradicts_itself_is_neither_written_nor_read() {
    let sound = LaneRefusal { class: Priority::Medium, epoch: 1, code: 0x0409, first: 2, count: 3 };
    let unsound = [
        LaneRefusal { first: 0, ..sound },
        LaneRefusal { count: 0, ..sound },
        LaneRefusal { count: WINDOW + 1, ..sound },
        LaneRefusal { first: u64::MAX, ..sound },
    ];
    for refusal in unsound {
        assert_eq!(refusal.encode(&mut [0; LaneRefusal::MAX_LEN]), None, "{refusal:?}");
    }

    let head = "0100000000000000010409";
    // Number 0, none at all, more than a window; a byte too many, one too few, a longer varint.
    for rest in ["0001", "0100", "018108", "010100", "01", "810001"] {
        assert_eq!(LaneRefusal::decode(&unhex(&format!("{head}{rest}"))), Err(Reason::Malformed), "{rest}");
    }
}

#[test]
fn all_are_of_the_family_delivery() {
    assert_eq!(Family::of(LaneRefusal::KIND), Some(Family::Delivery));
    assert_eq!(Family::of(Lane::KIND), Some(Family::Delivery));
    assert_eq!(Family::of(LaneState::KIND), Some(Family::Delivery));
}

#[test]
fn a_lane_that_contradicts_itself_is_neither_written_nor_read() {
    let sound = Lane { class: Priority::Medium, epoch: 1, base: 2, fresh: 3 };
    for lane in [Lane { base: 0, ..sound }, Lane { base: 4, ..sound }] {
        assert_eq!(lane.encode(&mut [0; Lane::MAX_LEN]), None);
    }

    for hex in
        ["010000000000000001", "01000000000000000100", "0100000000000000010003", "0100000000000000010403"]
    {
        assert_eq!(Lane::decode(&unhex(hex)), Err(Reason::Malformed), "{hex}");
    }
    // A class that is none, a byte too many, a longer varint.
    for hex in ["0400000000000000010203", "010000000000000001020300", "01000000000000000182000303"] {
        assert_eq!(Lane::decode(&unhex(hex)), Err(Reason::Malformed), "{hex}");
    }
}

#[test]
fn a_state_that_contradicts_itself_is_not_read() {
    let head = "010000000000000001";
    // No status, an unknown one, more behind a refusal; since 0, since above base; the base's own bit, a zero at the end.
    for rest in ["", "02", "0100", "000001", "000201", "00010101", "0001010200"] {
        assert_eq!(LaneState::decode(&unhex(&format!("{head}{rest}"))), Err(Reason::Malformed), "{rest}");
    }
    let long = format!("{head}000101{}", "02".repeat(129));
    assert_eq!(LaneState::decode(&unhex(&long)), Err(Reason::Malformed));
    // Numbers beyond the last one.
    let beyond = format!("{head}0001ffffffffffffffffff0102");
    assert_eq!(LaneState::decode(&unhex(&beyond)), Err(Reason::Malformed));
}

proptest! {
    #![proptest_config(Config {
        cases: 512,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0xDE11),
        ..Config::default()
    })]

    #[test]
    fn a_state_comes_back(
        class in select(Priority::ALL.as_slice()),
        epoch in any::<u64>(),
        since in 1..=u64::MAX / 2,
        beyond in 0..u64::MAX / 4,
        ahead in btree_set(1..WINDOW, 0..40),
    ) {
        let numbers: Vec<_> = ahead.into_iter().map(|ahead| since + beyond + ahead).collect();
        let arrived = arrived(since, since + beyond, &numbers);
        let state = LaneState { class, epoch, arrived: Some(arrived) };
        let mut out = [0; LaneState::MAX_LEN];

        let len = state.encode(&mut out).unwrap();

        prop_assert_eq!(LaneState::decode(&out[..len]), Ok(state));
        prop_assert_eq!(arrived.highest(), numbers.last().copied());
    }

    #[test]
    fn what_decodes_has_one_encoding(bytes in vec(any::<u8>(), 0..40), status in 0..2_u8) {
        let mut bytes = bytes;
        if let Some(class) = bytes.first_mut() { *class %= 4; }
        if let Some(place) = bytes.get_mut(9) { *place = status; }
        let mut out = [0; LaneState::MAX_LEN];
        if let Ok(state) = LaneState::decode(&bytes) {
            let len = state.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..len], &bytes[..]);
        }
        if let Ok(refusal) = LaneRefusal::decode(&bytes) {
            let len = refusal.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..len], &bytes[..]);
        }
        if let Ok(lane) = Lane::decode(&bytes) {
            let len = lane.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..len], &bytes[..]);
        }
    }
}

fn arrived(since: u64, base: u64, numbers: &[u64]) -> Arrived {
    let mut bits = [0; Arrived::WORDS];
    for number in numbers {
        let ahead = number - base;
        bits[usize::try_from(ahead / 64).unwrap()] |= 1 << (ahead % 64);
    }
    Arrived { since, base, bits }
}

#[derive(Deserialize)]
struct Vectors {
    lane: Vec<LaneVector>,
    lane_state: Vec<StateVector>,
    lane_refusal: Vec<RefusalVector>,
}

#[derive(Deserialize)]
struct LaneVector {
    name: String,
    class: usize,
    epoch: u64,
    base: u64,
    fresh: u64,
    hex: String,
}

#[derive(Deserialize)]
struct StateVector {
    name: String,
    class: usize,
    epoch: u64,
    since: Option<u64>,
    base: Option<u64>,
    arrived: Vec<u64>,
    hex: String,
}

#[derive(Deserialize)]
struct RefusalVector {
    name: String,
    class: usize,
    epoch: u64,
    code: u16,
    first: u64,
    count: u64,
    hex: String,
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
