//! The file that holds a node's key, its own or one that stands for it. Whoever reads it can be that node.
//!
//! ```text
//! # Hyphal identity key of ID. Whoever reads this file can be that node: keep it secret, keep a copy.
//! hyphal-key-v1 <seed: 64 hex digits> <CRC-32 (ISO-HDLC) of the 32 seed bytes: 8 hex digits>
//!
//! # Hyphal key that stands for ID. Whoever reads this file can be that node until the key expires: keep it secret.
//! hyphal-key-delegated-v1 <X25519 secret: 64 hex digits> <delegation: 224 hex digits> <CRC-32 of both: 8 hex digits>
//! ```
//! A file holds one of the two. Lines that start with `#` and empty lines are skipped. A file that others may read is refused, never repaired: the
//! key may have leaked already, and that is for a person to judge. Where there are no Unix permissions (Windows) only
//! the content is checked, and the user's profile directory has to protect it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISO_HDLC, Crc};
use hyphal_core::identity::Identity;
use hyphal_core::ids::NodeId;
use hyphal_core::wire::delegation::Delegation;
use zeroize::Zeroizing;

use crate::disk;

/// The path that is used where none is configured: `$XDG_DATA_HOME/hyphal/identity.key`, or
/// `~/.local/share/hyphal/identity.key`; on Windows `%APPDATA%\hyphal\identity.key`.
///
/// `variable` looks a name up in the environment. `None` if it names no home directory at all.
pub fn default_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG specification: a relative path in these variables is invalid and ignored.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| if cfg!(windows) { absolute("APPDATA") } else { None })
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("hyphal").join("identity.key"))
}

/// What [`create`] does when the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and return [`KeyFileError::Exists`].
    Keep,
    /// Replace it; the identity in it is lost.
    Replace,
}

/// Writes the key of `identity` to a new file of mode 0600, and makes missing directories with mode 0700.
///
/// The file appears complete or not at all: it is written beside its place, synced and then renamed.
///
/// # Errors
/// [`KeyFileError::Exists`] with [`Existing::Keep`], otherwise [`KeyFileError::Io`].
pub fn create(path: &Path, identity: &Identity, existing: Existing) -> Result<(), KeyFileError> {
    create_private(path, render(identity).as_bytes(), existing)
}

/// Writes anything that only the owner may read to a file, as [`create`] does with a key: complete or not at all.
///
/// # Errors
/// As [`create`].
pub fn create_private(path: &Path, content: &[u8], existing: Existing) -> Result<(), KeyFileError> {
    let failed = |doing: &'static str| move |error| KeyFileError::Io { path: path.to_owned(), doing, error };
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(KeyFileError::Exists { path: path.to_owned() });
    }
    let directory = disk::directory_of(path);
    disk::create_directory(directory).map_err(failed("make the directory of"))?;

    // Created with O_EXCL and mode 0600.
    let mut draft =
        tempfile::Builder::new().prefix(".hyphal-key-").tempfile_in(directory).map_err(failed("create"))?;
    draft.write_all(content).map_err(failed("write"))?;
    match disk::place(draft, path, existing == Existing::Replace) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path: path.to_owned() })
        }
        placed => placed.map_err(failed("write")),
    }
}

/// Reads the identity of the file, which may be a delegated one, after checking that nobody but its owner can.
///
/// # Errors
/// [`KeyFileError`] says what is wrong and what to do; the key is not used in any of these cases.
pub fn read(path: &Path) -> Result<Identity, KeyFileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::Io { path: path.to_owned(), doing: "read", error },
    };
    let file = disk::open_at_once(OpenOptions::new().read(true), path).map_err(failed)?;
    check_access(path, &file)?;
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_FILE + 1));
    file.take(LONGEST_FILE as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    parse(&text).map_err(|damage| KeyFileError::Damaged { path: path.to_owned(), damage })
}

/// Why a key file was not read or written.
#[derive(Debug)]
pub enum KeyFileError {
    /// There is no such file.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file exists and was not to be replaced.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The path names a directory, pipe or device.
    NotAFile {
        /// What the path names.
        path: PathBuf,
    },
    /// Others than the owner can read or write the file.
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to another user than the one who runs this process.
    Owner {
        /// The file.
        path: PathBuf,
        /// The user id of the file's owner.
        owner: u32,
        /// The effective user id of this process.
        user: u32,
    },
    /// The content is not a valid key.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The operating system refused.
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a verb: "read", "write".
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

/// What is wrong with the content of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// No line starts with `hyphal-key-`.
    NotAKey,
    /// The file is of another version of the format.
    Version,
    /// The line of the key has not the three parts of the right length.
    Truncated,
    /// A character that is not a hexadecimal digit.
    Digit,
    /// The checksum does not match the key.
    Checksum,
    /// The bytes are not a key of this network's kind.
    Seed,
    /// The delegation of the key is for another one, or not signed by the node that it names.
    Delegation,
    /// More than one key, or more bytes than a key file has.
    Surplus,
}

impl KeyFileError {
    /// What a person does about it: a command to run, or where to look.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { path } => format!("run: hyphal keygen --out {}", shown(path)),
            Self::Exists { .. } => "pass --force to replace it, which loses the identity in it".to_owned(),
            Self::NotAFile { .. } => "name a regular file with --key".to_owned(),
            Self::Permissions { path, .. } => {
                format!("run: chmod 600 {} (and make a new key if others could have read it)", shown(path))
            }
            Self::Owner { path, user, .. } => {
                format!("run as its owner, or run: chown {user} {}", shown(path))
            }
            Self::Damaged { damage: Damage::Version, .. } => {
                "use the release of hyphal that wrote it, or a newer one".to_owned()
            }
            Self::Damaged { path, .. } => {
                format!(
                    "restore it from a copy, or make a new identity: hyphal keygen --force --out {}",
                    shown(path)
                )
            }
            Self::Io { path, .. } => format!("check that you may use {}", shown(path)),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no identity key at {}", path.display()),
            Self::Exists { path } => write!(f, "{} exists already", path.display()),
            Self::NotAFile { path } => write!(f, "{} is not a regular file", path.display()),
            Self::Permissions { path, mode } => {
                write!(f, "the key file {} has mode {mode:04o}, wider than 0600", path.display())
            }
            Self::Owner { path, owner, user } => {
                write!(f, "the key file {} belongs to user {owner}, not to user {user}", path.display())
            }
            Self::Damaged { path, damage } => write!(f, "the key file {} {damage}", path.display()),
            Self::Io { path, doing, error } => {
                write!(f, "cannot {doing} the key file {}: {error}", path.display())
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKey => "holds no Hyphal key",
            Self::Version => "is of another version than hyphal-key-v1 and hyphal-key-delegated-v1",
            Self::Truncated => {
                "is truncated: the key and its checksum are 64 and 8 hexadecimal digits, a delegation between them 224"
            }
            Self::Digit => "is damaged: a character is not a hexadecimal digit",
            Self::Checksum => "is damaged: the checksum does not match the key",
            Self::Seed => "holds bytes that are not a valid identity",
            Self::Delegation => "is damaged: its delegation is not for this key",
            Self::Surplus => "holds more than one key",
        })
    }
}

const HEADER: &str = "hyphal-key-v1";
const DELEGATED_HEADER: &str = "hyphal-key-delegated-v1";
const HEADER_OF_ANY_VERSION: &[u8] = b"hyphal-key-";
const LONGEST_FILE: usize = 4096;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

fn render(identity: &Identity) -> Zeroizing<String> {
    let id: NodeId = identity.id();
    // Reserved at once: a growing string would leave copies of the key in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let (remark, header) = match identity.delegation() {
        None => ([IDENTITY_REMARK, KEEP_A_COPY], HEADER),
        Some(_) => ([DELEGATED_REMARK, KEEP_IT], DELEGATED_HEADER),
    };
    text.extend(["# ", remark[0], &id.to_string(), remark[1], "\n", header, " "]);
    let mut checksum = CHECKSUM.digest();
    let secret = identity.seed().unwrap_or(identity.static_secret());
    push_hex(&mut text, secret);
    checksum.update(secret);
    if let Some(delegation) = identity.delegation() {
        let delegation = delegation.to_bytes();
        text.push(' ');
        push_hex(&mut text, &delegation);
        checksum.update(&delegation);
    }
    text.push(' ');
    push_hex(&mut text, &checksum.finalize().to_be_bytes());
    text.push('\n');
    text
}

const IDENTITY_REMARK: &str = "Hyphal identity key of ";
const KEEP_A_COPY: &str = ". Whoever reads this file can be that node: keep it secret, keep a copy.";
const DELEGATED_REMARK: &str = "Hyphal key that stands for ";
const KEEP_IT: &str = ". Whoever reads this file can be that node until the key expires: keep it secret.";

fn parse(text: &[u8]) -> Result<Identity, Damage> {
    if text.len() > LONGEST_FILE {
        return Err(Damage::Surplus);
    }
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let line = lines.next().ok_or(Damage::NotAKey)?;
    if !line.starts_with(HEADER_OF_ANY_VERSION) {
        return Err(Damage::NotAKey);
    }
    let mut parts = line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    let is_delegated = match parts.next() {
        Some(header) if header == HEADER.as_bytes() => false,
        Some(header) if header == DELEGATED_HEADER.as_bytes() => true,
        _ => return Err(Damage::Version),
    };
    let mut next_part = || parts.next().ok_or(Damage::Truncated);
    let secret = next_part()?;
    let delegation = if is_delegated { Some(next_part()?) } else { None };
    let checksum = next_part()?;
    if parts.next().is_some() || lines.next().is_some() {
        return Err(Damage::Surplus);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    parse_hex(secret, &mut *bytes)?;
    let mut found = CHECKSUM.digest();
    found.update(&*bytes);
    let mut delegated = [0; Delegation::LEN];
    if let Some(delegation) = delegation {
        parse_hex(delegation, &mut delegated)?;
        found.update(&delegated);
    }
    let mut expected = [0; 4];
    parse_hex(checksum, &mut expected)?;
    if found.finalize() != u32::from_be_bytes(expected) {
        return Err(Damage::Checksum);
    }
    if !is_delegated {
        return Identity::from_seed(&bytes).map_err(|_| Damage::Seed);
    }
    let delegation = Delegation::decode(&delegated).map_err(|_| Damage::Delegation)?;
    Identity::from_delegation(&bytes, delegation).map_err(|_| Damage::Delegation)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

fn parse_hex(text: &[u8], bytes: &mut [u8]) -> Result<(), Damage> {
    if text.len() != 2 * bytes.len() {
        return Err(if text.len() < 2 * bytes.len() { Damage::Truncated } else { Damage::Surplus });
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Damage::Digit),
    };
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

/// The path as a shell takes it back, for a command that a person is told to run.
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,\\".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Looks at the open file, not at the path: nobody can exchange it in between.
#[cfg(unix)]
fn check_access(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    let metadata =
        file.metadata().map_err(|error| KeyFileError::Io { path: path.to_owned(), doing: "read", error })?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !0o600 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_access(path: &Path, file: &File) -> Result<(), KeyFileError> {
    let metadata =
        file.metadata().map_err(|error| KeyFileError::Io { path: path.to_owned(), doing: "read", error })?;
    if metadata.is_file() { Ok(()) } else { Err(KeyFileError::NotAFile { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_created_key_reads_back_as_the_same_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/deep/identity.key");

        create(&path, &identity(), Existing::Keep).unwrap();

        assert_eq!(read(&path).unwrap().id(), identity().id());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn a_created_key_and_its_directories_are_for_the_owner_only() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/identity.key");

        create(&path, &identity(), Existing::Keep).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn an_existing_key_is_replaced_only_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.key");
        fs::write(&path, "precious").unwrap();

        let refused = create(&path, &identity(), Existing::Keep);
        assert!(matches!(refused, Err(KeyFileError::Exists { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        create(&path, &identity(), Existing::Replace).unwrap();
        assert_eq!(read(&path).unwrap().id(), identity().id());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_with_any_wider_permission_is_refused_with_the_command_that_fixes_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.key");
        create(&path, &identity(), Existing::Keep).unwrap();

        for mode in [0o604, 0o640, 0o620, 0o644, 0o700, 0o601, 0o4600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();

            let error = read(&path).err().unwrap();

            assert!(
                matches!(error, KeyFileError::Permissions { mode: found, .. } if found == mode),
                "{error:?}"
            );
            assert!(error.remedy().starts_with(&format!("run: chmod 600 {}", path.display())));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok(), "narrower than 0600 is fine");
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_is_not_a_key() {
        let directory = tempfile::tempdir().unwrap();

        assert!(matches!(read(directory.path()), Err(KeyFileError::NotAFile { .. })));
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let good = render(&identity()).to_string();
        let line = good.lines().last().unwrap();
        let flipped = line.replace(HEADER, "").trim().replacen('0', "1", 1);
        let cases = [
            (String::new(), Damage::NotAKey),
            ("-----BEGIN PRIVATE KEY-----".to_owned(), Damage::NotAKey),
            (good.replace("-v1", "-v2"), Damage::Version),
            (good[..good.len() - 20].to_owned(), Damage::Truncated),
            (good[..good.len() - 3].to_owned(), Damage::Truncated),
            (format!("{HEADER} {flipped}"), Damage::Checksum),
            (format!("{HEADER} {} {}", "x".repeat(64), "0".repeat(8)), Damage::Digit),
            (format!("{line}\n{line}"), Damage::Surplus),
            (format!("{line} more"), Damage::Surplus),
            (format!("{}{line}", "#\n".repeat(LONGEST_FILE)), Damage::Surplus),
        ];
        for (text, expected) in cases {
            let found = parse(text.as_bytes()).err();

            assert_eq!(found, Some(expected), "{text}");
        }
    }

    #[test]
    fn a_delegated_key_reads_back_as_the_same_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("delegated.key");
        let delegated = delegated();

        create(&path, &delegated, Existing::Keep).unwrap();
        let read = read(&path).unwrap();

        assert_eq!((read.id(), read.delegation()), (identity().id(), delegated.delegation()));
        assert_eq!(read.static_public(), delegated.static_public());
    }

    #[test]
    fn each_kind_of_damage_of_a_delegated_key_is_named() {
        let good = render(&delegated()).to_string();
        let line = good.lines().last().unwrap();
        let parts: Vec<&str> = line.split(' ').collect();
        let of_another_key = {
            let [secret, delegation] =
                [[7; 32].to_vec(), delegated().delegation().unwrap().to_bytes().to_vec()];
            let mut text = format!("{DELEGATED_HEADER} ");
            push_hex(&mut text, &secret);
            text.push(' ');
            push_hex(&mut text, &delegation);
            text.push(' ');
            push_hex(&mut text, &CHECKSUM.checksum(&[secret, delegation].concat()).to_be_bytes());
            text
        };
        let cases = [
            (format!("{} {} {}", parts[0], parts[1], parts[3]), Damage::Truncated),
            (format!("{} {} {} {}", HEADER, parts[1], parts[2], parts[3]), Damage::Surplus),
            (format!("{} {} {}0 {}", parts[0], parts[1], parts[2], parts[3]), Damage::Surplus),
            (line.replace(parts[3], "00000000"), Damage::Checksum),
            (of_another_key, Damage::Delegation),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_default_path_follows_the_xdg_specification() {
        let with = |pairs: &'static [(&str, &str)]| {
            default_path(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };

        assert_eq!(
            with(&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")]),
            Some("/data/hyphal/identity.key".into())
        );
        assert_eq!(
            with(&[("XDG_DATA_HOME", "relative"), ("HOME", "/home/a")]),
            Some("/home/a/.local/share/hyphal/identity.key".into())
        );
        assert_eq!(with(&[]), None);
    }

    fn delegated() -> Identity {
        let span = [1, 2].map(hyphal_core::time::UnixTime::from_micros);
        identity().delegate(span[0], span[1], &mut rand_core::UnwrapErr(getrandom::SysRng)).unwrap()
    }

    fn identity() -> Identity {
        (0..=255).find_map(|byte| Identity::from_seed(&[byte; 32]).ok()).unwrap()
    }
}
