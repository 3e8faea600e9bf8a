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
    manifests::Kind,
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
/// How long the process may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);

/// What one cold roll-out came to.
struct Cold {
    objects_per_second: f64,
    cpu_per_object: f64,
}

pub(super) fn run(workspace: &Workspace, plane: &ControlPlane, rounds: u32) -> Result<Report> {
    let mut report = Report::new("apply")?;
    warm_up(workspace, plane, &mut report)?;
    let (mut writ, mut reference) = (Vec::new(), Vec::new());
    for side in order(rounds) {
        match side {
            Side::Writ => writ.push(writ_turn(workspace, plane, &mut report)?),
            Side::Reference => reference.push(reference_turn(plane)?),
        }
    }
    let rate = |side: &[Cold]| median(&side.iter().map(|cold| cold.objects_per_second).collect::<Vec<_>>());
    report.compare("throughput", "objects_per_s", rate(&writ)?, rate(&reference)?, Goal::AtLeast(0.9))?;
    for (name, side) in [("cpu_ms_per_object_writ", &writ), ("cpu_ms_per_object_reference", &reference)] {
        report.figure(name, median(&side.iter().map(|cold| cold.cpu_per_object).collect::<Vec<_>>())?);
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
    report.figure("noop_requests", managed(&RequestTotals::of(plane)?, &before, None) as f64);
    ground.stop_writ()
}

/// Requests about objects of both kinds since `before`, watches aside: they are counted when they end.
fn managed(now: &RequestTotals, before: &RequestTotals, verb: Option<&str>) -> u64 {
    let verbs = verb.map_or_else(|| vec!["APPLY", "PATCH", "PUT", "POST", "DELETE", "GET", "LIST"], |verb| vec![verb]);
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
    let (requests, cpu, poked) = (RequestTotals::of(plane)?, cpu_milliseconds(pid)?, Instant::now());
    ground.poke_source()?;
    let (first, last) = all(&probe)?;
    let cpu = cpu_milliseconds(pid)? - cpu;
    ground.wait_applied(&head)?;
    report.figure("first_object_s", first.saturating_duration_since(poked).as_secs_f64());
    report.figure("applied_status_s", poked.elapsed().as_secs_f64());
    let sent = managed(&RequestTotals::of(plane)?, &requests, Some("APPLY"));
    report.figure("requests_per_object", sent as f64 / (2 * EACH) as f64);
    std::thread::sleep(SETTLE);
    report.figure("rss_mb_2000", ground.resident_mebibytes()?);
    ground.stop_writ()?;
    Ok(cold(first, last, cpu))
}

fn reference_turn(plane: &ControlPlane) -> Result<Cold> {
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
    let access = Access::deployer(&tenant)?;
    let mut process = Reference::start(&Job::Apply { access, bodies, in_flight: IN_FLIGHT })?;
    let cpu = cpu_milliseconds(process.pid())?;
    process.demand("go")?;
    let (first, last) = all(&probe)?;
    process.done()?;
    let cpu = cpu_milliseconds(process.pid())? - cpu;
    Ok(cold(first, last, cpu))
}

/// As many labels as writ puts on an object, so that the server has the same work.
fn mark(body: &mut Value, namespace: &str) -> Result<()> {
    let metadata = body.get_mut("metadata").and_then(Value::as_object_mut).context("metadata")?;
    metadata.insert("namespace".to_owned(), namespace.into());
    let labels = metadata.get_mut("labels").and_then(Value::as_object_mut).context("labels")?;
    labels.insert("writ.dev/instance".to_owned(), namespace.into());
    labels
        .insert("applyset.kubernetes.io/part-of".to_owned(), json!("applyset-reference-of-the-bench-no-set-at-all-v1"));
    Ok(())
}

/// When the first and the last of all objects were seen.
fn all(probe: &Probe) -> Result<(Instant, Instant)> {
    let mut names = BTreeSet::new();
    let mut first = None;
    loop {
        let seen = probe.next()?;
        first.get_or_insert(seen.at);
        names.insert(seen.name);
        if names.len() == 2 * EACH {
            return Ok((first.unwrap_or(seen.at), seen.at));
        }
    }
}

fn cold(first: Instant, last: Instant, cpu: f64) -> Cold {
    let objects = (2 * EACH) as f64;
    let seconds = last.saturating_duration_since(first).as_secs_f64();
    Cold { objects_per_second: objects / seconds, cpu_per_object: cpu / objects }
}
