//! `hyphal ca`: an authority that gives nodes certificates and takes them back.
//!
//! Nothing here talks to a node: certificates and lists are files, which a person copies to where nodes read them.

mod directory;
mod register;

use std::io::Write;
use std::path::{Path, PathBuf};

use hyphal::config::Config;
use hyphal::trust::{FileError, Roles, node_type_name, shown_time};
use hyphal::{NodeId, UnixTime, keyfile};
use serde_json::json;

use self::directory::{Directory, Terms};
pub(crate) use self::register::Type;
use self::register::{Entry, State};
use crate::cli::{
    CaAction, CaArgs, CaDirectory, Global, IssueArgs, ListArgs, NodeFlags, RenewArgs, RevokeArgs,
};
use crate::output::{self, BAD, Exit, Failure, GOOD, HINT, WARN};

/// Does what was asked of the authority.
pub(crate) fn run(global: &Global, args: &CaArgs) -> Result<Exit, Failure> {
    match &args.action {
        CaAction::Init(args) => init(global, &args.directory, args.list_days, args.json),
        CaAction::Issue(args) => issue(global, args),
        CaAction::Revoke(args) => revoke(global, args),
        CaAction::List(args) => list(global, args),
        CaAction::Renew(args) => renew(global, args),
    }
}

fn init(global: &Global, directory: &CaDirectory, list_days: u32, is_json: bool) -> Result<Exit, Failure> {
    let config = Config::load(&global.sources(&NodeFlags::default()))?;
    let path = path_of(directory)?;
    let id = Directory::create(&path, &config.network, list_days)?;
    if is_json {
        output::print_json(&json!({
            "authority": id.to_string(),
            "network": config.network,
            "directory": path.display().to_string(),
        }))?;
    } else {
        writeln!(anstream::stdout(), "{id}")?;
        writeln!(
            anstream::stderr(),
            "{HINT}authority of the network {}; its key lies in {}: keep it secret and off line, keep a copy of all{HINT:#}",
            config.network,
            path.display()
        )?;
    }
    Ok(Exit::Done)
}

fn issue(global: &Global, args: &IssueArgs) -> Result<Exit, Failure> {
    let mut authority = open(global, &args.directory)?;
    let node = node_id(args.node)?;
    let now = authority.time(args.clock.trust_clock)?;
    let valid = authority
        .register
        .certificates
        .iter()
        .rev()
        .find(|entry| entry.node == node.to_string() && entry.state(now) == State::Valid);
    if let Some(Entry { serial, not_after, .. }) = valid {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the node has certificate {serial}, until {}",
                shown_time(UnixTime::from_micros(*not_after))
            ),
            format!(
                "renew it: hyphal ca renew {serial}{at}; or revoke it first: hyphal ca revoke {serial}{at}",
                at = named(&args.directory)
            ),
        ));
    }
    let terms = Terms { node, node_type: args.node_type, roles: roles_of(&args.role), days: args.new.days };
    let issued = authority.issue(&terms, now, args.new.out.as_deref())?;
    tell_issued(&authority, &issued, args.json)
}

fn renew(global: &Global, args: &RenewArgs) -> Result<Exit, Failure> {
    let mut authority = open(global, &args.directory)?;
    let old = find(&authority, &args.certificate)?.into_iter().next_back();
    let old = old.and_then(|serial| authority.register.entry(serial)).cloned();
    let Some(old) = old else { return Err(unknown(&args.certificate, &args.directory)) };
    if old.revoked_at.is_some() {
        return Err(Failure::new(
            Exit::Failed,
            format!("certificate {} was revoked", old.serial),
            format!(
                "if the node is to be let in again, issue a new one: hyphal ca issue {} --node-type {}{}",
                old.node,
                node_type_name(old.node_type.into()),
                named(&args.directory)
            ),
        ));
    }
    let node = old.node.parse().map_err(|_| {
        Failure::new(
            Exit::Setup,
            format!("the register has no good node id for {}", old.serial),
            "restore a copy",
        )
    })?;
    let roles = if args.role.is_empty() { old.roles() } else { roles_of(&args.role) };
    let node_type = args.node_type.unwrap_or(old.node_type);
    let terms = Terms { node, node_type, roles, days: args.new.days };
    let now = authority.time(args.clock.trust_clock)?;
    let issued = authority.issue(&terms, now, args.new.out.as_deref())?;
    if !args.json {
        writeln!(
            anstream::stderr(),
            "{HINT}certificate {} holds until {} beside it{HINT:#}",
            old.serial,
            shown_time(UnixTime::from_micros(old.not_after))
        )?;
    }
    tell_issued(&authority, &issued, args.json)
}

fn revoke(global: &Global, args: &RevokeArgs) -> Result<Exit, Failure> {
    let mut authority = open(global, &args.directory)?;
    let before = authority.register.list_version;
    let mut taken_up = Vec::new();
    for path in &args.from {
        taken_up.extend(authority.take_up(path)?);
    }
    taken_up.sort_unstable();
    let mut serials = Vec::new();
    for text in &args.certificates {
        let found = find(&authority, text)?;
        if found.is_empty() {
            return Err(unknown(text, &args.directory));
        }
        serials.extend(found);
    }
    serials.sort_unstable();
    serials.dedup();
    let now = authority.time(args.clock.trust_clock)?;
    let count = authority.revoke(&serials, now, args.list_days)?;
    let (version, path) = (authority.register.list_version, authority.list_path());
    if args.json {
        output::print_json(&json!({
            "revoked": serials,
            "taken_up": taken_up,
            "list": {
                "version": version,
                "before": before,
                "serials": count,
                "path": path.display().to_string(),
            },
        }))?;
        return Ok(Exit::Done);
    }
    writeln!(anstream::stdout(), "list {version}  {}", path.display())?;
    let mut err = anstream::stderr().lock();
    if !args.from.is_empty() {
        let serials = if taken_up.is_empty() { "none".to_owned() } else { joined(&taken_up) };
        writeln!(err, "{HINT}revoked elsewhere and here too from now on: {serials}{HINT:#}")?;
    }
    writeln!(
        err,
        "{HINT}made version {version}, which revokes {count}; the one before here was {before}. Nodes take it unless they have version {version} or above{HINT:#}"
    )?;
    writeln!(
        err,
        "{HINT}copy it to the trust.revocations directory of a node and send that SIGHUP; it tells the others{HINT:#}"
    )?;
    Ok(Exit::Done)
}

fn list(global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    let authority = open(global, &args.directory)?;
    let now = directory::now()?;
    let register = &authority.register;
    let shown = register.certificates.iter().filter(|entry| args.all || entry.state(now) == State::Valid);
    let is_written = authority.written_list() == Some(register.list_version);
    let next_update = UnixTime::from_micros(register.next_update);
    if args.json {
        let certificates: Vec<_> = shown.map(|entry| described(entry, now)).collect();
        output::print_json(&json!({
            "authority": authority.id().to_string(),
            "network": register.network,
            "list": {
                "version": register.list_version,
                "next_update": shown_time(next_update),
                "path": authority.list_path().display().to_string(),
                "written": is_written,
            },
            "certificates": certificates,
            "unregistered": register.unregistered,
            "clock_doubt": register.clock_doubt(now),
        }))?;
        return Ok(Exit::Done);
    }
    let mut out = anstream::stdout().lock();
    writeln!(out, "authority  {}", authority.id())?;
    writeln!(out, "network    {}", register.network)?;
    writeln!(out, "list       {}, next update {}", register.list_version, shown_time(next_update))?;
    let at = named(&args.directory);
    let refresh = format!("hyphal ca revoke --refresh{at}");
    let amiss = match authority.written_list() {
        Some(written) if written > register.list_version => Some((
            format!("list {written} lies here, so the register is an old copy"),
            format!("hyphal ca revoke --from {}{at}", keyfile::shown(&authority.list_path())),
        )),
        Some(_) if is_written => (next_update <= now).then(|| ("it is out of date".to_owned(), refresh)),
        _ => Some(("it is not written".to_owned(), refresh)),
    };
    if let Some((amiss, help)) = amiss {
        writeln!(out, "           {WARN}warn{WARN:#}  {amiss}; help: {help}")?;
    }
    if let Some(doubt) = register.clock_doubt(now) {
        writeln!(out, "clock      {WARN}warn{WARN:#}  {doubt}")?;
    }
    for entry in shown {
        let (style, word) = match entry.state(now) {
            State::Valid => (GOOD, "valid  "),
            State::Expired => (WARN, "expired"),
            State::Revoked => (BAD, "revoked"),
        };
        writeln!(
            out,
            "{:>6}  {style}{word}{style:#}  {}  {:<10}  until {}  {}",
            entry.serial,
            entry.node,
            node_type_name(entry.node_type.into()),
            shown_time(UnixTime::from_micros(entry.not_after)),
            entry.roles()
        )?;
    }
    for serial in register.unregistered.iter().filter(|_| args.all) {
        writeln!(
            out,
            "{serial:>6}  {BAD}revoked{BAD:#}  not in the register: issued after the copy that was restored"
        )?;
    }
    Ok(Exit::Done)
}

fn tell_issued(authority: &Directory, issued: &(Entry, PathBuf), is_json: bool) -> Result<Exit, Failure> {
    let (entry, path) = issued;
    let now = directory::now()?;
    if is_json {
        let mut described = described(entry, now);
        described["path"] = path.display().to_string().into();
        described["authority"] = authority.id().to_string().into();
        output::print_json(&described)?;
    } else {
        writeln!(anstream::stdout(), "certificate {}  {}", entry.serial, path.display())?;
        writeln!(
            anstream::stderr(),
            "{HINT}for {}, until {}; copy it to the node, and name it as trust.certificate there{HINT:#}",
            entry.node,
            shown_time(UnixTime::from_micros(entry.not_after))
        )?;
    }
    Ok(Exit::Done)
}

fn described(entry: &Entry, now: UnixTime) -> serde_json::Value {
    let time = |micros| shown_time(UnixTime::from_micros(micros));
    json!({
        "serial": entry.serial,
        "state": entry.state(now),
        "node": entry.node,
        "node_type": entry.node_type,
        "roles": entry.roles().to_string().split(',').filter(|role| !role.is_empty()).collect::<Vec<_>>(),
        "not_before": time(entry.not_before),
        "not_after": time(entry.not_after),
        "revoked_at": entry.revoked_at.map(time),
    })
}

fn open(global: &Global, directory: &CaDirectory) -> Result<Directory, Failure> {
    let authority = Directory::open(&path_of(directory)?)?;
    let network = &authority.register.network;
    match &global.network {
        Some(wanted) if wanted != network => Err(Failure::new(
            Exit::Usage,
            format!("the authority is of the network {network}, not {wanted}"),
            "name the directory of the other network's authority with --dir",
        )),
        _ => Ok(authority),
    }
}

/// The directory that was named, or the one of this user.
fn path_of(directory: &CaDirectory) -> Result<PathBuf, Failure> {
    if let Some(path) = &directory.dir {
        return Ok(path.clone());
    }
    let key = keyfile::default_path(|name| std::env::var_os(name));
    key.as_deref().and_then(Path::parent).map(|data| data.join("authority")).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "there is no home directory for the authority",
            "name a directory with --dir",
        )
    })
}

/// The certificates that are meant: one by its serial, or all of a node, oldest first.
fn find(authority: &Directory, text: &str) -> Result<Vec<u64>, Failure> {
    if let Ok(serial) = text.parse::<u64>() {
        return Ok(Some(serial)
            .filter(|serial| authority.register.may_have_issued(*serial))
            .into_iter()
            .collect());
    }
    let id: NodeId = text.parse().map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("'{text}': {error}"),
            "write the serial of a certificate, or a node id",
        )
    })?;
    let all = authority.register.certificates.iter();
    Ok(all.filter(|entry| entry.node == id.to_string()).map(|entry| entry.serial).collect())
}

fn unknown(text: &str, directory: &CaDirectory) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the authority has issued no certificate {text}"),
        format!("see what it has issued: hyphal ca list --all{}", named(directory)),
    )
}

fn joined(serials: &[u64]) -> String {
    serials.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The flag that makes a command in a remedy mean the same authority.
fn named(directory: &CaDirectory) -> String {
    directory.dir.as_ref().map(|path| format!(" --dir {}", keyfile::shown(path))).unwrap_or_default()
}

fn node_id(id: NodeId) -> Result<NodeId, Failure> {
    match hyphal_core::identity::static_of_id(&id) {
        Ok(_) => Ok(id),
        Err(_) => {
            Err(Failure::new(Exit::Usage, format!("no node can have the id {id}"), "take it from: hyphal id"))
        }
    }
}

fn roles_of(roles: &[Roles]) -> Roles {
    roles.iter().fold(Roles::NONE, |all, role| all.with(*role))
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(Exit::Setup, error.to_string(), "check the path, and that you may use it")
    }
}
