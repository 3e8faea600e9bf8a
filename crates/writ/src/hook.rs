//! `writ hook`: the judgement of the controller where a push arrives, or before it leaves. What is not accepted is not let
//! through; refs that no cluster obeys are left alone.
//!
//! Nothing is remembered from push to push: that a head was let in before this hook was there proves nothing, so what is
//! accepted is judged from the introduction each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use git::{APPROVAL_NOTES, APPROVAL_TREE, Objects};
use jiff::Timestamp;
use manifest::{Finding, Subject, shell_quote};
use trust::{CommitId, Head, History as _, Judgement, Start, TrustCode, TrustRootSpec, Verifiers};

use crate::{
    exit::Outcome,
    hook_install,
    hook_push::{self, Update},
    output,
    report::Verification,
    verify::{keyless, read_trust_root},
};

/// The setting of a repository that names the file of its TrustRoot.
pub(crate) const TRUST_ROOT_SETTING: &str = "writ.trustRoot";

#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// Write a hook that judges every push into a repository before its refs move.
    Install(HookInstallArgs),
    /// Judge a push as Git's hook `pre-receive` does: lines `OLD NEW REF` on stdin.
    ///
    /// It runs where the repository lies and sees what is still in quarantine. Judged are the ref that the TrustRoot names
    /// and what takes approvals away; other refs are left alone. Every status but 0 refuses the push.
    PreReceive(HookArgs),
    /// Judge one ref of a push as Git's hook `update` does. Approvals must have been pushed before.
    Update(HookUpdateArgs),
    /// Judge a push before it leaves, as Git's hook `pre-push` does: lines `LOCAL_REF LOCAL REMOTE_REF REMOTE` on stdin.
    PrePush(HookPrePushArgs),
}

/// What the hooks have in common.
#[derive(Debug, Args)]
pub(crate) struct HookArgs {
    /// The repository; Git names it in the environment.
    #[arg(long, value_name = "DIR", env = "GIT_DIR", hide_env_values = true, default_value = ".")]
    repo: PathBuf,
    /// The TrustRoot manifest; default: what the setting `writ.trustRoot` of the repository names.
    #[arg(long, value_name = "FILE")]
    trust_root: Option<PathBuf>,
}

/// Arguments of `writ hook update`.
#[derive(Debug, Args)]
pub(crate) struct HookUpdateArgs {
    /// The ref.
    #[arg(value_name = "REF")]
    name: String,
    /// Where it is.
    #[arg(value_name = "OLD")]
    old: String,
    /// Where it would be.
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    hook: HookArgs,
}

/// Arguments of `writ hook pre-push`.
#[derive(Debug, Args)]
pub(crate) struct HookPrePushArgs {
    /// Name of the remote.
    #[arg(value_name = "REMOTE")]
    _remote: Option<String>,
    /// URL of the remote.
    #[arg(value_name = "URL")]
    _url: Option<String>,
    #[command(flatten)]
    hook: HookArgs,
}

/// Arguments of `writ hook install`.
#[derive(Debug, Args)]
pub(crate) struct HookInstallArgs {
    /// The repository that gets the hook.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// The TrustRoot manifest; its path is kept in the settings of the repository.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_root: PathBuf,
    /// Write a `pre-push` hook, for a clone, instead of `pre-receive`.
    #[arg(long)]
    pub(crate) client: bool,
}

/// Runs one of the commands.
pub(crate) fn run(command: &HookCommand) -> anyhow::Result<Outcome> {
    match command {
        HookCommand::Install(args) => hook_install::run(args),
        HookCommand::PreReceive(args) => judge(args, Side::Server, &hook_push::received()?),
        HookCommand::Update(args) => judge(&args.hook, Side::Server, &[Update::new(&args.old, &args.new, &args.name)?]),
        HookCommand::PrePush(args) => judge(&args.hook, Side::Client, &hook_push::to_be_sent()?),
    }
}

/// Where the hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// In the repository that is pushed into.
    Server,
    /// In the one that is pushed from, where refs of the same name are others.
    Client,
}

/// A push as far as it matters.
struct Push {
    /// The ref that the TrustRoot names, by the name that is written.
    tracked: String,
    /// From where to where it would be moved.
    heads: Vec<(Option<CommitId>, Option<CommitId>)>,
    /// Where the refs of approvals would be.
    approvals: BTreeMap<String, Option<CommitId>>,
}

impl Push {
    fn of(side: Side, history: &Objects, root: &TrustRootSpec, updates: &[Update]) -> anyhow::Result<Self> {
        // A symbolic ref writes the one behind it, under whose name nobody pushed.
        let written = |name: &str| match side {
            Side::Server => history.ref_behind(name).with_context(|| format!("cannot tell what {name:?} is")),
            Side::Client => Ok(name.to_owned()),
        };
        let about_approvals = BTreeSet::from([written(APPROVAL_NOTES)?, written(APPROVAL_TREE)?]);
        let mut push = Self { tracked: written(&root.r#ref)?, heads: Vec::new(), approvals: BTreeMap::new() };
        for update in updates {
            let name = written(&update.name)?;
            if name == push.tracked {
                push.heads.push((update.old, update.new));
            } else if about_approvals.contains(&name) {
                push.approvals.insert(name, update.new);
            }
        }
        Ok(push)
    }
}

fn judge(args: &HookArgs, side: Side, updates: &[Update]) -> anyhow::Result<Outcome> {
    let folders = hook_push::object_folders()?;
    let open = || {
        Objects::open_with(&args.repo, &folders)
            .with_context(|| format!("cannot use the repository {}", args.repo.display()))
    };
    let before = open()?;
    let root = trust_root(args, &before)?;
    let push = Push::of(side, &before, &root, updates)?;
    let after = open()?.with_tips(push.approvals.clone());
    let mut outcome = Outcome::Fine;
    for (old, new) in &push.heads {
        let accepted = match new {
            Some(new) => lets_in(&after, &root, *old, new)?,
            None => removed(&root, *old),
        };
        if !accepted {
            outcome = Outcome::Finding;
        }
    }
    if push.heads.is_empty() && !push.approvals.is_empty() && side == Side::Server {
        outcome = still_approved(&before, &after, &root, &push.tracked)?;
    }
    Ok(outcome)
}

/// The trust root that an argument or the repository names.
fn trust_root(args: &HookArgs, history: &Objects) -> anyhow::Result<TrustRootSpec> {
    if let Some(file) = &args.trust_root {
        return read_trust_root(file);
    }
    let file = history
        .setting(TRUST_ROOT_SETTING)
        .context("cannot read the settings of the repository")?
        .with_context(|| {
            format!("no trust root: give --trust-root FILE, or git config {TRUST_ROOT_SETTING} FILE in the repository")
        })?;
    read_trust_root(&history.folder().join(Path::new(&file)))
}

/// Judges where the tracked ref would be.
fn lets_in(history: &Objects, root: &TrustRootSpec, old: Option<CommitId>, new: &CommitId) -> anyhow::Result<bool> {
    let now = Timestamp::now();
    let new = led_to(history, root, new)?;
    let start = match old.map(|old| led_to(history, root, &old)).transpose()? {
        None => Start::Introduction,
        // What is not here is in no history that is here, and judged to be so.
        Some(old) if history.commit(&old.commit)?.is_none() => Start::Above(old.commit),
        // Up to where the old head is accepted, the new one must follow it.
        Some(old) => judged(history, root, &Start::Introduction, old, now)?
            .accepted()
            .map_or(Start::Introduction, |accepted| Start::Resumed(accepted.clone())),
    };
    let judgement = judged(history, root, &start, new, now)?;
    eprint!("{}", Verification::of(&judgement, &start).for_a_push(&root.r#ref)?);
    // Let in, so that its revocations count, and told, since the cluster will hold it.
    if let Some(broken) = judgement.broken() {
        eprintln!("note: the cluster holds it: {}", output::printable(&broken.to_string()));
    }
    Ok(judgement.refusal().is_none())
}

/// What a value of the tracked ref leads to: a commit, or a tag of one.
pub(crate) fn led_to(history: &Objects, root: &TrustRootSpec, id: &CommitId) -> anyhow::Result<Head> {
    if trust::tag_name(&root.r#ref).is_none() {
        return Ok(id.into());
    }
    history.head(&id.to_string()).with_context(|| format!("{id} is neither a commit nor a tag of one"))
}

/// A judgement that is a verdict.
fn judged(
    history: &Objects,
    root: &TrustRootSpec,
    start: &Start,
    head: Head,
    now: Timestamp,
) -> anyhow::Result<Judgement> {
    let keyless = keyless(root)?;
    let with = Verifiers { known: None, keyless: Some(&keyless) };
    let judgement = trust::judge_with(history, root, start, head, now, with);
    match judgement.unreadable() {
        Some(reason) => anyhow::bail!("no verdict on {}: {reason}; git fsck --full names what is broken", head.commit),
        None => Ok(judgement),
    }
}

/// A tracked ref is never removed: who makes it again makes it what they like.
fn removed(root: &TrustRootSpec, old: Option<CommitId>) -> bool {
    let name = &root.r#ref;
    let verified = old.map_or_else(|| name.clone(), |old| old.to_string());
    let finding = Finding {
        code: TrustCode::W401.entry(),
        subject: Subject::Named(name.clone()),
        rule: None,
        found: format!("the push removes it, at {verified}").into(),
        needed: format!("a descendant of {verified}").into(),
        fix: match trust::tag_name(name) {
            Some(_) => {
                format!("git push origin {} # leave the tag, or move it on", shell_quote(&format!("+{name}"))).into()
            }
            None => format!(
                "git push origin {} # leave the ref, and put commits on top",
                shell_quote(&format!("HEAD:{name}"))
            )
            .into(),
        },
    };
    eprint!("{}", output::refusal(&finding));
    false
}

/// What was accepted must be so without the approvals that a push takes away. Nothing is asked of what was not.
fn still_approved(before: &Objects, after: &Objects, root: &TrustRootSpec, tracked: &str) -> anyhow::Result<Outcome> {
    let Some(head) = before.tip(tracked)? else { return Ok(Outcome::Fine) };
    let now = Timestamp::now();
    let head = led_to(before, root, &head)?;
    let refused_before = judged(before, root, &Start::Introduction, head, now)?.refusal().is_some();
    let judgement = judged(after, root, &Start::Introduction, head, now)?;
    if refused_before || judgement.refusal().is_none() {
        return Ok(Outcome::Fine);
    }
    eprint!("{}", Verification::of(&judgement, &Start::Introduction).for_a_push(tracked)?);
    eprintln!("the push takes away approvals that accepted commits of {tracked} need");
    Ok(Outcome::Finding)
}
