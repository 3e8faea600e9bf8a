//! `writ verify`: the judgement of the controller, offline, on any clone.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use jiff::Timestamp;
use manifest::{Finding, Node, RepoPath, counted};
use serde::Serialize;
use trust::{CommitId, Judgement, Start, StepVerdict, TrustRootSpec};

use crate::{
    cli::VerifyArgs,
    exit::{Outcome, UsageError},
    input::{self, MAX_MANIFEST_BYTES},
    output::{self, Format, Paint, printable},
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/verification/v1alpha1";

/// Characters of a commit id that people are shown.
const SHORT_ID: usize = 12;

/// What `writ verify -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verification {
    schema: &'static str,
    verdict: Verdict,
    /// The commit judged from; null with `--signatures-only`, and when that commit itself is refused.
    from: Option<CommitId>,
    /// The head; null with `--signatures-only`.
    to: Option<CommitId>,
    /// Whether the TrustRoot itself pins `from` (the introduction); a commit from `--from` is taken on the caller's word.
    from_trusted: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accepted,
    Refused,
}

/// One judged commit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    commit: CommitId,
    /// SHA-256 of the signed bytes; of the whole body if it is unsigned or cannot be parsed.
    payload_sha256: String,
    verdict: Verdict,
    code: Option<&'static str>,
    reason: Option<&'static str>,
    message: Option<String>,
    fix: Option<String>,
    signer: Option<Signer>,
}

#[derive(Debug, Serialize)]
struct Signer {
    principal: String,
    format: trust::SignatureFormat,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
}

/// Runs `writ verify` with a TrustRoot.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let file = args.trust_root.as_ref().context("--trust-root FILE is required")?;
    let revision = match args.revisions.as_slice() {
        [] => "HEAD",
        [revision] => revision.as_str(),
        _ => {
            let message = "one head is judged at a time: give one REV (several are for --signatures-only)";
            return Err(UsageError(message.to_owned()).into());
        }
    };
    let root = read_trust_root(file)?;
    let repository = open(&args.repo)?;
    let head = resolve(&repository, revision)?;
    let start = match &args.from {
        None => Start::Introduction,
        Some(revision) => Start::Accepted(resolve(&repository, revision)?),
    };
    let judgement = trust::judge(&repository, &root, &start, &head, Timestamp::now());
    if let Some(reason) = judgement.unreadable() {
        anyhow::bail!("no verdict on {head}: {reason}; git fsck --full names what is broken");
    }
    Verification::of(&judgement, &start).print(args.output)
}

/// Opens the repository that `--repo` names.
pub(crate) fn open(dir: &Path) -> anyhow::Result<git::Objects> {
    git::Objects::open(dir).with_context(|| format!("cannot use the repository {}", dir.display()))
}

/// The commit that an argument names.
pub(crate) fn resolve(repository: &git::Objects, revision: &str) -> anyhow::Result<CommitId> {
    repository.resolve(revision).with_context(|| format!("{revision:?} names no commit of the repository"))
}

/// Reads the TrustRoot manifest that `--trust-root` names. The file may hold other documents too,
/// as what `writ trust root` prints does.
pub(crate) fn read_trust_root(file: &Path) -> anyhow::Result<TrustRootSpec> {
    let bytes = input::bytes(file, MAX_MANIFEST_BYTES)?;
    let name: RepoPath = "trust-root.yaml".parse()?;
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
    TrustRootSpec::from_manifest(&name, root)
        .map_err(|errors| anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
        .with_context(cannot_use)
}

impl Verification {
    pub(crate) fn of(judgement: &Judgement, start: &Start) -> Self {
        Self {
            schema: SCHEMA,
            verdict: Verdict::of(judgement.refusal().is_none()),
            from: judgement.from,
            to: Some(judgement.to),
            from_trusted: *start == Start::Introduction && judgement.from.is_some(),
            steps: judgement.steps.iter().map(Step::of).collect(),
        }
    }

    /// A verdict on signatures alone: one step per commit, whatever is refused.
    pub(crate) fn of_signatures(steps: &[StepVerdict]) -> Self {
        Self {
            schema: SCHEMA,
            verdict: Verdict::of(steps.iter().all(|step| step.verdict.is_ok())),
            from: None,
            to: None,
            from_trusted: false,
            steps: steps.iter().map(Step::of).collect(),
        }
    }

    /// Prints it; a refusal is a finding.
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<Outcome> {
        match format {
            Format::Human => output::text(&self.human()?)?,
            Format::Json | Format::Yaml => output::document(format, self)?,
        }
        Ok(match self.verdict {
            Verdict::Accepted => Outcome::Fine,
            Verdict::Refused => Outcome::Finding,
        })
    }

    /// What whoever pushes is told: the verdict, and what was refused.
    pub(crate) fn for_a_push(&self, git_ref: &str) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.verdict == Verdict::Refused) {
            step.human(&mut text)?;
        }
        let commits = counted(self.steps.len() as u64, "commit");
        writeln!(text, "{}: {commits} judged for {}", self.verdict.painted(), printable(git_ref))?;
        Ok(text)
    }

    fn human(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for step in &self.steps {
            step.human(&mut text)?;
        }
        let commits = counted(self.steps.len() as u64, "commit");
        write!(text, "{}: {commits} judged", self.verdict.painted())?;
        match (self.from, self.from_trusted) {
            (Some(from), true) => writeln!(text, " after {from}, the introduction of the trust root")?,
            (Some(from), false) => writeln!(text, " after {from}, taken as accepted")?,
            (None, _) => writeln!(text)?,
        }
        Ok(text)
    }
}

impl Verdict {
    const fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }

    fn painted(self) -> String {
        match self {
            Self::Accepted => output::paint("accepted", Paint::Good),
            Self::Refused => output::paint("refused", Paint::Bad),
        }
    }
}

impl Step {
    fn of(step: &StepVerdict) -> Self {
        let finding: Option<&Finding> = step.verdict.as_ref().err();
        Self {
            commit: step.commit,
            payload_sha256: step.payload_sha256.to_string(),
            verdict: Verdict::of(finding.is_none()),
            code: finding.map(|finding| finding.code.code),
            reason: finding.map(|finding| finding.code.reason),
            message: finding.map(Finding::message),
            fix: finding.map(|finding| finding.fix.clone()),
            signer: step.signer.as_ref().map(|signer| Signer {
                principal: signer.principal.clone(),
                format: signer.format,
                key: signer.key.to_string(),
                ca: signer.ca.as_ref().map(ToString::to_string),
            }),
        }
    }

    fn human(&self, text: &mut String) -> std::fmt::Result {
        let id: String = self.commit.to_string().chars().take(SHORT_ID).collect();
        // What is said about history is said before any signature is looked at.
        let unlooked = self.code.is_some_and(|code| code.starts_with("W4"));
        let signer = match &self.signer {
            Some(Signer { principal, key, ca: Some(ca), .. }) => {
                format!("signed by {} with {key}, certified by {ca}", printable(principal))
            }
            Some(signer) => format!("signed by {} with {}", printable(&signer.principal), signer.key),
            None if unlooked => "signature not looked at".to_owned(),
            None => "no valid signature".to_owned(),
        };
        let (Some(code), Some(reason)) = (self.code, self.reason) else {
            return writeln!(text, "{} {id}  {signer}", output::paint("accepted", Paint::Good));
        };
        writeln!(text, "{} {id}  {code} {reason}, {signer}", output::paint("refused ", Paint::Bad))?;
        writeln!(text, "  {}", printable(self.message.as_deref().unwrap_or_default()))?;
        match self.fix.as_deref().filter(|fix| !fix.is_empty()) {
            Some(fix) => writeln!(text, "  fix: {}", printable(fix)),
            None => Ok(()),
        }
    }
}
