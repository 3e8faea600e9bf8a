//! A hand edit, and how long until the probe sees the declared state again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::ControlPlane;

use super::{
    Side,
    api::{Access, Api, Patch},
    ground::Ground,
    manifests::Kind,
    order,
    probe::{Object, Probe},
    reference::{Job, Reference},
    report::{Goal, Report, cpu_milliseconds, percentile},
};
use crate::workspace::Workspace;

/// Deployments that are edited, each once per side and turn.
const OBJECTS: usize = 200;
/// Edits that are not counted, before each turn.
const WARM_UP: usize = 20;
/// Pause between two edits.
const GAP: Duration = Duration::from_millis(50);

/// What one side was measured with.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    cpu: f64,
}

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane, rounds: u32) -> Result<Report> {
    let mut report = Report::new("drift")?;
    let mut ground = Ground::set(workspace, plane)?;
    for number in 0..OBJECTS {
        ground.repo.write(&Kind::Deployment.file(number), Kind::Deployment.text(number, 0)?)?;
    }
    ground.start_writ()?;
    ground.roll_out("Deploy")?;
    ground.stop_writ()?;
    let collection = Kind::Deployment.collection(ground.tenant.namespace());
    let mut bodies = BTreeMap::new();
    for number in 0..OBJECTS {
        let body = ground.applied_body(Kind::Deployment, number, 0)?;
        bodies.insert(Kind::Deployment.name(number), body.to_string());
    }
    let job = Job::Revert { access: Access::deployer(&ground.tenant)?, collection: collection.clone(), bodies };
    let probe = Probe::start(&ground.hand, &[&collection])?;
    let hand = Api::new(&ground.hand)?;
    let (mut writ, mut reference) = (Measured::default(), Measured::default());
    for side in order(rounds) {
        match side {
            Side::Writ => {
                let pid = ground.start_writ()?;
                turn(&hand, &probe, &collection, pid, &mut writ)?;
                ground.stop_writ()?;
            }
            Side::Reference => {
                let process = Reference::start(&job)?;
                turn(&hand, &probe, &collection, process.pid(), &mut reference)?;
            }
        }
    }
    for (name, share, goal) in
        [("p50", 0.5, Goal::AtMost(1.3)), ("p90", 0.9, Goal::None), ("p99", 0.99, Goal::AtMost(1.5))]
    {
        let [writ, reference] = [&writ, &reference].map(|side| percentile(&side.latencies, share));
        report.compare(name, "ms", writ?, reference?, goal)?;
    }
    for (name, side) in [("cpu_ms_per_edit_writ", &writ), ("cpu_ms_per_edit_reference", &reference)] {
        report.figure(name, side.cpu / side.latencies.len() as f64);
    }
    report.figure("edits", writ.latencies.len() as f64);
    report.finish()
}

/// Edits every object once, one after the other.
fn turn(hand: &Api, probe: &Probe, collection: &str, pid: u32, measured: &mut Measured) -> Result<()> {
    for number in 0..WARM_UP {
        edit(hand, probe, collection, number)?;
    }
    let before = cpu_milliseconds(pid)?;
    for number in 0..OBJECTS {
        std::thread::sleep(GAP);
        measured.latencies.push(edit(hand, probe, collection, number)?);
    }
    measured.cpu += cpu_milliseconds(pid)? - before;
    Ok(())
}

/// Scales one Deployment; how long from the answer until it is seen with 0 replicas again.
fn edit(hand: &Api, probe: &Probe, collection: &str, number: usize) -> Result<Duration> {
    let name = Kind::Deployment.name(number);
    let patch = json!({"spec": {"replicas": 3}}).to_string();
    let answer = hand.patch(&format!("{collection}/{name}?fieldManager=hand"), Patch::Merge, &patch)?;
    let edited = Instant::now();
    let version = serde_json::from_str::<Object>(&answer).context("not an object")?.version()?;
    let seen = probe.wait(&name, version, 0).with_context(|| format!("the edit of {name} was not reverted"))?;
    Ok(seen.saturating_duration_since(edited))
}
