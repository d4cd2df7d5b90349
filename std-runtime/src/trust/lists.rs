//! The directory in which a node keeps the newest revocation list of each authority, `ID.revocations`.
//!
//! Invariant: a list there that verifies is only ever replaced by a newer one, whichever task is faster. What does not verify has
//! no version that counts.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyphal_core::ids::NodeId;
use hyphal_core::trust::{Authorities, Revocations};
use hyphal_core::wire::hello::NetworkTag;

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
pub(crate) fn persist(
    directory: &Path,
    network: NetworkTag,
    list: &Revocations<Bytes>,
) -> Result<(), FileError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let header = list.header();
    let path = revocations_path(directory, &header.authority);
    match kept(&path, network, header.authority) {
        Ok(Some(version)) if version >= header.version => return Ok(()),
        Ok(_) => {}
        Err(problem) => tracing::warn!(
            version = header.version,
            "the revocation list in {} is replaced: {problem}",
            path.display()
        ),
    }
    write_revocations(&path, list.bytes(), Existing::Replace)
}

/// The version of the list in a file, if there is one; or why it is no list of this authority in this network.
fn kept(path: &Path, network: NetworkTag, authority: NodeId) -> Result<Option<u64>, TrustError> {
    let bytes = match read_revocations(path) {
        Ok(bytes) => bytes,
        Err(FileError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(TrustError::File(error)),
    };
    match Revocations::verify(bytes, network) {
        Ok(list) if list.header().authority == authority => Ok(Some(list.header().version)),
        _ => Err(TrustError::BadList { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyphal_core::identity::Identity;
    use hyphal_core::time::UnixTime;
    use hyphal_core::trust::sign_revocations;
    use hyphal_core::wire::revocation::{ListHeader, RevocationList};

    #[test]
    fn a_newer_list_takes_the_place_of_an_older_one_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = revocations_path(directory.path(), &authority(1).id());

        let kept: Vec<_> = [3, 2, 3, 4]
            .map(|version| {
                persist(directory.path(), garden(), &list(version)).unwrap();
                version_of(&path)
            })
            .into();

        assert_eq!(kept, [3, 3, 3, 4]);
    }

    #[test]
    fn a_file_that_does_not_verify_keeps_no_list_out_whatever_version_it_names() {
        let mut forged = bytes(&authority(1), garden(), u64::MAX);
        *forged.last_mut().unwrap() ^= 1;
        let mut raised = bytes(&authority(1), garden(), 3);
        raised[1 + NodeId::LEN] = 0xff;
        let cases = [
            ("a forged signature", forged),
            ("another version than was signed", raised),
            ("another authority", bytes(&authority(2), garden(), u64::MAX)),
            ("another network", bytes(&authority(1), NetworkTag::of("moss"), u64::MAX)),
        ];
        for (what, bad) in cases {
            let directory = tempfile::tempdir().unwrap();
            let path = revocations_path(directory.path(), &authority(1).id());
            write_revocations(&path, &bad, Existing::Keep).unwrap();

            persist(directory.path(), garden(), &list(4)).unwrap();

            assert_eq!(read_revocations(&path).unwrap(), *list(4).bytes(), "{what}");
        }
    }

    #[test]
    fn a_file_that_is_no_list_at_all_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = revocations_path(directory.path(), &authority(1).id());
        fs::write(&path, "hyphal-revocations-v1 00").unwrap();

        persist(directory.path(), garden(), &list(4)).unwrap();

        assert_eq!(version_of(&path), 4);
    }

    fn authority(seed: u8) -> Identity {
        (0..=u8::MAX)
            .find_map(|last| {
                let mut bytes = [seed; 32];
                bytes[31] = last;
                Identity::from_seed(&bytes).ok()
            })
            .expect("half of all seeds will do")
    }

    fn garden() -> NetworkTag {
        NetworkTag::of("garden")
    }

    fn list(version: u64) -> Revocations<Bytes> {
        Revocations::verify(bytes(&authority(1), garden(), version).into(), garden()).unwrap()
    }

    fn bytes(authority: &Identity, network: NetworkTag, version: u64) -> Vec<u8> {
        let header = ListHeader {
            authority: authority.id(),
            version,
            issued_at: UnixTime::from_micros(1),
            next_update: UnixTime::from_micros(2),
        };
        let mut bytes = vec![0; RevocationList::len_with(1)];
        sign_revocations(authority, network, header, &[7], &mut bytes).unwrap();
        bytes
    }

    fn version_of(path: &Path) -> u64 {
        RevocationList::decode(&read_revocations(path).unwrap()).unwrap().header().version
    }
}
