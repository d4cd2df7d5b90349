//! The text of a backup: the identity's seed under a passphrase, in lines that can be printed and typed again.
//!
//! ```text
//! hyphal-backup-v1
//! # remarks, which count for nothing
//! 1 xxxx-xxxx-xxxx-xxxx-cccc      10 bytes in 16 symbols of five bits, then a checksum of 20 bits
//! ...                             of these and the line's number
//! 7 xxxx-xxxx-xxxx-xxxx-cccc
//!
//! version u8 = 1 | memory u32, KiB | passes u8 | salt 16 | sealed 48
//! key    = Argon2id version 0x13 (RFC 9106) of passphrase and salt, one lane, 32 bytes
//! sealed = ChaCha20-Poly1305 of the seed, nonce 0, associated data "hyphal/1 backup" | all bytes before
//! ```
//! Each backup has its own salt and so its own key, which seals once. The checksums say which line was mistyped; what proves
//! that all is as it was is the seal.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hyphal::{Identity, NodeId};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

/// Bytes of a salt.
pub(super) const SALT_LEN: usize = 16;

/// What it costs to try a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u8,
}

impl Cost {
    /// RFC 9106, section 4, the second recommendation, in one lane.
    pub(super) const USUAL: Self = Self { memory_kib: 64 * 1024, passes: 3 };

    /// What a backup may ask of the machine that reads it: 1 GiB and a minute or so.
    const fn is_bearable(self) -> bool {
        8 <= self.memory_kib && self.memory_kib <= 1024 * 1024 && 1 <= self.passes && self.passes <= 16
    }
}

/// A backup that was read and not opened yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    bytes: [u8; LEN],
}

/// Why a backup cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// No line is one of a backup.
    Nothing,
    /// A line with a number that no line has.
    Number { found: u32 },
    /// A line does not match its checksum, or has not its length.
    Line { number: usize },
    /// A character that backups do not use.
    Symbol { number: usize, symbol: char },
    /// A line is not there.
    Missing { number: usize },
    /// Two lines have this number.
    Twice { number: usize },
    /// It is of a form that this release does not know.
    Version,
    /// It asks for more memory or time than any backup needs.
    Cost,
    /// The passphrase does not open it.
    Passphrase,
}

/// The backup of a seed.
pub(super) fn write(
    seed: &[u8; 32],
    id: NodeId,
    passphrase: &str,
    salt: [u8; SALT_LEN],
    cost: Cost,
) -> String {
    let mut bytes = [0; LEN];
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&cost.memory_kib.to_be_bytes());
    bytes[5] = cost.passes;
    bytes[6..HEAD_LEN].copy_from_slice(&salt);
    let (head, sealed) = bytes.split_at_mut(HEAD_LEN);
    sealed[..SEED_LEN].copy_from_slice(seed);
    let (plaintext, tag) = sealed.split_at_mut(SEED_LEN);
    let key = key(passphrase, head, cost);
    let made = key.seal_in_place_separate_tag(nonce(), Aad::from(associated(head)), plaintext);
    tag.copy_from_slice(made.expect("a seed is not too long for a seal").as_ref());

    let mut text = format!(
        "{HEADER}\n# The identity {id}.\n# Who has these lines and the passphrase can be that node. To get the key back: hyphal key restore\n"
    );
    for (number, piece) in (1..).zip(bytes.chunks_exact(LINE_LEN)) {
        let mut symbols = String::new();
        push_symbols(
            &mut symbols,
            piece.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)),
            DATA_SYMBOLS,
        );
        push_symbols(&mut symbols, u128::from(checksum(number, piece)), CHECKSUM_SYMBOLS);
        let groups: Vec<&str> = (0..SYMBOLS / 4).map(|group| &symbols[4 * group..4 * group + 4]).collect();
        text.push_str(&format!("{number} {}\n", groups.join("-")));
    }
    text
}

/// The identity in a backup.
pub(super) fn read(text: &str, passphrase: &str) -> Result<Identity, Damage> {
    parse(text)?.open(passphrase)
}

/// Reads the lines and checks each by itself, in any order.
pub(super) fn parse(text: &str) -> Result<Sealed, Damage> {
    let mut pieces: [Option<[u8; LINE_LEN]>; LINES] = [None; LINES];
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        if let Some(version) = line.strip_prefix(HEADER_OF_ANY_VERSION) {
            if version != "1" {
                return Err(Damage::Version);
            }
            continue;
        }
        let end = line.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(line.len());
        let (number, symbols) = line.split_at(end);
        let Ok(found) = number.parse::<u32>() else { return Err(Damage::Nothing) };
        let number = usize::try_from(found).unwrap_or(usize::MAX);
        let place = number.checked_sub(1).and_then(|index| pieces.get_mut(index));
        let place = place.ok_or(Damage::Number { found })?;
        if place.replace(parse_line(number, symbols)?).is_some() {
            return Err(Damage::Twice { number });
        }
    }
    if pieces.iter().all(Option::is_none) {
        return Err(Damage::Nothing);
    }
    let mut bytes = [0; LEN];
    for (index, (to, piece)) in bytes.chunks_exact_mut(LINE_LEN).zip(&pieces).enumerate() {
        to.copy_from_slice(piece.as_ref().ok_or(Damage::Missing { number: index + 1 })?);
    }
    let sealed = Sealed { bytes };
    if bytes[0] != VERSION {
        return Err(Damage::Version);
    }
    if sealed.cost().is_bearable() { Ok(sealed) } else { Err(Damage::Cost) }
}

impl Sealed {
    /// Opens the backup. It takes the time and memory that it asks for.
    pub(super) fn open(&self, passphrase: &str) -> Result<Identity, Damage> {
        let (head, sealed) = self.bytes.split_at(HEAD_LEN);
        let mut opened = Zeroizing::new([0; SEED_LEN + TAG_LEN]);
        opened.copy_from_slice(sealed);
        let key = key(passphrase, head, self.cost());
        key.open_in_place(nonce(), Aad::from(associated(head)), &mut *opened)
            .map_err(|_| Damage::Passphrase)?;
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        seed.copy_from_slice(&opened[..SEED_LEN]);
        Identity::from_seed(&seed).map_err(|_| Damage::Passphrase)
    }

    fn cost(&self) -> Cost {
        let [_, a, b, c, d, passes, ..] = self.bytes;
        Cost { memory_kib: u32::from_be_bytes([a, b, c, d]), passes }
    }
}

impl Damage {
    /// What a person does about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Nothing => "give the file that hyphal key backup has written, or its numbered lines",
            Self::Number { .. } | Self::Twice { .. } => "check the numbers at the start of the lines, 1 to 7",
            Self::Line { .. } | Self::Symbol { .. } => "compare that line letter by letter",
            Self::Missing { .. } => "all 7 lines are needed",
            Self::Version => "use the release of hyphal that wrote it, or a newer one",
            Self::Cost => "compare line 1 letter by letter",
            Self::Passphrase => "type the passphrase again: upper and lower case and spaces count",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("this is no backup of an identity"),
            Self::Number { found } => write!(f, "no line of a backup has the number {found}"),
            Self::Line { number } => write!(f, "line {number} of the backup is damaged"),
            Self::Symbol { number, symbol } => {
                write!(f, "{symbol:?} in line {number} does not belong in a backup")?;
                match symbol.to_ascii_lowercase() {
                    'b' => f.write_str("; is it an '8' or a '6'?"),
                    'i' | '1' => f.write_str("; is it an 'l'?"),
                    'o' => f.write_str("; is it a '0'?"),
                    _ => Ok(()),
                }
            }
            Self::Missing { number } => write!(f, "line {number} of the backup is missing"),
            Self::Twice { number } => write!(f, "line {number} of the backup comes twice"),
            Self::Version => f.write_str("the backup is of another version than hyphal-backup-v1"),
            Self::Cost => f.write_str("the backup asks for more memory or time than any backup needs"),
            Self::Passphrase => f.write_str("the passphrase does not open this backup"),
        }
    }
}

const HEADER: &str = "hyphal-backup-v1";
const HEADER_OF_ANY_VERSION: &str = "hyphal-backup-v";
const VERSION: u8 = 1;
const LABEL: &[u8] = b"hyphal/1 backup";
const SEED_LEN: usize = 32;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + 4 + 1 + SALT_LEN;
const LEN: usize = HEAD_LEN + SEED_LEN + TAG_LEN;
const LINE_LEN: usize = 10;
const LINES: usize = LEN / LINE_LEN;
const DATA_SYMBOLS: usize = LINE_LEN * 8 / 5;
const CHECKSUM_SYMBOLS: usize = 4;
const SYMBOLS: usize = DATA_SYMBOLS + CHECKSUM_SYMBOLS;
/// Those of node ids: of `0 o`, `1 i l` and `8 b` only one each occurs.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The key of this passphrase and the salt in `head`.
fn key(passphrase: &str, head: &[u8], cost: Cost) -> LessSafeKey {
    let params = Params::new(cost.memory_kib, u32::from(cost.passes), 1, Some(32));
    let params = params.expect("the cost is within its bounds");
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon
        .hash_password_into(passphrase.as_bytes(), &head[HEAD_LEN - SALT_LEN..], &mut *key)
        .expect("lengths of passphrase, salt and key are within their bounds");
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("the key has the cipher's length"))
}

/// The only nonce: every backup has a key of its own.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn associated(head: &[u8]) -> Vec<u8> {
    [LABEL, head].concat()
}

/// 20 bits of a hash over the line's number and bytes, so that lines in the wrong order do not match either.
fn checksum(number: usize, piece: &[u8]) -> u32 {
    let mut hash = Context::new(&SHA256);
    hash.update(LABEL);
    hash.update(&[u8::try_from(number).unwrap_or(u8::MAX)]);
    hash.update(piece);
    let hash = hash.finish();
    let [a, b, c, ..] = *hash.as_ref() else { return 0 };
    u32::from_be_bytes([0, a, b, c]) >> 4
}

/// The low bits of `value` in groups of five, the highest first.
fn push_symbols(text: &mut String, value: u128, count: usize) {
    for index in (0..count).rev() {
        let low = usize::try_from(value >> (5 * index) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET[low]));
    }
}

fn parse_line(number: usize, symbols: &str) -> Result<[u8; LINE_LEN], Damage> {
    let mut value = 0_u128;
    let mut count = 0;
    for symbol in
        symbols.chars().filter(|symbol| !symbol.is_whitespace() && !matches!(symbol, '-' | '.' | ':'))
    {
        let low = ALPHABET.iter().position(|known| char::from(*known) == symbol.to_ascii_lowercase());
        let low = low.ok_or(Damage::Symbol { number, symbol })?;
        count += 1;
        if count > SYMBOLS {
            return Err(Damage::Line { number });
        }
        value = value << 5 | low as u128;
    }
    let data = value >> (5 * CHECKSUM_SYMBOLS);
    let mut piece = [0; LINE_LEN];
    piece.copy_from_slice(&data.to_be_bytes()[16 - LINE_LEN..]);
    let is_whole = count == SYMBOLS && value & 0xF_FFFF == u128::from(checksum(number, &piece));
    if is_whole { Ok(piece) } else { Err(Damage::Line { number }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tests can wait for.
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };
    const SEED: [u8; 32] = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 31, 32,
    ];
    const PASSPHRASE: &str = "six words nobody would put together";

    fn backup() -> String {
        let id = Identity::from_seed(&SEED).unwrap().id();
        write(&SEED, id, PASSPHRASE, [9; SALT_LEN], CHEAP)
    }

    fn lines() -> Vec<String> {
        backup()
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_backup_gives_the_identity_back() {
        let text = backup();

        let identity = read(&text, PASSPHRASE).unwrap();

        assert_eq!(identity.seed(), Some(&SEED));
        assert!(text.contains(&identity.id().to_string()), "{text}");
    }

    #[test]
    fn the_usual_cost_is_bearable() {
        assert!(Cost::USUAL.is_bearable());
    }

    /// The format is fixed: what was printed years ago must be readable.
    #[test]
    fn a_printed_backup_stays_readable() {
        assert_eq!(lines().join("\n"), PRINTED);
    }

    #[test]
    fn the_lines_alone_will_do_in_any_order_case_and_spacing() {
        let mut lines = lines();
        lines.reverse();
        let typed = lines.join("\n\n").to_uppercase().replace('-', " ");

        assert_eq!(read(&typed, PASSPHRASE).unwrap().seed(), Some(&SEED));
    }

    #[test]
    fn another_passphrase_opens_nothing() {
        for wrong in ["", "Six words nobody would put together", "six words nobody would put together "] {
            assert_eq!(read(&backup(), wrong).err(), Some(Damage::Passphrase));
        }
    }

    #[test]
    fn every_typo_is_found_with_its_line() {
        for (index, line) in lines().iter().enumerate() {
            for place in 2..line.len() {
                let symbol = line.as_bytes()[place];
                if symbol == b'-' {
                    continue;
                }
                let other = if symbol == b'q' { 'p' } else { 'q' };
                let mut typo = line.clone();
                typo.replace_range(place..=place, &other.to_string());

                let found = parse(&backup().replace(line.as_str(), &typo)).err();

                assert_eq!(found, Some(Damage::Line { number: index + 1 }), "{typo}");
            }
        }
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let lines = lines();
        let with = |index: usize, line: &str| {
            let mut lines = lines.clone();
            line.clone_into(&mut lines[index]);
            lines.join("\n")
        };
        let swapped = [format!("1{}", &lines[1][1..]), format!("2{}", &lines[0][1..])].concat();
        let cases = [
            (String::new(), Damage::Nothing),
            ("# only a remark".to_owned(), Damage::Nothing),
            ("-----BEGIN PRIVATE KEY-----".to_owned(), Damage::Nothing),
            (backup().replace("-v1", "-v2"), Damage::Version),
            (lines[..6].join("\n"), Damage::Missing { number: 7 }),
            (with(1, &lines[0]), Damage::Twice { number: 1 }),
            (with(1, &lines[1].replacen('2', "9", 1)), Damage::Number { found: 9 }),
            (with(1, &lines[1].replacen('2', "0", 1)), Damage::Number { found: 0 }),
            (with(3, &lines[3][..lines[3].len() - 1]), Damage::Line { number: 4 }),
            (with(3, &format!("{}q", lines[3])), Damage::Line { number: 4 }),
            (with(2, &format!("3 o{}", &lines[2][3..])), Damage::Symbol { number: 3, symbol: 'o' }),
            (swapped, Damage::Line { number: 1 }),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(&text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_backup_that_asks_for_too_much_is_not_tried() {
        for cost in [
            Cost { memory_kib: 1024 * 1024 + 1, passes: 1 },
            Cost { memory_kib: 8, passes: 17 },
            Cost { memory_kib: 7, passes: 1 },
            Cost { memory_kib: 8, passes: 0 },
        ] {
            assert!(!cost.is_bearable(), "{cost:?}");
        }
    }

    /// Computed by other code from the picture above, RFC 9106 and RFC 8439.
    const PRINTED: &str = "\
1 qyqq-qqqg-qyys-jzgf-hyrd\n\
2 pyys-jzgf-pyys-jzgf-lnum\n\
3 pyyl-xgzk-0gvh-pjfy-y6ng\n\
4 9dx7-m6fz-trxu-2d4x-n5wm\n\
5 u9p4-205m-cjwd-zz9l-rcc4\n\
6 ngjq-5xnq-mwat-egs2-j8sq\n\
7 yr6v-y7ym-twd2-2mx7-325d";
}
