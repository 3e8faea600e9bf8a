//! One changed line among many manifests, from the end of the push to the probe's sight.

use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{ControlPlane, Scratch};

use super::{
    Side,
    api::Access,
    ground::Ground,
    manifests::Kind,
    order,
    probe::Probe,
    reference::{Fetch, Job, Reference},
    report::{Goal, Report, percentile},
};
use crate::workspace::Workspace;

/// Numbers of manifests.
const SIZES: [usize; 2] = [1_000, 5_000];
/// Commits per turn; one more before them is not counted.
const COMMITS: usize = 5;

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane, rounds: u32) -> Result<Report> {
    let mut report = Report::new("commit")?;
    let mut medians = Vec::new();
    for size in SIZES {
        let (writ, reference) = measure(workspace, plane, size, rounds, &mut report)?;
        let [writ, reference] = [percentile(&writ, 0.5)?, percentile(&reference, 0.5)?];
        report.compare(&format!("to_live_{size}"), "ms", writ, reference, Goal::AtMost(3.0))?;
        medians.push((writ, reference));
    }
    let ((small, _), (large, reference)) =
        medians.first().zip(medians.last()).map(|(first, last)| (*first, *last)).context("nothing was measured")?;
    report.ratio("to_live", large / reference, Goal::AtMost(3.0));
    report.ratio("growth_1000_to_5000", large / small, Goal::None);
    report.finish()
}

fn measure(
    workspace: &Workspace,
    plane: &ControlPlane,
    size: usize,
    rounds: u32,
    report: &mut Report,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut ground = Ground::set(workspace, plane)?;
    for number in 0..size {
        ground.repo.write(&Kind::Deployment.file(number), Kind::Deployment.text(number, 0)?)?;
    }
    ground.start_writ()?;
    ground.roll_out("Deploy")?;
    let clone = Scratch::new("clone")?;
    let directory = clone.path().join("clone");
    ground.server.remote("bench").clone_into(&directory)?;
    let fetch = Fetch {
        directory,
        url: ground.server.url("bench"),
        authority: ground.server.authority_file(),
        username: ground.server.username().to_owned(),
        password: ground.server.password().to_owned(),
    };
    let job = Job::Commit { access: Access::deployer(&ground.tenant)?, fetch };
    let probe = Probe::start(&ground.hand, &[&Kind::Deployment.collection(ground.tenant.namespace())])?;
    let (mut writ, mut reference) = (Vec::new(), Vec::new());
    let mut lines = Lines { size, number: 0, replicas: 0 };
    for side in order(rounds) {
        match side {
            Side::Writ => {
                ground.start_writ()?;
                for _ in 0..=COMMITS {
                    writ.push(by_writ(&mut ground, &probe, &mut lines)?);
                }
                report.figure(&format!("rss_mb_{size}"), ground.resident_mebibytes()?);
            }
            Side::Reference => {
                ground.stop_writ()?;
                let mut process = Reference::start(&job)?;
                for _ in 0..=COMMITS {
                    reference.push(by_reference(&ground, &mut process, &probe, &mut lines)?);
                }
            }
        }
        let side = if side == Side::Writ { &mut writ } else { &mut reference };
        side.remove(side.len() - COMMITS - 1);
    }
    ground.stop_writ()?;
    Ok((writ, reference))
}

/// Which line is changed next.
struct Lines {
    size: usize,
    number: usize,
    replicas: u32,
}

impl Lines {
    /// Changes one line of another manifest in the work tree; its number and the new value.
    fn change(&mut self, ground: &Ground<'_>) -> Result<(usize, u32)> {
        // A prime step spreads the changes over all manifests.
        self.number = (self.number + 367) % self.size;
        self.replicas += 1;
        ground.repo.write(&Kind::Deployment.file(self.number), Kind::Deployment.text(self.number, self.replicas)?)?;
        Ok((self.number, self.replicas))
    }
}

fn by_writ(ground: &mut Ground<'_>, probe: &Probe, lines: &mut Lines) -> Result<Duration> {
    let (number, replicas) = lines.change(ground)?;
    let (head, pushed) = ground.push("Scale")?;
    ground.poke_source()?;
    let seen = probe.wait(&Kind::Deployment.name(number), 0, replicas)?;
    ground.wait_applied(&head)?;
    Ok(seen.saturating_duration_since(pushed))
}

fn by_reference(ground: &Ground<'_>, process: &mut Reference, probe: &Probe, lines: &mut Lines) -> Result<Duration> {
    let (number, replicas) = lines.change(ground)?;
    let body = ground.applied_body(Kind::Deployment, number, replicas)?;
    let path = format!("{}/{}", Kind::Deployment.collection(ground.tenant.namespace()), Kind::Deployment.name(number));
    let (_, pushed) = ground.push("Scale")?;
    process.demand(&format!("{path} {body}"))?;
    let seen = probe.wait(&Kind::Deployment.name(number), 0, replicas)?;
    process.done()?;
    Ok(seen.saturating_duration_since(pushed))
}
