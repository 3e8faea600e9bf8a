//! `writ trust revoke`: keys, commits and certificates that never count again.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args, ValueEnum};
use manifest::{Digest, Finding, shell_quote};
use trust::{
    CommitId, CommitObject, History as _, KeyFingerprint, MAX_REVOCATIONS_BYTES, NewRevocation, Revocations, Revoked,
    RevokedItem, TrustCode, TrustEditError, TrustFile,
};

use crate::{
    exit::{Outcome, UsageError},
    input, output,
    trust_tree::{Edit, EditArgs, WorkTree, concluded, repo_option},
    verify::resolve,
};

/// Arguments of `writ trust revoke`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["key", "payload", "commit", "from"]))]
pub(crate) struct TrustRevokeArgs {
    /// A key, by its fingerprint. Repeat for more.
    #[arg(long, value_name = "FINGERPRINT")]
    key: Vec<KeyFingerprint>,
    /// The signed bytes of a commit: `sha256:` and 64 hex digits. Repeat for more.
    #[arg(long, value_name = "DIGEST", value_parser = payload)]
    payload: Vec<Digest>,
    /// A commit, whose signed bytes are revoked, whatever object carries them. Repeat for more.
    #[arg(long, value_name = "REV")]
    commit: Vec<String>,
    /// All that a key revocation list (`ssh-keygen -k`) or a list of public keys revokes.
    #[arg(long, alias = "from-krl", value_name = "FILE")]
    from: Option<PathBuf>,
    /// Whether the key was never to be believed, or is good up to a commit.
    #[arg(long, value_enum, default_value_t = KindArg::Hard)]
    kind: KindArg,
    /// The last commit of the mainline up to which the key's signatures stay good; goes with --kind soft.
    #[arg(long, value_name = "REV")]
    after: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    common: EditArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindArg {
    /// Nothing that it signed is believed, also not what was accepted before.
    Hard,
    /// What it signed up to a commit stays good.
    Soft,
}

fn payload(text: &str) -> Result<Digest, String> {
    let digest = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    digest.ok_or_else(|| format!("{text:?} is not sha256: and 64 hex digits"))
}

/// Runs `writ trust revoke`.
pub(crate) fn run(args: &TrustRevokeArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, revoke(args))
}

fn revoke(args: &TrustRevokeArgs) -> anyhow::Result<Outcome> {
    let tree = WorkTree::open(&args.common)?;
    let edit = tree.edit()?;
    let file = edit.editor.opened().clone();
    edited(args, &tree, edit).map_err(|error| match error.downcast::<TrustEditError>() {
        Ok(TrustEditError::Refused(findings)) => {
            let mended = findings.into_iter().map(|finding| needs_another_first(finding, args, &file));
            TrustEditError::Refused(mended.collect()).into()
        }
        Ok(other) => other.into(),
        Err(other) => other,
    })
}

fn edited(args: &TrustRevokeArgs, tree: &WorkTree, mut edit: Edit) -> anyhow::Result<Outcome> {
    let after = after(args, tree)?;
    let mut what: Vec<Revoked> = args.key.iter().map(|key| Revoked::from(*key)).collect();
    what.extend(args.payload.iter().map(|payload| Revoked::Payload(*payload)));
    for revision in &args.commit {
        what.push(Revoked::Payload(payload_of(tree, revision)?));
    }
    for key in &args.key {
        if edit.editor.file().holder_of(key).is_none() {
            edit.notes.push(format!("key {key} is nobody's in the file; it is revoked all the same"));
        }
    }
    let new = |what: Revoked| NewRevocation { what, after, reason: args.reason.clone() };
    let new: Vec<NewRevocation> = what.into_iter().map(new).collect();
    edit.editor.revoke(&new)?;
    edit.done.extend(new.iter().map(|one| format!("revoked {}", one.what)));
    if let Some(file) = &args.from {
        revoke_all(&mut edit, &input::bytes(file, MAX_REVOCATIONS_BYTES + 1)?, args.reason.as_deref())
            .with_context(|| format!("cannot use {}", file.display()))?;
    }
    if edit.done.is_empty() {
        return tree.unchanged(&edit, args.common.output);
    }
    edit.notes.push("revocations are never taken back; commit it alone".to_owned());
    tree.finish(edit, args.common.output)
}

/// Where too few are left: who may sign besides comes first, and both edits are one version.
fn needs_another_first(finding: Finding, args: &TrustRevokeArgs, file: &TrustFile) -> Finding {
    let rule = file.rules.iter().find(|rule| finding.rule.as_ref() == Some(&rule.name));
    let Some(role) = rule.and_then(|rule| rule.any_of.first()).map(|item| shell_quote(&item.role)) else {
        return finding;
    };
    if finding.code != TrustCode::W506.entry() || args.key.is_empty() {
        return finding;
    }
    let repo = repo_option(&args.common.repo);
    let keys: String = args.key.iter().map(|key| format!(" --key {key}")).collect();
    let reason = args.reason.as_ref().map_or_else(String::new, |why| format!(" --reason {}", shell_quote(why)));
    let fix = format!(
        "writ trust add NAME --key PUBLIC_KEY --role {role}{repo} && writ trust revoke{keys}{reason}{repo} # in this order: both \
         are one version; NAME may be who had the key"
    );
    Finding { fix: fix.into(), ..finding }
}

/// All that a revocation file revokes and the trust file does not yet.
pub(crate) fn revoke_all(edit: &mut Edit, bytes: &[u8], reason: Option<&str>) -> anyhow::Result<()> {
    let imported = edit.editor.file().import_revocations(&Revocations::parse(bytes)?);
    let reason = reason.map(str::to_owned);
    let new = imported.revoked.into_iter().map(|what| NewRevocation { what, after: None, reason: reason.clone() });
    let new: Vec<NewRevocation> = new.collect();
    edit.editor.revoke(&new)?;
    edit.done.extend(new.iter().map(|one| format!("revoked {}", one.what)));
    edit.notes.extend(imported.without_words.iter().map(|item| output::printable(&left_out(item))));
    edit.notes.extend(imported.may_be_certified.iter().map(|item| {
        output::printable(&format!(
            "{item} is NOT revoked: an authority of this file may have certified it, and keys are named by SHA-256 here; \
             find the key and use --key, or revoke its certificate by its serial"
        ))
    }));
    Ok(())
}

/// Why an item of a revocation file is not taken.
fn left_out(item: &RevokedItem) -> String {
    match item {
        // What certificates are called says nothing without who issued them.
        RevokedItem::Serials { .. } | RevokedItem::KeyId { .. } => {
            format!(
                "{item} is NOT revoked: the file has no such authority yet; import it again after the authority is there"
            )
        }
        RevokedItem::Key(_) | RevokedItem::KeySha1(_) => {
            format!("{item} is left out: nothing of it could sign under this file")
        }
    }
}

/// The commit that soft revocations name, which must be behind the one that brings them.
fn after(args: &TrustRevokeArgs, tree: &WorkTree) -> anyhow::Result<Option<CommitId>> {
    let usage = |message: &str| Err(UsageError(message.to_owned()).into());
    match (args.kind, &args.after) {
        (KindArg::Hard, None) => Ok(None),
        (KindArg::Hard, Some(_)) => usage("--after goes with --kind soft"),
        (KindArg::Soft, None) => usage("--kind soft needs --after, the last commit that stays good"),
        (KindArg::Soft, Some(_)) if args.key.is_empty() || args.from.is_some() => {
            usage("--kind soft is for keys that --key names")
        }
        (KindArg::Soft, Some(_)) if !(args.payload.is_empty() && args.commit.is_empty()) => {
            usage("--kind soft is for keys; revoke payloads and commits apart from them")
        }
        (KindArg::Soft, Some(revision)) => {
            let after = resolve(&tree.repository, revision)?;
            let head = tree.head.context("no commit is checked out")?;
            if !tree.repository.is_ancestor(&after, &head)? {
                return usage(&format!("--after: {after} is not in the history of HEAD"));
            }
            Ok(Some(after))
        }
    }
}

fn payload_of(tree: &WorkTree, revision: &str) -> anyhow::Result<Digest> {
    let commit = resolve(&tree.repository, revision)?;
    let raw = tree.repository.commit(&commit)?.with_context(|| format!("commit {commit} is not in the repository"))?;
    let object = CommitObject::parse(commit, &raw);
    let object = object.map_err(|finding| anyhow::anyhow!("{commit} is no commit that is read: {finding}"))?;
    Ok(object.payload_sha256)
}
