//! Orders that people sign outside of Git: to take a Sync back, to let a commit through.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{PrincipalKind, Push, SigningKey, TrustFile};

use crate::stage::{Owner, People, SOURCE, SYNC, Setup, Stage, Story, Test, View, config_map, people_and_roles, writ};

/// An order as a person has it: a file with a manifest.
struct Order {
    kind: &'static str,
    plural: &'static str,
    name: String,
    file: std::path::PathBuf,
}

impl Order {
    fn resource(&self, view: &View<'_>) -> Result<Value> {
        view.object(&format!("apis/writ.dev/v1alpha1/{}", self.plural), &self.name)
    }

    fn apply(&self, stage: &Stage<'_>) -> Test {
        stage.tenant.kubectl(&["apply", "-f", &self.file.to_string_lossy()]).map(drop)
    }

    fn delete(&self, stage: &Stage<'_>) -> Test {
        stage.tenant.kubectl(&["delete", self.kind, &self.name]).map(drop)
    }

    /// Waits until its condition `Ready` says this.
    fn wait(&self, stage: &mut Stage<'_>, status: &str, reason: &str) -> Result<Value> {
        stage.wait(&format!("{} {} is Ready={status} {reason}", self.kind, self.name), |view| {
            let resource = self.resource(view)?;
            let (ready, why, message) = View::condition(&resource, "Ready");
            ensure!((ready, why) == (status, reason), "Ready={ready} {why}: {message}");
            Ok(resource)
        })
    }
}

/// Runs a command that signs an order, as a person does, and keeps what it prints; tells it.
fn sign(stage: &mut Stage<'_>, story: &mut Story, words: &[&str], key: &SigningKey) -> Result<String> {
    let (printed, said) = sign_untold(stage, words, key)?;
    let told = words.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
    let command = format!("writ {} --key <key file of {}>", told.collect::<Vec<_>>().join(" "), key.principal());
    story.seen(&command, &said);
    Ok(printed)
}

/// As [`sign`]; what is printed, and what is said beside it.
fn sign_untold(stage: &Stage<'_>, words: &[&str], key: &SigningKey) -> Result<(String, String)> {
    let (repo, private) = (stage.repo.path().display().to_string(), key.private_file().display().to_string());
    let finished = writ(&[words, &["--repo", &repo, "--key", &private]].concat())?;
    // The order of somebody who may not order it is printed all the same, and told as a finding.
    let expected = i32::from(finished.stderr.contains("does not count"));
    ensure!(finished.code == Some(expected), "{}", finished.stderr);
    Ok((finished.stdout, finished.stderr))
}

fn keep(stage: &mut Stage<'_>, printed: &str, kind: &'static str, plural: &'static str) -> Result<Order> {
    let name = printed.lines().find_map(|line| line.trim().strip_prefix("name: ")).context("no name")?.to_owned();
    let file = stage.state().with_file_name(format!("{name}.yaml"));
    std::fs::write(&file, printed).context("cannot write the order")?;
    stage.names.call(&name, "order");
    stage.names.call(&file.to_string_lossy(), "order.yaml");
    Ok(Order { kind, plural, name, file })
}

fn push_trust_file(stage: &mut Stage<'_>, file: &TrustFile) -> Result<String> {
    let root = stage.people.root.clone();
    push_trust_file_by(stage, file, &root)
}

fn push_trust_file_by(stage: &mut Stage<'_>, file: &TrustFile, root: &SigningKey) -> Result<String> {
    stage.repo.write(".writ/trust.yaml", file.text())?;
    stage.repo.sign_trust_file(root)?;
    let commit = stage.repo.commit_signed(root, "change trust")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

/// With sena beside sam in sre, and two of them for `apps/`.
fn two_for_apps(stage: &Stage<'_>) -> TrustFile {
    people_and_roles(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).role("pair", &["sam", "sena"]).rule(
        "apps",
        &["apps/**"],
        &[("pair", 2)],
        &["namespaced"],
    )
}

fn settings(view: &View<'_>) -> Result<Value> {
    Ok(view.config_map("settings")?["data"]["value"].clone())
}

/// Waits until the Sync is held to `commit` by an order.
fn rolled_back(stage: &mut Stage<'_>, commit: &str) -> Result<Value> {
    stage.wait("the Sync is rolled back", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!((ready, reason) == ("True", "RolledBack"), "Ready={ready} {reason}: {message}");
        ensure!(sync["status"]["appliedRevision"] == commit, "{}", sync["status"]);
        Ok(sync)
    })
}

/// One signature of two is not enough; both are. It holds over a hand edit, a restart and a commit elsewhere, until a
/// commit changes the folder; then the order is spent.
#[test]
fn a_rollback_takes_what_a_commit_would_take() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let first = stage.good().to_owned();
    stage.roll_out("apps/settings.yaml", &config_map("settings", "broken"))?;
    let file = two_for_apps(&stage).version(2);
    let newest = push_trust_file(&mut stage, &file)?;
    stage.applied(&newest)?;
    stage.names.call_commit(&newest, "newest commit");
    let order = one_signature_of_two(&mut stage, &first)?;
    let title = "A rollback that two people signed, and the commit that supersedes it";
    let mut story = Story::begin(&stage, "rollback", title)?;
    both_signatures(&mut stage, &mut story, &order)?;
    in_force(&mut stage, &mut story, &order, &first)?;
    still_in_force(&mut stage, &mut story, &order, &first)?;
    superseded(&mut stage, &mut story, &order)?;
    story.end(&stage)?;
    stage.audit_verifies()
}

/// Whoever may change the folder may order it back, but not with an order that is over, nor to where it is.
#[test]
fn a_rollback_that_is_none_is_refused() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let first = stage.good().to_owned();
    let newest = stage.roll_out("apps/settings.yaml", &config_map("settings", "broken"))?;
    stage.names.call_commit(&newest, "newest commit");
    let title = "A RollbackRequest that is over, and one to what is in force";
    let mut story = Story::begin(&stage, "rollback-refused", title)?;
    story.done("a commit that is applied breaks the shop; an order of sam to go back is over");
    rollback_refused(&mut stage, &mut story, &first, &["--until", "2026-01-02T03:04:05Z"])?;
    story.done("sam orders the commit that is in force");
    rollback_refused(&mut stage, &mut story, &newest, &[])?;
    story.audit_entry(&stage, "--code", "W703", |entry| entry["subject"]["commit"] == newest.as_str())?;
    stage.heals()?;
    ensure!(settings(&stage.view)? == "broken", "it was rolled back");
    story.then("nothing is rolled back.");
    story.end(&stage)?;
    stage.audit_verifies()
}

fn rollback_refused(stage: &mut Stage<'_>, story: &mut Story, to: &str, more: &[&str]) -> Test {
    let (sam, sync) = (stage.people.sre.clone(), format!("{}/{SYNC}", stage.view.namespace));
    let words = ["rollback", &sync, "--to", to, "--reason", "errors since the roll-out"];
    let printed = sign(stage, story, &[words.as_slice(), more].concat(), &sam)?;
    let order = keep(stage, &printed, "rollbackrequest", "rollbackrequests")?;
    order.apply(stage)?;
    let resource = order.wait(stage, "False", "RollbackInvalid")?;
    story.conditions(stage, "rollbackrequest", "order", &resource);
    order.delete(stage)
}

fn one_signature_of_two(stage: &mut Stage<'_>, first: &str) -> Result<Order> {
    let sam = stage.people.sre.clone();
    let title = "A rollback that one person signed and two must sign";
    let mut story = Story::begin(stage, "rollback-threshold-not-met", title)?;
    story.done(
        "a commit that is applied breaks the shop; changes of apps/ take two of sam and sena; sam orders the first commit back",
    );
    let sync = format!("{}/{SYNC}", stage.view.namespace);
    let words = ["rollback", &sync, "--to", first, "--reason", "errors since the roll-out"];
    let printed = sign(stage, &mut story, &words, &sam)?;
    let order = keep(stage, &printed, "rollbackrequest", "rollbackrequests")?;
    order.apply(stage)?;
    story.done("kubectl apply -f order.yaml");
    let resource = order.wait(stage, "False", "ThresholdNotMet")?;
    story.conditions(stage, "rollbackrequest", "order", &resource);
    story.log(stage, "W303")?;
    story.audit(stage, "W303")?;
    ensure!(settings(&stage.view)? == "broken", "it was rolled back");
    story.then("nothing is rolled back.");
    story.end(stage)?;
    Ok(order)
}

fn both_signatures(stage: &mut Stage<'_>, story: &mut Story, order: &Order) -> Test {
    let sena = stage.people.security.clone();
    story
        .done("sena adds her signature to the order of sam; the object is made anew: what was signed cannot be edited");
    let file = order.file.to_string_lossy().into_owned();
    let printed = sign(stage, story, &["rollback", "--add", &file], &sena)?;
    let edited = order.file.with_extension("edited");
    std::fs::write(&edited, &printed).context("cannot write the order")?;
    let refused = stage.tenant.kubectl(&["apply", "-f", &edited.to_string_lossy()]).map(drop);
    let refused = format!("{:#}", refused.err().context("the spec was edited")?);
    ensure!(refused.contains("spec is signed and cannot be changed"), "{refused}");
    order.delete(stage)?;
    std::fs::write(&order.file, &printed).context("cannot write the order")?;
    order.apply(stage)
}

fn in_force(stage: &mut Stage<'_>, story: &mut Story, order: &Order, first: &str) -> Test {
    rolled_back(stage, first)?;
    ensure!(settings(&stage.view)? == "good", "the settings are {}", settings(&stage.view)?);
    let resource = order.wait(stage, "True", "InForce")?;
    story.conditions(stage, "rollbackrequest", "order", &resource);
    story.status(stage, Owner::Sync)?;
    story.events(stage, Owner::Sync, "RolledBack")?;
    story.audit_kind(stage, "rollback", |_| true)?;
    metric(stage, "writ_rolled_back", "Sync", 1.0)?;
    stage.heals()?;
    story.then("a hand edit is reverted to what the first commit says.");
    Ok(())
}

fn still_in_force(stage: &mut Stage<'_>, story: &mut Story, order: &Order, first: &str) -> Test {
    stage.kill()?;
    order.delete(stage)?;
    stage.start()?;
    let file = two_for_apps(stage).version(3);
    let commit = push_trust_file(stage, &file)?;
    stage.wait("the commit elsewhere is verified", |view| {
        let source = view.source()?;
        ensure!(source["status"]["verifiedRevision"] == commit.as_str(), "{}", source["status"]);
        Ok(())
    })?;
    rolled_back(stage, first)?;
    stage.heals()?;
    ensure!(settings(&stage.view)? == "good", "the settings are {}", settings(&stage.view)?);
    story.then("it holds over a restart, without its object, and over a commit that changes nothing in the folder.");
    Ok(())
}

fn superseded(stage: &mut Stage<'_>, story: &mut Story, order: &Order) -> Test {
    let (sam, sena) = (stage.people.sre.clone(), stage.people.security.clone());
    stage.repo.write("apps/settings.yaml", config_map("settings", "mended"))?;
    let mended = stage.repo.commit_signed(&sam, "mend the settings")?;
    stage.push(Push::FastForward)?;
    stage.approve(&mended, &sena)?;
    stage.applied(&mended)?;
    ensure!(settings(&stage.view)? == "mended", "the settings are {}", settings(&stage.view)?);
    order.apply(stage)?;
    let resource = order.wait(stage, "False", "Superseded")?;
    story.done("sam mends the settings, sena approves it; git push; somebody applies the order again");
    story.conditions(stage, "rollbackrequest", "order", &resource);
    metric(stage, "writ_rolled_back", "Sync", 0.0)?;
    ensure!(settings(&stage.view)? == "mended", "the settings are {}", settings(&stage.view)?);
    story.then("the newest commit stays: an order works once.");
    Ok(())
}

/// What a Sync went back to is judged by the policies of today like a candidate: that is told, and what runs is healed.
#[test]
fn a_policy_of_today_objects_to_what_was_gone_back_to() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let (first, sam) = (stage.good().to_owned(), stage.people.sre.clone());
    stage.roll_out("apps/settings.yaml", &config_map("settings", "broken"))?;
    let sync = format!("{}/{SYNC}", stage.view.namespace);
    let (printed, _) = sign_untold(&stage, &["rollback", &sync, "--to", &first, "--reason", "errors"], &sam)?;
    keep(&mut stage, &printed, "rollbackrequest", "rollbackrequests")?.apply(&stage)?;
    rolled_back(&mut stage, &first)?;
    push_policy(&mut stage, "object.data.value != 'good'")?;
    let sync = stage.held(Owner::Sync, &first, "W801")?;
    for kind in ["Ready", "PolicyCompliant"] {
        ensure!(View::condition(&sync, kind).0 == "False", "{kind}: {}", sync["status"]);
    }
    ensure!(sync["status"]["appliedRevision"] == first.as_str(), "{}", sync["status"]);
    stage.heals()?;
    ensure!(settings(&stage.view)? == "good", "the settings are {}", settings(&stage.view)?);
    push_policy(&mut stage, "true")?;
    let sync = rolled_back(&mut stage, &first)?;
    ensure!(View::condition(&sync, "PolicyCompliant").0 == "True", "{}", sync["status"]);
    stage.audit_verifies()
}

fn push_policy(stage: &mut Stage<'_>, expression: &str) -> Test {
    stage.repo.write("policies/values.yaml", crate::bad_input::content::policy("values", expression))?;
    stage.repo.commit_signed(&stage.people.security, "a policy")?;
    stage.push(Push::FastForward).map(drop)
}

/// A metric of a custom resource is this.
fn metric(stage: &Stage<'_>, name: &str, kind: &str, value: f64) -> Test {
    let labels = [("kind", kind), ("namespace", stage.view.namespace.as_str())];
    let found = stage.metrics()?.sum(name, &labels);
    ensure!(found == Some(value), "{name} is {found:?}");
    Ok(())
}

/// A commit by somebody who may not make it is let through by who may change the trust file, for as long as they said, and
/// shown until somebody who may makes it anew.
#[test]
fn the_glass_is_broken_for_one_commit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let security = stage.people.security.clone();
    stage.repo.write("apps/settings.yaml", config_map("settings", "urgent"))?;
    let urgent = stage.repo.commit_signed(&security, "an urgent change")?;
    stage.push(Push::FastForward)?;
    stage.names.call_commit(&urgent, "urgent commit");
    stage.held(Owner::Source, &urgent, "W302")?;
    orders_that_are_none(&mut stage, &urgent)?;
    let title = "A BreakGlass lets a commit through that its author may not make";
    let mut story = Story::begin(&stage, "break-glass", title)?;
    let order = let_through(&mut stage, &mut story, &urgent)?;
    still_shown(&mut stage, &mut story, &order)?;
    made_anew(&mut stage, &mut story)?;
    story.end(&stage)?;
    stage.audit_verifies()
}

/// Signs and applies an order to let `commit` through.
fn break_glass(
    stage: &mut Stage<'_>,
    story: &mut Story,
    commit: &str,
    more: &[&str],
    key: &SigningKey,
) -> Result<Order> {
    let source = format!("{}/{SOURCE}", stage.view.namespace);
    let words = ["break-glass", &source, "--commit", commit, "--reason", "the shop is down"];
    let printed = sign(stage, story, &[words.as_slice(), more].concat(), key)?;
    let order = keep(stage, &printed, "breakglass", "breakglasses")?;
    order.apply(stage)?;
    Ok(order)
}

fn orders_that_are_none(stage: &mut Stage<'_>, urgent: &str) -> Test {
    let (root, security) = (stage.people.root.clone(), stage.people.security.clone());
    let title = "A BreakGlass that is over, and one by somebody who may not order it";
    let mut story = Story::begin(stage, "break-glass-invalid", title)?;
    story.done("sena changes apps/, which is not hers, and the commit is held (W302); an order of ruth is over");
    let expired = break_glass(stage, &mut story, urgent, &["--until", "2026-01-02T03:04:05Z"], &root)?;
    let resource = expired.wait(stage, "False", "Expired")?;
    story.conditions(stage, "breakglass", "order", &resource);
    expired.delete(stage)?;
    story.done("sena orders it herself");
    let own = break_glass(stage, &mut story, urgent, &[], &security)?;
    let resource = own.wait(stage, "False", "BreakGlassInvalid")?;
    story.conditions(stage, "breakglass", "order", &resource);
    story.audit(stage, "W702")?;
    own.delete(stage)?;
    stage.held(Owner::Source, urgent, "W302")?;
    ensure!(settings(&stage.view)? == "good", "it was let through");
    story.then("the commit is held.");
    story.end(stage)
}

fn let_through(stage: &mut Stage<'_>, story: &mut Story, urgent: &str) -> Result<Order> {
    let root = stage.people.root.clone();
    story.done("sena's commit is held (W302); ruth, who may change the trust file, signs an order and applies it");
    let order = break_glass(stage, story, urgent, &[], &root)?;
    stage.applied(urgent)?;
    ensure!(settings(&stage.view)? == "urgent", "the settings are {}", settings(&stage.view)?);
    let resource = order.wait(stage, "True", "BreakGlassActive")?;
    story.conditions(stage, "breakglass", "order", &resource);
    story.status(stage, Owner::Source)?;
    story.events(stage, Owner::Source, "BreakGlassActive")?;
    story.audit_kind(stage, "override", |_| true)?;
    metric(stage, "writ_break_glass_active", "GitSource", 1.0)?;
    Ok(order)
}

/// Over a restart, without its object, and when trust changes and everything is judged again.
fn still_shown(stage: &mut Stage<'_>, story: &mut Story, order: &Order) -> Test {
    order.delete(stage)?;
    stage.kill()?;
    stage.start()?;
    let namespace = stage.view.namespace.clone();
    let people = &stage.people;
    let file =
        TrustFile::team(&format!("urn:writ:{namespace}"), &people.root, &people.security, &people.sre).version(2);
    let commit = push_trust_file(stage, &file)?;
    stage.applied(&commit)?;
    // An edit of the TrustRoot has the whole history judged again.
    let patch = r#"{"spec":{"minPolicyVersion":2}}"#;
    stage.tenant.kubectl(&["patch", "trustroot", &namespace, "--type=merge", "-p", patch])?;
    stage.roll_out("apps/other.yaml", &config_map("other", "by sam"))?;
    let source = stage.view.source()?;
    let (active, reason, message) = View::condition(&source, "BreakGlass");
    ensure!((active, reason) == ("True", "BreakGlassActive"), "BreakGlass={active} {reason}: {message}");
    metric(stage, "writ_break_glass_active", "GitSource", 1.0)?;
    story.then("it is shown over a restart, however trust changes, and after a commit that changes something else.");
    Ok(())
}

fn made_anew(stage: &mut Stage<'_>, story: &mut Story) -> Test {
    story.done("sam makes the settings anew; git push");
    stage.roll_out("apps/settings.yaml", &config_map("settings", "by sam"))?;
    stage.wait("it is over", |view| {
        let source = view.source()?;
        let (active, reason, message) = View::condition(&source, "BreakGlass");
        ensure!((active, reason) == ("False", "Over"), "BreakGlass={active} {reason}: {message}");
        Ok(())
    })?;
    metric(stage, "writ_break_glass_active", "GitSource", 0.0)?;
    story.audit_kind(stage, "override", |entry| entry["subject"]["result"] == "over")?;
    story.then("it is over; the log has it for ever.");
    Ok(())
}

/// sena may change the trust file as ruth may.
fn two_roots(people: &People, repo_id: &str) -> TrustFile {
    TrustFile::new(repo_id)
        .principal("ruth", PrincipalKind::Human, &[&people.root])
        .principal("sena", PrincipalKind::Human, &[&people.security])
        .principal("sam", PrincipalKind::Human, &[&people.sre])
        .role("root", &["ruth", "sena"])
        .role("sre", &["sam"])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .rule("policies", &["policies/**", "waivers/**"], &[("root", 1)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
}

/// The key that ordered it is revoked when the order is long gone: what it let through is held, over a restart, and healed,
/// until somebody who may makes it anew.
#[test]
fn a_key_that_broke_the_glass_is_revoked() -> Test {
    let mut stage = Setup::shared()?.trust(two_roots).start()?;
    let (root, security) = (stage.people.root.clone(), stage.people.security.clone());
    stage.repo.write("apps/settings.yaml", config_map("settings", "urgent"))?;
    let urgent = stage.repo.commit_signed(&security, "an urgent change")?;
    stage.push(Push::FastForward)?;
    stage.names.call_commit(&urgent, "urgent commit");
    stage.held(Owner::Source, &urgent, "W302")?;
    let title = "The key that broke the glass is revoked";
    let mut story = Story::begin(&stage, "break-glass-key-revoked", title)?;
    let order = break_glass(&mut stage, &mut story, &urgent, &[], &root)?;
    stage.applied(&urgent)?;
    order.delete(&stage)?;
    story.done("the commit goes through, and the order is deleted; sena revokes the key of ruth; git push");
    let repo_id = format!("urn:writ:{}", stage.view.namespace);
    let file = two_roots(&stage.people, &repo_id).version(2).revoke_key(&root.fingerprint()?, "stolen");
    // As `writ trust sign` does: what ruth signed was another file.
    stage.repo.remove(".writ/trust.yaml.sigs/ruth.sig")?;
    let revoked = push_trust_file_by(&mut stage, &file, &security)?;
    stage.names.call_commit(&revoked, "revoking commit");
    for restarted in [false, true] {
        if restarted {
            stage.kill()?;
            stage.start()?;
        }
        let source = stage.held(Owner::Source, &revoked, "W304")?;
        let (_, _, message) = View::condition(&source, "SourceVerified");
        ensure!(message.contains("no longer stands: signed by ruth: key "), "{message}");
    }
    story.status(&stage, Owner::Source)?;
    // The source and the Sync refuse it, in no order.
    let of_sync = |entry: &Value| entry["subject"]["owner"].as_str().is_some_and(|owner| owner.starts_with("Sync "));
    story.audit_of(&stage, "refuse", |entry| entry["codes"][0] == "W304" && of_sync(entry))?;
    stage.heals()?;
    ensure!(settings(&stage.view)? == "urgent", "the settings are {}", settings(&stage.view)?);
    story.then("nothing is rolled out, what runs is healed, also after a restart.");
    story.done("sam makes the settings anew; git push");
    stage.roll_out("apps/settings.yaml", &config_map("settings", "by sam"))?;
    story.then("it is applied.");
    story.end(&stage)?;
    stage.audit_verifies()
}
