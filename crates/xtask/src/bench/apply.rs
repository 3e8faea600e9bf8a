//! New objects in an empty namespace, the pass without changes, and memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::{ControlPlane, RequestFilter, RequestTotals, Rights, Tenant};

use super::{
    Side,
    api::Access,
    ground::Ground,
    manifests::{INSTANCE_LABEL, Kind},
    order,
    probe::Probe,
    reference::{Job, Reference},
    report::{Goal, Report, cpu_milliseconds, median},
};
use crate::workspace::Workspace;

/// Objects of each of the two kinds.
const EACH: usize = 1_000;
/// Objects of each kind in the first roll-out, which warms the server up and shows the memory at 1,000 objects.
const WARM_UP_EACH: usize = 500;
/// Requests that the bare loop keeps in flight: more do not make a small API server faster.
const IN_FLIGHT: usize = 16;
/// Both kinds, in the order in which writ applies them.
const KINDS: [Kind; 2] = [Kind::ConfigMap, Kind::Deployment];
/// Everything that can be asked about an object, as the server counts it; applies first.
const VERBS: [&str; 7] = ["APPLY", "PATCH", "PUT", "POST", "DELETE", "GET", "LIST"];
/// How long the process may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);

/// What one cold roll-out came to.
struct Cold {
    /// From the first object to the last.
    objects_per_second: f64,
    /// From the word to begin to the last object.
    objects_per_second_from_poke: f64,
    cpu_per_object: f64,
}

/// When a roll-out was asked for, and when its first and its last object were seen.
struct Times {
    poked: Instant,
    first: Instant,
    last: Instant,
}

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane, rounds: u32) -> Result<Report> {
    let mut report = Report::new("apply")?;
    warm_up(workspace, plane, &mut report)?;
    let (mut writ, mut reference, mut impersonating) = (Vec::new(), Vec::new(), Vec::new());
    for side in order(rounds) {
        match side {
            Side::Writ => writ.push(writ_turn(workspace, plane, &mut report)?),
            Side::Reference => {
                reference.push(reference_turn(plane, Access::deployer)?);
                impersonating.push(reference_turn(plane, Access::impersonating)?);
            }
        }
    }
    let middle = |side: &[Cold], value: fn(&Cold) -> f64| median(&side.iter().map(value).collect::<Vec<_>>());
    let rate: fn(&Cold) -> f64 = |cold| cold.objects_per_second;
    let from_poke: fn(&Cold) -> f64 = |cold| cold.objects_per_second_from_poke;
    report.compare(
        "throughput",
        "objects_per_s",
        middle(&writ, rate)?,
        middle(&reference, rate)?,
        Goal::AtLeast(0.9),
    )?;
    // Ratios as well, beside the one that has a goal: fetch and judgement counted in, and the same work for the server.
    report.figure("throughput_from_poke", middle(&writ, from_poke)? / middle(&reference, from_poke)?);
    report.figure("throughput_impersonated", middle(&writ, rate)? / middle(&impersonating, rate)?);
    for (name, side) in [("cpu_ms_per_object_writ", &writ), ("cpu_ms_per_object_reference", &reference)] {
        report.figure(name, middle(side, |cold| cold.cpu_per_object)?);
    }
    report.finish()
}

fn write(ground: &Ground<'_>, each: usize) -> Result<()> {
    for (kind, number) in KINDS.into_iter().flat_map(|kind| (0..each).map(move |number| (kind, number))) {
        ground.repo.write(&kind.file(number), kind.text(number, 0)?)?;
    }
    Ok(())
}

/// 1,000 objects: memory, and what a pass without changes asks of the server.
fn warm_up(workspace: &Workspace, plane: &ControlPlane, report: &mut Report) -> Result<()> {
    let mut ground = Ground::set(workspace, plane)?;
    ground.start_writ()?;
    write(&ground, WARM_UP_EACH)?;
    ground.roll_out("Deploy")?;
    std::thread::sleep(SETTLE);
    report.figure("rss_mb_1000", ground.resident_mebibytes()?);
    let before = RequestTotals::of(plane)?;
    ground.force_pass()?;
    std::thread::sleep(SETTLE);
    report.figure("noop_requests", managed(&RequestTotals::of(plane)?, &before, &VERBS) as f64);
    ground.stop_writ()
}

/// Requests about objects of both kinds since `before`, watches aside: they are counted when they end.
fn managed(now: &RequestTotals, before: &RequestTotals, verbs: &[&str]) -> u64 {
    let kinds = [("", "configmaps"), ("apps", "deployments")];
    let filters = verbs.iter().flat_map(|verb| kinds.map(|(group, resource)| (*verb, group, resource)));
    filters
        .map(|(verb, group, resource)| {
            let filter = RequestFilter {
                verb: Some(verb),
                group: Some(group),
                resource: Some(resource),
                ..RequestFilter::default()
            };
            now.count_since(before, &filter)
        })
        .sum()
}

fn writ_turn(workspace: &Workspace, plane: &ControlPlane, report: &mut Report) -> Result<Cold> {
    let mut ground = Ground::set(workspace, plane)?;
    let pid = ground.start_writ()?;
    // Everything is there but the objects: watches, connections, the accepted introduction.
    for kind in KINDS {
        ground.repo.write(&kind.file(EACH), kind.text(EACH, 0)?)?;
    }
    ground.roll_out("Deploy the first two")?;
    write(&ground, EACH)?;
    let (head, _) = ground.push("Deploy")?;
    let collections = KINDS.map(|kind| kind.collection(ground.tenant.namespace()));
    let probe = Probe::start(&ground.hand, &collections.each_ref().map(String::as_str))?;
    let (requests, cpu) = (RequestTotals::of(plane)?, cpu_milliseconds(pid)?);
    let poked = Instant::now();
    ground.poke_source()?;
    let times = all(&probe, poked)?;
    let cpu = cpu_milliseconds(pid)? - cpu;
    ground.wait_applied(&head)?;
    report.figure("first_object_s", times.first.saturating_duration_since(poked).as_secs_f64());
    report.figure("applied_status_s", poked.elapsed().as_secs_f64());
    let (now, objects) = (RequestTotals::of(plane)?, (2 * EACH) as f64);
    let (apply, others) = VERBS.split_at(1);
    report.figure("requests_per_object", managed(&now, &requests, apply) as f64 / objects);
    report.figure("reads_per_object", managed(&now, &requests, others) as f64 / objects);
    std::thread::sleep(SETTLE);
    report.figure("rss_mb_2000", ground.resident_mebibytes()?);
    ground.stop_writ()?;
    Ok(cold(&times, cpu))
}

fn reference_turn(plane: &ControlPlane, who: fn(&Tenant<'_>) -> Result<Access>) -> Result<Cold> {
    let tenant = Tenant::create(plane, Rights::Namespace)?;
    let hand = Access::hand(&tenant)?;
    let mut bodies = Vec::new();
    for (kind, number) in KINDS.into_iter().flat_map(|kind| (0..EACH).map(move |number| (kind, number))) {
        let mut body = kind.object(number, 0);
        mark(&mut body, tenant.namespace())?;
        let path = format!("{}/{}", kind.collection(tenant.namespace()), kind.name(number));
        bodies.push((path, body.to_string()));
    }
    let collections = KINDS.map(|kind| kind.collection(tenant.namespace()));
    let probe = Probe::start(&hand, &collections.each_ref().map(String::as_str))?;
    let access = who(&tenant)?;
    let mut process = Reference::start(&Job::Apply { access, bodies, in_flight: IN_FLIGHT })?;
    let cpu = cpu_milliseconds(process.pid())?;
    let poked = Instant::now();
    process.demand("go")?;
    let times = all(&probe, poked)?;
    process.done()?;
    let cpu = cpu_milliseconds(process.pid())? - cpu;
    Ok(cold(&times, cpu))
}

/// As many labels as writ puts on an object, so that the server has the same work.
fn mark(body: &mut Value, namespace: &str) -> Result<()> {
    let metadata = body.get_mut("metadata").and_then(Value::as_object_mut).context("metadata")?;
    metadata.insert("namespace".to_owned(), namespace.into());
    let labels = metadata.get_mut("labels").and_then(Value::as_object_mut).context("labels")?;
    labels.insert(INSTANCE_LABEL.to_owned(), namespace.into());
    labels
        .insert("applyset.kubernetes.io/part-of".to_owned(), json!("applyset-reference-of-the-bench-no-set-at-all-v1"));
    Ok(())
}

/// Waits until all objects were seen.
fn all(probe: &Probe, poked: Instant) -> Result<Times> {
    let mut names = BTreeSet::new();
    let mut first = None;
    loop {
        let seen = probe.next()?;
        first.get_or_insert(seen.at);
        names.insert(seen.name);
        if names.len() == 2 * EACH {
            return Ok(Times { poked, first: first.unwrap_or(seen.at), last: seen.at });
        }
    }
}

fn cold(times: &Times, cpu: f64) -> Cold {
    let objects = (2 * EACH) as f64;
    let since = |start: Instant| times.last.saturating_duration_since(start).as_secs_f64();
    Cold {
        objects_per_second: objects / since(times.first),
        objects_per_second_from_poke: objects / since(times.poked),
        cpu_per_object: cpu / objects,
    }
}
