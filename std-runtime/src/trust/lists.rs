//! The directory in which a node keeps the newest revocation list of each authority, `ID.revocations`.
//!
//! Invariant: a list there is only ever replaced by a newer one, whichever task is faster.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyphal_core::trust::{Authorities, Revocations};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::revocation::RevocationList;

use super::TrustError;
use super::file::{Existing, FileError, read_revocations, revocations_path, write_revocations};

/// Gives the authorities the lists that are kept.
pub(super) fn load(
    directory: &Path,
    network: NetworkTag,
    authorities: &mut Authorities<Bytes>,
) -> Result<(), TrustError> {
    if !fs::metadata(directory).is_ok_and(|found| found.is_dir()) {
        let missing =
            FileError::Missing { noun: "directory for revocation lists", path: directory.to_owned() };
        return Err(TrustError::File(missing));
    }
    let ids: Vec<_> = authorities.iter().map(|(id, _)| id).collect();
    for id in ids {
        let path = revocations_path(directory, &id);
        let bytes = match read_revocations(&path) {
            Ok(bytes) => bytes,
            Err(FileError::Missing { .. }) => continue,
            Err(error) => return Err(TrustError::File(error)),
        };
        let list = Revocations::verify(bytes, network).ok().filter(|list| list.header().authority == id);
        let adopted = list.map(|list| authorities.adopt(list));
        if !matches!(adopted, Some(Ok(()))) {
            return Err(TrustError::BadList { path });
        }
    }
    Ok(())
}

/// Keeps a list, unless a newer one is there. Takes the time of a sync.
pub(crate) fn persist(directory: &Path, list: &Revocations<Bytes>) -> Result<(), FileError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let header = list.header();
    let path = revocations_path(directory, &header.authority);
    let kept = read_revocations(&path).ok();
    let version =
        kept.as_ref().and_then(|kept| RevocationList::decode(kept).ok()).map(|kept| kept.header().version);
    if version.is_some_and(|version| version >= header.version) {
        return Ok(());
    }
    write_revocations(&path, list.bytes(), Existing::Replace)
}
