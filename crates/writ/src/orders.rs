//! `writ rollback` and `writ break-glass`: orders that people sign outside of Git, as manifests that put them before the
//! cluster. Whoever is first makes one, the others add their signatures to the file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use cluster::crd::{BreakGlassSpec, Custom, CustomSpec, DetachedSignature, GROUP, RollbackRequestSpec, VERSION};
use jiff::Timestamp;
use manifest::Subject;
use rand::TryRngCore as _;
use serde::Serialize;
use serde_json::json;
use trust::{CommitId, CommitObject, History as _, OrderKind, SignedOrder};

use crate::{
    exit::{Outcome, UsageError},
    input, output,
    signing::{SigningKey, trust_file},
    trusted_root::TrustedRoot,
    verify::{open, resolve},
};

/// How long an order may be obeyed unless something else is said: while the people who sign it are awake.
const EXPIRES_AFTER: Duration = Duration::from_secs(60 * 60);
/// Largest manifest of an order: 16 signatures, of which each may be a bundle of 48 KiB, and a third more for indentation and
/// escapes. An API server takes 1.5 MiB.
const MAX_ORDER_BYTES: usize = 1 << 20;
/// Digits of the nonce, or of the commit, in the name of the object.
const NAME_DIGITS: usize = 8;

/// What all orders are made from.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// Why, for everybody who reads the log.
    #[arg(long, value_name = "TEXT", required_unless_present = "add", conflicts_with = "add")]
    reason: Option<String>,
    /// Until when it may be obeyed (RFC 3339); default: for an hour.
    #[arg(long, value_name = "TIME", conflicts_with = "add")]
    until: Option<String>,
    /// Add a signature to the order in this file instead of making one.
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
    #[command(flatten)]
    signing: SigningKey,
    /// Print the order without any signature, for accounts: --add it, with --print-payload and then with --bundle.
    #[arg(long, group = "SigningKey", conflicts_with = "add")]
    unsigned: bool,
    #[command(flatten)]
    trusted_root: TrustedRoot,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The revision whose trust file is in force.
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    trust: String,
}

/// Arguments of `writ rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The Sync.
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "add", conflicts_with = "add")]
    sync: Option<String>,
    /// The commit to go back to.
    #[arg(long, value_name = "REV", required_unless_present = "add", conflicts_with = "add")]
    to: Option<String>,
    #[command(flatten)]
    order: OrderArgs,
}

/// Arguments of `writ break-glass`.
#[derive(Debug, Args)]
pub(crate) struct BreakGlassArgs {
    /// The GitSource.
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "add", conflicts_with = "add")]
    source: Option<String>,
    /// The commit to let through: the head of the branch.
    #[arg(long, value_name = "REV", required_unless_present = "add", conflicts_with = "add")]
    commit: Option<String>,
    #[command(flatten)]
    order: OrderArgs,
}

/// The spec of a kind of order.
trait Order: CustomSpec + std::fmt::Debug + Clone + PartialEq {
    /// What is signed.
    fn order(&self, namespace: &str) -> anyhow::Result<SignedOrder>;
    fn signatures(&mut self) -> &mut Vec<DetachedSignature>;
}

impl Order for RollbackRequestSpec {
    fn order(&self, namespace: &str) -> anyhow::Result<SignedOrder> {
        Ok(Self::order(self, namespace)?)
    }

    fn signatures(&mut self) -> &mut Vec<DetachedSignature> {
        &mut self.signatures
    }
}

impl Order for BreakGlassSpec {
    fn order(&self, namespace: &str) -> anyhow::Result<SignedOrder> {
        Ok(Self::order(self, namespace)?)
    }

    fn signatures(&mut self) -> &mut Vec<DetachedSignature> {
        &mut self.signatures
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, S> {
    api_version: String,
    kind: &'static str,
    metadata: serde_json::Value,
    spec: &'a S,
}

/// Runs `writ rollback`.
pub(crate) fn rollback(args: &RollbackArgs) -> anyhow::Result<Outcome> {
    let repository = open(&args.order.repo)?;
    let (Some(sync), Some(to), Some(reason)) = (&args.sync, &args.to, &args.order.reason) else {
        return add::<RollbackRequestSpec>(&args.order, &repository);
    };
    let (namespace, name) = split(sync)?;
    let commit = resolve(&repository, to)?;
    let mut random = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut random).context("the system gives no random numbers")?;
    let nonce = hex::encode(random);
    let spec = RollbackRequestSpec {
        repo_id: repo_id(&args.order, &repository)?,
        sync: name.to_owned(),
        to: commit.to_string(),
        payload_sha256: payload(&repository, &commit)?,
        reason: reason.clone(),
        not_after: until(&args.order)?.to_string(),
        nonce: nonce.clone(),
        signatures: Vec::new(),
    };
    let object = format!("{name}-{}", nonce.get(..NAME_DIGITS).unwrap_or(&nonce));
    finish(&args.order, &repository, namespace, &object, spec)
}

/// Runs `writ break-glass`.
pub(crate) fn break_glass(args: &BreakGlassArgs) -> anyhow::Result<Outcome> {
    let repository = open(&args.order.repo)?;
    let (Some(source), Some(commit), Some(reason)) = (&args.source, &args.commit, &args.order.reason) else {
        return add::<BreakGlassSpec>(&args.order, &repository);
    };
    let (namespace, name) = split(source)?;
    let commit = resolve(&repository, commit)?;
    let spec = BreakGlassSpec {
        repo_id: repo_id(&args.order, &repository)?,
        source: name.to_owned(),
        commit: commit.to_string(),
        payload_sha256: payload(&repository, &commit)?,
        reason: reason.clone(),
        not_after: until(&args.order)?.to_string(),
        signatures: Vec::new(),
    };
    let object = format!("{name}-{}", spec.commit.get(..NAME_DIGITS).unwrap_or(&spec.commit));
    finish(&args.order, &repository, namespace, &object, spec)
}

/// Adds a signature to the order in a file.
fn add<S: Order>(args: &OrderArgs, repository: &git::Objects) -> anyhow::Result<Outcome>
where
    S::Status: std::fmt::Debug,
{
    let file = args.add.as_ref().context("--add FILE is required")?;
    let Custom { metadata, spec, kind, .. } = read::<S>(file)?;
    anyhow::ensure!(kind == S::KIND, "{} is a {kind}, not a {}", file.display(), S::KIND);
    let namespace = metadata.namespace.with_context(|| format!("{} names no namespace", file.display()))?;
    let name = metadata.name.with_context(|| format!("{} has no name", file.display()))?;
    let order = spec.order(&namespace)?;
    // Nobody signs for something else than the repository has.
    let found = payload(repository, &order.commit)?;
    anyhow::ensure!(
        found == order.payload_sha256.to_string(),
        "the order is for a content of {} with sha256 {}, and the repository has {found}",
        order.commit,
        order.payload_sha256
    );
    let repo_id = repo_id(args, repository)?;
    anyhow::ensure!(repo_id == order.repo_id, "the order is for {}, and this repository is {repo_id}", order.repo_id);
    finish(args, repository, &namespace, &name, spec)
}

/// Signs the order and prints it with all its signatures.
fn finish<S: Order>(
    args: &OrderArgs,
    repository: &git::Objects,
    namespace: &str,
    name: &str,
    mut spec: S,
) -> anyhow::Result<Outcome> {
    let order = spec.order(namespace)?;
    let api_version = format!("{GROUP}/{VERSION}");
    let metadata = json!({ "name": name, "namespace": namespace });
    if args.signing.prints_payload() {
        if args.add.is_none() {
            let message = "--print-payload is for an order that is there: make it with --unsigned, then --add it";
            return Err(UsageError(message.to_owned()).into());
        }
        output::bytes(&order.payload())?;
        return Ok(Outcome::Fine);
    }
    if args.unsigned {
        output::text(&manifest::to_yaml(&Manifest { api_version, kind: S::KIND, metadata, spec: &spec })?)?;
        return Ok(Outcome::Fine);
    }
    let file = trust_file(repository, &resolve(repository, &args.trust)?)?;
    let purpose = ("order", order.kind.namespace());
    let (principal, signature) = args.signing.sign_as(&file, purpose, &order.payload(), &args.trusted_root)?;
    let counts = match order.kind {
        OrderKind::BreakGlass => {
            let again = file.root_formats(Timestamp::now()).writ("writ break-glass --add FILE", "");
            file.signs_for_trust(&principal, Subject::Named(format!("BreakGlass {name}")), &again)
        }
        // Who may order it depends on what the folder holds.
        OrderKind::Rollback { .. } => Ok(()),
    };
    let signatures = spec.signatures();
    signatures.retain(|known| known.principal != principal);
    signatures.push(DetachedSignature { principal: principal.clone(), signature });
    let names: Vec<String> = signatures.iter().map(|known| known.principal.clone()).collect();
    output::text(&manifest::to_yaml(&Manifest { api_version, kind: S::KIND, metadata, spec: &spec })?)?;
    let in_vain = if counts.is_err() { ", which does not count" } else { "" };
    eprintln!(
        "signed as {principal}{in_vain}: {} and commit {} until {}, {:?}; signatures: {}",
        order.about,
        order.commit,
        order.not_after,
        order.reason,
        names.join(", ")
    );
    if let Err(finding) = counts {
        eprint!("{}", output::refusal(&finding));
        return Ok(Outcome::Finding);
    }
    Ok(Outcome::Fine)
}

fn read<S: Order>(file: &Path) -> anyhow::Result<Custom<S>>
where
    S::Status: std::fmt::Debug,
{
    let bytes = input::bytes(file, MAX_ORDER_BYTES)?;
    let documents = manifest::parse_yaml(&input::name(file), &bytes).map_err(|finding| anyhow::anyhow!("{finding}"))?;
    let [document] = documents.as_slice() else {
        anyhow::bail!("{} holds {} documents, not one", file.display(), documents.len());
    };
    serde_json::from_value(document.root.to_json()).with_context(|| format!("{} is no {}", file.display(), S::KIND))
}

fn split(about: &str) -> anyhow::Result<(&str, &str)> {
    let parts = about.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    parts.ok_or_else(|| UsageError(format!("{about:?} is not NAMESPACE/NAME")).into())
}

fn repo_id(args: &OrderArgs, repository: &git::Objects) -> anyhow::Result<String> {
    Ok(trust_file(repository, &resolve(repository, &args.trust)?)?.repo_id)
}

/// SHA-256 of what was signed of a commit.
fn payload(repository: &git::Objects, commit: &CommitId) -> anyhow::Result<String> {
    let raw = repository.commit(commit)?.with_context(|| format!("commit {commit} is not in the repository"))?;
    let object = CommitObject::parse(*commit, &raw).map_err(|finding| anyhow::anyhow!("{finding}"))?;
    Ok(object.payload_sha256.to_string())
}

fn until(args: &OrderArgs) -> anyhow::Result<Timestamp> {
    match &args.until {
        None => {
            let end = Timestamp::now().checked_add(EXPIRES_AFTER).context("the clock of this machine is at its end")?;
            // Whole seconds are enough, and read better.
            Ok(Timestamp::from_second(end.as_second())?)
        }
        Some(text) => {
            text.parse().map_err(|error| UsageError(format!("--until {text:?} is no RFC 3339 time: {error}")).into())
        }
    }
}
