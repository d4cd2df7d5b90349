//! The table of profiles: every pair has one, both ends come to the same terms, and `docs/profiles.md` shows the numbers.
//!
//! `HYPHAL_BLESS=1 cargo test -p hyphal-core --test profiles -- --test-threads=1` writes the tables of the document anew.

use std::fmt::Write as _;
use std::fs;

use hyphal_core::ids::NodeType::{self, Hyphae, Rhizomorph, Sclerotia};
use hyphal_core::ids::Reliability;
use hyphal_core::profile::{Compression, End, Numbers, Profile, SMALL_RECORD, Security, Shortfall, Terms};
use hyphal_core::time::Duration;
use hyphal_core::wire::hello::Hello;
use hyphal_core::wire::message::{Method, Methods};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/profiles.md");

const PAIRS: [(NodeType, NodeType, Profile); 6] = [
    (Sclerotia, Sclerotia, Profile::HighPerformance),
    (Sclerotia, Rhizomorph, Profile::Adaptive),
    (Rhizomorph, Rhizomorph, Profile::Standard),
    (Sclerotia, Hyphae, Profile::Lightweight),
    (Rhizomorph, Hyphae, Profile::Lightweight),
    (Hyphae, Hyphae, Profile::Lightweight),
];

#[test]
fn every_pair_has_its_profile_in_either_order_and_the_terms_that_it_says() {
    for (one, other, profile) in PAIRS {
        let Numbers { record, compression, reliability, security, heartbeats } = profile.numbers();
        for (own, peer) in [(one, other), (other, one)] {
            let terms = Terms::of(&able(own), &able(peer), Security::Minimal);

            assert_eq!(Profile::of(own, peer), profile);
            assert_eq!((terms.profile, terms.record), (profile, record), "{own:?} {peer:?}");
            assert_eq!((terms.compression, terms.reliability), (compression, reliability));
            assert_eq!((terms.security, terms.heartbeat), (security, Duration::from_secs(1) * heartbeats));
            assert!(!terms.has_fallen_back());
        }
    }
}

#[test]
fn the_numbers_are_those_of_the_specification() {
    let row = |profile: Profile| {
        let Numbers { compression, reliability, security, .. } = profile.numbers();
        (security, compression, reliability)
    };

    assert_eq!(row(Profile::HighPerformance), (Security::Standard, Compression::Low, Reliability::High));
    assert_eq!(row(Profile::Adaptive), (Security::Standard, Compression::Medium, Reliability::High));
    assert_eq!(row(Profile::Standard), (Security::Standard, Compression::Medium, Reliability::High));
    assert_eq!(row(Profile::Lightweight), (Security::Minimal, Compression::High, Reliability::BestEffort));
}

#[test]
fn both_ends_come_to_the_same_terms_seen_from_the_other_side() {
    let lengths = [512, SMALL_RECORD - 1, SMALL_RECORD, 9_000, u16::MAX];
    let methods = [Methods::NONE, Methods::LZ4, Methods::ALL];
    let ends = [Sclerotia, Rhizomorph, Hyphae].into_iter().flat_map(|node_type| {
        lengths.into_iter().flat_map(move |max_record| {
            methods.into_iter().map(move |methods| End { max_record, methods, ..able(node_type) })
        })
    });
    let ends: Vec<_> = ends.collect();

    for one in &ends {
        for other in &ends {
            let here = Terms::of(one, other, Security::Minimal);
            let there = Terms::of(other, one, Security::Minimal);

            let mirrored = Terms {
                record: here.record,
                heartbeat: there.peer_heartbeat,
                peer_heartbeat: there.heartbeat,
                own_shortfalls: there.peer_shortfalls,
                peer_shortfalls: there.own_shortfalls,
                ..there
            };
            assert_eq!(here, mirrored, "{one:?} {other:?}");
            assert!(here.record <= other.max_record && here.record >= 512);
        }
    }
}

#[test]
fn adaptive_falls_back_to_the_weaker_end_and_says_so() {
    let relay = able(Rhizomorph);
    let cases = [
        (End { max_record: 9_000, ..relay }, 9_000, Security::Standard, Compression::Medium),
        (End { max_record: 1_200, ..relay }, 1_200, Security::Minimal, Compression::Medium),
        (End { methods: Methods::LZ4, ..relay }, WHOLE, Security::Standard, Compression::Low),
        (End { methods: Methods::NONE, max_record: 600, ..relay }, 600, Security::Minimal, Compression::Low),
    ];

    for (weak, record, security, compression) in cases {
        let own = Terms::of(&able(Sclerotia), &weak, Security::Minimal);
        let peer = Terms::of(&weak, &able(Sclerotia), Security::Minimal);

        for terms in [&own, &peer] {
            assert_eq!((terms.record, terms.security, terms.compression), (record, security, compression));
            assert!(terms.has_fallen_back() && terms.reliability == Reliability::High);
        }
        assert!(own.own_shortfalls.is_empty() && peer.peer_shortfalls.is_empty());
        assert!(own.to_string().starts_with("Adaptive, fallen back (the peer takes "), "{own}");
        assert!(peer.to_string().starts_with("Adaptive, fallen back (this node takes "), "{peer}");
    }
    let terms = Terms::of(&able(Sclerotia), &End { max_record: 600, ..relay }, Security::Minimal);
    assert_eq!(
        terms.to_string(),
        "Adaptive, fallen back (the peer takes shorter records only; the peer takes small records only: security Minimal)"
    );
}

#[test]
fn other_profiles_do_not_fall_back() {
    let weak = End { max_record: 512, methods: Methods::NONE, ..able(Sclerotia) };

    let terms = Terms::of(&able(Sclerotia), &weak, Security::Minimal);

    assert_eq!((terms.security, terms.compression), (Security::Standard, Compression::Low));
    assert_eq!((terms.record, terms.has_fallen_back()), (512, false));
    assert_eq!(terms.to_string(), "HighPerformance");
}

#[test]
fn a_configuration_raises_security_and_never_lowers_it() {
    for (one, other, profile) in PAIRS {
        for least in Security::ALL {
            let terms = Terms::of(&able(one), &able(other), least);

            assert_eq!(terms.security, profile.numbers().security.max(least));
        }
    }
    let weak = End { max_record: 512, ..able(Rhizomorph) };
    assert_eq!(Terms::of(&able(Sclerotia), &weak, Security::High).security, Security::High);
}

#[test]
fn a_heartbeat_is_never_longer_than_a_hello_can_say() {
    let slow = End { heartbeat: Hello::MAX_HEARTBEAT, ..able(Hyphae) };

    let terms = Terms::of(&slow, &slow, Security::Minimal);

    assert_eq!((terms.heartbeat, terms.peer_heartbeat), (Hello::MAX_HEARTBEAT, Hello::MAX_HEARTBEAT));
}

#[test]
fn a_level_of_compression_takes_the_other_method_where_its_own_is_not_taken() {
    for level in Compression::ALL {
        assert_eq!(level.method(Methods::NONE), None);
        assert_eq!(level.method(Methods::LZ4), Some(Method::Lz4));
        assert_eq!(level.method(Methods::NONE.and(Method::Zstd)), Some(Method::Zstd));
    }
    assert_eq!(Compression::Low.method(Methods::ALL), Some(Method::Lz4));
    assert_eq!(Compression::Medium.method(Methods::ALL), Some(Method::Zstd));
}

#[test]
fn the_document_shows_the_numbers_of_the_code() {
    let mut pairs = "| | Sclerotia | Rhizomorph | Hyphae |\n|---|---|---|---|\n".to_owned();
    for one in [Sclerotia, Rhizomorph, Hyphae] {
        let of = |other| Profile::of(one, other);
        writeln!(pairs, "| **{one:?}** | {} | {} | {} |", of(Sclerotia), of(Rhizomorph), of(Hyphae)).unwrap();
    }
    check_table("pairs", &pairs);

    let mut numbers =
        "| profile | record | compression | reliability | security | key by time | heartbeat |\n".to_owned();
    numbers += "|---|---|---|---|---|---|---|\n";
    for profile in Profile::ALL {
        let Numbers { record, compression, reliability, security, heartbeats } = profile.numbers();
        let rekey = rekey(security);
        let heartbeat =
            if heartbeats == 1 { "each interval".into() } else { format!("each {heartbeats} intervals") };
        writeln!(
            numbers,
            "| {profile} | {record} | {compression} | {reliability:?} | {security} | {rekey} | {heartbeat} |"
        )
        .unwrap();
    }
    check_table("numbers", &numbers);

    let mut levels = "| level | method | from, bytes of payload |\n|---|---|---|\n".to_owned();
    for level in Compression::ALL {
        let method = match level.method(Methods::ALL) {
            Some(Method::Zstd) => format!("Zstandard, level {}", level.zstd_level()),
            _ => "LZ4".to_owned(),
        };
        writeln!(levels, "| {level} | {method} | {} |", level.shortest()).unwrap();
    }
    check_table("compression", &levels);

    let mut levels = "| level | link | a key is used for | end to end |\n|---|---|---|---|\n".to_owned();
    for level in Security::ALL {
        let sealed =
            if level == Security::High { "sealed and signed by default" } else { "where the sender asks" };
        writeln!(levels, "| {level} | encrypted, both ends authenticated | {} | {sealed} |", rekey(level))
            .unwrap();
    }
    check_table("security", &levels);

    let mut rows = "| an end whose hello | so, at both ends |\n|---|---|\n".to_owned();
    for shortfall in Shortfall::ALL {
        let (hello, then) = match shortfall {
            Shortfall::ShortRecords => (
                format!("takes records of less than {WHOLE} bytes"),
                "records as short as the weaker end takes",
            ),
            Shortfall::SmallRecords => {
                (format!("takes records of less than {SMALL_RECORD} bytes"), "security Minimal")
            }
            Shortfall::NoZstandard => ("does not take Zstandard".to_owned(), "compression Low"),
        };
        writeln!(rows, "| {hello} | {then} |").unwrap();
    }
    check_table("shortfalls", &rows);
}

fn rekey(security: Security) -> String {
    let hours = |span: Duration| format!("{} h at most", span.as_secs() / 3600);
    security.rekey_after().map_or_else(|| "any time".to_owned(), hours)
}

/// An end that falls short in nothing.
fn able(node_type: NodeType) -> End {
    End { node_type, max_record: u16::MAX, methods: Methods::ALL, heartbeat: Duration::from_secs(1) }
}

const WHOLE: u16 = Profile::Adaptive.numbers().record;

/// Holds the table between the marks of `name` against `expected`, or writes it there.
fn check_table(name: &str, expected: &str) {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let mark = format!("<!-- {name}: written by core/tests/profiles.rs -->\n");
    let (before, rest) = document.split_once(&mark).unwrap();
    let (table, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("\n{expected}\n");

    if std::env::var_os("HYPHAL_BLESS").is_some() {
        fs::write(DOCUMENT, format!("{before}{mark}{expected}<!-- end -->{after}")).unwrap();
    } else {
        assert_eq!(table, expected, "docs/profiles.md is stale: run the tests with HYPHAL_BLESS=1");
    }
}
