//! `cargo xtask controlplane`: the Kubernetes of the tests and the demo, built from `tests/controlplane`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::process::shown;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The Go module.
const MODULE: &str = "tests/controlplane";
/// Where the binary, its names and the digest of its inputs go.
const FOLDER: &str = "target/controlplane";
/// The one binary.
const BINARY: &str = "controlplane";
/// The names it is called by; `main.go` dispatches on them.
const PROGRAMS: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
/// Digest of everything the binary was made from.
const STAMP: &str = "controlplane.inputs";
/// Packages that a cold build compiles (`go list -deps . | wc -l`); only the length of the progress line.
const EXPECTED_PACKAGES: u64 = 2_700;
/// A module whose binary says another version than its sources would mislead kubectl's skew check.
const KUBERNETES: &str = "k8s.io/kubernetes ";

/// The command.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let folder = ensure(workspace)?;
    println!("{}", folder.display());
    Ok(())
}

/// Builds the control plane unless it is there already, made from the same inputs; returns the folder of its programs.
/// Safe to be called by several processes at once: one builds, the others wait.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.path(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock = fs::File::create(folder.join("controlplane.lock")).context("cannot make the build's lock file")?;
    lock.lock().context("cannot lock the folder of the control plane")?;

    let module = workspace.path(MODULE);
    let inputs = Inputs::read(&module)?;
    let stamp = folder.join(STAMP);
    let current = fs::read_to_string(&stamp).is_ok_and(|built| built == inputs.digest());
    if !current || !folder.join(BINARY).is_file() {
        build(&module, &folder, &inputs)?;
        fs::write(&stamp, inputs.digest()).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    link_programs(&folder)?;
    Ok(folder)
}

/// Everything that decides what the binary will be.
#[derive(Debug)]
struct Inputs {
    /// Name and content of each file, in order of name.
    files: Vec<(String, Vec<u8>)>,
    toolchain: String,
    linker_flags: String,
}

impl Inputs {
    fn read(module: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(module).with_context(|| format!("cannot list {}", module.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", module.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "go.mod" || name == "go.sum" || name.ends_with(".go") {
                let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files.push((name, content));
            }
        }
        files.sort();
        let go_mod = files.iter().find(|(name, _)| name == "go.mod").map(|(_, content)| content.as_slice());
        let go_mod = go_mod.ok_or_else(|| anyhow!("{} holds no go.mod", module.display()))?;
        let go_mod = std::str::from_utf8(go_mod).context("go.mod is not UTF-8")?;
        let needed = directive(go_mod, "go ").ok_or_else(|| anyhow!("go.mod names no Go version"))?;
        let kubernetes =
            directive(go_mod, KUBERNETES).ok_or_else(|| anyhow!("go.mod does not require {KUBERNETES}"))?;
        let linker_flags = linker_flags(kubernetes)?;
        Ok(Self { toolchain: toolchain(module, needed)?, linker_flags, files })
    }

    /// SHA-256, every part preceded by its length so that no two inputs run into one another.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for (name, content) in &self.files {
            part(name.as_bytes());
            part(content);
        }
        part(self.toolchain.as_bytes());
        part(self.linker_flags.as_bytes());
        hex::encode(hash.finalize())
    }
}

/// What follows a word at the start of a line of go.mod.
fn directive<'a>(go_mod: &'a str, word: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| line.trim().strip_prefix(word)).map(str::trim)
}

/// The published module carries no version of its own: unstamped, kubectl would report server 0.0 and a skew.
fn linker_flags(kubernetes: &str) -> Result<String> {
    let mut parts = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("go.mod requires a Kubernetes version that is not one: {kubernetes}");
    };
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (key, value) in
            [("gitVersion", kubernetes), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        {
            flags.push_str(&format!(" -X {package}.{key}={value}"));
        }
    }
    Ok(flags)
}

/// The Go toolchain that will build, such as `go1.26.8 linux amd64`; an error that says what to do if it is missing or too old.
fn toolchain(module: &Path, needed: &str) -> Result<String> {
    let advice = format!("Go {needed} or newer builds the control plane; install it from https://go.dev/dl/");
    let mut go = Command::new("go");
    go.current_dir(module).args(["env", "GOVERSION", "GOOS", "GOARCH"]);
    let found = match go.output() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("there is no `go` on the PATH. {advice}"),
        Err(error) => return Err(error).context("cannot start `go`"),
    };
    if !found.status.success() {
        bail!("`{}` failed: {}. {advice}", shown(&go), String::from_utf8_lossy(&found.stderr).trim());
    }
    let text = String::from_utf8(found.stdout).context("`go env` did not answer in UTF-8")?;
    let toolchain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let version = toolchain.split(' ').next().unwrap_or_default().trim_start_matches("go");
    if numbers(version) < numbers(needed) {
        bail!("the `go` on the PATH is {version}, which is too old. {advice}");
    }
    Ok(toolchain)
}

/// `1.26.8` as numbers; a part that is no number (`1.27rc1`) counts by its leading digits.
fn numbers(version: &str) -> Vec<u32> {
    let leading = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').map(|part| leading(part).parse().unwrap_or(0)).collect()
}

fn build(module: &Path, folder: &Path, inputs: &Inputs) -> Result<()> {
    eprintln!(
        "building the Kubernetes control plane with {} (about 4 minutes on two idle cores, less than one with a warm Go cache)",
        inputs.toolchain
    );
    let fresh = folder.join("controlplane.new");
    let mut go = Command::new("go");
    go.current_dir(module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", &inputs.linker_flags, "-o"])
        .arg(&fresh)
        .arg(".")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = go.spawn().context("cannot start `go build`")?;
    let lines = BufReader::new(child.stderr.take().context("`go build` has no standard error")?);
    let mut progress = Progress::start("control plane", "packages", EXPECTED_PACKAGES)?;
    let mut said = Vec::new();
    for line in lines.lines() {
        let line = line.context("cannot read what `go build` says")?;
        // -v prints one import path per compiled package; whatever else is said matters only when the build fails.
        if line.contains(' ') { said.push(line) } else { progress.step() }
    }
    let status = child.wait().context("cannot wait for `go build`")?;
    let took = progress.finish();
    if !status.success() {
        bail!("the control plane does not build ({status}):\n{}", said.join("\n"));
    }
    fs::rename(&fresh, folder.join(BINARY)).context("cannot put the control plane in its place")?;
    eprintln!("control plane built in {} s", took.as_secs());
    Ok(())
}

/// Gives the binary its names. A link that is right already stays.
fn link_programs(folder: &Path) -> Result<()> {
    for program in PROGRAMS {
        let link = folder.join(program);
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(BINARY)) {
            continue;
        }
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        std::os::unix::fs::symlink(BINARY, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(main: &str, go: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("go.mod"),
            format!("module x\n\ngo {go}\n\nrequire (\n\tk8s.io/kubernetes v1.36.3\n)\n"),
        )
        .unwrap();
        fs::write(folder.path().join("main.go"), main).unwrap();
        fs::write(folder.path().join("notes.txt"), "no input").unwrap();
        folder
    }

    #[test]
    fn the_digest_changes_with_each_input_and_only_then() {
        let one = module("package main", "1.26.0");
        let digest = Inputs::read(one.path()).unwrap().digest();
        fs::write(one.path().join("notes.txt"), "changed").unwrap();
        assert_eq!(Inputs::read(one.path()).unwrap().digest(), digest);
        fs::write(one.path().join("main.go"), "package main // changed").unwrap();
        let changed = Inputs::read(one.path()).unwrap();
        assert_ne!(changed.digest(), digest);
        let other_go = Inputs { toolchain: "go1.99.0 linux amd64".to_owned(), ..changed };
        assert_ne!(other_go.digest(), Inputs::read(one.path()).unwrap().digest());
    }

    #[test]
    fn a_toolchain_that_is_too_old_is_refused_with_what_to_do() {
        let error = Inputs::read(module("package main", "99.0").path()).unwrap_err().to_string();
        assert!(error.contains("Go 99.0 or newer") && error.contains("https://go.dev/dl/"), "{error}");
        assert!(numbers("1.9.13") < numbers("1.26.0") && numbers("1.26.8") >= numbers("1.26.0"));
        assert!(numbers("1.27rc1") >= numbers("1.26.8"));
    }

    #[test]
    fn the_binary_says_the_version_that_go_mod_requires() {
        let flags = linker_flags("v1.36.3").unwrap();
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.36.3"), "{flags}");
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMinor=36"), "{flags}");
        assert!(linker_flags("latest").is_err());
    }

    #[test]
    fn the_links_are_made_and_repaired() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("etcd"), "something else").unwrap();
        link_programs(folder.path()).unwrap();
        link_programs(folder.path()).unwrap();
        for program in PROGRAMS {
            assert_eq!(fs::read_link(folder.path().join(program)).unwrap(), Path::new(BINARY));
        }
    }
}
