//! Programs that the tests run and that are not built here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process::run;

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

const GIT: Tool = Tool { program: "git", package: "git" };
const SSH_KEYGEN: Tool = Tool { program: "ssh-keygen", package: "openssh-client" };
const GPG: Tool = Tool { program: "gpg", package: "gnupg" };
const PROMETHEUS: Tool = Tool { program: "prometheus", package: "prometheus" };
const PROMTOOL: Tool = Tool { program: "promtool", package: "prometheus" };
const ALERTMANAGER: Tool = Tool { program: "prometheus-alertmanager", package: "prometheus-alertmanager" };

/// What the demo starts: real Git repositories and servers, real signatures.
pub(crate) const DEMO_TOOLS: [Tool; 2] = [GIT, SSH_KEYGEN];
/// What the tests start: the same, signatures of OpenPGP, and who judges and sends alerts.
pub(crate) const TEST_TOOLS: [Tool; 6] = [GIT, SSH_KEYGEN, GPG, PROMETHEUS, PROMTOOL, ALERTMANAGER];

/// Makes sure that every tool is there. Where this process is root and `apt-get` is there, the missing packages are installed;
/// elsewhere it is an error with one line per missing tool.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !(is_root() && find("apt-get").is_some()) {
        bail!("{}", advice(&missing));
    }
    eprintln!("installing {} (about half a minute)", packages.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).arg("-qq");
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "-y", "--no-install-recommends"]).args(&packages))?;
    let missing = self::missing(tools);
    if !missing.is_empty() {
        bail!("installed, and still not on the PATH:\n{}", advice(&missing));
    }
    Ok(())
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().filter(|tool| find(tool.program).is_none()).copied().collect()
}

fn advice(missing: &[Tool]) -> String {
    let line = |tool: &Tool| format!("`{}` is missing: apt-get install {}", tool.program, tool.package);
    missing.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Where a program is found on the PATH.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process may install packages: its own entry in /proc belongs to the user it runs as.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let tools =
            [Tool { program: "sh", package: "dash" }, Tool { program: "no-such-program", package: "no-such-package" }];
        assert_eq!(missing(&tools), [tools[1]]);
        assert_eq!(advice(&missing(&tools)), "`no-such-program` is missing: apt-get install no-such-package");
    }
}
