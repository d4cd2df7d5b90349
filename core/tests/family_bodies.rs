//! Bodies of messages: the golden vectors both ways, and nothing else is taken for a body.
//!
//! What is said here of every message type is tried on every line of the registry, so a new one is tried with the rest.

use std::collections::BTreeSet;
use std::fs;

use hyphal_core::family::{
    Body, FAMILIES, MessageSheet, Octets, Percent, Text, Unreadable,
    configuration::{ConfigurationResult, ConfigurationUpdate, Verdict},
    health::{Aggregation, HealthKind, HealthLevel, HealthReport},
    heartbeat::Heartbeat,
    status::{Status, StatusUpdate},
};
use hyphal_core::wire::family::Family;
use proptest::prelude::*;
use serde::Deserialize;

#[test]
fn every_vector_holds_both_ways() {
    let (s, k, d, v) = ("s".repeat(64), "k".repeat(128), "d".repeat(256), vec![b'v'; 4096]);

    for vector in vectors() {
        let holds = match vector.name.as_str() {
            "heartbeat" => vector.holds(Heartbeat { sequence: 300, uptime: 86400, load: Percent::new(42) }),
            "heartbeat_without_a_load" => vector.holds(Heartbeat { sequence: 0, uptime: 0, load: None }),
            "heartbeat_at_its_longest" => {
                vector.holds(Heartbeat { sequence: u64::MAX, uptime: u64::MAX, load: Percent::new(100) })
            }
            "status_update" => vector.holds(StatusUpdate {
                status: Status::Active,
                since: Some(1_700_000_000_000_000),
                sessions: 3,
                software: text("hyphal 0.1.0"),
                detail: text("the garden is wet"),
            }),
            "status_update_with_nothing_to_say" => vector.holds(StatusUpdate {
                status: Status::Starting,
                since: None,
                sessions: 0,
                software: text(""),
                detail: text(""),
            }),
            "status_update_at_its_longest" => vector.holds(StatusUpdate {
                status: Status::Stopping,
                since: Some(u64::MAX),
                sessions: u32::MAX,
                software: text(&s),
                detail: text(&d),
            }),
            "configuration_update" => vector.holds(ConfigurationUpdate {
                key: text("sampling.interval"),
                version: 7,
                value: Octets::new(b"30 s"),
            }),
            "configuration_update_that_goes_back_to_the_default" => {
                vector.holds(ConfigurationUpdate { key: text("sampling.interval"), version: 8, value: None })
            }
            "configuration_update_at_its_longest" => {
                vector.holds(ConfigurationUpdate { key: text(&k), version: u64::MAX, value: Octets::new(&v) })
            }
            "configuration_result" => vector.holds(ConfigurationResult {
                key: text("sampling.interval"),
                version: 7,
                verdict: Verdict::BadValue,
                detail: text("not a span"),
            }),
            "configuration_result_at_its_longest" => vector.holds(ConfigurationResult {
                key: text(&k),
                version: u64::MAX,
                verdict: Verdict::Forbidden,
                detail: text(&d),
            }),
            "health_report" => vector.holds(HealthReport {
                kind: HealthKind::Link,
                subject: text("relay"),
                level: HealthLevel::Degraded,
                aggregation: Aggregation::Worst,
                measured_at: Some(1_700_000_000_000_001),
                detail: text("slow"),
            }),
            "health_report_of_the_sender" => vector.holds(HealthReport {
                kind: HealthKind::Node,
                subject: text(""),
                level: HealthLevel::Healthy,
                aggregation: Aggregation::Apart,
                measured_at: None,
                detail: text(""),
            }),
            "health_report_at_its_longest" => vector.holds(HealthReport {
                kind: HealthKind::Resource,
                subject: text(&s),
                level: HealthLevel::Critical,
                aggregation: Aggregation::Majority,
                measured_at: Some(u64::MAX),
                detail: text(&d),
            }),
            other => panic!("{other} is a vector without a value"),
        };
        assert!(holds, "{}", vector.name);
    }
}

#[test]
fn every_message_type_has_vectors_and_its_longest_body_is_as_long_as_it_says() {
    for message in messages() {
        let lens = vectors().into_iter().filter(|vector| vector.kind == message.kind);
        let longest = lens.map(|vector| vector.bytes().len()).max();

        assert_eq!(longest, Some(message.max_len), "{}", message.name);
    }
}

#[test]
fn the_registry_is_in_order_and_keeps_to_the_ranges_of_its_families() {
    let kinds: Vec<u16> = messages().map(|message| message.kind).collect();

    assert!(kinds.is_sorted_by(|a, b| a < b));
    for family in FAMILIES {
        assert!(family.messages.iter().all(|message| Family::of(message.kind) == Some(family.family)));
        // Applications number their own, and versions begin with 1.
        assert_ne!(family.family, Family::Application);
        assert!(family.messages.iter().all(|message| message.version > 0));
    }
    assert_eq!(MessageSheet::of(0x0100).map(|message| message.name), Some("Heartbeat"));
    assert!(MessageSheet::of(0x0577).is_none() && MessageSheet::of(0x1000).is_none());
}

#[test]
fn every_file_of_the_folder_is_a_family_in_the_registry() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/family");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();

    let machinery = ["mod", "body", "field"].map(str::to_owned);
    let registered = FAMILIES.iter().map(|family| family.family.name().to_owned()).chain(machinery);

    assert_eq!(names, registered.collect());
}

#[test]
fn another_version_is_told_from_a_broken_body_and_its_bytes_are_handed_on() {
    for vector in vectors() {
        for version in (0..=u8::MAX).filter(|version| *version != vector.version) {
            let mut bytes = vector.bytes();
            bytes[0] = version;
            // Whatever follows is of no concern.
            bytes.extend([0xFF; 3]);

            let checked = (vector.message().check)(&bytes);

            assert_eq!(checked, Err(Unreadable::Version { version, bytes: &bytes[1..] }), "{}", vector.name);
        }
    }
}

#[test]
fn another_type_is_told_by_its_number() {
    let payload = vectors().remove(0).bytes();

    assert_eq!(StatusUpdate::decode(0x0100, &payload), Err(Unreadable::Kind(0x0100)));
}

#[test]
fn a_body_that_is_cut_short_or_goes_on_is_malformed() {
    for vector in vectors() {
        let bytes = vector.bytes();
        for len in 0..bytes.len() {
            assert_eq!(
                (vector.message().check)(&bytes[..len]),
                Err(Unreadable::Malformed),
                "{}",
                vector.name
            );
        }

        for more in 0..=u8::MAX {
            let longer = [&bytes[..], &[more]].concat();
            assert_eq!((vector.message().check)(&longer), Err(Unreadable::Malformed), "{}", vector.name);
        }
    }
}

#[test]
fn a_number_that_is_not_the_shortest_or_too_large_is_malformed() {
    for (fields, why) in [
        ("8000 00 00", "a sequence of two bytes for 0"),
        ("ffffffffffffffffff02 00 00", "a sequence beyond 64 bits"),
        ("ffffffffffffffffff8001 00 00", "a sequence of eleven bytes"),
        ("00 00 02", "an option that is neither there nor not"),
        ("00 00 01 65", "a load of 101 %"),
        ("00 00 01 ff", "a load of 255 %"),
    ] {
        assert_malformed::<Heartbeat>(fields, why);
    }
    for (fields, why) in [
        ("06 00 00 00 00", "a status that there is not"),
        ("8100 00 00 00 00", "a status of two bytes"),
        ("ffffffff0f 00 00 00 00", "a status at the end of 32 bits"),
        ("01 00 ffffffff10 00 00", "sessions beyond 32 bits"),
    ] {
        assert_malformed::<StatusUpdate<'_>>(fields, why);
    }
}

#[test]
fn a_text_that_is_too_long_or_is_none_is_malformed() {
    let long = format!("00 41 {} 00 00 00 00", "61".repeat(65));
    let far = "00 ffffffffffffffffff01 61 00 00 00 00";

    assert_malformed::<HealthReport<'_>>(&long, "a subject of 65 bytes");
    assert_malformed::<HealthReport<'_>>(far, "a subject that is longer than any memory");
    assert_malformed::<HealthReport<'_>>("00 8100 61 00 00 00 00", "a length of two bytes for 1");
    assert_malformed::<HealthReport<'_>>("00 02 c328 00 00 00 00", "a subject that is no UTF-8");
    let value = format!("00 00 01 8120 {}", "00".repeat(4097));
    assert_malformed::<ConfigurationUpdate<'_>>(&value, "a value of 4,097 bytes");
}

#[test]
fn what_is_beyond_its_bounds_cannot_be_made() {
    assert_eq!(Percent::new(101), None);
    assert_eq!(Text::<'_, 3>::new("four"), None);
    assert_eq!(Octets::<'_, 3>::new(b"four"), None);
    assert_eq!(Text::<'_, 3>::new("abc").map(Text::as_str), Some("abc"));
    // Cut where a character ends.
    assert_eq!(Text::<'_, 3>::cut("aäö").as_str(), "aä");
    assert_eq!(Text::<'_, 3>::cut("a").as_str(), "a");
}

#[test]
fn a_body_does_not_fit_a_shorter_buffer() {
    let heartbeat = Heartbeat { sequence: 300, uptime: 0, load: None };

    for len in 0..5 {
        assert_eq!(heartbeat.encode(&mut vec![0; len]), None, "{len}");
    }
    assert_eq!(heartbeat.encode(&mut [0; 5]), Some(5));
}

proptest! {
    /// Whatever is taken for a body is what that body is written as, and nothing panics.
    #[test]
    fn no_two_payloads_are_the_same_body(
        kind in prop::sample::select(messages().map(|message| message.kind).collect::<Vec<_>>()),
        tail in prop::collection::vec(prop_oneof![0..6u8, any::<u8>()], 0..40),
    ) {
        let payload = [&[1], &tail[..]].concat();
        match kind {
            Heartbeat::KIND => prop_assert!(is_canonical::<Heartbeat>(&payload)),
            StatusUpdate::KIND => prop_assert!(is_canonical::<StatusUpdate<'_>>(&payload)),
            ConfigurationUpdate::KIND => prop_assert!(is_canonical::<ConfigurationUpdate<'_>>(&payload)),
            ConfigurationResult::KIND => prop_assert!(is_canonical::<ConfigurationResult<'_>>(&payload)),
            HealthReport::KIND => prop_assert!(is_canonical::<HealthReport<'_>>(&payload)),
            other => prop_assert!(false, "{other:#06x} is not tried"),
        }
    }

    #[test]
    fn every_heartbeat_comes_back(sequence: u64, uptime: u64, load in prop::option::of(0..=100u8)) {
        let heartbeat = Heartbeat { sequence, uptime, load: load.and_then(Percent::new) };
        let mut buf = [0; Heartbeat::MAX_LEN];

        let len = heartbeat.encode(&mut buf).unwrap();

        prop_assert_eq!(Heartbeat::decode(Heartbeat::KIND, &buf[..len]), Ok(heartbeat));
    }

    #[test]
    fn every_configuration_update_comes_back(
        key in "\\PC{0,32}",
        version: u64,
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..=4096)),
    ) {
        let value = value.as_deref().and_then(Octets::new);
        let update = ConfigurationUpdate { key: Text::cut(&key), version, value };
        let mut buf = [0; ConfigurationUpdate::MAX_LEN];

        let len = update.encode(&mut buf).unwrap();

        prop_assert_eq!(ConfigurationUpdate::decode(ConfigurationUpdate::KIND, &buf[..len]), Ok(update));
    }
}

fn is_canonical<'a, B: Body<'a>>(payload: &'a [u8]) -> bool {
    let Ok(body) = B::decode(B::KIND, payload) else { return true };
    let mut buf = vec![0; B::MAX_LEN];
    body.encode(&mut buf).map(|len| &buf[..len]) == Some(payload)
}

#[track_caller]
fn assert_malformed<'a, B: Body<'a>>(fields: &str, why: &str) {
    // Leaked, as the body may borrow from it: a few bytes of a test.
    let payload: &'static [u8] = [&[B::VERSION], &unhex(&fields.replace(' ', ""))[..]].concat().leak();
    assert_eq!(B::decode(B::KIND, payload).err(), Some(Unreadable::Malformed), "{why}");
}

fn text<const MAX: usize>(text: &str) -> Text<'_, MAX> {
    Text::new(text).unwrap()
}

fn messages() -> impl Iterator<Item = &'static MessageSheet> {
    FAMILIES.iter().flat_map(|family| family.messages)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    kind: u16,
    version: u8,
    hex: String,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        unhex(&self.hex)
    }

    fn message(&self) -> &'static MessageSheet {
        MessageSheet::of(self.kind).unwrap()
    }

    /// Whether the vector is this body and the body this vector.
    fn holds<'a, B: Body<'a> + PartialEq>(&self, body: B) -> bool {
        let bytes: &'static [u8] = self.bytes().leak();
        let mut out = vec![0; bytes.len()];
        body.encode(&mut out) == Some(bytes.len())
            && out == bytes
            && B::decode(self.kind, bytes).is_ok_and(|read| read == body)
            && (B::KIND, B::VERSION) == (self.kind, self.version)
    }
}

fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/families.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
