//! `cargo xtask fuzz`: every parser of bytes from outside, with libFuzzer, on the stable toolchain.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::process::run as run_process;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// Seconds per target in `cargo xtask test`, and in its long runs.
pub(crate) const SMOKE_SECONDS: u64 = 5;
/// See [`SMOKE_SECONDS`].
pub(crate) const SOAK_SECONDS: u64 = 120;
/// What one input may take, in seconds: the largest takes milliseconds.
const INPUT_SECONDS: u64 = 10;
/// What one target may take, in MiB: 512 for the fuzzer's own corpus and 256 for the stack of an evaluation, doubled.
const MEMORY_MIB: u64 = 1_536;
/// The longest input, in bytes: above the 4 KiB of an expression, so that its limit is crossed.
const INPUT_BYTES: u64 = 8_192;
/// libFuzzer is built from C++.
const TOOLS: [Tool; 1] = [Tool { program: "c++", package: "g++" }];
/// What `cargo fuzz` sets when no sanitizer is asked for: coverage, and comparisons to learn from.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target
    target: Option<String>,
}

/// The command.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut targets = targets(workspace)?;
    if let Some(only) = &arguments.target {
        let all = targets.join(", ");
        targets.retain(|target| target == only);
        if targets.is_empty() {
            bail!("there is no target `{only}`; there are {all}");
        }
    }
    fuzz(workspace, &targets, arguments.seconds)
}

/// Runs every target for so many seconds.
pub(crate) fn every_target(workspace: &Workspace, seconds: u64) -> Result<()> {
    fuzz(workspace, &targets(workspace)?, seconds)
}

/// The targets are the files of their folder: none is forgotten.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.path("tests/fuzz/fuzz_targets");
    let unreadable = || format!("cannot read {}", folder.display());
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().context("a target without a name")?;
            targets.push(name.to_string_lossy().into_owned());
        }
    }
    targets.sort_unstable();
    if targets.is_empty() {
        bail!("no fuzz target in {}", folder.display());
    }
    Ok(targets)
}

fn fuzz(workspace: &Workspace, targets: &[String], seconds: u64) -> Result<()> {
    tools::ensure(&TOOLS)?;
    eprintln!("building the fuzz targets (about 4 minutes cold on two idle cores)");
    let programs = build(workspace, targets)?;
    // One on each core: a fuzzer is one thread.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            eprintln!("fuzzing {target} for {seconds} s");
            if let Err(error) = attack(workspace, &programs.join(target), target, seconds) {
                eprintln!("{error:#}");
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(target.as_str());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    if !failed.is_empty() {
        bail!("inputs were found that break: {}; they are in target/fuzz-findings", failed.join(", "));
    }
    println!("fuzz: {} targets, {seconds} s each, nothing found", targets.len());
    Ok(())
}

/// Builds the targets with coverage and returns the folder they are in. A target triple is named, so that build scripts
/// are not instrumented.
fn build(workspace: &Workspace, targets: &[String]) -> Result<PathBuf> {
    let triple = host(workspace)?;
    let folder = workspace.path("target/fuzz");
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.path("tests/fuzz")).env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["build", "--release", "--quiet", "--target", &triple, "--target-dir"]).arg(&folder);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    run_process(&mut cargo)?;
    Ok(folder.join(triple).join("release"))
}

fn host(workspace: &Workspace) -> Result<String> {
    let mut rustc = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let told = crate::process::output(rustc.current_dir(workspace.root()).arg("-vV"))?;
    let told = String::from_utf8(told).context("rustc -vV did not print text")?;
    let line = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc -vV names no host")?.to_owned())
}

/// What was learnt stays in `target/fuzz-corpus` and is where the next run begins; the seeds are only read.
fn attack(workspace: &Workspace, program: &std::path::Path, target: &str, seconds: u64) -> Result<()> {
    let corpus = workspace.path("target/fuzz-corpus").join(target);
    let findings = workspace.path("target/fuzz-findings");
    let seeds = workspace.path("tests/fuzz/seeds").join(target);
    for folder in [&corpus, &findings] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut fuzzer = std::process::Command::new(program);
    fuzzer.arg(&corpus).arg(&seeds);
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={INPUT_SECONDS}"));
    fuzzer.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg(format!("-max_len={INPUT_BYTES}"));
    fuzzer.arg(format!("-artifact_prefix={}/{target}-", findings.display()));
    fuzzer.args(["-verbosity=0", "-print_final_stats=1"]);
    run_process(&mut fuzzer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_a_seed() {
        let workspace = Workspace::find().unwrap();
        let manifest = std::fs::read_to_string(workspace.path("tests/fuzz/Cargo.toml")).unwrap();
        for target in targets(&workspace).unwrap() {
            assert!(
                manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
                "{target} is not in Cargo.toml"
            );
            let seeds = workspace.path("tests/fuzz/seeds").join(&target);
            assert!(std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()), "{target} has no seed");
        }
    }
}
