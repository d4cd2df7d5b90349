//! The arguments of `hyphal ca`: the authority of a certified network.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyphal::trust::Roles;
use hyphal_core::ids::NodeId;

use crate::commands::ca::Type;

/// Be the authority of a network: give nodes certificates and take them back
///
/// Works on files only. A node shows its certificate and asks others for theirs with trust.policy = "certified"; docs/trust.md
/// goes through it step by step.
#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    pub(crate) action: CaAction,
}

/// What an authority does about a clock that does not go with its register.
#[derive(Debug, Args)]
pub(crate) struct CaClock {
    /// Go by the clock, although it shows a time before the last change of the register or more than a year after
    #[arg(long)]
    pub(crate) trust_clock: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaAction {
    Init(InitArgs),
    Issue(IssueArgs),
    Revoke(RevokeArgs),
    List(ListArgs),
    Renew(RenewArgs),
}

/// Where an authority lives.
#[derive(Debug, Args)]
pub(crate) struct CaDirectory {
    /// The directory of the authority [default: authority, beside the default identity key]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Make a new authority for the network: its key, an empty register and a first list
///
/// Prints the authority's id, which nodes name as trust.authorities. Its key signs for the whole network: keep it off line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ca init --network garden --dir ./garden-ca")]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) directory: CaDirectory,
    /// Days until the revocation list is due for an update
    #[arg(long, value_name = "DAYS", default_value_t = LIST_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) list_days: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is said of a new certificate, whether it is the node's first one or not.
#[derive(Debug, Args)]
pub(crate) struct NewCertificate {
    /// For how many days it holds
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Write it to this file too, which must not exist
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// Issue a certificate for a node
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ca issue ID --node-type hyphae --days 90
  hyphal ca issue ID --node-type rhizomorph --role relay,time --out relay.certificate")]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    pub(crate) directory: CaDirectory,
    /// The node's id, as `hyphal id` prints it there
    #[arg(value_name = "ID")]
    pub(crate) node: NodeId,
    /// What the node is; it must say the same of itself
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) node_type: Type,
    /// What it may do: relay, gateway, service, storage, time, operator, role-0 to role-31; several with commas
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = role)]
    pub(crate) role: Vec<Roles>,
    #[command(flatten)]
    pub(crate) new: NewCertificate,
    #[command(flatten)]
    pub(crate) clock: CaClock,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Revoke certificates, and sign a new list
///
/// The list is a file beside the register. Copied to one node, it spreads to all that are connected. Nodes ignore a list whose
/// version is not above that of theirs: after the directory was restored from an old copy, take up a node's list with --from.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ca revoke 7
  hyphal ca revoke ID            # all certificates of that node
  hyphal ca revoke --refresh     # none, but the list is due for an update
  hyphal ca revoke --from lists/ID.revocations   # the directory was restored from an old copy")]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["certificates", "refresh", "from"]))]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) directory: CaDirectory,
    /// Serials of certificates, or ids of nodes
    #[arg(value_name = "SERIAL|ID")]
    pub(crate) certificates: Vec<String>,
    /// Revoke nothing further, and sign a list that is newer
    #[arg(long, conflicts_with = "certificates")]
    pub(crate) refresh: bool,
    /// First take up this list of the authority, as a node keeps it: revoke what it revokes, and go on above its version
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) from: Vec<PathBuf>,
    /// Days until the list is due for an update
    #[arg(long, value_name = "DAYS", default_value_t = LIST_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) list_days: u32,
    #[command(flatten)]
    pub(crate) clock: CaClock,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the authority and the certificates that hold
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ca list
  hyphal ca list --all --json | jq '.certificates[] | select(.state == \"revoked\")'")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) directory: CaDirectory,
    /// Show expired and revoked ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Issue a node's next certificate, with the type and roles of the last
///
/// The old one holds until it expires or is revoked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ca renew 7 --days 90
  hyphal ca renew ID --role relay --out relay.certificate")]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) directory: CaDirectory,
    /// The serial of the certificate, or the id of the node
    #[arg(value_name = "SERIAL|ID")]
    pub(crate) certificate: String,
    /// Another type than before
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) node_type: Option<Type>,
    /// Other roles than before; several with commas
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = role)]
    pub(crate) role: Vec<Roles>,
    #[command(flatten)]
    pub(crate) new: NewCertificate,
    #[command(flatten)]
    pub(crate) clock: CaClock,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long a revocation list counts as new, unless the user says otherwise.
const LIST_DAYS: u32 = 30;

/// The name of a role.
fn role(text: &str) -> Result<Roles, String> {
    Roles::named(text).ok_or_else(|| {
        "a role is relay, gateway, service, storage, time, operator, or role-0 to role-31".to_owned()
    })
}
