//! Keyless signatures: a robot that approves with a Sigstore bundle, and what becomes of them while the Sigstore that vouches
//! for them changes its keys, which writ learns through TUF.

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, ToSpan as _};
use testkit::{Account, Blob, Fault, GitServer, Metadata, Push, Sigstore, TrustFile, Tuf, joined_trusted_roots};

use crate::{
    attacks::push_trust_file,
    stage::{Owner, People, Setup, Stage, Story, Test, View, config_map, people_and_roles, writ_ok},
};

fn carol() -> Account {
    Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() }
}

/// The usual team, and carol, who has no key and may change what is below `apps/`.
fn with_carol(people: &People, repo_id: &str) -> TrustFile {
    people_and_roles(people, repo_id).keyless("carol", &carol()).role("developer", &["carol"]).rule(
        "apps",
        &["apps/**"],
        &[("sre", 1), ("developer", 1)],
        &[],
    )
}

/// A TUF repository of the company, and how often somebody asked writ to look at it.
struct Repository {
    server: GitServer,
    tuf: Tuf,
    asked: u32,
}

impl Repository {
    fn publish(&mut self, stage: &Stage<'_>, trusted_root: &str) -> Test {
        self.tuf.publish(trusted_root)?;
        self.ask(stage)
    }

    /// As an admin who does not want to wait for a day.
    fn ask(&mut self, stage: &Stage<'_>) -> Test {
        self.asked += 1;
        let root = format!("trustroot/{}", stage.view.namespace);
        let value = format!("reconcile.fluxcd.io/requestedAt=ask-{}", self.asked);
        stage.view.plane.kubectl(&["annotate", "--overwrite", &root, &value]).map(drop)
    }

    /// The TrustRoot names it.
    fn trust(&self, stage: &Stage<'_>) -> Test {
        let refresh = serde_json::json!({
            "mirror": self.server.files_url(), "root": self.tuf.first_root(), "caCertificates": self.server.authority(),
        });
        let patch = serde_json::json!({"spec": {"keyless": {"refresh": refresh}}}).to_string();
        let root = &stage.view.namespace;
        stage.view.plane.kubectl(&["patch", "trustroot", root, "--type=merge", "-p", &patch]).map(drop)
    }
}

/// Waits until the condition of the TrustRoot is so, with these words.
fn refreshed(stage: &mut Stage<'_>, status: &str, words: &str) -> Test {
    stage.wait(&format!("KeylessRefreshed is {status}: {words}"), |view| {
        let root = view.trust_root()?;
        let (found, reason, message) = View::condition(&root, "KeylessRefreshed");
        ensure!(found == status && message.contains(words), "KeylessRefreshed={found} {reason}: {message}");
        Ok(())
    })
}

/// A change of settings by carol, as the head of main; this Sigstore vouches for her.
fn change(stage: &mut Stage<'_>, sigstore: &Sigstore, value: &str) -> Result<String> {
    stage.repo.write("apps/settings.yaml", config_map("settings", value))?;
    let unsigned = stage.repo.commit_unsigned("change settings")?;
    stage.push_aside("main", "aside")?;
    let payload = stage.repo.read_object("commit", &unsigned)?;
    let armour = sigstore.sign(&payload, &carol(), Timestamp::now() - 1.minute(), &[])?;
    let payload = String::from_utf8(payload).context("a commit is not UTF-8")?;
    let header = format!("\ngpgsig {}\n\n", armour.trim_end().replace('\n', "\n "));
    let commit = stage.repo.write_object("commit", payload.replacen("\n\n", &header, 1).as_bytes())?;
    stage.repo.reset(&commit)?;
    stage.force_head(&commit)?;
    Ok(commit)
}

#[test]
fn authorities_come_and_go_through_tuf() -> Test {
    let mut stage = Setup::shared()?.trust(with_carol).start()?;
    let (server, begin) = (GitServer::start()?, Timestamp::now() - 48.hours());
    let tuf = Tuf::generate(&server.files(), Timestamp::now())?;
    stage.names.call(&server.files_url(), "tuf repository");
    let mut repository = Repository { server, tuf, asked: 0 };
    let old = Sigstore::generate(begin)?;
    let new = old.with_another_authority()?;
    let (only_old, only_new) = (old.trusted_root()?, new.trusted_root()?);
    repository.publish(&stage, &only_old)?;
    repository.trust(&stage)?;
    refreshed(&mut stage, "True", "the newest of")?;
    let first = change(&mut stage, &old, "by the old one")?;
    stage.applied(&first)?;
    stage.names.call_commit(&first, "commit by the old authority");

    let mut story = Story::begin(&stage, "keyless-authority-gone", "A certificate authority that Sigstore takes away")?;
    story.done("a new authority, which the TUF repository does not name yet, vouches for carol, who signs a change");
    let second = change(&mut stage, &new, "by the new one")?;
    stage.names.call_commit(&second, "commit by the new authority");
    stage.held(Owner::Source, &second, "W206")?;
    story.status(&stage, Owner::Source)?;
    repository.publish(&stage, &joined_trusted_roots(&[&only_old, &only_new])?)?;
    stage.applied(&second)?;
    story.then("once the repository names both, the commit is rolled out; nobody pushed anything.");

    story.done("the repository shows a timestamp that has expired");
    repository.tuf.expired = Some(Metadata::Timestamp);
    repository.publish(&stage, &only_new)?;
    refreshed(&mut stage, "False", "timestamp metadata expired")?;
    let root = stage.view.trust_root()?;
    story.conditions(&stage, "trustroot", "NAME", &root);
    story.log(&stage, "A144")?;
    stage.heals()?;
    story.then("what was fetched before stays in force: the commits are as verified as they were.");

    story.done("the repository names the old authority alone: the new one is taken away, whose commit is in force");
    repository.tuf.expired = None;
    repository.publish(&stage, &only_old)?;
    stage.held(Owner::Source, &second, "W206")?;
    refreshed(&mut stage, "True", "the newest of")?;
    story.status(&stage, Owner::Source)?;
    stage.heals()?;
    story.then("the workloads stay, and a hand edit of ConfigMap settings is reverted.");

    story.done("writ starts again while the repository does not answer");
    repository.server.set_fault(Some(Fault::Down))?;
    stage.stop()?;
    stage.start()?;
    refreshed(&mut stage, "False", "Connection refused")?;
    stage.held(Owner::Source, &second, "W206")?;
    stage.heals()?;
    let metrics = stage.metrics()?;
    let failed = [("root", stage.view.namespace.as_str()), ("result", "failed")];
    ensure!(metrics.sum("writ_keyless_refreshes_total", &failed).is_some_and(|failed| failed >= 1.0));
    story.then("the authority that was taken away does not come back.");

    left_out(&mut stage, &mut story, &first)?;
    story.end(&stage)
}

/// What an authority that is gone vouched for is left out, for a commit that takes it back.
fn left_out(stage: &mut Stage<'_>, story: &mut Story, first: &str) -> Test {
    story.done("root takes back what the commit brought, has it left out, and pushes both");
    stage.repo.write("apps/settings.yaml", config_map("settings", "by the old one"))?;
    let mend = stage.repo.commit_signed(&stage.people.root, "as it was")?;
    stage.names.call_commit(&mend, "commit by root");
    let (repo, key) = (stage.repo.path().display().to_string(), stage.people.root.private_file().display().to_string());
    let approve = ["trust", "approve", &mend, "--skip-from", first, "--repo", &repo, "--key", &key, "--print"];
    stage.attach(&mend, writ_ok(&approve)?.trim())?;
    stage.push(Push::FastForward)?;
    let held = stage.held(Owner::Source, &mend, "W407")?;
    story.status(stage, Owner::Source)?;
    let patch = format!("'{{\"spec\":{{\"resumeFrom\":\"{mend}\"}}}}'");
    let fix = &held["status"]["heldRevision"]["fix"];
    ensure!(
        fix.as_str().is_some_and(|fix| fix.starts_with("kubectl patch trustroot ") && fix.ends_with(&patch)),
        "{fix}"
    );
    stage.heals()?;

    story.done("an admin runs the command of the fix");
    let root = format!("trustroot/{}", stage.view.namespace);
    stage.view.plane.kubectl(&["patch", &root, "--type=merge", "-p", patch.trim_matches('\'')])?;
    stage.applied(&mend)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "by the old one");
    story.then("what takes its place is rolled out.");
    Ok(())
}

/// The workflow of this name, of a forge that gives each an account of its own.
fn workflow(name: &str) -> Account {
    Account {
        issuer: "https://token.forge.example.com".to_owned(),
        identity: format!("https://forge.example.com/shop/config/.workflows/{name}.yaml@refs/heads/main"),
    }
}

/// A change below `apps/` takes two: sam, and the workflow that checks what is pushed.
fn two_for_apps(stage: &mut Stage<'_>, checker: &Account) -> Result<String> {
    let file = people_and_roles(&stage.people, &format!("urn:writ:{}", stage.view.namespace))
        .keyless_robot("checker", checker)
        .role("checked", &["sam", "checker"])
        .rule("apps", &["apps/**"], &[("checked", 2)], &["namespaced"])
        .version(2);
    push_trust_file(stage, &file)
}

/// What `cosign attest-blob` makes of what `writ trust approve --print-payload` prints, in a workflow of this account.
fn attested(stage: &Stage<'_>, commit: &str, sigstore: &Sigstore, account: &Account) -> Result<String> {
    let repo = stage.repo.path().display().to_string();
    let payload = writ_ok(&["trust", "approve", commit, "--repo", &repo, "--print-payload"])?;
    sigstore.bundle(Blob::Statement(payload.as_bytes()), account, Timestamp::now() - 1.minute(), &[])
}

#[test]
fn a_robot_without_a_key_approves() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let sigstore = Sigstore::generate(Timestamp::now() - 48.hours())?;
    let keyless = serde_json::json!({"spec": {"keyless": {"trustedRoot": sigstore.trusted_root()?}}}).to_string();
    let root = stage.view.namespace.clone();
    stage.view.plane.kubectl(&["patch", "trustroot", &root, "--type=merge", "-p", &keyless])?;
    let checker = workflow("check");
    let trust = two_for_apps(&mut stage, &checker)?;
    stage.applied(&trust)?;
    stage.names.call_commit(&trust, "trust commit");

    let mut story = Story::begin(&stage, "keyless-approval", "A change that a robot without a key approves")?;
    story.done("apps/ takes two, and one of them is a workflow; sam changes ConfigMap settings; git push");
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "checked"))?;
    stage.names.call_commit(&commit, "commit of sam");
    stage.held(Owner::Source, &commit, "W303")?;
    story.status(&stage, Owner::Source)?;

    story.done("another workflow of the same forge approves it: writ trust approve COMMIT --print-payload, cosign attest-blob, git push of the bundle as a note");
    let other = attested(&stage, &commit, &sigstore, &workflow("release"))?;
    stage.attach(&commit, &other)?;
    stage.poke()?;
    let unknown =
        "workflows/release.yaml@refs/heads/main of https://token.forge.example.com, which belongs to no principal";
    stage.wait("the other workflow counts for nobody", |view| {
        let message = Owner::Source.read(view)?["status"]["heldRevision"]["message"].to_string();
        ensure!(message.contains(unknown), "{message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Source)?;

    story.done("the workflow that the trust file names approves it in the same way");
    let bundle = attested(&stage, &commit, &sigstore, &checker)?;
    stage.attach(&commit, &bundle)?;
    stage.poke()?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "checked");
    story.then("the commit is rolled out; nobody pushed anything to the branch.");

    stage.stop()?;
    stage.start()?;
    stage.heals()?;
    story.then("so it is after a start, and a hand edit of ConfigMap settings is reverted.");
    story.end(&stage)
}
