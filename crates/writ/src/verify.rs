//! `writ verify`: the judgement of the controller, offline, on any clone.

use std::path::Path;

use anyhow::Context as _;
use evidence::KeylessSignatures;
use jiff::Timestamp;
use manifest::{FieldPath, Node, RepoPath, shell_quote};
use trust::{CommitId, Head, Start, TrustMode, TrustRootError, TrustRootSpec, Verifiers};

use crate::{
    cli::VerifyArgs,
    exit::{Outcome, UsageError},
    input::{self, MAX_MANIFEST_BYTES},
    output,
    report::{ReportFormat, Verification},
    trusted_root,
};

/// Runs `writ verify` with a TrustRoot.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let file = args.trust_root.as_ref().context("--trust-root FILE is required")?;
    let named = match args.revisions.as_slice() {
        [] => None,
        [revision] => Some(revision.as_str()),
        _ => {
            let message = "one head is judged at a time: give one REV (several are for --signatures-only)";
            return Err(UsageError(message.to_owned()).into());
        }
    };
    let (name, root) = read_named_trust_root(file)?;
    if root.mode == TrustMode::Audit {
        eprintln!(
            "note: spec.mode of the trust root is Audit: the controller judges like this, and writes nothing to the cluster"
        );
    }
    let repository = open(&args.repo)?;
    // What is checked out says nothing about a tag.
    let tracked = trust::tag_name(&root.r#ref).map_or("HEAD", |_tag| root.r#ref.as_str());
    let head = resolve_head(&repository, named.unwrap_or(tracked))?;
    let start = match &args.from {
        None => Start::Introduction,
        Some(revision) => Start::Accepted(resolve(&repository, revision)?),
    };
    let path = args.explain.as_deref().map(|text| path(text, args.output)).transpose()?;
    let keyless = keyless_by(args.trusted_root.as_deref(), &root)?;
    let (now, with) = (Timestamp::now(), Verifiers { known: None, keyless: Some(&keyless) });
    let (judgement, reasons) = trust::explain(&repository, &root, &start, head, now, path.as_ref(), with);
    let judgement = match name {
        Some(name) => judgement.under(&name),
        None => judgement,
    };
    if let Some(reason) = judgement.unreadable() {
        anyhow::bail!("no verdict on {}: {reason}; git fsck --full names what is broken", head.commit);
    }
    let verification = Verification::of(&judgement, &start).with_reasons(&reasons);
    if let Some(path) = path.filter(|_path| !verification.explains()) {
        let quoted = shell_quote(path.as_str());
        eprintln!("note: no commit that was judged by rules changes {path}; who may: writ trust who {quoted}");
    }
    let outcome = verification.print(args.output)?;
    match judgement.broken() {
        // Accepted, so that its revocations count, and nothing of it is to be rolled out.
        Some(broken) => {
            eprint!("{}", output::refusal(broken));
            Ok(Outcome::Finding)
        }
        None => Ok(outcome),
    }
}

/// The path that `--explain` names.
fn path(text: &str, format: ReportFormat) -> anyhow::Result<RepoPath> {
    if !format.explains() {
        return Err(UsageError("--explain is for the formats human, json and yaml".to_owned()).into());
    }
    text.parse().map_err(|error| UsageError(format!("{text:?} is no path of a repository: {error}")).into())
}

/// Opens the repository that `--repo` names.
pub(crate) fn open(dir: &Path) -> anyhow::Result<git::Objects> {
    git::Objects::open(dir).with_context(|| format!("cannot use the repository {}", dir.display()))
}

/// The commit that an argument names.
pub(crate) fn resolve(repository: &git::Objects, revision: &str) -> anyhow::Result<CommitId> {
    repository.resolve(revision).with_context(|| format!("{revision:?} names no commit of the repository"))
}

/// The commit that an argument names, with the tag object if it names one.
fn resolve_head(repository: &git::Objects, revision: &str) -> anyhow::Result<Head> {
    repository.head(revision).with_context(|| format!("{revision:?} names no commit of the repository"))
}

/// Reads the TrustRoot manifest that `--trust-root` names. The file may hold other documents too,
/// as what `writ trust root` prints does.
pub(crate) fn read_trust_root(file: &Path) -> anyhow::Result<TrustRootSpec> {
    read_named_trust_root(file).map(|(_name, spec)| spec)
}

/// The same with what it is called.
fn read_named_trust_root(file: &Path) -> anyhow::Result<(Option<String>, TrustRootSpec)> {
    let bytes = input::bytes(file, MAX_MANIFEST_BYTES)?;
    let name = input::name(file);
    let cannot_use = || format!("cannot use the trust root {}", file.display());
    let documents =
        manifest::parse_yaml(&name, &bytes).map_err(|finding| anyhow::anyhow!("{finding}")).with_context(cannot_use)?;
    let is_root = |root: &&Node| {
        root.to_json().get("kind").and_then(serde_json::Value::as_str).is_some_and(|kind| kind == "TrustRoot")
    };
    let roots: Vec<&Node> = documents.iter().map(|document| &document.root).filter(is_root).collect();
    let [root] = roots.as_slice() else {
        anyhow::bail!("{} holds {} TrustRoots, not one", file.display(), roots.len());
    };
    let spec = TrustRootSpec::from_manifest(&name, root)
        .map_err(|errors| {
            anyhow::anyhow!("{}", errors.iter().map(|error| placed(root, error)).collect::<Vec<_>>().join("; "))
        })
        .with_context(cannot_use)?;
    let called = root.to_json().pointer("/metadata/name").and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok((called, spec))
}

/// What is wrong with a field, with its line in the file.
fn placed(root: &Node, error: &TrustRootError) -> String {
    let field = match error {
        TrustRootError::Invalid { field, .. } => field,
        _ => return error.to_string(),
    };
    let path = FieldPath::of_fields(std::iter::once("spec").chain(field.split('.')));
    match root.locate(&path) {
        Some(position) => format!("line {}: {error}", position.line),
        None => error.to_string(),
    }
}

/// What verifies keyless signatures under a TrustRoot. No server is asked, whatever the TrustRoot says.
pub(crate) fn keyless(root: &TrustRootSpec) -> anyhow::Result<KeylessSignatures> {
    KeylessSignatures::of(root.keyless.as_ref()).context("cannot use spec.keyless.trustedRoot of the trust root")
}

/// Says by what keyless signatures are verified here, where the controller fetches that.
pub(crate) fn note_refresh(root: &TrustRootSpec, keyless: &KeylessSignatures, instead: &str) {
    if root.keyless.as_ref().is_none_or(|keyless| keyless.refresh.is_none()) {
        return;
    }
    let by =
        if keyless.has_trusted_root() { "the trust root that writ was built with" } else { "nothing, and refused" };
    eprintln!(
        "note: spec.keyless.refresh is for the controller: here keyless signatures are verified by {by}; {instead}"
    );
}

/// The same by the file that `--trusted-root` names, if it does.
fn keyless_by(file: Option<&Path>, root: &TrustRootSpec) -> anyhow::Result<KeylessSignatures> {
    match file {
        Some(file) => trusted_root::verifier(Some(file)),
        None => {
            let keyless = keyless(root)?;
            note_refresh(root, &keyless, "give what it fetched with --trusted-root FILE");
            Ok(keyless)
        }
    }
}
