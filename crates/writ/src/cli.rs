//! The command line: arguments exactly as the user typed them. Each command resolves its own.

use std::{path::PathBuf, process::ExitCode};

use audit::EntryKind;
use clap::{
    ArgGroup, Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::tz::TimeZone;

use crate::{
    audit_key, audit_show, audit_verify,
    controller::{self, ControllerArgs},
    diff::{self, DiffArgs},
    drift::{self, DriftCommand},
    exit, generate,
    hook::{self, HookCommand},
    orders::{self, BreakGlassArgs, RollbackArgs},
    output::Format,
    report::ReportFormat,
    signatures,
    trust_approve::{self, TrustApproveArgs},
    trust_heartbeat::{self, TrustHeartbeatArgs},
    trust_import::{self, TrustImportArgs},
    trust_init,
    trust_keys::{self, TrustAddArgs, TrustRemoveArgs, TrustRotateArgs},
    trust_lint,
    trust_revoke::{self, TrustRevokeArgs},
    trust_root, trust_show,
    trust_sign::{self, TrustSignArgs},
    verify,
};

/// GitOps for Kubernetes that obeys only signed orders.
///
/// Exit status: 0 fine · 1 a finding (refused, mismatch) · 2 no verdict was possible · 64 usage.
#[derive(Debug, Parser)]
#[command(name = "writ", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Controller(Box<ControllerArgs>),
    /// Judge commits offline: signatures and authority, as the controller would; not policies.
    Verify(VerifyArgs),
    /// Show field by field what is live and not as declared: edited, added, removed, deleted.
    ///
    /// What the API server fills in by itself is no difference. What is changed in the course of ordinary operation (an
    /// autoscaler, an injected CA bundle, a restart by hand) is shown with what explains it, and counts for nothing. Exit
    /// status 1 if anything differs that nothing explains.
    Diff(DiffArgs),
    /// Show what drifted: what changed, who did it, what became of it, from the audit log.
    #[command(subcommand)]
    Drift(DriftCommand),
    /// Refuse in Git what the cluster would refuse: hooks for servers and clones.
    #[command(subcommand)]
    Hook(HookCommand),
    /// Begin to trust a repository, and change whom it trusts: its trust file, its trust root.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Order a Sync back to a revision that it accepted earlier: sign the order, and print it for `kubectl apply -f -`.
    ///
    /// It is judged as a commit would be that restores the Sync's folder: it takes the signatures of as many people. It
    /// holds until the Sync accepts a commit that changes its folder.
    Rollback(RollbackArgs),
    /// Let one commit through that those who made it may not make: sign the order, and print it for `kubectl apply -f -`.
    ///
    /// It takes the signatures of those who may change the trust file, and counts for at most four hours. Who must stand for
    /// a change is waived, and nothing else: no signature, no history, no revocation, no kind, no policy. It is in the audit log
    /// for ever, and shown until those who may have made everything anew, or approved it.
    BreakGlass(BreakGlassArgs),
    /// Read and verify the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print a document that is generated from the code.
    #[command(hide = true)]
    Generate {
        /// Which one.
        what: generate::Document,
    },
    /// The short-lived process that talks to a Git server: request on stdin, reply on stdout.
    #[command(hide = true)]
    GitFetchChild,
}

/// Arguments of `writ verify`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("authority").required(true).args(["trust_root", "signatures_only"]))]
#[command(group = ArgGroup::new("signers").multiple(true).args(["allowed_signers", "openpgp_certs", "certificate_identities"]))]
pub(crate) struct VerifyArgs {
    /// The repository: a work tree or a bare repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// The TrustRoot manifest.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: Option<PathBuf>,
    /// Judge from this commit, taken as accepted; default: from the introduction.
    #[arg(long, value_name = "REV", conflicts_with = "signatures_only")]
    pub(crate) from: Option<String>,
    /// Judge signatures alone, on any repository; goes with --allowed-signers, --openpgp-certs or --certificate-identity.
    #[arg(long, requires = "signers")]
    pub(crate) signatures_only: bool,
    /// The allowed signers, in OpenSSH's format; goes with --signatures-only.
    ///
    /// Times (`valid-after`, `valid-before`) without a `Z` at their end are in the zone of --timezone. The signer is reported
    /// as the first principal of the line, also where it is a wildcard such as `*@example.com`: nothing in a commit says
    /// which of them signed. With a certificate, whose authority a line names by `cert-authority`, it is the first
    /// principal of the certificate that the line is for.
    #[arg(long, value_name = "FILE", requires = "signatures_only")]
    pub(crate) allowed_signers: Option<PathBuf>,
    /// The time zone of times in that file which have no `Z` at their end.
    ///
    /// `UTC`, an offset such as `+02:00`, or the rules as in the variable TZ: `CET-1CEST,M3.5.0,M10.5.0/3`. ssh-keygen takes
    /// the zone of the machine, which means another instant on another one; so none is taken from there.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = crate::signatures::zone, requires = "signatures_only")]
    pub(crate) timezone: TimeZone,
    /// The OpenPGP certificates of signers, as `gpg --armor --export` prints them.
    ///
    /// The signer is reported as the first user id of the certificate. A certificate counts for what it says itself:
    /// expired and revoked keys are refused, however much its owner is trusted.
    #[arg(long, value_name = "FILE", requires = "signatures_only")]
    pub(crate) openpgp_certs: Option<PathBuf>,
    /// The account of a signer whose signatures are keyless (gitsign): the e-mail address or URI in the certificate.
    ///
    /// May be given several times, each with --certificate-oidc-issuer; both are compared letter by letter.
    #[arg(long = "certificate-identity", value_name = "IDENTITY", requires_all = ["signatures_only", "certificate_oidc_issuers"])]
    pub(crate) certificate_identities: Vec<String>,
    /// The identity provider of that account, such as `https://accounts.google.com`.
    #[arg(long = "certificate-oidc-issuer", value_name = "URL", requires = "certificate_identities")]
    pub(crate) certificate_oidc_issuers: Vec<String>,
    /// The trusted_root.json by which keyless signatures are verified; default: that of the public Sigstore, built in.
    ///
    /// With --trust-root it counts in place of what `spec.keyless` says: what the controller fetched, where that says
    /// `refresh`; no server is asked here.
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted_root: Option<PathBuf>,
    /// Tell of the commits that change this path why they may or may not: who stands for it, rule by rule.
    ///
    /// In the formats human, json and yaml.
    #[arg(long, value_name = "PATH", conflicts_with = "signatures_only")]
    pub(crate) explain: Option<String>,
    /// The head to judge (default HEAD); with --signatures-only revisions or ranges `A..B`.
    #[arg(value_name = "REV")]
    pub(crate) revisions: Vec<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Human)]
    pub(crate) output: ReportFormat,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Write a first trust file from public keys; prints the commands that sign and commit it.
    Init(TrustInitArgs),
    /// Check that a revision carries a valid, signed trust file; prints TrustRoot, GitSource and first Sync.
    Root(TrustRootArgs),
    /// Add a principal to the trust file of the work tree, or keys and roles to one that is there.
    Add(TrustAddArgs),
    /// Take a principal, or a key, out of the trust file. Refused where nobody could change it any more.
    Remove(TrustRemoveArgs),
    /// Give a principal a new key, then take the old one away: two steps, so that nobody is locked out in between.
    Rotate(TrustRotateArgs),
    /// Revoke keys, commits or all that a revocation file names, for ever.
    Revoke(TrustRevokeArgs),
    /// Sign the trust file of the work tree as a root principal.
    Sign(TrustSignArgs),
    /// Take over allowed signers, lists of keys, OpenPGP certificates or revocation lists.
    Import(TrustImportArgs),
    /// Approve a commit that somebody else made, or vouch for its tree after a revocation.
    Approve(TrustApproveArgs),
    /// Say which head the branch has, so that a server that hides new commits is noticed; for a timer.
    Heartbeat(TrustHeartbeatArgs),
    /// Check the trust file of the work tree, and the certificates that it pins, as the cluster would.
    Lint(TrustLintArgs),
    /// Show who may do what, by the trust file of a revision.
    Show(TrustShowArgs),
    /// Show who may change a path. Exit status 1 if nobody may.
    Who(TrustWhoArgs),
}

/// Arguments of `writ trust lint`.
#[derive(Debug, Args)]
pub(crate) struct TrustLintArgs {
    /// The work tree.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// Another file than `.writ/trust.yaml` of the work tree.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Check also that it follows the trust file of this revision: version, revocations and where they begin, repository and ref.
    #[arg(long, value_name = "REV")]
    pub(crate) against: Option<String>,
    /// Check also that it is for the repository and the ref of this TrustRoot.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: Option<PathBuf>,
}

/// Arguments of `writ trust show`.
#[derive(Debug, Args)]
pub(crate) struct TrustShowArgs {
    /// The revision.
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub(crate) revision: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// Arguments of `writ trust who`.
#[derive(Debug, Args)]
pub(crate) struct TrustWhoArgs {
    /// The path, from the top of the repository.
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// The revision whose trust file is asked.
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub(crate) revision: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// Arguments of `writ trust init`.
#[derive(Debug, Args)]
pub(crate) struct TrustInitArgs {
    /// The work tree that gets `.writ/trust.yaml`.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// Name of the repository, such as `urn:writ:prod-config`.
    #[arg(long, value_name = "NAME")]
    pub(crate) repo_id: String,
    /// The branch that is obeyed.
    #[arg(long = "ref", value_name = "REF", default_value = "refs/heads/main")]
    pub(crate) r#ref: String,
    /// A root principal and the file of its public key: `alice=alice.pub`. Repeat for each.
    #[arg(long, value_name = "NAME=FILE", required = true)]
    pub(crate) root: Vec<String>,
    /// How many root principals must sign a change of the trust file.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) root_threshold: u32,
    /// Another principal and its key: `bob=bob.pub`.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) principal: Vec<String>,
    /// Who holds a role: `sre=bob,carol`.
    #[arg(long, value_name = "ROLE=NAMES")]
    pub(crate) role: Vec<String>,
    /// Which role may change which paths: `apps/**=sre`. What no rule covers, nobody may change.
    #[arg(long, value_name = "GLOB=ROLE")]
    pub(crate) rule: Vec<String>,
    /// When the trust file expires (RFC 3339); default: in a year.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
}

/// Arguments of `writ trust root`.
#[derive(Debug, Args)]
pub(crate) struct TrustRootArgs {
    /// The revision that trust starts from.
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub(crate) revision: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// URL that the GitSource fetches from.
    #[arg(long)]
    pub(crate) url: String,
    /// Name of the TrustRoot.
    #[arg(long, default_value = "root")]
    pub(crate) name: String,
    /// Name of the GitSource.
    #[arg(long, value_name = "NAME", default_value = "config")]
    pub(crate) source: String,
    /// Name of the first Sync.
    #[arg(long, value_name = "NAME", default_value = "apps")]
    pub(crate) sync: String,
    /// Namespace of GitSource and Sync.
    #[arg(long, default_value = "writ-system")]
    pub(crate) namespace: String,
    /// Id of the controller that shall obey.
    #[arg(long, value_name = "ID", default_value = "writ")]
    pub(crate) instance: String,
    /// How often the remote is asked.
    #[arg(long, default_value = "1m")]
    pub(crate) interval: String,
    /// Secret with the credentials and the CA of the URL, in the same namespace.
    #[arg(long, value_name = "NAME")]
    pub(crate) secret: Option<String>,
    /// Folder that the first Sync applies.
    #[arg(long, value_name = "FOLDER", default_value = "apps")]
    pub(crate) path: String,
    /// ServiceAccount that the first Sync writes as; needed in every namespace but writ's own.
    #[arg(long, value_name = "NAME")]
    pub(crate) service_account: Option<String>,
    /// Namespace that the first Sync applies into.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) target_namespace: Option<String>,
    /// What the first Sync does about drift.
    #[arg(long, value_enum, default_value_t = DriftArg::Revert)]
    pub(crate) drift: DriftArg,
    /// How many root keys must have signed the trust file of the revision; default: what its own rules demand.
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u32>,
}

/// What is done about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriftArg {
    /// It is reverted and reported.
    Revert,
    /// It is reported.
    Flag,
    /// Nothing.
    Off,
}

impl From<DriftArg> for plan::DriftMode {
    fn from(mode: DriftArg) -> Self {
        match mode {
            DriftArg::Revert => Self::Revert,
            DriftArg::Flag => Self::Flag,
            DriftArg::Off => Self::Off,
        }
    }
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every entry, tile, body and checkpoint of a log, offline.
    ///
    /// A mismatch is named by file and byte. In a tile that is the byte that differs. In a bundle of entries it is the start of the
    /// record, since an entry is hashed as a whole. In a body or checkpoint it is 0: only the whole file can be judged.
    Verify(AuditVerifyArgs),
    /// List entries, newest last.
    Show(AuditShowArgs),
    /// Make the key pair of a new log: files `key` and `key.pub`.
    Key(AuditKeyArgs),
}

/// Arguments of `writ audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Folder of the log.
    pub(crate) dir: PathBuf,
    /// File with the log's public key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Checkpoint kept elsewhere that the log must extend. Repeat for more.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// Arguments of `writ audit show`.
#[derive(Debug, Args)]
pub(crate) struct AuditShowArgs {
    /// Folder of the log.
    pub(crate) dir: PathBuf,
    /// File with the log's public key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Only entries of this kind.
    #[arg(long, value_parser = kind())]
    pub(crate) kind: Option<EntryKind>,
    /// Only entries with this code of docs/codes.md, such as W301.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Only the newest N of them.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) last: usize,
    /// Show bodies too: change sets and masked differences.
    #[arg(long)]
    body: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// Whether bodies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// They are.
    Shown,
    /// They are not read.
    Hidden,
}

impl AuditShowArgs {
    /// Whether bodies are shown.
    pub(crate) const fn bodies(&self) -> Bodies {
        if self.body { Bodies::Shown } else { Bodies::Hidden }
    }
}

/// Reads the kind of an entry by its name in the log.
fn kind() -> impl TypedValueParser<Value = EntryKind> {
    PossibleValuesParser::new(EntryKind::ALL.map(EntryKind::as_str)).try_map(|text| {
        EntryKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("no kind is named {text}"))
    })
}

/// Arguments of `writ audit key`.
#[derive(Debug, Args)]
pub(crate) struct AuditKeyArgs {
    /// Name of the log in its checkpoints: the controller's `--log-origin`.
    #[arg(long, value_name = "ORIGIN", default_value = "writ.dev/log")]
    pub(crate) name: String,
    /// Folder that gets the files `key` (secret, mode 0600) and `key.pub`; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::GitFetchChild => return git::fetch_child(std::io::stdin().lock(), std::io::stdout().lock()),
            Command::Controller(args) => controller::run(*args),
            Command::Verify(args) if args.signatures_only => signatures::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Diff(args) => diff::run(&args),
            Command::Drift(command) => drift::run(&command),
            Command::Hook(command) => hook::run(&command),
            Command::Trust(TrustCommand::Init(args)) => trust_init::run(&args),
            Command::Trust(TrustCommand::Root(args)) => trust_root::run(&args),
            Command::Trust(TrustCommand::Add(args)) => trust_keys::add(&args),
            Command::Trust(TrustCommand::Remove(args)) => trust_keys::remove(&args),
            Command::Trust(TrustCommand::Rotate(args)) => trust_keys::rotate(&args),
            Command::Trust(TrustCommand::Revoke(args)) => trust_revoke::run(&args),
            Command::Trust(TrustCommand::Sign(args)) => trust_sign::run(&args),
            Command::Trust(TrustCommand::Import(args)) => trust_import::run(&args),
            Command::Trust(TrustCommand::Approve(args)) => trust_approve::run(&args),
            Command::Trust(TrustCommand::Heartbeat(args)) => trust_heartbeat::run(&args),
            Command::Trust(TrustCommand::Lint(args)) => trust_lint::run(&args),
            Command::Trust(TrustCommand::Show(args)) => trust_show::show(&args),
            Command::Trust(TrustCommand::Who(args)) => trust_show::who(&args),
            Command::Rollback(args) => orders::rollback(&args),
            Command::BreakGlass(args) => orders::break_glass(&args),
            Command::Audit(AuditCommand::Verify(args)) => audit_verify::run(&args),
            Command::Audit(AuditCommand::Show(args)) => audit_show::run(&args),
            Command::Audit(AuditCommand::Key(args)) => audit_key::run(&args),
            Command::Crds => generate::run(generate::Document::Crds),
            Command::Completion { shell } => generate::completion(shell),
            Command::Generate { what } => generate::run(what),
        };
        exit::report(&result)
    }
}
