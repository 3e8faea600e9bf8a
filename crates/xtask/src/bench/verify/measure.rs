//! The passes that are timed, one thread each.

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use testkit::measured::trust::{
    AllowedSigners, CommitId, History as _, Judgement, KnownSigners, SignatureCache, Start, TrustRootSpec, judge,
    judge_with, verify_signature_only,
};
use testkit::measured::{git::Objects, trust, trust::openpgp::Keyring};
use testkit::run;

use super::super::report::children_microseconds;
use super::history::{Commit, History, parsed};

/// The least CPU time of each pass, per commit, in microseconds: what others do on the machine counts for neither side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// `git verify-commit`, one process for all.
    pub(super) git: f64,
    /// The maths library alone, digests included.
    pub(super) raw: f64,
    /// Object read, strict parse, signature.
    pub(super) signatures: f64,
    /// The judgement of the whole range.
    pub(super) judge: f64,
}

/// A pass and how long it took.
#[derive(Debug, Clone, Copy)]
enum Pass {
    Git,
    Raw,
    Signatures,
    Judge,
}

impl Times {
    /// Goes so often forwards and backwards through all passes.
    pub(super) fn measure(history: &History, sample: usize, rounds: u32) -> Result<Self> {
        const FORWARDS: [Pass; 4] = [Pass::Git, Pass::Raw, Pass::Signatures, Pass::Judge];
        let allowed = std::fs::read_to_string(&history.allowed_signers).context("cannot read the allowed signers")?;
        let certificates = history.certificate.as_ref().map(|text| Keyring::parse(text.as_bytes())).transpose()?;
        let known =
            KnownSigners { allowed_signers: Some(AllowedSigners::parse(&allowed)?), certificates, keyless: None };
        let objects = Objects::open(&history.directory)?;
        let sample = evenly(&history.signed, sample);
        let mut shortest = Self { git: f64::MAX, raw: f64::MAX, signatures: f64::MAX, judge: f64::MAX };
        for _ in 0..rounds {
            for pass in FORWARDS.into_iter().chain(FORWARDS.into_iter().rev()) {
                let started = cpu_microseconds()?;
                let (slot, commits) = match pass {
                    Pass::Git => {
                        by_git(history, &sample)?;
                        (&mut shortest.git, sample.len())
                    }
                    Pass::Raw => {
                        raw(history)?;
                        (&mut shortest.raw, history.signed.len())
                    }
                    Pass::Signatures => {
                        signatures(history, &objects, &known)?;
                        (&mut shortest.signatures, history.signed.len())
                    }
                    Pass::Judge => {
                        accepted(&by_judge(&objects, &history.root, &head(history)?))?;
                        (&mut shortest.judge, history.signed.len())
                    }
                };
                *slot = slot.min((cpu_microseconds()? - started) / commits as f64);
            }
        }
        Ok(shortest)
    }
}

/// CPU time of this thread, and of the processes that this one started and that have ended with all their own.
fn cpu_microseconds() -> Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let own: f64 = text.split_whitespace().next().and_then(|word| word.parse().ok()).context("no time in schedstat")?;
    Ok(own / 1e3 + children_microseconds()?)
}

/// So many of them, from the first to the last.
fn evenly(commits: &[Commit], sample: usize) -> Vec<&Commit> {
    let step = commits.len().div_ceil(sample).max(1);
    commits.iter().step_by(step).collect()
}

pub(super) fn head(history: &History) -> Result<CommitId> {
    Ok(history.signed.last().context("a history without signed commits")?.id)
}

fn by_git(history: &History, commits: &[&Commit]) -> Result<()> {
    let mut git = history.git();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", history.allowed_signers.display());
    git.args(["-c", &allowed, "verify-commit"]).args(commits.iter().map(|commit| commit.id.to_string()));
    run(&mut git).map(drop)
}

fn raw(history: &History) -> Result<()> {
    let key = history.signer.verifier()?;
    for commit in &history.signed {
        let bytes = history.signer.verified_bytes(trust::NAMESPACE_GIT, &commit.payload)?;
        key.verify_sig(&bytes, &commit.signature).map_err(|_| anyhow!("the library refuses its own signature"))?;
    }
    Ok(())
}

fn signatures(history: &History, objects: &Objects, known: &KnownSigners) -> Result<()> {
    for Commit { id, .. } in &history.signed {
        let object = parsed(*id, objects.commit(id)?)?;
        black_box(verify_signature_only(&object, known).map_err(|finding| anyhow!("{finding}"))?);
    }
    Ok(())
}

fn by_judge(objects: &Objects, root: &TrustRootSpec, head: &CommitId) -> Judgement {
    judge(objects, root, &Start::Introduction, head, Timestamp::now())
}

/// A second judgement of the whole range with what the first one left: microseconds per commit, and how many signatures it
/// verified.
pub(super) fn warm(history: &History) -> Result<(f64, u64)> {
    let objects = Objects::open(&history.directory)?;
    let (head, known) = (head(history)?, SignatureCache::default());
    let judge =
        || accepted(&judge_with(&objects, &history.root, &Start::Introduction, &head, Timestamp::now(), Some(&known)));
    judge()?;
    let (verified, started) = (known.verified(), cpu_microseconds()?);
    judge()?;
    Ok(((cpu_microseconds()? - started) / history.signed.len() as f64, known.verified() - verified))
}

/// Fails with the refusal if there is one.
fn accepted(judgement: &Judgement) -> Result<()> {
    if let Some(refusal) = judgement.refusal() {
        return Err(anyhow!("{refusal}"));
    }
    judgement.accepted().map(drop).context("nothing is accepted")
}

/// One new commit on top of an accepted one, judged by a process that has just started: the repository is opened,
/// the head is judged.
pub(super) struct Resumption<'h> {
    history: &'h History,
    start: Start,
    pub(super) shortest: Duration,
}

impl<'h> Resumption<'h> {
    /// Takes the last signed commit for the new one, and the one before it for what is accepted.
    pub(super) fn new(history: &'h History) -> Result<Self> {
        let [first, second, _] = history.signed.as_slice() else { return Err(anyhow!("three signed commits needed")) };
        let objects = Objects::open(&history.directory)?;
        let start = Start::Accepted(first.id);
        let judgement = judge(&objects, &history.root, &start, &second.id, Timestamp::now());
        let accepted = judgement.accepted().cloned().with_context(|| format!("{:?}", judgement.refusal()))?;
        Ok(Self { history, start: Start::Resumed(accepted), shortest: Duration::MAX })
    }

    /// Judges once.
    pub(super) fn run(&mut self) -> Result<()> {
        let started = Instant::now();
        let objects = Objects::open(&self.history.directory)?;
        let head = head(self.history)?;
        let judgement = judge(&objects, &self.history.root, &self.start, &head, Timestamp::now());
        self.shortest = self.shortest.min(started.elapsed());
        ensure!(judgement.steps.len() == 1, "{} steps instead of one", judgement.steps.len());
        accepted(&judgement)
    }
}

/// What the process does whose memory is looked at.
#[derive(Serialize, Deserialize)]
struct Job {
    directory: std::path::PathBuf,
    root: TrustRootSpec,
    head: CommitId,
}

/// The most memory, in MiB, that a process had which judges the whole range and does nothing else.
pub(super) fn peak_mebibytes(history: &History) -> Result<f64> {
    let job = Job { directory: history.directory.clone(), root: history.root.clone(), head: head(history)? };
    let file = history.directory.join("job");
    std::fs::write(&file, serde_json::to_vec(&job)?).context("cannot write the job")?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let output = run(Command::new(program).arg("bench-judge").arg(&file).stdin(Stdio::null()))?;
    let kibibytes: f64 = String::from_utf8_lossy(&output).trim().parse().context("not a number of KiB")?;
    Ok(kibibytes / 1024.0)
}

/// `xtask bench-judge FILE`: judges, and prints the most KiB that this process ever had.
pub(crate) fn run_job(file: &Path) -> Result<()> {
    let job = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Job { directory, root, head } = serde_json::from_slice(&job).context("cannot read the job")?;
    accepted(&by_judge(&Objects::open(&directory)?, &root, &head))?;
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
    println!("{}", peak.context("/proc/self/status does not say VmHWM")?);
    Ok(())
}
