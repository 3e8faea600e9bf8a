//! `writ trust heartbeat`: a principal says which head the branch has now. For a timer: who hides new commits from the
//! cluster cannot say it. The statement is put under `refs/writ/heartbeat`, from where it is pushed.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use clap::Args;
use git::{HEARTBEAT_FILE, HEARTBEAT_REF};
use jiff::Timestamp;
use trust::{Heartbeat, NAMESPACE_HEARTBEAT, PrincipalKind};

use crate::{
    exit::Outcome,
    output,
    signing::{SigningKey, trust_file},
    statement::{sign, signed_elsewhere},
    trusted_root::TrustedRoot,
    verify::{open, resolve},
};

/// Who commits, for machines whose Git knows no name: nothing is made of it.
const COMMITTER: [&str; 4] = ["-c", "user.name=writ", "-c", "user.email=heartbeat@writ.dev"];

/// Arguments of `writ trust heartbeat`.
#[derive(Debug, Args)]
pub(crate) struct TrustHeartbeatArgs {
    /// The head of the branch, as the server has it: fetch before.
    #[arg(value_name = "REV", default_value = "HEAD")]
    pub(crate) revision: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    #[command(flatten)]
    pub(crate) signing: SigningKey,
    #[command(flatten)]
    pub(crate) trusted_root: TrustedRoot,
    /// Print the heartbeat instead of keeping it under `refs/writ/heartbeat`.
    #[arg(long)]
    pub(crate) print: bool,
}

/// Runs `writ trust heartbeat`.
pub(crate) fn run(args: &TrustHeartbeatArgs) -> anyhow::Result<Outcome> {
    let repository = open(&args.repo)?;
    let head = resolve(&repository, &args.revision)?;
    let file = trust_file(&repository, &head)?;
    // Whole seconds are enough, and read better.
    let time = Timestamp::from_second(Timestamp::now().as_second())?;
    let (repo_id, git_ref) = (file.repo_id.clone(), file.git_ref.clone());
    let heartbeat = Heartbeat { repo_id, git_ref, head, time };
    let (time, payload) = match signed_elsewhere(&args.signing)? {
        None => (time, heartbeat.payload()),
        Some(payload) => {
            let said = Heartbeat::of_statement(&payload)?;
            if said != (Heartbeat { time: said.time, ..heartbeat }) {
                bail!("the bundle is about {} of {} at {}, not about {head}", said.git_ref, said.repo_id, said.head);
            }
            (said.time, payload)
        }
    };
    if args.signing.prints_payload() {
        output::bytes(&payload)?;
        return Ok(Outcome::Fine);
    }
    let purpose = ("heartbeat", NAMESPACE_HEARTBEAT);
    let signed = sign(&file, &args.signing, purpose, &payload, &args.trusted_root)?;
    if file.principals.get(&signed.principal).is_none_or(|principal| principal.kind == PrincipalKind::Forge) {
        bail!("{} is a forge, whose word counts for nothing", signed.principal);
    }
    if args.print {
        output::text(&format!("{}\n", signed.envelope))?;
        return Ok(Outcome::Fine);
    }
    keep(&args.repo, &signed.envelope)?;
    eprintln!(
        "{} has {head} at {time}, says {}; the cluster hears it once it is pushed:",
        file.git_ref, signed.principal
    );
    output::text(&format!("git push --force origin {HEARTBEAT_REF}\n"))?;
    Ok(Outcome::Fine)
}

/// Makes a commit of its own of it, which takes the place of the last one: no history, which nobody would read.
fn keep(repo: &Path, envelope: &str) -> anyhow::Result<()> {
    let blob = git(repo, &["hash-object", "-w", "--stdin"], &format!("{envelope}\n"))?;
    let tree = git(repo, &["mktree"], &format!("100644 blob {blob}\t{HEARTBEAT_FILE}\n"))?;
    let commit =
        git(repo, &[&COMMITTER[..], &["commit-tree", "--no-gpg-sign", "-m", "heartbeat", &tree]].concat(), "")?;
    git(repo, &["update-ref", HEARTBEAT_REF, &commit], "")?;
    Ok(())
}

fn git(repo: &Path, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run git, which keeps the heartbeat")?;
    child.stdin.take().context("git takes no input")?.write_all(input.as_bytes()).context("cannot write to git")?;
    let output = child.wait_with_output().context("cannot wait for git")?;
    if !output.status.success() {
        bail!("git did not keep the heartbeat in {}", repo.display());
    }
    Ok(String::from_utf8(output.stdout).context("git wrote no text")?.trim().to_owned())
}
