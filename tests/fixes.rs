//! Fixes that are commands, in all stories and in the register of codes, are what a shell takes: no words stand among the arguments.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{Scratch, hermetic_command, run};

use crate::stage::Test;

/// A fix that begins with one of these says that it is a command.
const PROGRAMS: [&str; 6] = ["git", "kubectl", "writ", "ssh-keygen", "mkdir", "rm"];
/// Words that no command takes as an argument.
const PROSE: [&str; 9] = ["and", "as", "bind", "find", "if", "it", "or", "then", "to"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every fix that is printed at the end of a line, with names of their own for what a story calls `<this>`.
fn fixes() -> Result<Vec<String>> {
    let mut files = vec![repository().join("docs/codes.md")];
    for entry in std::fs::read_dir(repository().join("tests/scenarios")).context("cannot read the stories")? {
        files.push(entry?.path());
    }
    let mut fixes = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // A line of the log goes on behind the fix.
        let lines = text.lines().filter(|line| !line.starts_with("WARN ") && !line.starts_with("ERROR "));
        let printed = lines.filter_map(|line| line.split_once("Fix: ").or_else(|| line.split_once("fix: ")));
        fixes.extend(printed.map(|(_, fix)| without_placeholders(fix)));
    }
    fixes.sort_unstable();
    fixes.dedup();
    Ok(fixes)
}

/// `<first commit>` and the like, which stand for one word each.
fn without_placeholders(fix: &str) -> String {
    let mut parts = fix.split('<');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('>') {
            // `< file` is meant as it is.
            Some((name, rest)) if !name.starts_with(' ') => text.extend(["placeholder", rest]),
            _ => text.extend(["<", part]),
        }
    }
    text
}

/// A folder of programs that say what they were called with, and succeed.
fn stand_ins(scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("programs");
    std::fs::create_dir_all(&folder).context("cannot make the folder")?;
    for program in PROGRAMS {
        let file = folder.join(program);
        std::fs::write(&file, "#!/bin/sh\nprintf '%s\\n' \"$@\" >&3\n").context("cannot write a stand-in")?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).context("cannot set permissions")?;
    }
    Ok(folder)
}

#[test]
fn printed_commands_are_commands() -> Test {
    let scratch = Scratch::new("fixes")?;
    let programs = stand_ins(scratch.path())?;
    let work = scratch.path().join("work");
    std::fs::create_dir_all(work.join(".writ/trust.yaml.sigs")).context("cannot make the work tree")?;
    std::fs::write(work.join(".writ/trust.yaml"), "").context("cannot write the trust file")?;
    let mut checked = 0;
    for fix in fixes()? {
        let begins = |program: &&str| fix.strip_prefix(*program).is_some_and(|rest| rest.starts_with(' '));
        if !PROGRAMS.iter().any(begins) {
            continue;
        }
        let mut shell = hermetic_command("/bin/sh", scratch.path());
        shell.current_dir(&work).env("PATH", &programs).args(["-c", &format!("{{ {fix}\n}} 3>&1")]);
        let called = String::from_utf8(run(&mut shell).with_context(|| format!("this fix is no command: {fix}"))?)?;
        ensure!(!called.is_empty(), "this fix calls nothing: {fix}");
        for word in called.lines() {
            ensure!(!PROSE.contains(&word) && !word.ends_with([',', ';']), "{word:?} is an argument in: {fix}");
        }
        checked += 1;
    }
    // As many kinds of command there are at least.
    ensure!(checked > 30, "only {checked} commands were found");
    Ok(())
}
