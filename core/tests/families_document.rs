//! `docs/families.md` is written from the registry: what stands there is what the code does.
//!
//! `HYPHAL_BLESS=1 cargo test -p hyphal-core --test families_document` writes it.

use std::fmt::Write as _;
use std::fs;

use hyphal_core::family::{FAMILIES, MessageSheet};
use hyphal_core::wire::family::Family;

#[test]
fn the_document_is_the_registry() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/families.md");
    let expected = document();

    if std::env::var_os("HYPHAL_BLESS").is_some() {
        fs::write(path, &expected).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();

    assert_eq!(written, expected, "docs/families.md is stale: run the tests with HYPHAL_BLESS=1");
}

fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    for family in FAMILIES {
        let ranges = Family::RANGES.iter().filter(|(_, of, _)| *of == family.family);
        let ranges: Vec<_> =
            ranges.map(|(range, ..)| format!("`{:#06x}` to `{:#06x}`", range.start(), range.end())).collect();
        writeln!(out, "\n## {}: {}\n\n{}", family.family, ranges.join(", "), family.doc).unwrap();
        for message in family.messages {
            section(&mut out, message);
        }
    }
    out
}

fn section(out: &mut String, message: &MessageSheet) {
    let MessageSheet { kind, version, name, doc, max_len, fields, .. } = message;
    writeln!(out, "\n### `{kind:#06x}` {name}, version {version}\n\n{}\n", paragraph(doc)).unwrap();
    writeln!(out, "| field | holds | meaning |\n|---|---|---|").unwrap();
    for field in *fields {
        writeln!(out, "| `{}` | {field} | {} |", field.name, paragraph(field.doc)).unwrap();
    }
    writeln!(out, "\nAt most {max_len} bytes.").unwrap();
}

/// The text of documentation comments in one line.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

const INTRODUCTION: &str = "# What messages of the families say

Written by `core/tests/families_document.rs` from the registry in `core/src/family`. The ranges of all families are in
[protocol.md](protocol.md), section 11; those that are not here yet get their bodies with what they are for, and their messages
are opaque bytes until then.

The payload of such a message is a **body**: one byte that says its version, then its fields one after the other, without names,
types or lengths of their own, in the encoding of [postcard](https://postcard.jamesmunns.com/wire-format). One value has one
encoding; whatever else arrives is malformed.

| holds | bytes |
|---|---|
| u32, u64 | a varint (protocol.md, section 1): 7 bits a byte, the least significant first; never longer than needed |
| one byte | that byte |
| text | its length in bytes as a varint, then UTF-8 |
| bytes | their number as a varint, then they |
| optional | `00`, or `01` and the value |
| one of several, by number | the number as a varint |

**Versions.** Another layout is another version: nothing is added to the end of one. A node that does not know a version is told
so and gets the bytes (`Unreadable::Version` in the core), as it gets the messages of families and types that it does not know;
the session goes on and the message counts as received. It never guesses. Messages of numbers without any family it may refuse
(`unknown_types`, `UnknownType`).

**Adding** a message is a declaration in the file of its family (`core/src/family`), from which everything here is written, and
its golden vectors (`core/tests/vectors/families.json`). A family is such a file and its line in the registry.
";
