//! What survives: crashes at every step, an API server and a database that go away, refuse and dawdle, a state volume that is full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::{
    Component, ControlPlane, Profile, Scratch, WRIT_NAMESPACE, WRIT_SERVICE_ACCOUNT, hermetic_command, run, wait_until,
};

use crate::stage::{Owner, Proxy, SOURCE, SYNC, Setup, Stage, Story, Test, View, WITHIN, config_map};

/// The named steps of a roll-out at which a crash is made (`controller::FaultPoint`), and what leads there.
const STEPS: [(&str, Cause); 13] = [
    ("fetched", Cause::Commit),
    ("judged", Cause::Commit),
    ("verified-recorded", Cause::Commit),
    ("prepared", Cause::Commit),
    ("advance-recorded", Cause::Commit),
    ("object-applied", Cause::Commit),
    ("object-applied", Cause::Deletion),
    ("applied", Cause::Commit),
    ("remembered", Cause::Commit),
    ("outcome-recorded", Cause::Commit),
    ("revert-recorded", Cause::Drift),
    ("object-applied", Cause::Drift),
    ("reverted", Cause::Drift),
];
/// Crashes of a normal run.
const SEEDS: u64 = 20;
/// Crashes of a long run.
const SOAK_SEEDS: u64 = 200;
/// A crash comes at most so long after a step: half of them, the others at the step itself. A roll-out takes some 50 ms from fetch to
/// outcome, so that these instants lie anywhere in it.
const MAX_AFTER_MICROS: u64 = 40_000;
/// Objects that are in flight together: one is changed, the others come.
const WAVE: u64 = 6;

/// What leads to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Commit,
    /// A commit as well, but the crash comes when its deletions are under way, which are last.
    Deletion,
    Drift,
}

/// One crash, drawn from its seed.
struct Crash {
    seed: u64,
    cause: Cause,
    /// `NAME:PASS+MICROSECONDS`
    instant: String,
    decisions: Decisions,
}

/// How often a Sync may decide about the commit of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decisions {
    /// The crash comes before the decision, before anything of it was done, or after its outcome.
    One,
    /// It may come in between: then less is left to do, which is another plan.
    UpToTwo,
}

impl Crash {
    /// Steps in turn, so that no run leaves one out; which object of the wave and how long after the step by chance.
    fn of(seed: u64) -> Result<Self> {
        let (point, cause) = STEPS[usize::try_from(seed)? % STEPS.len()];
        let mut chance = Chance(seed);
        let pass = match (point, cause) {
            ("object-applied", Cause::Commit) => 1 + chance.below(WAVE - 1),
            // Behind the wave; as many leave as came with the seed before.
            ("object-applied", Cause::Deletion) => WAVE + 1 + chance.below(WAVE - 1),
            _ => 1,
        };
        let after = if chance.below(2) == 0 { 0 } else { chance.below(MAX_AFTER_MICROS) };
        let decisions = match (cause, point) {
            (Cause::Drift, _) | (_, "outcome-recorded") => Decisions::One,
            (_, "object-applied" | "applied" | "remembered") => Decisions::UpToTwo,
            _ if after == 0 => Decisions::One,
            _ => Decisions::UpToTwo,
        };
        Ok(Self { seed, cause, instant: format!("{point}:{pass}+{after}"), decisions })
    }
}

/// Splitmix64: equal seeds, equal numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Killed at each step of a roll-out: after a restart the cluster is at the accepted revision, nothing is left over, and the log has
/// every decision once.
#[test]
fn controller_killed_at_every_step_of_a_roll_out() -> Test {
    let soak = std::env::var_os("WRIT_TEST_SOAK").is_some_and(|value| value == "1");
    let mut stage = Setup::shared()?.start()?;
    let mut twice = BTreeSet::new();
    for seed in 0..if soak { SOAK_SEEDS } else { SEEDS } {
        let one = Crash::of(seed)?;
        let commit = crash(&mut stage, &one).with_context(|| format!("seed {seed}, killed at {}", one.instant))?;
        if one.decisions == Decisions::UpToTwo {
            twice.insert(commit);
        }
        println!("seed {seed}: killed at {}, converged", one.instant);
    }
    stage.audit_verifies()?;
    wait_until("the last outcome is published", WITHIN, || every_decision_once(&stage, &twice))
}

/// The commit that is in force in the end.
fn crash(stage: &mut Stage<'_>, crash: &Crash) -> Result<String> {
    stage.kill()?;
    let commit = match crash.cause {
        Cause::Commit | Cause::Deletion => {
            // One object changes, some come, and those of the seed before leave.
            let seed = crash.seed;
            let extra: Vec<String> =
                (1..WAVE).map(|number| config_map(&format!("seed-{seed}-{number}"), "v")).collect();
            stage.repo.write("apps/extra.yaml", extra.join("---\n"))?;
            stage.change("apps/settings.yaml", &config_map("settings", &format!("of seed {seed}")))?
        }
        Cause::Drift => {
            stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
            stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
            stage.good().to_owned()
        }
    };
    stage.start_and_die_at(&crash.instant)?;
    stage.start()?;
    stage.applied(&commit)?;
    converged(stage)?;
    Ok(commit)
}

/// Exactly what the work tree declares is in the cluster with our label.
fn converged(stage: &mut Stage<'_>) -> Test {
    let settings = stage.repo.read("apps/settings.yaml")?;
    let extra = stage.repo.read("apps/extra.yaml").unwrap_or_default();
    let declared: BTreeSet<String> = [settings.as_str(), extra.as_str()]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("  name: ").map(str::to_owned))
        .collect();
    stage.wait("the cluster is as declared", |view| {
        let path = format!("/api/v1/namespaces/{0}/configmaps?labelSelector=writ.dev/instance={0}", view.namespace);
        let list = view.get(&path)?;
        let items = list["items"].as_array().context("no items")?;
        let there: BTreeSet<String> =
            items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect();
        ensure!(there == declared, "there: {there:?}, declared: {declared:?}");
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value.as_str().is_some_and(|value| settings.contains(value)), "the value is {value}");
        let replicas = view.deployment("web")?["spec"]["replicas"].clone();
        ensure!(replicas == 1, "replicas: {replicas}");
        Ok(())
    })
}

/// For each commit: one entry of the source gate, one advance of the Sync for each plan, before its outcome, and one `applied`.
///
/// A crash in the middle of a wave leaves less to do, which is another plan and another decision: only for the commits in `twice`,
/// and only if another thing is done to some object.
fn every_decision_once(stage: &Stage<'_>, twice: &BTreeSet<String>) -> Test {
    let mut verified: BTreeMap<String, u32> = BTreeMap::new();
    let mut advanced: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut applied: BTreeMap<String, u32> = BTreeMap::new();
    for (number, entry) in stage.entries(&["--body"])?.iter().enumerate() {
        ensure!(entry["index"] == number, "entry {number} is {}", entry["index"]);
        let subject = |name: &str| entry["subject"][name].as_str().unwrap_or_default().to_owned();
        let commit = subject("commit");
        match (entry["kind"].as_str(), subject("gate").as_str(), subject("result").as_str()) {
            (Some("advance"), "source", _) => *verified.entry(commit).or_default() += 1,
            (Some("advance"), "sync", _) => {
                ensure!(!applied.contains_key(&commit), "advanced once more after it was applied: {entry}");
                let changes = entry["body"]["changes"].as_array().context("an advance without changes")?;
                let actions =
                    changes.iter().map(|change| format!("{} {}", change["action"], change["object"])).collect();
                let plans = advanced.entry(commit).or_default();
                ensure!(!plans.contains(&actions), "the same decision twice: {entry}");
                plans.push(actions);
            }
            (Some("outcome"), _, "applied") => {
                ensure!(advanced.contains_key(&commit), "applied before it was accepted: {entry}");
                *applied.entry(commit).or_default() += 1;
            }
            _ => {}
        }
    }
    // The introduction's successors only: all commits that were ever pushed here.
    let commits: BTreeSet<String> = stage
        .repo
        .git(&["rev-list", "--first-parent", "main", "--max-count=1000"])?
        .lines()
        .map(str::to_owned)
        .collect();
    ensure!(verified.values().all(|&count| count == 1), "verified twice: {verified:?}");
    ensure!(applied.values().all(|&count| count == 1), "applied twice: {applied:?}");
    for (commit, plans) in &advanced {
        let most = if twice.contains(commit) { 2 } else { 1 };
        ensure!(plans.len() <= most, "{} decisions about {commit}, at most {most} are right: {plans:?}", plans.len());
    }
    ensure!(
        verified.keys().eq(advanced.keys()) && verified.keys().eq(applied.keys()),
        "{verified:?} {advanced:?} {applied:?}"
    );
    ensure!(verified.keys().all(|commit| commits.contains(commit)), "an unknown commit in {verified:?}");
    // The introduction itself was never a head.
    ensure!(verified.len() + 1 == commits.len(), "{} of {} commits are in the log", verified.len(), commits.len());
    Ok(())
}

/// Declares so many ConfigMaps that a fault finds their roll-out under way; the commit.
fn push_many(stage: &mut Stage<'_>, count: usize, value: &str) -> Result<String> {
    for file in 0..count.div_ceil(25) {
        let names = (file * 25..count.min((file + 1) * 25)).map(|number| config_map(&format!("many-{number}"), value));
        stage.repo.write(&format!("apps/many-{file}.yaml"), names.collect::<Vec<_>>().join("---\n"))?;
    }
    stage.commit("many")
}

fn all_there(stage: &mut Stage<'_>, count: usize, value: &str) -> Test {
    stage.wait("all are there", |view| {
        let list = view.get(&format!("/api/v1/namespaces/{}/configmaps?limit=5000", view.namespace))?;
        let items = list["items"].as_array().context("no items")?;
        let there = items.iter().filter(|item| item["data"]["value"] == value).count();
        ensure!(there == count, "{there} of {count}");
        Ok(())
    })
}

/// Some of many ConfigMaps are there, so that the roll-out is under way.
fn some_there(stage: &mut Stage<'_>) -> Test {
    stage.wait("the roll-out has begun", |view| view.config_map("many-0").map(drop))
}

fn heals_replicas(stage: &mut Stage<'_>) -> Test {
    stage.wait("the edit is reverted", |view| {
        let replicas = view.deployment("web")?["spec"]["replicas"].clone();
        ensure!(replicas == 1, "replicas: {replicas}");
        Ok(())
    })
}

#[test]
fn api_server_killed_and_restarted_in_mid_apply_and_mid_watch() -> Test {
    killed_and_restarted(Component::ApiServer)
}

#[test]
fn etcd_killed_and_restarted_in_mid_apply_and_mid_watch() -> Test {
    killed_and_restarted(Component::Etcd)
}

/// In mid apply, and in mid watch.
fn killed_and_restarted(component: Component) -> Test {
    const MANY: usize = 400;
    let plane = ControlPlane::start(Profile::Api)?;
    let mut stage = Setup::on(&plane).start()?;
    let commit = push_many(&mut stage, MANY, "v")?;
    some_there(&mut stage)?;
    plane.kill(component)?;
    let during = stage.log()?.contains(&format!("requests={MANY}"));
    ensure!(!during, "the roll-out was over before the fault");
    plane.restart(component)?;
    stage.applied(&commit)?;
    all_there(&mut stage, MANY, "v")?;

    // Idle now: only watches are open.
    plane.kill(component)?;
    plane.restart(component)?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    heals_replicas(&mut stage)?;
    stage.audit_verifies()?;
    let commit = stage.roll_out("apps/settings.yaml", &config_map("settings", "after"))?;
    // Once, and no more than once.
    let applied = || -> Result<usize> {
        let outcomes = stage.entries(&["--kind", "outcome"])?;
        Ok(outcomes.iter().filter(|entry| entry["subject"]["commit"] == commit.as_str()).count())
    };
    wait_until("the outcome is published", WITHIN, || match applied()? {
        1 => Ok(()),
        count => bail!("{count} outcomes"),
    })?;
    Ok(())
}

/// writ is stopped in its tracks while objects are edited and deleted and the API server forgets that past: the watch cannot go on
/// where it was (410 Gone).
#[test]
fn watch_closed_with_410() -> Test {
    let plane = ControlPlane::start(Profile::Api)?;
    let mut stage = Setup::on(&plane).start()?;
    let pid = stage.running()?.pid().to_string();
    let signal =
        |name: &str| run(hermetic_command("/bin/kill", std::path::Path::new("/")).args([name, &pid])).map(drop);
    signal("-STOP")?;
    // What happens now does not wait for writ in the buffers of a connection.
    plane.kill(Component::ApiServer)?;
    plane.restart(Component::ApiServer)?;
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    plane.kill(Component::ApiServer)?;
    plane.restart(Component::ApiServer)?;
    let before = stage.log()?.len();
    signal("-CONT")?;
    heals_replicas(&mut stage)?;
    stage.wait("the deleted object is back", |view| view.config_map("settings").map(drop))?;
    let log = stage.log()?;
    let log = log.get(before..).unwrap_or_default();
    for kind in ["kind=ConfigMap", "kind=Deployment.apps"] {
        let gone = log.lines().any(|line| line.contains("status=410") && line.contains(kind));
        ensure!(gone, "writ's watch of {kind} was not answered with 410:\n{log}");
    }
    stage.audit_verifies()
}

/// The API server takes one change at a time and answers 429 with Retry-After to the rest.
#[test]
fn api_server_that_answers_429_with_retry_after() -> Test {
    let flags =
        ["--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1", "--max-requests-inflight=20"];
    let scratch = Scratch::new("requests")?;
    let (policy, record) = (scratch.path().join("policy.yaml"), scratch.path().join("requests.log"));
    std::fs::write(&policy, REQUESTS_ARE_RECORDED).context("cannot write the audit policy")?;
    let files = [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", record.display())];
    let flags: Vec<&str> = flags.into_iter().chain(files.iter().map(String::as_str)).collect();
    let plane = ControlPlane::start_with(Profile::Api, &flags)?;
    let mut stage = Setup::on(&plane).start()?;
    let commit = push_many(&mut stage, 200, "v")?;
    stage.applied(&commit)?;
    all_there(&mut stage, 200, "v")?;
    let answers = answers_to_writ(&std::fs::read_to_string(&record).context("cannot read the record of requests")?)?;
    let refused: Vec<_> = answers.iter().filter(|(_, codes)| codes.contains(&429)).collect();
    ensure!(!refused.is_empty(), "the API server refused none of writ's requests: there was no fault");
    for (object, codes) in &refused {
        ensure!(codes.last().is_some_and(|code| *code < 300), "{object} was answered with {codes:?}");
    }
    println!("{} of writ's {} applies were answered with 429 first", refused.len(), answers.len());
    stage.audit_verifies()
}

/// An audit policy of the API server: who asked what, and how it was answered.
const REQUESTS_ARE_RECORDED: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n  - level: Metadata\n";

/// The status codes of the answers to writ's applies, by URI, in the order of the API server's record.
fn answers_to_writ(record: &str) -> Result<BTreeMap<String, Vec<u64>>> {
    let writ = format!("system:serviceaccount:{WRIT_NAMESPACE}:{WRIT_SERVICE_ACCOUNT}");
    let mut answers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    // The last line may be on its way.
    for line in record.rsplit_once('\n').unwrap_or_default().0.lines() {
        let event: Value = serde_json::from_str(line).context("not a record of a request")?;
        // Who asks, before it acts as somebody else.
        if event["user"]["username"] != writ.as_str() || event["verb"] != "patch" {
            continue;
        }
        let uri = event["requestURI"].as_str().context("no URI")?;
        let code = event["responseStatus"]["code"].as_u64().context("no status")?;
        if uri.contains("/configmaps/") {
            answers.entry(uri.to_owned()).or_default().push(code);
        }
    }
    Ok(answers)
}

#[test]
fn slow_api_server() -> Test {
    let plane = ControlPlane::shared(Profile::Api)?;
    let proxy = Proxy::start(plane.server())?;
    let mut stage = Setup::shared()?.api_server(&proxy.url()).start()?;
    proxy.delay(Duration::from_millis(150));
    let commit = push_many(&mut stage, 50, "v")?;
    stage.applied(&commit)?;
    all_there(&mut stage, 50, "v")?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    heals_replicas(&mut stage)
}

/// A file that takes whatever is left of writ's state volume, which only writ and its children see as mounted.
fn fill(stage: &mut Stage<'_>) -> Result<std::path::PathBuf> {
    use std::io::Write;
    let inside = format!("/proc/{}/root{}/ballast", stage.running()?.pid(), stage.state().display());
    let mut file = std::fs::File::create(&inside).with_context(|| format!("cannot create {inside}"))?;
    let mut piece = vec![0_u8; 1 << 20];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => bail!("cannot fill the volume: {error}"),
        }
    }
    Ok(inside.into())
}

#[test]
fn state_volume_full() -> Test {
    let mut stage = Setup::shared()?.volume("48m").start()?;
    let good = stage.good().to_owned();
    // Which it is depends on what writ came to write before the last block was taken.
    let mut log_is_full = Story::begin(&stage, "state-volume-full", "The state volume is full")?;
    let mut mirror_is_full =
        Story::begin(&stage, "state-volume-full-mirror", "The state volume is full: the mirror finds out first")?;
    let ballast = fill(&mut stage)?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "newer commit");
    let owner = cannot_write(&mut stage)?;
    let story = if owner == Owner::Sync { &mut log_is_full } else { &mut mirror_is_full };
    story.done("another file takes all that is left of the state volume; sam pushes a signed commit; somebody edits a Deployment");
    full_is_told(&stage, story, owner)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it was rolled out without a record");
    ensure!(stage.view.sync(SYNC)?["status"]["appliedRevision"] == good.as_str());
    story.then("nothing is rolled out.");
    roll_outs(&mut stage, story, 2)?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    heals_replicas(&mut stage)?;
    story.then("the edit is reverted all the same.");

    story.done("the file is removed");
    std::fs::remove_file(&ballast)?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    ensure!(stage.metrics()?.sum("writ_log_full", &[]) == Some(0.0), "the metric still says that the log is full");
    story.then("the commit is rolled out.");
    let mut story = if owner == Owner::Sync { log_is_full } else { mirror_is_full };
    roll_outs(&mut stage, &mut story, 4)?;
    story.end(&stage)
}

/// What the audit log says of roll-outs, as soon as it has so many entries.
fn roll_outs(stage: &mut Stage<'_>, story: &mut Story, count: usize) -> Test {
    let said = wait_until(&format!("{count} entries about roll-outs"), WITHIN, || {
        let said = stage.roll_outs_on_volume()?;
        ensure!(said.len() == count, "{said:?}");
        Ok(said)
    })?;
    story.seen("writ audit show /var/lib/writ/log --key log.pub  # advance and outcome of Sync shop", &said.join("\n"));
    Ok(())
}

/// Status, Event and log of whoever found the state volume full.
fn full_is_told(stage: &Stage<'_>, story: &mut Story, owner: Owner) -> Test {
    let (code, level) = if owner == Owner::Sync { ("A140", "ERROR") } else { ("W610", "WARN") };
    // Which file it was, and whether the last reserve was left, is not told here.
    let essence = |text: &str| -> Result<String> {
        let (found, rest) = text.split_once("; needed: ").with_context(|| format!("nothing is needed in {text}"))?;
        let is_full = ["No space left on device", "the volume is full"].iter().any(|cause| found.contains(cause));
        ensure!(is_full, "no cause in {text}");
        let rest = [" source=", " code="].iter().fold(rest, |rest, end| rest.split_once(end).map_or(rest, |cut| cut.0));
        Ok(format!("{code} …: No space left on device …; needed: {rest}"))
    };
    let resource = owner.read(&stage.view)?;
    let (ready, reason, message) = View::condition(&resource, "Ready");
    story.seen(
        &format!("kubectl describe {}", owner.resource().replace('/', " ")),
        &format!("Ready={ready} {reason} {}", essence(message)?),
    );
    let note = wait_until("the Event is there", WITHIN, || {
        let events = owner.events(&stage.view)?;
        let note = events.iter().rev().find(|event| event["reason"] == reason).and_then(|event| event["note"].as_str());
        note.map(str::to_owned).with_context(|| format!("there are only {events:?}"))
    })?;
    story.seen(&format!("kubectl events --for {}", owner.resource()), &format!("Warning {reason} {}", essence(&note)?));
    let log = stage.log()?;
    let told = |line: &&str| line.contains(code) && line.contains("; needed: ");
    let line = log.lines().find(told).with_context(|| format!("no line with {code} in the log"))?;
    story.seen("kubectl -n writ-system logs writ-0", &format!("{level} {}", essence(line)?));
    Ok(())
}

#[test]
fn state_volume_read_only_at_the_start() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.stop()?;
    let finished = stage.run_on_read_only_state()?;
    ensure!(finished.code == Some(2) || finished.code == Some(1), "status {:?}\n{}", finished.code, finished.stderr);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    ensure!(said.to_lowercase().contains("read-only"), "{said}");
    // Nothing was harmed: on a writable volume it goes on.
    stage.start()?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer")).map(drop)
}

/// As a volume over which a read-only mount is laid (a node that remounts it). No new file can be made there, so nothing is
/// rolled out and no checkpoint written, and the conditions say so. A journal that was opened before still takes records, so
/// reverts go on; where it takes none either, nothing is reverted (`audit`:
/// `a_failing_operation_fails_its_append_and_no_other`; without its receipt no plan is applied).
#[test]
fn state_volume_read_only_while_running() -> Test {
    let mut stage = Setup::shared()?.volume("48m").start()?;
    let good = stage.good().to_owned();
    // What was rolled out before gets its checkpoint within a second; afterwards none can be written.
    wait_until("the roll-out has its checkpoint", WITHIN, || {
        let said = stage.roll_outs_on_volume()?;
        ensure!(said.len() == 2, "{said:?}");
        Ok(())
    })?;
    let mut story = Story::begin(&stage, "state-volume-read-only", "The state volume becomes read-only")?;
    story.done("the state volume is remounted read-only; sam pushes a signed commit");
    stage.state_volume("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"")?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "newer commit");
    let owner = cannot_write(&mut stage)?;
    story.status(&stage, owner)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it was rolled out without a record");
    ensure!(stage.view.sync(SYNC)?["status"]["appliedRevision"] == good.as_str());
    story.then("nothing is rolled out.");
    roll_outs(&mut stage, &mut story, 2)?;

    story.done("kubectl scale deployment web --replicas=7");
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    heals_replicas(&mut stage)?;
    stage.wait("the TrustRoot tells that no checkpoint can be written", |view| {
        let status = view.trust_root()?["status"].clone();
        ensure!(status["conditions"].to_string().contains("A140"), "status: {status}");
        Ok(())
    })?;
    let root = stage.view.trust_root()?;
    let (intact, reason, message) = View::condition(&root, "LogIntact");
    story.seen("kubectl describe trustroot main  # LogIntact", &format!("{intact} {reason} {message}"));
    story.then(
        "the edit is put back: its entry is in the journal, which was opened for writing before. No checkpoint covers it yet.",
    );

    story.done("the state volume is writable again");
    stage.state_volume("umount \"$0\"")?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    stage.audit_verifies_on_volume()?;
    let reverts = stage.entries_on_volume()?.iter().filter(|entry| entry["kind"] == "revert").count();
    ensure!(reverts == 1, "{reverts} entries about the revert");
    story.then("the commit is rolled out.");
    roll_outs(&mut stage, &mut story, 4)?;
    story.end(&stage)
}

/// Waits until a condition says that the state volume takes nothing; of whom.
fn cannot_write(stage: &mut Stage<'_>) -> Result<Owner> {
    stage.wait("a condition says so", |view| {
        for owner in [Owner::Sync, Owner::Source] {
            let resource = owner.read(view)?;
            let (ready, _, message) = View::condition(&resource, "Ready");
            let known = message.contains("A140 StateVolume") || message.contains("W610 MirrorUnusable");
            if ready == "False" && known && message.contains("Fix: ") {
                return Ok(owner);
            }
        }
        bail!("source: {}; sync: {}", view.source()?["status"], view.sync(SYNC)?["status"])
    })
}

/// The Git source alone may be away while everything else is healed: also after a restart.
#[test]
fn restart_while_the_git_server_is_down() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.stop()?;
    stage.git.set_fault(Some(testkit::Fault::Down))?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.start()?;
    heals_replicas(&mut stage)?;
    let source: Value = stage.view.source()?;
    ensure!(source["metadata"]["name"] == SOURCE);
    stage.git.set_fault(None)?;
    let commit = stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    ensure!(stage.view.sync(SYNC)?["status"]["appliedRevision"] == commit.as_str());
    Ok(())
}
