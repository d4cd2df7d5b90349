//! Certificates and revocation lists: the vectors of `vectors/wire.json` both ways, and every kind of bad bytes.

use std::{fs, path::Path};

use hyphal_core::{
    identity::Identity,
    ids::{NodeId, NodeType, Roles},
    time::UnixTime,
    trust::{Credential, Revocations, sign_certificate, sign_revocations},
    wire::{
        certificate::Certificate,
        hello::NetworkTag,
        reason::Reason,
        revocation::{ListHeader, RevocationList},
    },
};
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
    test_runner::{Config, RngAlgorithm, RngSeed},
};
use serde::Deserialize;

#[test]
fn every_certificate_vector_holds_both_ways_and_verifies() {
    for vector in vectors().certificate {
        let bytes = unhex(&vector.hex);
        let (authority, network) = (identity(&vector.seed), NetworkTag::of(&vector.network));
        let node_type = [NodeType::Sclerotia, NodeType::Rhizomorph, NodeType::Hyphae][vector.node_type - 1];
        let unsigned = Certificate {
            authority: authority.id(),
            serial: vector.serial,
            node: NodeId::from_bytes(unhex(&vector.node).try_into().unwrap()),
            node_type,
            roles: Roles::from_bits(vector.roles),
            not_before: UnixTime::from_micros(vector.not_before),
            not_after: UnixTime::from_micros(vector.not_after),
            signature: [0; 64],
        };

        let signed = sign_certificate(&authority, network, unsigned).unwrap();

        assert_eq!(signed.to_bytes()[..], bytes, "{}", vector.name);
        assert_eq!(Certificate::decode(&bytes), Ok(signed), "{}", vector.name);
        let credential = Credential::verify(&signed, network, &signed.node, node_type).unwrap();
        assert_eq!(
            (credential.serial(), credential.roles()),
            (signed.serial, signed.roles),
            "{}",
            vector.name
        );
    }
}

#[test]
fn every_vector_of_revocations_holds_both_ways_and_verifies() {
    for vector in vectors().revocations {
        let bytes = unhex(&vector.hex);
        let (authority, network) = (identity(&vector.seed), NetworkTag::of(&vector.network));
        let header = ListHeader {
            authority: authority.id(),
            version: vector.version,
            issued_at: UnixTime::from_micros(vector.issued_at),
            next_update: UnixTime::from_micros(vector.next_update),
        };

        let mut out = vec![0; bytes.len()];
        let written = sign_revocations(&authority, network, header, &vector.serials, &mut out);
        let list = RevocationList::decode(&bytes).unwrap();

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(list.header(), &header, "{}", vector.name);
        assert!(list.serials().eq(vector.serials.iter().copied()), "{}", vector.name);
        assert!(vector.serials.iter().all(|serial| list.contains(*serial)), "{}", vector.name);
        assert!(!list.contains(8), "{}", vector.name);
        assert_eq!(
            Revocations::verify(bytes, network).map(|list| *list.header()),
            Ok(header),
            "{}",
            vector.name
        );
    }
}

#[test]
fn a_certificate_cut_short_or_with_a_byte_too_many_does_not_decode() {
    let mut bytes = unhex(&vectors().certificate[0].hex);

    for len in 0..bytes.len() {
        assert_eq!(Certificate::decode(&bytes[..len]), Err(Reason::BadCertificate), "{len} bytes");
    }
    bytes.push(0);
    assert_eq!(Certificate::decode(&bytes), Err(Reason::BadCertificate));
}

#[test]
fn a_certificate_of_another_version_or_type_or_that_ends_before_it_begins_does_not_decode() {
    let bytes = unhex(&vectors().certificate[0].hex);
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        Certificate::decode(&bytes)
    };

    for version in [0, 2, 0xFF] {
        assert_eq!(with(0, version), Err(Reason::BadCertificate), "version {version}");
    }
    for node_type in [0, 4, 0xFF] {
        assert_eq!(with(73, node_type), Err(Reason::BadCertificate), "type {node_type}");
    }
    let mut at_once = bytes.clone();
    at_once.copy_within(78..86, 86);
    assert_eq!(Certificate::decode(&at_once), Err(Reason::BadCertificate), "it ends as it begins");
}

#[test]
fn every_bent_bit_of_a_certificate_is_noticed() {
    let vector = &vectors().certificate[0];
    let (bytes, network) = (unhex(&vector.hex), NetworkTag::of(&vector.network));
    let node = Certificate::decode(&bytes).unwrap().node;

    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);

        let verified = Certificate::decode(&bent)
            .and_then(|bent| Credential::verify(&bent, network, &node, NodeType::Rhizomorph));

        assert_eq!(verified, Err(Reason::BadCertificate), "bit {bit}");
    }
}

#[test]
fn every_bent_bit_of_a_list_is_noticed() {
    let vector = &vectors().revocations[0];
    let (bytes, network) = (unhex(&vector.hex), NetworkTag::of(&vector.network));

    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);

        assert!(Revocations::verify(bent, network).is_err(), "bit {bit}");
    }
}

#[test]
fn a_list_cut_short_or_with_a_byte_too_many_is_malformed() {
    let mut bytes = unhex(&vectors().revocations[0].hex);

    for len in 0..bytes.len() {
        assert_eq!(RevocationList::decode(&bytes[..len]), Err(Reason::Malformed), "{len} bytes");
    }
    bytes.push(0);
    assert_eq!(RevocationList::decode(&bytes), Err(Reason::Malformed));
}

#[test]
fn a_list_that_is_too_large_is_refused_by_its_count() {
    let authority = identity(&vectors().certificate[0].seed);
    let serials: Vec<u64> = (0..=RevocationList::MAX_SERIALS as u64).collect();
    let (all, but_one) = (serials.as_slice(), &serials[1..]);
    let mut out = vec![0; RevocationList::len_with(serials.len())];
    let mut sign =
        |serials| sign_revocations(&authority, NetworkTag::of("x"), header(&authority), serials, &mut out);

    assert_eq!(sign(all), None);
    assert_eq!(sign(but_one), Some(RevocationList::MAX_LEN));

    out[57..59].copy_from_slice(&4097_u16.to_be_bytes());
    assert_eq!(RevocationList::decode(&out), Err(Reason::TooLong));
}

#[test]
fn serials_that_do_not_rise_and_a_list_that_is_due_before_it_is_issued_are_malformed() {
    let authority = identity(&vectors().certificate[0].seed);
    let mut out = [0; 512];
    for serials in [&[1, 1][..], &[2, 1]] {
        let signed = sign_revocations(&authority, NetworkTag::of("x"), header(&authority), serials, &mut out);
        assert_eq!(signed, None);
    }
    let len =
        sign_revocations(&authority, NetworkTag::of("x"), header(&authority), &[1, 2], &mut out).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = out;
        bytes[at] = value;
        RevocationList::decode(&bytes[..len]).map(|list| *list.header())
    };

    assert!(with(66, 1).is_ok());
    assert_eq!(with(66, 2), Err(Reason::Malformed), "2, 2");
    assert_eq!(with(66, 3), Err(Reason::Malformed), "3, 2");
    assert_eq!(with(48, 21), Err(Reason::Malformed), "due as it is issued");
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn a_certificate_comes_back(
        ids in any::<([u8; 32], [u8; 32])>(),
        numbers in any::<(u64, u32, u64, u64)>(),
        node_type in 1..=3_u8,
        half in any::<[u8; 32]>(),
    ) {
        let (serial, roles, one, other) = numbers;
        prop_assume!(one != other);
        let certificate = Certificate {
            authority: NodeId::from_bytes(ids.0),
            serial,
            node: NodeId::from_bytes(ids.1),
            node_type: NodeType::from_code(node_type).unwrap(),
            roles: Roles::from_bits(roles),
            not_before: UnixTime::from_micros(one.min(other)),
            not_after: UnixTime::from_micros(one.max(other)),
            signature: core::array::from_fn(|at| half[at % 32]),
        };

        prop_assert_eq!(Certificate::decode(&certificate.to_bytes()), Ok(certificate));
    }

    #[test]
    fn a_list_finds_what_it_holds_and_nothing_else(serials in btree_set(0..200_u64, 0..80)) {
        let header = ListHeader {
            authority: NodeId::from_bytes([1; 32]),
            version: 1,
            issued_at: UnixTime::from_micros(1),
            next_update: UnixTime::from_micros(2),
        };
        let rising: Vec<u64> = serials.iter().copied().collect();
        let mut out = vec![0; RevocationList::len_with(rising.len())];

        let written = RevocationList::encode(&header, &rising, NetworkTag::of("x"), &mut out, |_| Some([7; 64]));

        prop_assert_eq!(written, Some(out.len()));
        let list = RevocationList::decode(&out).unwrap();
        prop_assert!((0..200).all(|serial| list.contains(serial) == serials.contains(&serial)));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Certificate::decode(&bytes);
        let _ = RevocationList::decode(&bytes);
        let _ = Revocations::verify(bytes, NetworkTag::of("x"));
    }
}

fn repeatable() -> Config {
    Config {
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x6879_7068_616C),
        failure_persistence: None,
        ..Config::default()
    }
}

fn header(authority: &Identity) -> ListHeader {
    ListHeader {
        authority: authority.id(),
        version: 1,
        issued_at: UnixTime::from_micros(20),
        next_update: UnixTime::from_micros(21),
    }
}

#[derive(Deserialize)]
struct Vectors {
    certificate: Vec<CertificateVector>,
    revocations: Vec<ListVector>,
}

#[derive(Deserialize)]
struct CertificateVector {
    name: String,
    seed: String,
    network: String,
    serial: u64,
    node: String,
    node_type: usize,
    roles: u32,
    not_before: u64,
    not_after: u64,
    hex: String,
}

#[derive(Deserialize)]
struct ListVector {
    name: String,
    seed: String,
    network: String,
    version: u64,
    issued_at: u64,
    next_update: u64,
    serials: Vec<u64>,
    hex: String,
}

fn identity(seed: &str) -> Identity {
    Identity::from_seed(&unhex(seed).try_into().unwrap()).unwrap()
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
