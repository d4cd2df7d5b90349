//! Stores that are not opened, each with its own error and what to do.

use std::fs;
use std::io;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::super::file::CHECKSUM;
use super::*;

const FILE: &str = "guaranteed.store";

#[tokio::test]
async fn a_store_is_opened_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());

    let second = Store::open(directory.path(), own(), LIMITS);

    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    store.close().await;
    open(directory.path());
}

#[tokio::test]
async fn the_store_of_another_node_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).close().await;

    let found = Store::open(directory.path(), lane(1).node, LIMITS).unwrap_err();

    assert!(found.to_string().contains("belongs to node"), "{found}");
    assert!(matches!(found, StoreError::OtherNode { found, .. } if found == own()));
}

#[tokio::test]
async fn a_newer_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).close().await;
    let path = directory.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[16] = 2;
    let checksum = CHECKSUM.checksum(&bytes[..52]).to_le_bytes();
    bytes[52..56].copy_from_slice(&checksum);
    fs::write(&path, &bytes).unwrap();

    let error = Store::open(directory.path(), own(), LIMITS).unwrap_err();

    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_damaged_store_is_refused_or_holds_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=200 {
        accept(&store, lane(1), number, &message(number as usize * 9, number)).await.unwrap();
    }
    store.save_arrivals(arrivals(1, 3)).await.unwrap();
    store.close().await;
    let good = fs::read(directory.path().join(FILE)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut refused = 0;

    for round in 0..60 {
        let mut bytes = good.clone();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for _ in 0..=round % 3 {
            let place = rng.next_u64() as usize % used;
            bytes[place] ^= 1 << (rng.next_u32() % 8);
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), &bytes).unwrap();

        match Store::open(directory.path(), own(), LIMITS) {
            Err(StoreError::Corrupt { .. } | StoreError::OtherNode { .. }) => refused += 1,
            Err(other) => panic!("round {round}: {other}"),
            Ok(store) => {
                let read = store.read(lane(1), 1, 1000, usize::MAX).await.unwrap();
                assert_eq!(read.len(), 200, "round {round}");
                assert!(read.iter().all(|(number, found)| *found == message(*number as usize * 9, *number)));
            }
        }
    }

    assert!(refused > 0, "no damage was noticed");
}

#[tokio::test]
async fn a_truncated_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=50 {
        accept(&store, lane(1), number, &message(4000, number)).await.unwrap();
    }
    store.close().await;
    let good = fs::read(directory.path().join(FILE)).unwrap();

    for length in [0, 1, 55, 4095, 4096, 4097, 5000, good.len() / 2] {
        fs::write(directory.path().join(FILE), &good[..length]).unwrap();
        let found = Store::open(directory.path(), own(), LIMITS);
        assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{length} bytes: {found:?}");
    }
}

#[test]
fn something_else_in_the_place_of_a_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    fs::write(&path, vec![b'x'; 10_000]).unwrap();

    let error = Store::open(directory.path(), own(), LIMITS).unwrap_err();

    assert!(error.to_string().contains("does not begin as a store does"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), vec![b'x'; 10_000]);
}

#[test]
fn a_file_is_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();

    for path in [path.clone(), path.join("below")] {
        let error = Store::open(&path, own(), LIMITS).unwrap_err();
        assert!(matches!(error, StoreError::NotADirectory { .. }), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_directory_in_the_place_of_the_file_and_a_pipe_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(FILE)).unwrap();

    let error = Store::open(directory.path(), own(), LIMITS).unwrap_err();

    assert!(!matches!(error, StoreError::Locked { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();

    let found = Store::open(directory.path(), own(), LIMITS);

    // To root nothing is forbidden.
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(found, Err(StoreError::Permission { .. })), "{found:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_store_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/deep");

    open(&path).close().await;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(FILE))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no draft is left behind");
}

#[test]
fn every_error_says_what_to_do() {
    let path = PathBuf::from("/store");
    let io = |kind: io::ErrorKind| StoreError::io(&path, "open", kind.into());
    let errors = [
        StoreError::Locked { directory: path.clone() },
        StoreError::Corrupt { file: path.clone(), damage: "it is torn".to_owned() },
        StoreError::Newer { file: path.clone(), found: 2, known: 1 },
        StoreError::OtherNode { directory: path.clone(), found: own(), own: lane(1).node },
        io(io::ErrorKind::NotADirectory),
        io(io::ErrorKind::PermissionDenied),
        io(io::ErrorKind::StorageFull),
        io(io::ErrorKind::TimedOut),
    ];

    for error in errors {
        assert!(error.to_string().contains("/store"), "{error}");
        assert!(error.remedy().len() > 10, "{error}");
    }
}
