//! The story: each step says what was done, what writ did, and how long it took.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::{Push, RequestFilter, RequestTotals, wait_until};

use super::stage::{PATIENCE, SHOP, Stage};
use crate::stage::text;

const SYNC: &str = "sync/shop";
const SOURCE: &str = "gitsource/shop";

/// Plays all steps; returns how many did not go as promised.
pub(crate) fn play(stage: &Stage) -> Result<u32> {
    let mut failures = 0;
    let mut step = |title: &str, act: &dyn Fn(&Stage) -> Result<String>| {
        let started = Instant::now();
        let (mark, said) = match act(stage) {
            Ok(said) => ("ok  ", said),
            Err(error) => {
                failures += 1;
                ("FAIL", format!("{error:#}"))
            }
        };
        println!(
            "{mark} {title} ({:.2} s)\n       {}",
            started.elapsed().as_secs_f64(),
            said.replace('\n', "\n       ")
        );
    };
    step(
        "dora pushes a signed commit: a Deployment, a Service, settings, a Secret, a kind and an object of it",
        &signed,
    );
    step("somebody scales the Deployment by hand", &hand_edit);
    step("somebody deletes the ConfigMap by hand", &hand_delete);
    step("an unsigned commit is pushed", &unsigned);
    step("dora pastes the printed fix and pushes what comes of it", &fixed);
    step("dora pushes a commit that violates a policy", &violation);
    step("the branch is rewritten to an older signed commit", &rewrite);
    step("the branch is mended: everything is as before", &mended);
    step("alice has policies take two people; sam alone signs a change of one, then alice approves it", &two_people);
    step("kim's key is stolen after a commit of hers was accepted; alice revokes it", &revoked);
    step("the audit log is verified", &audit);
    step("the secret value is looked for in everything that left writ", &secret);
    if failures > 0 {
        eprintln!("\nThe end of the controller's log:\n{}", tail(&stage.log()?, 40));
    }
    Ok(failures)
}

fn signed(stage: &Stage) -> Result<String> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    copy(stage, &example, "apps")?;
    copy(stage, &example, "platform")?;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop-payment\nstringData:\n  token: {}\n",
        stage.canary
    );
    stage.repo.write("apps/shop/payment.yaml", secret)?;
    stage.repo.commit_signed(&stage.people.dora, "Open the shop")?;
    let head = stage.push(Push::FastForward)?;
    stage.wait_field(SYNC, ".status.appliedRevision", &head)?;
    let item = stage.field("order/first-order", ".spec.item")?;
    ensure!(item == "umbrella", "the custom object says {item:?}");
    Ok(format!("accepted and applied {}: {} objects", short(&head), stage.field(SYNC, ".status.objects")?))
}

fn hand_edit(stage: &Stage) -> Result<String> {
    let before = RequestTotals::of(stage.plane)?;
    stage.tenant.kubectl(&["scale", "deployment", SHOP, "--replicas=9"])?;
    stage.wait_field("deployment/shop", ".spec.replicas", "2")?;
    wait_log(stage, "D101")?;
    if stage.plane.is_foreign() {
        return Ok("reverted to 2 replicas (requests are only counted where no other client is)".to_owned());
    }
    // Nobody else applies Deployments: kubectl patches the scale, the controllers of Kubernetes update.
    let applies = RequestFilter {
        verb: Some("APPLY"),
        group: Some("apps"),
        resource: Some("deployments"),
        ..RequestFilter::default()
    };
    // The server counts a request shortly after its effect can be seen.
    let counted = wait_until("the API server to count the revert", PATIENCE, || {
        let counted = RequestTotals::of(stage.plane)?.count_since(&before, &applies);
        ensure!(counted > 0, "it has counted none");
        Ok(counted)
    })?;
    ensure!(counted == 1, "the API server counted {counted} requests for one revert");
    Ok(format!("reverted to 2 replicas; requests for it that the API server counted: {counted}"))
}

fn hand_delete(stage: &Stage) -> Result<String> {
    stage.tenant.kubectl(&["delete", "configmap", "shop-settings"])?;
    wait_until("the ConfigMap to come back", PATIENCE, || {
        stage.tenant.kubectl(&["get", "configmap", "shop-settings"]).map(drop)
    })?;
    Ok("created again".to_owned())
}

fn unsigned(stage: &Stage) -> Result<String> {
    let before = stage.field(SYNC, ".status.acceptedRevision")?;
    edit(stage, "apps/shop/deployment.yaml", "replicas: 2", "replicas: 3")?;
    stage.repo.commit_unsigned("Scale, unsigned")?;
    let head = stage.push(Push::FastForward)?;
    let said = held(stage, SOURCE, &head, "W301")?;
    Ok(said + &untouched(stage, &before, "2")?)
}

fn fixed(stage: &Stage) -> Result<String> {
    let refused = stage.repo.head()?;
    let fix = stage.field(SOURCE, ".status.heldRevision.fix")?;
    let head = stage.repo.paste(&fix, &stage.people.dora)?;
    ensure!(head != refused, "the fix made no other commit");
    stage.push(Push::Force)?;
    stage.wait_field(SYNC, ".status.appliedRevision", &head)?;
    stage.wait_field("deployment/shop", ".spec.replicas", "3")?;
    let held = stage.field(SOURCE, ".status.heldRevision")?;
    ensure!(held.is_empty(), "a revision is still held: {held}");
    Ok(format!("accepted and applied {}: 3 replicas", short(&head)))
}

fn violation(stage: &Stage) -> Result<String> {
    let before = stage.field(SYNC, ".status.acceptedRevision")?;
    edit(stage, "apps/shop/deployment.yaml", "replicas: 3", "replicas: 50")?;
    stage.repo.commit_signed(&stage.people.dora, "Scale far too much")?;
    let head = stage.push(Push::FastForward)?;
    let said = held(stage, SYNC, &head, "W801")?;
    Ok(said + &untouched(stage, &before, "3")?)
}

fn rewrite(stage: &Stage) -> Result<String> {
    let before = stage.field(SYNC, ".status.acceptedRevision")?;
    let tip = stage.repo.head()?;
    stage.repo.reset(&format!("{before}~1"))?;
    let head = stage.push(Push::Force)?;
    let said = held(stage, SOURCE, &head, "W401")?;
    let healed = untouched(stage, &before, "3")?;
    stage.repo.reset(&tip)?;
    Ok(said + &healed)
}

fn mended(stage: &Stage) -> Result<String> {
    edit(stage, "apps/shop/deployment.yaml", "replicas: 50", "replicas: 4")?;
    stage.repo.commit_signed(&stage.people.dora, "Scale within the limit")?;
    let head = stage.push(Push::Force)?;
    stage.wait_field(SYNC, ".status.appliedRevision", &head)?;
    stage.wait_field("deployment/shop", ".spec.replicas", "4")?;
    let held = stage.field(SYNC, ".status.heldRevision")?;
    ensure!(held.is_empty(), "a revision is still held: {held}");
    Ok(format!("accepted and applied {}", short(&head)))
}

fn two_people(stage: &Stage) -> Result<String> {
    let trust = ".writ/trust.yaml";
    edit(stage, trust, "version: 1", "version: 2")?;
    edit(stage, trust, "  security:\n  - sam\n", "  security:\n  - alice\n  - sam\n")?;
    edit(stage, trust, "  - role: security\n    threshold: 1\n", "  - role: security\n    threshold: 2\n")?;
    stage.repo.sign_trust_file(&stage.people.alice)?;
    stage.repo.commit_signed(&stage.people.alice, "Policies take two people")?;
    let before = stage.push(Push::FastForward)?;
    stage.wait_field(SOURCE, ".status.verifiedRevision", &before)?;
    edit(stage, "policies/replicas.yaml", "more than five replicas.", "more than five replicas at once.")?;
    stage.repo.commit_signed(&stage.people.sam, "Say the limit in words")?;
    let head = stage.push(Push::FastForward)?;
    let said = held(stage, SOURCE, &head, "W303")?;
    stage.approve(&head, &stage.people.alice)?;
    stage.wait_field(SOURCE, ".status.verifiedRevision", &head)?;
    stage.wait_field(SOURCE, ".status.heldRevision", "")?;
    Ok(said + "\nalice approves it, without another push to the branch: accepted")
}

fn revoked(stage: &Stage) -> Result<String> {
    edit(stage, "apps/shop/deployment.yaml", "replicas: 4", "replicas: 5")?;
    stage.repo.commit_signed(&stage.people.kim, "Scale once more")?;
    let hers = stage.push(Push::FastForward)?;
    stage.wait_field(SYNC, ".status.appliedRevision", &hers)?;
    let trust = ".writ/trust.yaml";
    edit(stage, trust, "version: 2", "version: 3")?;
    let text = stage.repo.read(trust)?;
    let key = stage.people.kim.fingerprint()?;
    stage.repo.write(trust, format!("{text}revoked:\n- key: \"{key}\"\n  kind: hard\n  reason: stolen\n"))?;
    stage.repo.sign_trust_file(&stage.people.alice)?;
    stage.repo.commit_signed(&stage.people.alice, "Revoke the key of kim")?;
    let head = stage.push(Push::FastForward)?;
    let said = held(stage, SOURCE, &head, "W304")?;
    // The revocation is in force, and what runs is left alone and healed.
    stage.wait_field(SOURCE, ".status.verifiedRevision", &head)?;
    let before = stage.field(SYNC, ".status.acceptedRevision")?;
    let healed = untouched(stage, &before, "5")?;
    edit(stage, "apps/shop/deployment.yaml", "replicas: 5", "replicas: 4")?;
    stage.repo.commit_signed(&stage.people.dora, "Scale back, reviewed")?;
    let head = stage.push(Push::FastForward)?;
    stage.wait_field(SYNC, ".status.appliedRevision", &head)?;
    stage.wait_field("deployment/shop", ".spec.replicas", "4")?;
    Ok(said + &healed + "\ndora makes the file anew: accepted and applied")
}

fn audit(stage: &Stage) -> Result<String> {
    let log = stage.state.join("log");
    let (log, key) = (log.display().to_string(), stage.log_public_key.display().to_string());
    let finished = stage.run_writ(&["audit", "verify", &log, "--key", &key])?;
    ensure!(finished.code == Some(0), "writ audit verify: {}{}", finished.stdout, finished.stderr);
    Ok(finished.stdout.trim().to_owned())
}

fn secret(stage: &Stage) -> Result<String> {
    let canary = stage.canary.as_str();
    let encoded = stage.field("secret/shop-payment", ".data.token")?;
    // Also what is said of drift must not hold it.
    stage.tenant.kubectl(&[
        "patch",
        "secret",
        "shop-payment",
        "--type=merge",
        "-p",
        r#"{"stringData":{"token":"-"}}"#,
    ])?;
    stage.wait_field("secret/shop-payment", ".data.token", &encoded)?;
    wait_log(stage, "Secret")?;
    let mut places = vec![
        ("output of writ audit show", shown(stage)?),
        ("output of writ verify", verified(stage)?),
        ("log", stage.log()?),
        ("metrics", stage.metrics_text()?),
        ("status", stage.plane.kubectl(&["get", "syncs,gitsources,trustroots", "-A", "-o", "yaml"])?),
        ("events", stage.tenant.kubectl(&["get", "events", "-o", "yaml"])?),
    ];
    let mut files = vec![stage.state.join("log"), stage.state.join("expected")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
                files.push(entry?.path());
            }
        } else {
            places.push(("state", String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
        }
    }
    for (place, text) in &places {
        if text.contains(canary) || text.contains(&encoded) {
            bail!("the secret value stands in the {place}");
        }
    }
    Ok(format!(
        "edited in the Secret by hand first, and reverted; found nowhere in {} places: log, metrics, status, events, state files, output \
         of commands",
        places.len()
    ))
}

/// What `writ audit show` prints of all entries, with their bodies.
fn shown(stage: &Stage) -> Result<String> {
    let (log, key) = (stage.state.join("log"), stage.log_public_key.as_path());
    let finished = stage.run_writ(&["audit", "show", text(&log)?, "--key", text(key)?, "--last", "10000", "--body"])?;
    ensure!(finished.code == Some(0), "writ audit show: {}", finished.stderr);
    ensure!(finished.stdout.contains("shop-payment"), "writ audit show does not speak of the Secret");
    Ok(finished.stdout + &finished.stderr)
}

/// What `writ verify` prints of the whole history.
fn verified(stage: &Stage) -> Result<String> {
    let repo = stage.repo.path();
    let arguments = ["verify", "--repo", text(&repo)?, "--trust-root", text(&stage.trust_root)?, "-o", "json"];
    let finished = stage.run_writ(&arguments)?;
    ensure!(finished.code == Some(0), "writ verify: {}{}", finished.stdout, finished.stderr);
    Ok(finished.stdout + &finished.stderr)
}

/// Waits until a revision is held by a code; says code, cause and fix.
fn held(stage: &Stage, object: &str, revision: &str, code: &str) -> Result<String> {
    stage.wait_field(object, ".status.heldRevision.revision", revision)?;
    stage.wait_field(object, ".status.heldRevision.code", code)?;
    let reason = stage.field(object, ".status.heldRevision.reason")?;
    let message = stage.field(object, ".status.heldRevision.message")?;
    let fix = stage.field(object, ".status.heldRevision.fix")?;
    wait_log(stage, code)?;
    Ok(format!("refused: {code} {reason}\n{message}\nfix: {fix}"))
}

/// What was accepted stays in force and is healed; says how that was tried.
fn untouched(stage: &Stage, accepted: &str, replicas: &str) -> Result<String> {
    let now = stage.field(SYNC, ".status.acceptedRevision")?;
    ensure!(now == accepted, "the accepted revision moved to {now}");
    stage.tenant.kubectl(&["scale", "deployment", SHOP, "--replicas=7"])?;
    stage.wait_field("deployment/shop", ".spec.replicas", replicas)?;
    Ok(format!("\nmeanwhile scaled to 7 replicas by hand: reverted to {replicas}, as accepted"))
}

fn wait_log(stage: &Stage, needle: &str) -> Result<()> {
    wait_until(&format!("{needle} in the log"), PATIENCE, || {
        ensure!(stage.log()?.contains(needle), "it is not there");
        Ok(())
    })
}

fn copy(stage: &Stage, example: &Path, folder: &str) -> Result<()> {
    let mut folders = vec![example.join(folder)];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(example)?.to_str().context("a file name")?.to_owned();
            stage.repo.write(&name, fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn edit(stage: &Stage, file: &str, from: &str, to: &str) -> Result<()> {
    let text = stage.repo.read(file)?;
    ensure!(text.contains(from), "{file} does not say {from:?}");
    stage.repo.write(file, text.replace(from, to))
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
