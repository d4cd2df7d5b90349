//! Certificates and revocation lists as files that a person can look at, mail and paste.
//!
//! ```text
//! # what it is, for people; never read
//! hyphal-certificate-v1 <hexadecimal digits>
//! hyphal-revocations-v1 <hexadecimal digits>
//! ```
//! Lines that start with `#` and empty lines are skipped. Nothing in them is secret, and their signature tells whether they
//! are whole. A file is written beside its place, synced and then renamed: it is there complete or not at all.

use std::fmt;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyphal_core::time::UnixTime;
use hyphal_core::wire::certificate::Certificate;
use hyphal_core::wire::revocation::RevocationList;

use crate::disk;

/// Why a certificate or a list was not read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file.
    Missing {
        /// What should be there.
        noun: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The file exists and was not to be replaced.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The content is not what it should be.
    Damaged {
        /// What should be there.
        noun: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
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

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { noun, path } => write!(f, "there is no {noun} at {}", path.display()),
            Self::Exists { path } => write!(f, "{} exists already", path.display()),
            Self::Damaged { noun, path, problem } => {
                write!(f, "{} is not a good {noun} file: {problem}", path.display())
            }
            Self::Io { path, doing, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Whether a file may take another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// No: [`FileError::Exists`].
    Keep,
    /// Yes.
    Replace,
}

/// Reads a certificate. Whether its signature is good, and for whom, is not looked at.
///
/// # Errors
/// See [`FileError`].
pub fn read_certificate(path: &Path) -> Result<Certificate, FileError> {
    let bytes = read(path, &CERTIFICATE)?;
    Certificate::decode(&bytes)
        .map_err(|_| damaged(path, &CERTIFICATE, "its bytes are not those of a certificate"))
}

/// Writes a certificate.
///
/// # Errors
/// See [`FileError`]; then nothing has changed.
pub fn write_certificate(
    path: &Path,
    certificate: &Certificate,
    existing: Existing,
) -> Result<(), FileError> {
    let Certificate { authority, serial, node, roles, not_after, .. } = certificate;
    let roles = if roles.is_empty() { "none".to_owned() } else { roles.to_string() };
    let about = format!(
        "Hyphal certificate {serial} of authority {authority}\n# for node {node} ({}), roles {roles}, until {}",
        node_type_name(certificate.node_type),
        shown_time(*not_after)
    );
    write(path, &about, &CERTIFICATE, &certificate.to_bytes(), existing)
}

/// Reads a revocation list's bytes, which decode. Whether its signature is good, and whose, is not looked at.
///
/// # Errors
/// See [`FileError`].
pub fn read_revocations(path: &Path) -> Result<Bytes, FileError> {
    let bytes = read(path, &REVOCATIONS)?;
    match RevocationList::decode(&bytes) {
        Ok(_) => Ok(bytes.into()),
        Err(_) => Err(damaged(path, &REVOCATIONS, "its bytes are not those of a revocation list")),
    }
}

/// Writes a revocation list.
///
/// # Errors
/// See [`FileError`]; then nothing has changed.
pub fn write_revocations(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), FileError> {
    let list = RevocationList::decode(bytes)
        .map_err(|_| damaged(path, &REVOCATIONS, "its bytes are not those of a revocation list"))?;
    let header = list.header();
    let about = format!(
        "Hyphal revocation list {} of authority {}\n# with {} serials, next update {}",
        header.version,
        header.authority,
        list.serials().len(),
        shown_time(header.next_update)
    );
    write(path, &about, &REVOCATIONS, bytes, existing)
}

/// Where a node keeps the newest list of an authority, in the directory that it was given for that.
pub fn revocations_path(directory: &Path, authority: &hyphal_core::ids::NodeId) -> PathBuf {
    directory.join(format!("{authority}.revocations"))
}

/// A moment as people read it: RFC 3339, to the second.
pub fn shown_time(time: UnixTime) -> String {
    let moment = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_micros(time.as_micros()));
    // The formatter knows no year above 9999.
    let known = moment.filter(|_| time.as_micros() < 253_402_300_800_000_000);
    known.map_or_else(
        || "the end of time".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

/// A type of node as configuration and command line name it.
pub const fn node_type_name(node_type: hyphal_core::ids::NodeType) -> &'static str {
    match node_type {
        hyphal_core::ids::NodeType::Sclerotia => "sclerotia",
        hyphal_core::ids::NodeType::Rhizomorph => "rhizomorph",
        hyphal_core::ids::NodeType::Hyphae => "hyphae",
    }
}

/// A kind of file.
struct Form {
    noun: &'static str,
    header: &'static str,
    header_of_any_version: &'static str,
    most_bytes: usize,
}

const CERTIFICATE: Form = Form {
    noun: "certificate",
    header: "hyphal-certificate-v1",
    header_of_any_version: "hyphal-certificate-",
    most_bytes: Certificate::LEN,
};

const REVOCATIONS: Form = Form {
    noun: "revocation list",
    header: "hyphal-revocations-v1",
    header_of_any_version: "hyphal-revocations-",
    most_bytes: RevocationList::MAX_LEN,
};

/// Room for comments beside the digits.
const REMARKS: usize = 4096;

fn damaged(path: &Path, form: &Form, problem: &'static str) -> FileError {
    FileError::Damaged { noun: form.noun, path: path.to_owned(), problem }
}

fn read(path: &Path, form: &Form) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing { noun: form.noun, path: path.to_owned() },
        _ => FileError::Io { path: path.to_owned(), doing: "read", error },
    };
    let file = disk::open_at_once(OpenOptions::new().read(true), path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(damaged(path, form, "it is not a regular file"));
    }
    let most = form.most_bytes * 2 + REMARKS;
    let mut text = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() > most {
        return Err(damaged(path, form, "it is too long"));
    }
    parse(&text, form).map_err(|problem| damaged(path, form, problem))
}

fn parse(text: &[u8], form: &Form) -> Result<Vec<u8>, &'static str> {
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let line = lines.next().ok_or("it is empty")?;
    if !line.starts_with(form.header_of_any_version.as_bytes()) {
        return Err("it holds something else");
    }
    let mut parts = line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    if parts.next() != Some(form.header.as_bytes()) {
        return Err("it is of another version; use the release of hyphal that wrote it, or a newer one");
    }
    let digits = parts.next().ok_or("it is cut short")?;
    if parts.next().is_some() || lines.next().is_some() {
        return Err("it holds more than one");
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("it is cut short");
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    pairs.iter().map(byte).collect::<Option<_>>().ok_or("a character is not a hexadecimal digit")
}

fn write(path: &Path, about: &str, form: &Form, bytes: &[u8], existing: Existing) -> Result<(), FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), doing: "write", error };
    let mut text = format!("# {about}\n{} ", form.header);
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    let directory = disk::directory_of(path);
    let mut draft = tempfile::Builder::new().prefix(".hyphal-").tempfile_in(directory).map_err(failed)?;
    readable_by_all(draft.as_file()).map_err(failed)?;
    draft.write_all(text.as_bytes()).map_err(failed)?;
    match disk::place(draft, path, existing == Existing::Replace) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path: path.to_owned() })
        }
        placed => placed.map_err(failed),
    }
}

/// A draft is made for its owner only, and this is no secret.
#[cfg(unix)]
fn readable_by_all(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyphal_core::ids::{NodeId, NodeType, Roles};

    #[test]
    fn a_certificate_reads_back_and_says_to_people_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.certificate");

        write_certificate(&path, &certificate(), Existing::Keep).unwrap();

        assert_eq!(read_certificate(&path).unwrap(), certificate());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("certificate 7 of authority hy1"), "{text}");
        assert!(text.contains("(hyphae), roles relay, until 2023-11-14T22:13:20Z"), "{text}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.certificate");
        fs::write(&path, "precious").unwrap();

        let refused = write_certificate(&path, &certificate(), Existing::Keep);

        assert!(matches!(refused, Err(FileError::Exists { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        write_certificate(&path, &certificate(), Existing::Replace).unwrap();
        assert!(read_certificate(&path).is_ok());
    }

    #[test]
    fn every_damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.certificate");
        write_certificate(&path, &certificate(), Existing::Keep).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let cases = [
            (String::new(), "empty"),
            ("hyphal-key-v1 00 00".to_owned(), "something else"),
            (good.replace("-v1", "-v2"), "version"),
            (good.trim_end()[..good.len() - 2].to_owned(), "cut short"),
            (good.trim_end()[..good.len() - 3].to_owned(), "not those of a certificate"),
            (good.replace("-v1 01", "-v1 0x"), "hexadecimal"),
            (format!("{good}{good}"), "more than one"),
            (format!("{}{good}", "#\n".repeat(10_000)), "too long"),
        ];
        for (text, expected) in cases {
            fs::write(&path, &text).unwrap();

            let error = read_certificate(&path).unwrap_err().to_string();

            assert!(error.contains(expected), "{error}");
        }
        assert!(matches!(read_certificate(directory.path()), Err(FileError::Damaged { .. })));
        assert!(matches!(read_certificate(&directory.path().join("none")), Err(FileError::Missing { .. })));
    }

    fn certificate() -> Certificate {
        Certificate {
            authority: NodeId::from_bytes([1; 32]),
            serial: 7,
            node: NodeId::from_bytes([2; 32]),
            node_type: NodeType::Hyphae,
            roles: Roles::from_bits(1),
            not_before: UnixTime::from_micros(0),
            not_after: UnixTime::from_micros(1_700_000_000_000_000),
            signature: [3; 64],
        }
    }
}
