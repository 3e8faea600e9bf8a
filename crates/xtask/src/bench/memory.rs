//! Resident memory at 1,000 and at 10,000 objects, and what one more object costs.

use std::time::Duration;

use anyhow::Result;
use testkit::ControlPlane;

use super::{
    ground::Ground,
    manifests::Kind,
    report::{Goal, Report},
};
use crate::workspace::Workspace;

/// Numbers of objects.
const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// How long the process may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);

/// Seven Deployments of some 1.4 kB, then three ConfigMaps of some 2 kB.
const fn kind(number: usize) -> Kind {
    if number % 10 < 7 { Kind::Deployment } else { Kind::ConfigMap }
}

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane) -> Result<Report> {
    let mut report = Report::new("memory")?;
    let mut ground = Ground::set(workspace, plane)?;
    ground.start_writ()?;
    report.figure("rss_mb_0", settled(&ground)?);
    let few = grown(&mut ground, 0..FEW)?;
    report.limit("rss_mb_1000", few, Goal::AtMost(40.0));
    let many = grown(&mut ground, FEW..MANY)?;
    report.limit("rss_mb_10000", many, Goal::AtMost(70.0));
    let growth = (many - few) * f64::from(1 << 20) / (MANY - FEW) as f64;
    report.limit("growth_bytes_per_object", growth, Goal::AtMost(3_000.0));
    // What a roll-out of 9,000 objects at once leaves in the allocator is not in this one.
    ground.stop_writ()?;
    ground.start_writ()?;
    ground.force_pass()?;
    report.figure("rss_mb_10000_restarted", settled(&ground)?);
    ground.stop_writ()?;
    report.finish()
}

/// Adds the objects with these numbers, and reads the memory once they are applied.
fn grown(ground: &mut Ground<'_>, numbers: std::ops::Range<usize>) -> Result<f64> {
    for number in numbers {
        ground.repo.write(&kind(number).file(number), kind(number).text(number, 0)?)?;
    }
    ground.roll_out("Deploy")?;
    settled(ground)
}

fn settled(ground: &Ground<'_>) -> Result<f64> {
    std::thread::sleep(SETTLE);
    ground.resident_mebibytes()
}
