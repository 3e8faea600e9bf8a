//! A hand edit, and how long until the probe sees the declared state again: by kind of drift, among many objects, during a cold
//! apply; and what an event costs that changes nothing.

mod kinds;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{ControlPlane, RequestFilter, RequestTotals};

use self::kinds::Drift;
use super::{
    Side,
    api::{Access, Api, Patch},
    ground::Ground,
    manifests::Kind,
    order,
    probe::Probe,
    reference::{Job, Reference},
    report::{Goal, Report, cpu_milliseconds, percentile},
};
use crate::workspace::Workspace;

/// Deployments that drift, each once per kind, side and turn.
const OBJECTS: usize = 200;
/// Objects that are watched in the second half.
const MANY: usize = 10_000;
/// Drifts that are not counted, before each turn.
const WARM_UP: usize = 20;
/// Pause between two drifts.
const GAP: Duration = Duration::from_millis(50);
/// ConfigMaps of one cold apply.
const COLD: usize = 1_000;
/// Requests that the cold apply of the bare loop keeps in flight: where writ begins.
const IN_FLIGHT: usize = 16;
/// Events that change nothing, for each side: at 30 µs each they are 15 of the ticks in which the kernel counts CPU time.
const EVENTS: usize = 5_000;

/// What one side was measured with.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    cpu: f64,
    requests: u64,
}

/// What all turns have in common.
struct Field<'a> {
    plane: &'a ControlPlane,
    hand: Api,
    probe: Probe,
    collection: String,
    job: Job,
}

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane, rounds: u32) -> Result<Report> {
    let mut report = Report::new("drift")?;
    let mut ground = Ground::set(workspace, plane)?;
    declare(&ground, Kind::Deployment, 0..OBJECTS)?;
    ground.start_writ()?;
    ground.roll_out("Deploy")?;
    ground.stop_writ()?;
    let field = field(&ground, plane)?;
    for drift in Drift::ALL {
        eprintln!("{}", drift.name());
        let (writ, reference) = both(&mut ground, &field, drift, rounds)?;
        // The kind that every peer knows keeps the plain names.
        let prefix = if drift == Drift::Edited { String::new() } else { format!("{}_", drift.name()) };
        compare(&mut report, &prefix, &writ, &reference, (1.3, 1.5))?;
    }
    cold(&mut ground, &field, rounds, &mut report)?;
    settle(&mut ground, &field, &mut report)?;
    let there = OBJECTS + 2 * usize::try_from(rounds)? * COLD;
    declare(&ground, Kind::ConfigMap, 0..MANY.saturating_sub(there))?;
    ground.start_writ()?;
    ground.roll_out("Deploy many")?;
    ground.stop_writ()?;
    eprintln!("among {MANY}");
    let (writ, reference) = both(&mut ground, &field, Drift::Edited, rounds)?;
    compare(&mut report, "among_10000_", &writ, &reference, (1.3, 1.5))?;
    report.finish()
}

fn declare(ground: &Ground<'_>, kind: Kind, numbers: std::ops::Range<usize>) -> Result<()> {
    numbers.into_iter().try_for_each(|number| ground.repo.write(&kind.file(number), kind.text(number, 0)?))
}

fn field<'a>(ground: &Ground<'_>, plane: &'a ControlPlane) -> Result<Field<'a>> {
    let collection = Kind::Deployment.collection(ground.tenant.namespace());
    let mut bodies = BTreeMap::new();
    for number in 0..OBJECTS {
        let body = ground.applied_body(Kind::Deployment, number, 0)?;
        bodies.insert(Kind::Deployment.name(number), body.to_string());
    }
    let job = Job::Revert { access: Access::deployer(&ground.tenant)?, collection: collection.clone(), bodies };
    let probe = Probe::start(&ground.hand, &[&collection])?;
    Ok(Field { plane, hand: Api::new(&ground.hand)?, probe, collection, job })
}

/// One kind of drift, by both sides.
fn both(ground: &mut Ground<'_>, field: &Field<'_>, drift: Drift, rounds: u32) -> Result<(Measured, Measured)> {
    let (mut writ, mut reference) = (Measured::default(), Measured::default());
    for side in order(rounds) {
        match side {
            Side::Writ => {
                let pid = ground.start_writ()?;
                turn(field, drift, pid, &mut writ)?;
                ground.stop_writ()?;
            }
            Side::Reference => {
                let process = Reference::start(&field.job)?;
                turn(field, drift, process.pid(), &mut reference)?;
            }
        }
    }
    Ok((writ, reference))
}

/// Every object drifts once, one after the other.
fn turn(field: &Field<'_>, drift: Drift, pid: u32, measured: &mut Measured) -> Result<()> {
    let act = |number| drift.act(&field.hand, &field.probe, &field.collection, number);
    for number in 0..WARM_UP {
        act(number)?;
    }
    let (requests, cpu) = (RequestTotals::of(field.plane)?, cpu_milliseconds(pid)?);
    for number in 0..OBJECTS {
        std::thread::sleep(GAP);
        measured.latencies.push(act(number)?);
    }
    measured.cpu += cpu_milliseconds(pid)? - cpu;
    measured.requests += applies(&RequestTotals::of(field.plane)?, &requests);
    Ok(())
}

/// Applies of Deployments since `before`: the hand's edits are no applies.
fn applies(now: &RequestTotals, before: &RequestTotals) -> u64 {
    let filter = RequestFilter {
        verb: Some("APPLY"),
        group: Some("apps"),
        resource: Some("deployments"),
        ..RequestFilter::default()
    };
    now.count_since(before, &filter)
}

fn compare(
    report: &mut Report,
    prefix: &str,
    writ: &Measured,
    reference: &Measured,
    (half, most): (f64, f64),
) -> Result<()> {
    for (name, share, goal) in
        [("p50", 0.5, Goal::AtMost(half)), ("p90", 0.9, Goal::None), ("p99", 0.99, Goal::AtMost(most))]
    {
        let [writ, reference] = [writ, reference].map(|side| percentile(&side.latencies, share));
        report.compare(&format!("{prefix}{name}"), "ms", writ?, reference?, goal)?;
    }
    let [of_writ, of_reference] = [writ, reference].map(|side| side.cpu / side.latencies.len() as f64);
    report.compare(&format!("{prefix}cpu"), "ms_per_drift", of_writ, of_reference, Goal::AtMost(2.0))?;
    let requests = writ.requests as f64 / writ.latencies.len() as f64;
    report.limit(&format!("{prefix}requests_per_revert"), requests, Goal::AtMost(1.0));
    report.figure(&format!("{prefix}drifts"), writ.latencies.len() as f64);
    Ok(())
}

/// Edits while 1,000 new objects are applied, by both sides.
fn cold(ground: &mut Ground<'_>, field: &Field<'_>, rounds: u32, report: &mut Report) -> Result<()> {
    eprintln!("during a cold apply");
    let (mut writ, mut reference) = (Measured::default(), Measured::default());
    // Numbers that no other part of this bench uses.
    let mut next = MANY;
    for side in order(rounds) {
        let numbers = next..next + COLD;
        next += COLD;
        match side {
            Side::Writ => {
                let pid = ground.start_writ()?;
                declare(ground, Kind::ConfigMap, numbers)?;
                let (head, _) = ground.push("Deploy more")?;
                let new = Probe::start(&ground.hand, &[&Kind::ConfigMap.collection(ground.tenant.namespace())])?;
                ground.poke_source()?;
                meanwhile(field, &new, pid, &mut writ)?;
                ground.wait_applied(&head)?;
                ground.stop_writ()?;
            }
            Side::Reference => {
                let collection = Kind::ConfigMap.collection(ground.tenant.namespace());
                let body = |number| {
                    let path = format!("{collection}/{}", Kind::ConfigMap.name(number));
                    (path, Kind::ConfigMap.object(number, 0).to_string())
                };
                let bodies = numbers.map(body).collect();
                let access = Access::deployer(&ground.tenant)?;
                let mut apply = Reference::start(&Job::Apply { access, bodies, in_flight: IN_FLIGHT })?;
                let revert = Reference::start(&field.job)?;
                let new = Probe::start(&ground.hand, &[&collection])?;
                apply.demand("go")?;
                meanwhile(field, &new, revert.pid(), &mut reference)?;
                apply.done()?;
            }
        }
    }
    // CPU is that of the roll-out, too: it is not compared.
    for (name, share, goal) in [("cold_p50", 0.5, Goal::AtMost(2.0)), ("cold_p99", 0.99, Goal::AtMost(2.0))] {
        let [writ, reference] = [&writ, &reference].map(|side| percentile(&side.latencies, share));
        report.compare(name, "ms", writ?, reference?, goal)?;
    }
    report.figure("cold_drifts_writ", writ.latencies.len() as f64);
    report.figure("cold_drifts_reference", reference.latencies.len() as f64);
    Ok(())
}

/// Edits from the first new object to the last.
fn meanwhile(field: &Field<'_>, new: &Probe, pid: u32, measured: &mut Measured) -> Result<()> {
    new.next()?;
    let (mut applied, before, cpu) = (1, measured.latencies.len(), cpu_milliseconds(pid)?);
    for number in (0..OBJECTS).cycle() {
        let took = Drift::Edited.act(&field.hand, &field.probe, &field.collection, number)?;
        applied += new.seen_meanwhile()?;
        if applied >= COLD {
            break;
        }
        measured.latencies.push(took);
    }
    measured.cpu += cpu_milliseconds(pid)? - cpu;
    ensure!(measured.latencies.len() > before, "the apply was over before the first edit was");
    Ok(())
}

/// CPU time of an event whose object is as declared: only its status is another.
fn settle(ground: &mut Ground<'_>, field: &Field<'_>, report: &mut Report) -> Result<()> {
    eprintln!("events that change nothing");
    let pid = ground.start_writ()?;
    // What was listed is judged.
    ground.force_pass()?;
    let writ = changed_statuses(field, pid)?;
    ground.stop_writ()?;
    let process = Reference::start(&field.job)?;
    let reference = changed_statuses(field, process.pid())?;
    report.limit("settle_us_writ", writ, Goal::AtMost(30.0));
    report.figure("settle_us_reference", reference);
    Ok(())
}

/// Writes statuses, and returns the CPU time of the process in microseconds per event.
fn changed_statuses(field: &Field<'_>, pid: u32) -> Result<f64> {
    let write = |numbers: std::ops::Range<usize>| -> Result<()> {
        for number in numbers {
            let path = format!("{}/{}/status", field.collection, Kind::Deployment.name(number % OBJECTS));
            let condition = json!({"type": "Progressing", "status": "True", "message": format!("{pid} {number}")});
            let patch = json!({"status": {"conditions": [condition]}}).to_string();
            field.hand.patch(&format!("{path}?fieldManager=hand"), Patch::Merge, &patch)?;
        }
        Ok(())
    };
    // Each content is compared once: what follows is the same.
    write(0..OBJECTS)?;
    let before = cpu_milliseconds(pid)?;
    write(OBJECTS..OBJECTS + EVENTS)?;
    // The probe is at least as busy: once it has seen all, so has whoever is measured.
    for _ in 0..OBJECTS + EVENTS {
        field.probe.next().context("a status")?;
    }
    let used = cpu_milliseconds(pid)? - before;
    Ok(used * 1_000.0 / EVENTS as f64)
}
