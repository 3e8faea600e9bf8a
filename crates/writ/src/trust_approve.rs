//! `writ trust approve`: a principal stands for a commit that somebody else made. The approval is signed by `ssh-keygen` or
//! `gpg`, or by `cosign` before, and put into the commit's note under `refs/notes/writ-approvals`, from where it is pushed.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use git::{APPROVAL_NOTES, Objects};
use jiff::Timestamp;
use manifest::Digest;
use trust::{Approval, CommitId, CommitObject, Decision, History as _, MAX_SKIPPED, NAMESPACE_APPROVAL};

use crate::{
    exit::{Outcome, UsageError},
    output,
    signing::{SigningKey, trust_file},
    statement::{Signed, sign, signed_elsewhere},
    trust_tree::repo_option,
    trusted_root::TrustedRoot,
    verify::{open, resolve},
};

/// How long an approval counts unless something else is said: over a weekend and back.
const EXPIRES_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Arguments of `writ trust approve`.
#[derive(Debug, Args)]
pub(crate) struct TrustApproveArgs {
    /// The commit.
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub(crate) revision: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    #[command(flatten)]
    pub(crate) signing: SigningKey,
    #[command(flatten)]
    pub(crate) trusted_root: TrustedRoot,
    /// Until when it counts (RFC 3339); default: for a week.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// Vouch for the whole tree, although steps that are revoked by now had a part in it (W304).
    #[arg(long)]
    pub(crate) vouch: bool,
    /// Vouch by the trust file of this revision, the one that is verified now, for an older REV that a Sync is taken back to.
    #[arg(long, value_name = "REV", requires = "vouch")]
    pub(crate) trust: Option<String>,
    /// Leave out the refused commits between this one, the last good, and REV, which mends them: root principals alone.
    #[arg(long, value_name = "REV", conflicts_with = "vouch")]
    pub(crate) skip_from: Option<String>,
    /// Print the approval instead of keeping it as a note.
    #[arg(long)]
    pub(crate) print: bool,
}

/// Runs `writ trust approve`.
pub(crate) fn run(args: &TrustApproveArgs) -> anyhow::Result<Outcome> {
    let repository = open(&args.repo)?;
    let commit = resolve(&repository, &args.revision)?;
    let raw = repository.commit(&commit)?.with_context(|| format!("commit {commit} is not in the repository"))?;
    let object = match CommitObject::parse(commit, &raw) {
        Ok(object) => object,
        Err(finding) => {
            eprint!("{}", output::refusal(&finding));
            return Ok(Outcome::Finding);
        }
    };
    let Some(parent) = object.parents.first().copied() else {
        return Err(
            UsageError(format!("{commit} has no predecessor: what trust starts from is pinned, not approved")).into()
        );
    };
    let (from, skipped) = match &args.skip_from {
        None => (parent, Vec::new()),
        Some(good) => {
            let good = resolve(&repository, good)?;
            (good, left_out(&repository, &good, parent)?)
        }
    };
    // A change is judged by the trust file before it, a tree by its own or by a later one.
    let judge = match &args.trust {
        Some(revision) => resolve(&repository, revision)?,
        None if args.vouch => commit,
        None => from,
    };
    let file = trust_file(&repository, &judge)?;
    let approval = Approval {
        repo_id: file.repo_id.clone(),
        git_ref: file.git_ref.clone(),
        from,
        to_tree: object.tree,
        policy_version: file.version,
        expires: expires(args)?,
        decision: match (args.vouch, skipped.is_empty()) {
            (true, _) => Decision::Vouch,
            (false, true) => Decision::Approve,
            (false, false) => Decision::Skip,
        },
        skipped,
    };
    let (approval, payload) = stated(args, approval)?;
    if args.signing.prints_payload() {
        output::bytes(&payload)?;
        return Ok(Outcome::Fine);
    }
    let purpose = ("approval", NAMESPACE_APPROVAL);
    let Signed { principal, envelope: line } = sign(&file, &args.signing, purpose, &payload, &args.trusted_root)?;
    if args.print {
        output::text(&format!("{line}\n"))?;
    } else {
        append(&args.repo, &commit, &line)?;
        is_read(args, &commit, &object, &line)?;
        let what = match approval.decision {
            Decision::Approve => "approved",
            Decision::Vouch => "vouched for the tree of",
            Decision::Skip => "had the commits left out before",
        };
        eprintln!("{what} {commit} as {principal} until {}; the cluster sees it once it is pushed:", approval.expires);
        output::text(&format!("git push origin {APPROVAL_NOTES}\n"))?;
    }
    Ok(Outcome::Fine)
}

/// What is signed. Of what was signed elsewhere only the end may be another than what the arguments say.
fn stated(args: &TrustApproveArgs, approval: Approval) -> anyhow::Result<(Approval, Vec<u8>)> {
    let Some(payload) = signed_elsewhere(&args.signing)? else {
        let payload = approval.payload();
        return Ok((approval, payload));
    };
    let said = Approval::of_statement(&payload)?;
    if said != (Approval { expires: said.expires, ..approval }) {
        let message = "the bundle is about something else: give the arguments that --print-payload was given";
        return Err(UsageError(message.to_owned()).into());
    }
    if said.expires <= Timestamp::now() {
        let message = format!("the bundle holds an approval that ended {}: have it made and signed anew", said.expires);
        return Err(UsageError(message).into());
    }
    Ok((said, payload))
}

/// The payloads of the commits after `good` up to `last`, oldest first, along first parents.
fn left_out(repository: &Objects, good: &CommitId, last: CommitId) -> anyhow::Result<Vec<Digest>> {
    let (mut payloads, mut at) = (Vec::new(), last);
    while at != *good {
        if payloads.len() == MAX_SKIPPED {
            return Err(UsageError(format!("more than {MAX_SKIPPED} commits between {good} and {last}")).into());
        }
        let raw = repository.commit(&at)?.with_context(|| format!("commit {at} is not in the repository"))?;
        let object = CommitObject::parse(at, &raw);
        payloads.push(object.as_ref().map_or_else(|_| Digest::of(&raw), |object| object.payload_sha256));
        let parent = object.ok().and_then(|object| object.parents.first().copied());
        at = parent.with_context(|| format!("{good} is not before {last} along first parents that can be read"))?;
    }
    if payloads.is_empty() {
        return Err(UsageError("--skip-from: no commit is between".to_owned()).into());
    }
    payloads.reverse();
    Ok(payloads)
}

fn expires(args: &TrustApproveArgs) -> anyhow::Result<Timestamp> {
    match &args.expires {
        None => {
            let end = Timestamp::now().checked_add(EXPIRES_AFTER).context("the clock of this machine is at its end")?;
            // Whole seconds are enough, and read better.
            Ok(Timestamp::from_second(end.as_second())?)
        }
        Some(text) => {
            text.parse().map_err(|error| UsageError(format!("--expires {text:?} is no RFC 3339 time: {error}")).into())
        }
    }
}

/// Whether the cluster will read the line that was put beside the commit: a note that others made too large is not read.
fn is_read(args: &TrustApproveArgs, commit: &CommitId, object: &CommitObject, line: &str) -> anyhow::Result<()> {
    let why = match open(&args.repo)?.attestations(commit, &object.tree) {
        Ok(lines) if lines.iter().any(|read| read == line.as_bytes()) => return Ok(()),
        Ok(_others) => format!("the note about {commit} cannot be read"),
        Err(error) => error.to_string(),
    };
    let repo = repo_option(&args.repo).replacen(" --repo", " -C", 1);
    bail!(
        "the approval is in the note about {commit}, and does not count there: {why}. Look at it, then take it away and have those \
         who approved approve again: git{repo} notes --ref writ-approvals show {commit} && git{repo} notes --ref \
         writ-approvals remove {commit}"
    )
}

/// Appends a line to the commit's note.
fn append(repo: &Path, commit: &CommitId, line: &str) -> anyhow::Result<()> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(["notes", "--ref", APPROVAL_NOTES, "append", "-F", "-", &commit.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run git, which keeps the note")?;
    child.stdin.take().context("git takes no input")?.write_all(line.as_bytes()).context("cannot write to git")?;
    let status = child.wait().context("cannot wait for git")?;
    if status.success() { Ok(()) } else { bail!("git did not take the note about {commit}") }
}
