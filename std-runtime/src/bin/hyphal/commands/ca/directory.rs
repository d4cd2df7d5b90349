//! The directory of an authority: its key, the register of what it has issued, and its current list.
//!
//! ```text
//!   authority.key          the key, for its owner only; whoever has it can let anybody in
//!   register.json          every certificate that was issued, and which are revoked
//!   certificates/N         certificate N, as it was handed out
//!   ID.revocations         the current list, ready to be copied to where nodes keep theirs
//! ```
//!
//! Every change goes to the register first, so that no serial and no version of a list is ever used twice; what else was to
//! be written can be written again from it. One command at a time works here.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use hyphal::keyfile::{self, KeyFileError};
use hyphal::trust::{
    self, Certificate, Existing, ListHeader, Network, RevocationList, Revocations, Roles, revocations_path,
    sign_certificate, sign_revocations,
};
use hyphal::{Identity, NodeId, UnixTime};

use super::register::{Entry, Register, Type};
use crate::output::{Exit, Failure};

/// An authority at work: nobody else changes its directory meanwhile.
pub(super) struct Directory {
    path: PathBuf,
    key: Identity,
    pub(super) register: Register,
    _lock: File,
}

/// What a certificate is to say.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) node: NodeId,
    pub(super) node_type: Type,
    pub(super) roles: Roles,
    pub(super) days: u32,
}

impl Directory {
    /// Makes a new authority with an empty first list: all of the directory, or nothing.
    pub(super) fn create(path: &Path, network: &str, list_days: u32) -> Result<NodeId, Failure> {
        let now = now()?;
        let exists = || path.symlink_metadata().is_ok();
        let taken = || {
            Failure::new(
                Exit::Setup,
                format!("{} exists already", path.display()),
                "name a directory that does not exist with --dir; an authority is never overwritten",
            )
        };
        if exists() {
            return Err(taken());
        }
        let failed = |error| failure("make the directory", path, &error);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        // Complete before it has its name.
        let draft = tempfile::Builder::new().prefix(".hyphal-ca-").tempdir_in(parent).map_err(failed)?;
        for_owner_only(draft.path()).map_err(failed)?;
        // Without a source of randomness there is no authority to speak of, so a failing one ends the process.
        let key = Identity::generate(&mut UnwrapErr(SysRng));
        keyfile::create(&draft.path().join(KEY), &key, keyfile::Existing::Keep)?;
        fs::create_dir(draft.path().join(CERTIFICATES)).map_err(failed)?;
        let id = key.id();
        let mut directory = Self {
            path: draft.path().to_owned(),
            register: Register::new(&id, network),
            key,
            _lock: lock(draft.path())?,
        };
        directory.sign_list(directory.register.clone(), now, list_days)?;
        // Another command may have been faster.
        fs::rename(draft.path(), path).map_err(|error| if exists() { taken() } else { failed(error) })?;
        // The directory has another name, and is not to be removed.
        let _ = draft.keep();
        sync(parent).map_err(failed)?;
        Ok(id)
    }

    /// Opens an authority's directory for the time of a command.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let register_path = path.join(REGISTER);
        if !path.join(KEY).exists() && !register_path.exists() {
            return Err(Failure::new(
                Exit::Setup,
                format!("there is no authority in {}", path.display()),
                "name its directory with --dir, or make one: hyphal ca init",
            ));
        }
        let lock = lock(path)?;
        let key = keyfile::read(&path.join(KEY))?;
        let lost = |problem: String| {
            Failure::new(
                Exit::Setup,
                problem,
                "restore it from a copy: without it serials would be given twice and revocations forgotten",
            )
        };
        let damaged = |problem: String| lost(format!("{} is damaged: {problem}", register_path.display()));
        let text = fs::read_to_string(&register_path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => lost(format!("there is no register at {}", register_path.display())),
            _ => failure("read", &register_path, &error),
        })?;
        let register: Register = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if register.version != Register::VERSION {
            return Err(damaged(format!("it is of version {}, not {}", register.version, Register::VERSION)));
        }
        if register.authority != key.id().to_string() {
            return Err(damaged(format!(
                "it is of authority {}, and the key is of {}",
                register.authority,
                key.id()
            )));
        }
        Ok(Self { path: path.to_owned(), key, register, _lock: lock })
    }

    pub(super) fn id(&self) -> NodeId {
        self.key.id()
    }

    pub(super) fn list_path(&self) -> PathBuf {
        revocations_path(&self.path, &self.id())
    }

    /// The version of the list that lies here: below the register's, if a command was interrupted; above it, if the register is
    /// an old copy.
    pub(super) fn written_list(&self) -> Option<u64> {
        let bytes = trust::read_revocations(&self.list_path()).ok()?;
        let list = Revocations::verify(bytes, self.network()).ok()?;
        (list.header().authority == self.id()).then_some(list.header().version)
    }

    /// Takes up a list of this authority from elsewhere, which knows of more than an old copy of the register; gives the
    /// serials that it revokes and the register did not. Written with the next list.
    pub(super) fn take_up(&mut self, path: &Path) -> Result<Vec<u64>, Failure> {
        let bytes = trust::read_revocations(path)?;
        let refused = |problem: String, remedy: &str| {
            Failure::new(Exit::Failed, format!("{} {problem}", path.display()), remedy)
        };
        let authority = RevocationList::decode(&bytes).map(|list| list.header().authority);
        if authority != Ok(self.id()) {
            let other = authority.map_or_else(|_| "another authority".to_owned(), |id| id.to_string());
            return Err(refused(
                format!("is a list of {other}, and this authority is {}", self.id()),
                "take the list that a node keeps of this authority, or name the other one's directory with --dir",
            ));
        }
        let list = Revocations::verify(bytes, self.network()).map_err(|_| {
            refused(
                format!(
                    "does not verify: it was changed, or it is of another network than {}",
                    self.register.network
                ),
                "take the list from a node of this network that runs",
            )
        })?;
        Ok(self.register.take_up(&list.list()))
    }

    /// The time to sign by: what the clock shows, if that goes with the register, or if the user vouches for it. A list of a
    /// clock that is ahead would leave out who seems to have expired.
    pub(super) fn time(&self, is_vouched_for: bool) -> Result<UnixTime, Failure> {
        let now = now()?;
        match self.register.clock_doubt(now) {
            Some(doubt) if !is_vouched_for => Err(Failure::new(
                Exit::Setup,
                doubt,
                "set the clock; if it is right, say so with --trust-clock, and look at what was issued by a wrong one: hyphal ca list --all",
            )),
            _ => Ok(now),
        }
    }

    fn network(&self) -> Network {
        Network::of(&self.register.network)
    }

    /// Refuses to go on from a register that is older than the list beside it.
    fn check_register(&self) -> Result<(), Failure> {
        match self.written_list() {
            Some(version) if version > self.register.list_version => Err(Failure::new(
                Exit::Setup,
                format!(
                    "the register is an old copy: it knows of list {} only, and list {version} lies beside it",
                    self.register.list_version
                ),
                format!(
                    "take that list up: hyphal ca revoke --dir {} --from {}",
                    keyfile::shown(&self.path),
                    keyfile::shown(&self.list_path())
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Issues a certificate; gives its serial and where it lies. `out` must not exist.
    pub(super) fn issue(
        &mut self,
        terms: &Terms,
        now: UnixTime,
        out: Option<&Path>,
    ) -> Result<(Entry, PathBuf), Failure> {
        self.check_register()?;
        if let Some(out) = out
            && out.symlink_metadata().is_ok()
        {
            return Err(Failure::new(
                Exit::Setup,
                format!("{} exists already", out.display()),
                "name a file that does not exist with --out",
            ));
        }
        let span = Duration::from_secs(u64::from(terms.days) * DAY);
        let entry = Entry {
            serial: self.register.next_serial,
            node: terms.node.to_string(),
            node_type: terms.node_type,
            roles: terms.roles.bits(),
            not_before: now.as_micros().saturating_sub(BACKDATED),
            not_after: now.as_micros() + u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 2),
            revoked_at: None,
        };
        let certificate = Certificate {
            authority: self.id(),
            serial: entry.serial,
            node: terms.node,
            node_type: terms.node_type.into(),
            roles: terms.roles,
            not_before: UnixTime::from_micros(entry.not_before),
            not_after: UnixTime::from_micros(entry.not_after),
            signature: [0; 64],
        };
        let signed = sign_certificate(&self.key, self.network(), certificate)
            .map_err(|error| Failure::new(Exit::Setup, error.to_string(), "use the authority's own key"))?;

        let mut register = self.register.clone();
        (register.next_serial, register.changed_at) =
            (following(entry.serial, "certificate")?, now.as_micros());
        register.certificates.push(entry.clone());
        self.save(register)?;
        let kept = self.path.join(CERTIFICATES).join(entry.serial.to_string());
        trust::write_certificate(&kept, &signed, Existing::Replace)?;
        let Some(out) = out else { return Ok((entry, kept)) };
        trust::write_certificate(out, &signed, Existing::Keep).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.remedy = format!(
                "certificate {} is issued and lies in {}: copy it from there",
                entry.serial,
                kept.display()
            );
            failure
        })?;
        Ok((entry, out.to_owned()))
    }

    /// Marks these certificates as revoked and signs a new list; gives how many serials it holds.
    pub(super) fn revoke(
        &mut self,
        serials: &[u64],
        now: UnixTime,
        list_days: u32,
    ) -> Result<usize, Failure> {
        self.check_register()?;
        let mut register = self.register.clone();
        for serial in serials {
            register.revoke(*serial, now);
        }
        self.sign_list(register, now, list_days)
    }

    /// Signs a list of everything revoked in this register that would hold otherwise. It is saved first.
    fn sign_list(&mut self, mut register: Register, now: UnixTime, list_days: u32) -> Result<usize, Failure> {
        let next_update = now.as_micros() + u64::from(list_days) * DAY * 1_000_000;
        let version = following(register.list_version, "list")?;
        (register.list_version, register.next_update, register.changed_at) =
            (version, next_update, now.as_micros());
        let serials = register.listed(now);
        if serials.len() > RevocationList::MAX_SERIALS {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "{} revoked certificates have not expired, and a list holds {} at most",
                    serials.len(),
                    RevocationList::MAX_SERIALS
                ),
                "issue certificates that expire sooner; or begin a new authority and let nodes trust both for a while",
            ));
        }
        let header = ListHeader {
            authority: self.id(),
            version: register.list_version,
            issued_at: now,
            next_update: UnixTime::from_micros(next_update),
        };
        let mut bytes = vec![0; RevocationList::len_with(serials.len())];
        sign_revocations(&self.key, self.network(), header, &serials, &mut bytes)
            .ok_or_else(|| Failure::new(Exit::Failed, "the list cannot be signed with this key", ""))?;
        self.save(register)?;
        trust::write_revocations(&self.list_path(), &bytes, Existing::Replace)?;
        Ok(serials.len())
    }

    /// Puts a register in the place of the one that lies here: complete or not at all.
    fn save(&mut self, register: Register) -> Result<(), Failure> {
        let path = self.path.join(REGISTER);
        let failed = |error: std::io::Error| failure("write", &path, &error);
        let text = serde_json::to_vec_pretty(&register).map_err(std::io::Error::from).map_err(failed)?;
        keyfile::create_private(&path, &text, keyfile::Existing::Replace).map_err(|error| match error {
            KeyFileError::Io { error, .. } => failed(error),
            other => other.into(),
        })?;
        self.register = register;
        Ok(())
    }
}

/// The number after that of the last list or certificate.
fn following(number: u64, of: &str) -> Result<u64, Failure> {
    number.checked_add(1).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!("there is no {of} after the last that a number can have"),
            "begin a new authority and let nodes trust both for a while",
        )
    })
}

/// The time, if it can be one: a certificate from a wrong clock would be wrong for its whole life.
pub(super) fn now() -> Result<UnixTime, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if since < EARLIEST_TIME {
        return Err(Failure::new(
            Exit::Setup,
            "the clock shows a time before this release",
            "set it, and start an NTP service",
        ));
    }
    Ok(UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let lock = path.join(LOCK);
    let failed = |error| failure("use", &lock, &error);
    let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Failed,
            format!("another command works in {}", path.display()),
            "wait until it has ended, and try again",
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(unix)]
fn for_owner_only(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn for_owner_only(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The directory has its name after a crash only once the one above it is synced.
#[cfg(unix)]
fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn failure(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Setup,
        format!("cannot {doing} {}: {error}", path.display()),
        "check that you may, and that there is room",
    )
}

const KEY: &str = "authority.key";
const REGISTER: &str = "register.json";
const CERTIFICATES: &str = "certificates";
const LOCK: &str = "lock";
/// Seconds.
const DAY: u64 = 24 * 60 * 60;
/// Microseconds by which a certificate begins before it is issued, for nodes whose clock is a little behind.
const BACKDATED: u64 = 5 * 60 * 1_000_000;
/// 2026-01-01T00:00:00Z: no release is older.
const EARLIEST_TIME: Duration = Duration::from_secs(1_767_225_600);
