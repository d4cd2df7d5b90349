//! Reads the paths out of a Rust source: a scanner of words, not a parser.
//!
//! It sees `crate::x`, `super::x` and groups of them, in `use` and in code; not comments, strings and test modules, which
//! may use what they like. Macros that build paths would escape it: core has none.

/// The modules below the crate's root that `text`, the source of `module`, names, each with its line.
pub(super) fn modules_used(module: &[String], text: &str) -> Vec<(usize, String)> {
    let words = words(text);
    let mut used = Vec::new();
    for (at, word) in words.iter().enumerate() {
        // `b` of `a::b` is not a path's start; `crate` and `super` are, unless a `super` came before.
        let continues = at >= 2 && words[at - 1].text == "::" && words[at - 2].text == "super";
        if continues || !(word.text == "crate" || word.text == "super") {
            continue;
        }
        let supers = words[at..].chunks(2).take_while(|pair| pair[0].text == "super").count();
        let (depth, next) = match word.text {
            "crate" => (0, at + 2),
            _ => (module.len().saturating_sub(supers), at + 2 * supers),
        };
        // A path that stays below its own top module crosses no border.
        if depth == 0 && words.get(next - 1).is_some_and(|word| word.text == "::") {
            used.extend(heads(&words[next..]).into_iter().map(|word| (word.line, word.text.to_owned())));
        }
    }
    used
}

/// The first word of every path in `text`: crates, modules, and types that have associated names.
pub(super) fn roots_used(text: &str) -> Vec<(usize, String)> {
    let words = words(text);
    let is_root = |at: usize| {
        let before = at.checked_sub(1).map_or("", |before| words[before].text);
        let after = words.get(at + 1).map_or("", |after| after.text);
        is_name(words[at].text) && before != "::" && (before == "use" || after == "::")
    };
    let roots = (0..words.len()).filter(|at| is_root(*at));
    roots.map(|at| (words[at].line, words[at].text.to_owned())).collect()
}

struct Word<'t> {
    line: usize,
    text: &'t str,
}

/// The first names of what follows a `::`: one, or in braces one per branch.
fn heads<'w, 't>(words: &'w [Word<'t>]) -> Vec<&'w Word<'t>> {
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut awaits_head = true;
    for word in words {
        if awaits_head && is_name(word.text) {
            heads.push(word);
        }
        match word.text {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        awaits_head = depth == 1 && matches!(word.text, "{" | ",");
    }
    heads
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The words of `text`: names, `::` and single signs, without comments, strings and what follows `#[cfg(test)] mod`.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_len(rest),
            '\'' => quote_len(rest),
            ':' if rest.starts_with("::") => 2,
            _ if is_name(rest) => {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(len);
        let is_word = !(first.is_whitespace()
            || first == '"'
            || first == '\''
            || text.starts_with("//")
            || text.starts_with("/*"));
        if is_word {
            words.push(Word { line, text });
        }
        if begins_tests(&words) {
            break;
        }
        line += text.matches('\n').count();
        rest = after;
    }
    words
}

/// Tests stand last in a file, so nothing after this counts.
fn begins_tests(words: &[Word<'_>]) -> bool {
    const MARK: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    words.len() >= MARK.len() && words[words.len() - MARK.len()..].iter().map(|word| word.text).eq(MARK)
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// A character, or only the sign of a lifetime.
fn quote_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3.min(text.len())..].find('\'').map_or(1, |end| end + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(module: &[&str], text: &str) -> Vec<String> {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        modules_used(&module, text).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn every_branch_of_a_group_counts_by_its_first_name() {
        let text = "use crate::{ids::{NodeId, MessageId}, time::Instant, wire};";

        assert_eq!(modules(&["outbox"], text), ["ids", "time", "wire"]);
    }

    #[test]
    fn paths_in_code_count_as_those_in_use() {
        let text = "fn f() -> crate::wire::reason::Reason { crate::session::x() }";

        assert_eq!(modules(&["outbox"], text), ["wire", "session"]);
    }

    #[test]
    fn super_leaves_a_module_only_from_its_top() {
        assert_eq!(modules(&["node"], "use super::session::Session;"), ["session"]);
        assert_eq!(modules(&["node", "table"], "use super::session::Session;"), [""; 0]);
        assert_eq!(modules(&["node", "table"], "use super::super::session::Session;"), ["session"]);
    }

    #[test]
    fn comments_strings_and_test_modules_do_not_count() {
        let text = "// crate::a::b\n/* crate::c::d */ const S: &str = \"crate::e\\\"::f\"; const C: char = '\"';\n\
                    use crate::ids;\n#[cfg(test)]\nmod tests { use crate::node::Node; }";

        assert_eq!(modules(&["outbox"], text), ["ids"]);
    }

    #[test]
    fn lifetimes_and_characters_do_not_swallow_code() {
        let text = "fn f<'a>(x: &'a str) { let _ = ('\\'', 'b', '\\u{1F600}'); crate::wire::decode(x) }";

        assert_eq!(modules(&["outbox"], text), ["wire"]);
    }

    #[test]
    fn a_crate_is_the_first_name_of_a_path() {
        let roots = roots_used("use sha2::{Digest, Sha256};\nfn f() { let _ = hmac::Mac::new(); }");

        assert_eq!(roots, [(1, "sha2".to_owned()), (2, "hmac".to_owned())]);
    }
}
