//! `docs/protocol.md` says what the code does: its examples are vectors, its tables of numbers are the code's.
//!
//! Two kinds of blocks are checked. `hex SECTION NAME`: bytes of `transcript.json`, `seals.json` or of a section of
//! `wire.json`, each line's text after two spaces being a remark. `values`: a name of the first two and its value on each
//! line. Any other
//! block holds no bytes. `HYPHAL_BLESS=1 cargo test -p hyphal-core --test protocol_document` writes the tables between
//! marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use hyphal_core::aead::TAG_LEN;
use hyphal_core::ids::NodeId;
use hyphal_core::wire::family::Family;
use hyphal_core::wire::frame::{self, Refusal};
use hyphal_core::wire::hello::Hello;
use hyphal_core::wire::message::{self, DEFAULT_TTL};
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::record::{self, RecordHeader};
use hyphal_core::wire::varint;
use serde_json::Value;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
const DELIVERY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/delivery.md");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

#[test]
fn every_example_is_a_vector_and_every_value_of_the_transcript_is_shown() {
    let document = document();
    let mut transcript: BTreeMap<String, String> = serde_json::from_str(&vectors("transcript.json")).unwrap();
    let seals: BTreeMap<String, String> = serde_json::from_str(&vectors("seals.json")).unwrap();
    transcript.extend(seals.into_iter().map(|(name, value)| (format!("seals_{name}"), value)));
    let wire: Value = serde_json::from_str(&vectors("wire.json")).unwrap();
    let mut shown = BTreeSet::new();

    for block in blocks(&document) {
        let words: Vec<&str> = block.label.split(' ').collect();
        match words[..] {
            ["hex", "transcript", name] => {
                assert_eq!(Some(&block.bytes()), transcript.get(name), "{name}");
                shown.insert(name.to_owned());
            }
            ["hex", "seals", name] => {
                let name = format!("seals_{name}");
                assert_eq!(Some(&block.bytes()), transcript.get(&name), "{name}");
                shown.insert(name);
            }
            ["hex", section, name] => {
                let vectors = wire[section].as_array().unwrap();
                let vector = vectors.iter().find(|vector| vector["name"] == name).unwrap();
                assert_eq!(block.bytes(), vector["hex"].as_str().unwrap(), "{section} {name}");
            }
            ["values"] => {
                for line in &block.lines {
                    let (name, value) = line.split_once(' ').unwrap();
                    assert_eq!(transcript.get(name).map(String::as_str), Some(value.trim()), "{name}");
                    shown.insert(name.to_owned());
                }
            }
            ["text"] => assert_eq!(block.lines.iter().find(|line| has_bytes(line)), None, "unchecked bytes"),
            _ => panic!("a block of another kind: {}", block.label),
        }
    }

    assert_eq!(shown, transcript.into_keys().collect());
}

#[test]
fn the_table_of_varints_is_right() {
    let document = document();
    let mut rows = 0;

    for line in document.lines() {
        let Some((value, bytes)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | `")) else {
            continue;
        };
        let (Ok(value), Some(bytes)) = (value.parse::<u64>(), bytes.strip_suffix("` |")) else { continue };
        let mut encoded = [0; varint::MAX_LEN];
        let len = varint::encode(value, &mut encoded).unwrap();
        assert_eq!(bytes, hex(&encoded[..len]), "{value}");
        rows += 1;
    }

    assert_eq!(rows, 8);
}

#[test]
fn the_tables_of_reasons_and_message_types_are_the_code() {
    let mut table = "\n| code | reason | meaning |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        writeln!(table, "| `0x{:04X}` | `{}` | {reason} |", reason.code(), reason.name()).unwrap();
    }

    assert!(Reason::ALL.is_sorted_by_key(|reason| reason.code()));
    check_table("reasons", &table);

    table = "\n| types | family |\n|---|---|\n".to_owned();
    let mut next = 0;
    for (range, _, name) in Family::RANGES {
        let (first, last) = (*range.start(), *range.end());
        if first != next {
            writeln!(table, "| `0x{next:04X}` - `0x{:04X}` | unassigned |", first - 1).unwrap();
        }
        writeln!(table, "| `0x{first:04X}` - `0x{last:04X}` | {name} |").unwrap();
        next = last.wrapping_add(1);
    }

    check_table("types", &table);
}

#[test]
fn the_promise_of_guaranteed_stands_in_both_documents_in_the_same_words() {
    const PROMISE: &str = "at least once, duplicates suppressed per (source, epoch, target, class) by a contiguous base and a \
                           1,024-bit window; skipped numbers are announced; the sender never exceeds the window; evicted filter \
                           state answers `unknown`, never Delivered; a crash between commit and acknowledgement may redeliver.";

    for document in [document(), fs::read_to_string(DELIVERY).unwrap()] {
        let words: Vec<_> = document.split_whitespace().filter(|word| *word != ">").collect();

        assert!(words.join(" ").contains(PROMISE));
    }
}

#[test]
fn the_limits_in_the_text_are_those_of_the_code() {
    let document = document().split_whitespace().collect::<Vec<_>>().join(" ");
    let overhead = RecordHeader::MAX_LEN + message::MAX_OVERHEAD + TAG_LEN;
    let smallest = usize::from(record::MIN_MAX_LEN);
    let limits = [
        format!("at most {} bytes in all", grouped(frame::MAX_UNAUTHENTICATED)),
        format!("more than {} is `TooLong`", grouped(frame::MAX_UNAUTHENTICATED - 4)),
        format!("less than {} `Malformed`", frame::HEADER_LEN - 4),
        format!("exactly {} bytes", Refusal::LEN),
        format!("Hello: {} bytes, then TLVs", Hello::LEN),
        format!("at least {} (else `Malformed`)", record::MIN_LEN),
        format!("in at most {} bytes", record::MAX_LENGTH_LEN),
        format!("with more than {} bytes of payload", grouped(message::FRAGMENT_LEN)),
        format!(
            "{overhead} bytes (record header {}, message header {}, tag {TAG_LEN}, at their longest)",
            RecordHeader::MAX_LEN,
            message::MAX_OVERHEAD
        ),
        format!("{} bytes of payload fit into the smallest record of {smallest}", smallest - overhead),
        format!("units of {} ms", record::TICK.as_millis()),
        format!("absent = {DEFAULT_TTL}"),
        format!("always {} characters", NodeId::TEXT_LEN),
    ];

    for limit in limits {
        assert!(document.contains(&limit), "docs/protocol.md does not say: {limit}");
    }
}

struct Block<'d> {
    label: &'d str,
    lines: Vec<&'d str>,
}

impl Block<'_> {
    /// All bytes of the block, without the remarks.
    fn bytes(&self) -> String {
        self.lines.iter().map(|line| line.split("  ").next().unwrap()).collect()
    }
}

/// The fenced blocks of the document.
fn blocks(document: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(label) = line.strip_prefix("```") {
            blocks.push(Block { label, lines: lines.by_ref().take_while(|line| *line != "```").collect() });
        }
    }
    blocks
}

/// Whether a line holds a word that looks like eight bytes or more.
fn has_bytes(line: &str) -> bool {
    line.split_whitespace().any(|word| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Holds the table between the marks of `name` against `expected`, or writes it there.
fn check_table(name: &str, expected: &str) {
    let document = document();
    let mark = format!("<!-- {name}: written by core/tests/protocol_document.rs -->\n");
    let (before, rest) = document.split_once(&mark).unwrap();
    let (table, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{expected}\n");

    if std::env::var_os("HYPHAL_BLESS").is_some() {
        fs::write(DOCUMENT, format!("{before}{mark}{expected}<!-- end -->{after}")).unwrap();
    } else {
        assert_eq!(table, expected, "docs/protocol.md is stale: run the tests with HYPHAL_BLESS=1");
    }
}

/// A number with its thousands apart, as the document writes them.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let at = digits.len().saturating_sub(3);
    if at == 0 { digits } else { format!("{},{}", &digits[..at], &digits[at..]) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn document() -> String {
    fs::read_to_string(DOCUMENT).unwrap()
}

fn vectors(file: &str) -> String {
    fs::read_to_string(format!("{VECTORS}/{file}")).unwrap()
}
