//! `writ hook install`: the script that Git runs, and the setting that names the trust root.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use manifest::shell_quote;
use trust::{Start, Verifiers};

use crate::{
    exit::Outcome,
    hook::{HookInstallArgs, TRUST_ROOT_SETTING, led_to},
    input, output,
    verify::{keyless, note_refresh, open, read_trust_root},
};

/// By this line a script is known to be ours.
const MARK: &str = "# Written by `writ hook install`, which may replace it.";
/// Variables that are passed on. What else is in the environment of a server's shell, or comes from whoever pushes, is not.
const PASSED: [&str; 4] = ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"];
/// Largest script that is looked at to see whose it is.
const MAX_SCRIPT_BYTES: usize = 64 << 10;
/// Whoever owns the repository may change it, everybody run it.
const EXECUTABLE: u32 = 0o755;

/// Runs `writ hook install`.
pub(crate) fn run(args: &HookInstallArgs) -> anyhow::Result<Outcome> {
    let root = read_trust_root(&args.trust_root)?;
    let history = open(&args.repo)?;
    let trust_root = absolute(&args.trust_root)?;
    let writ = absolute(&std::env::current_exe().context("cannot tell where writ itself is")?)?;
    let name = if args.client { "pre-push" } else { "pre-receive" };
    let folder = hook_folder(&args.repo, history.folder())?;
    let file = folder.join(name);
    write(&folder, &file, &script(&writ, name))?;
    git(&args.repo, &["config", "--local", TRUST_ROOT_SETTING, &trust_root])?;
    output::text(&format!("{}\n", file.display()))?;
    eprintln!("wrote {}, which judges pushes to {} by {trust_root}", file.display(), root.r#ref);
    if let Some(tip) = history.tip(&root.r#ref)? {
        let head = led_to(&history, &root, &tip)?;
        let keyless = keyless(&root)?;
        note_refresh(&root, &keyless, "set trustedRoot in its place in the file of the hook");
        let with = Verifiers { known: None, keyless: Some(&keyless) };
        let judgement = trust::judge_with(&history, &root, &Start::Introduction, head, Timestamp::now(), with);
        match judgement.refusal() {
            None => eprintln!("{} is accepted at {}", root.r#ref, head.commit),
            Some(finding) => {
                eprintln!("note: {} is not accepted: {}", root.r#ref, output::printable(&finding.to_string()));
            }
        }
    }
    Ok(Outcome::Fine)
}

fn absolute(file: &Path) -> anyhow::Result<String> {
    let path = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is no UTF-8 path", path.display()))
}

/// Where Git looks for the hooks of this repository.
fn hook_folder(repo: &Path, own: &Path) -> anyhow::Result<PathBuf> {
    let named = git(repo, &["rev-parse", "--git-path", "hooks"])?;
    let folder = repo.join(named.trim_end_matches('\n'));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (folder, own) = (fs::canonicalize(&folder)?, fs::canonicalize(own)?);
    // Of a linked work tree the hooks are those of the repository it belongs to.
    let is_shared = git(repo, &["config", "--get", "core.hooksPath"]).is_ok();
    ensure!(
        !is_shared || folder.starts_with(&own),
        "core.hooksPath makes Git look in {} instead of this repository, maybe for others too: call writ from there, or unset it",
        folder.display()
    );
    Ok(folder)
}

/// The script. `${NAME+…}` is nothing at all for a variable that is not set.
fn script(writ: &str, name: &str) -> String {
    let passed = PASSED.map(|name| format!("${{{name}+\"{name}=${name}\"}}")).join(" ");
    format!("#!/bin/sh\n{MARK}\nexec /usr/bin/env -i {passed} {} hook {name} \"$@\"\n", shell_quote(writ))
}

/// Writes the script beside its place first: Git may run it at any time.
fn write(folder: &Path, file: &Path, script: &str) -> anyhow::Result<()> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(found) if found.is_file() && input::bytes(file, MAX_SCRIPT_BYTES).is_ok_and(|bytes| is_ours(&bytes)) => {}
        Ok(_) => bail!(
            "{} is there already and not ours: move it away, or call from it what would have been written: {}",
            file.display(),
            script.lines().last().unwrap_or_default()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", file.display())),
    }
    let beside = folder.join(format!(".writ-{}", std::process::id()));
    let cannot = || format!("cannot write {}", file.display());
    let mut opened =
        OpenOptions::new().write(true).create_new(true).mode(EXECUTABLE).open(&beside).with_context(cannot)?;
    let written = opened.write_all(script.as_bytes()).and_then(|()| opened.sync_all());
    // Closed before it can be run: a program that is open for writing is busy.
    drop(opened);
    written
        .and_then(|()| fs::rename(&beside, file))
        .inspect_err(|_error| drop(fs::remove_file(&beside)))
        .with_context(cannot)
}

fn is_ours(script: &[u8]) -> bool {
    script.split(|byte| *byte == b'\n').nth(1) == Some(MARK.as_bytes())
}

/// Asks Git itself, whose answer depends on settings that only it reads.
fn git(repo: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(arguments)
        .output()
        .context("cannot run git, which keeps the settings; install it")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8(output.stdout).context("git wrote no text")
}
