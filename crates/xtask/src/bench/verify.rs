//! Signatures of commits: against `git verify-commit` in batch, and against the maths library alone. All in one run, one thread
//! each, in turns; the least CPU time counts.
//!
//! gitsign is not measured yet.

mod history;
mod measure;
mod openpgp;
mod pack;
mod signer;

use anyhow::Result;
use testkit::Scratch;

use self::{
    history::{History, Wanted},
    measure::{Resumption, Times, peak_mebibytes, warm},
    signer::Algorithm,
};
use super::report::{Goal, Report};

pub(crate) use measure::run_job;

/// Commits that Git verifies in one turn: at 8 ms each half a second, what writ takes for ten thousand.
const SAMPLE: usize = 60;
/// How often one new commit is judged on each history.
const RESUMPTIONS: u32 = 50;
/// How often each pass is gone through in one round, forwards and backwards.
const TURNS: u32 = 2;

/// Measures with so many commits of each algorithm.
pub(super) fn run(commits: usize, rounds: u32) -> Result<Report> {
    let mut report = Report::new("verify")?;
    for algorithm in Algorithm::ALL {
        by_algorithm(algorithm, commits, rounds, &mut report)?;
    }
    resumption(commits, rounds, &mut report)?;
    report.finish()
}

fn by_algorithm(algorithm: Algorithm, commits: usize, rounds: u32, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("verify")?;
    eprintln!("{}: making {commits} commits", algorithm.name());
    let history = History::make(scratch.path(), Wanted { algorithm, unsigned: 0, signed: commits })?;
    let times = Times::measure(&history, SAMPLE, rounds * TURNS)?;
    let name = algorithm.name();
    // The ratios of SSH with Ed25519, the usual case, have the plain names.
    let (suffix, goals) = match algorithm {
        Algorithm::Ed25519 => (String::new(), (Goal::AtLeast(150.0), Goal::AtLeast(0.7))),
        Algorithm::Rsa3072 => (format!("_{name}"), (Goal::AtLeast(100.0), Goal::AtLeast(0.7))),
        Algorithm::EcdsaP256 => (format!("_{name}"), (Goal::None, Goal::None)),
        Algorithm::OpenPgpEd25519 => (format!("_{name}"), (Goal::AtLeast(100.0), Goal::AtLeast(0.7))),
        Algorithm::OpenPgpRsa3072 => (format!("_{name}"), (Goal::AtLeast(20.0), Goal::AtLeast(0.7))),
    };
    report.ratio(&format!("vs_git{suffix}"), times.git / times.signatures, goals.0);
    report.ratio(&format!("vs_raw{suffix}"), times.raw / times.signatures, goals.1);
    report.figure(&format!("judge_vs_git{suffix}"), times.git / times.judge);
    for (pass, time) in
        [("git", times.git), ("raw", times.raw), ("signatures", times.signatures), ("judge", times.judge)]
    {
        report.figure(&format!("us_per_commit_{name}_{pass}"), time);
    }
    if matches!(algorithm, Algorithm::Ed25519 | Algorithm::OpenPgpEd25519) {
        let (time, verified) = warm(&history)?;
        report.figure(&format!("us_per_commit_{name}_judge_warm"), time);
        report.limit(&format!("warm_signatures{suffix}"), verified as f64, Goal::AtMost(0.0));
    }
    if algorithm == Algorithm::Ed25519 {
        report.limit("peak_mb", peak_mebibytes(&history)?, Goal::AtMost(60.0));
    }
    Ok(())
}

/// One new commit on top of many, and on top of few.
fn resumption(commits: usize, rounds: u32, report: &mut Report) -> Result<()> {
    const FEW: usize = 10;
    let many = commits * 10;
    eprintln!("resumption: making {many} commits");
    let scratch = Scratch::new("verify")?;
    let make = |name: &str, unsigned: usize| {
        History::make(&scratch.path().join(name), Wanted { algorithm: Algorithm::Ed25519, unsigned, signed: 3 })
    };
    let (long, short) = (make("long", many)?, make("short", FEW)?);
    let (mut long, mut short) = (Resumption::new(&long)?, Resumption::new(&short)?);
    for _ in 0..RESUMPTIONS * rounds {
        long.run()?;
        short.run()?;
    }
    let [long, short] = [long, short].map(|resumption| resumption.shortest.as_secs_f64() * 1e6);
    report.figure(&format!("us_resume_{many}"), long);
    report.figure(&format!("us_resume_{FEW}"), short);
    report.ratio(&format!("resume_{many}_vs_{FEW}"), long / short, Goal::AtMost(1.2));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(algorithm: Algorithm) -> Times {
        let scratch = Scratch::new("verify").unwrap();
        let history = History::make(scratch.path(), Wanted { algorithm, unsigned: 0, signed: 3 }).unwrap();
        Times::measure(&history, 2, 1).unwrap()
    }

    #[test]
    fn git_the_library_and_writ_accept_the_same_commits() {
        for algorithm in Algorithm::ALL {
            let times = measured(algorithm);
            // So few commits may take less than a tick of the kernel.
            for time in [times.git, times.raw, times.signatures, times.judge] {
                assert!((0.0..f64::MAX).contains(&time), "{algorithm:?}: {times:?}");
            }
        }
    }

    #[test]
    fn one_new_commit_is_judged_on_top_of_unsigned_ones() {
        let scratch = Scratch::new("verify").unwrap();
        let wanted = Wanted { algorithm: Algorithm::Ed25519, unsigned: 5, signed: 3 };
        let history = History::make(scratch.path(), wanted).unwrap();
        Resumption::new(&history).unwrap().run().unwrap();
    }

    #[test]
    fn a_second_judgement_verifies_no_signature() {
        let scratch = Scratch::new("verify").unwrap();
        for algorithm in [Algorithm::Ed25519, Algorithm::OpenPgpEd25519] {
            let folder = scratch.path().join(algorithm.name());
            let history = History::make(&folder, Wanted { algorithm, unsigned: 0, signed: 3 }).unwrap();
            assert_eq!(warm(&history).unwrap().1, 0);
        }
    }
}
