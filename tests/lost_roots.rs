//! The keys of the root principals are lost: an admin lets trust start anew after what was accepted.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{KeyType, Keys, PrincipalKind, Push, SigningKey, TrustFile, wait_until};

use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, WITHIN, config_map, writ_ok};

/// The team with another root.
fn file_of(stage: &Stage<'_>, root: &SigningKey) -> TrustFile {
    let people = &stage.people;
    [root, &people.security, &people.sre]
        .into_iter()
        .fold(TrustFile::new(&format!("urn:writ:{}", stage.view.namespace)), |file, key| {
            file.principal(key.principal(), PrincipalKind::Human, &[key])
        })
        .version(2)
        .role("root", &[root.principal()])
        .role("security", &[people.security.principal()])
        .role("sre", &[people.sre.principal()])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
}

/// The part of the TrustRoot that `writ trust root` prints for a commit and that an admin changes.
fn anew(stage: &Stage<'_>, commit: &str, root: &SigningKey) -> Result<Value> {
    let repo = stage.repo.path().display().to_string();
    let url = ["--url", "https://git.example.com/config.git", "--namespace", "shop", "--service-account", "sync"];
    let printed = writ_ok(&[&["trust", "root", commit, "--repo", &repo], &url[..]].concat())?;
    let field = |name: &str| -> Result<String> {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
        Ok(line.with_context(|| format!("no {name} in {printed}"))?.trim_matches(['"', '\'']).to_owned())
    };
    let introduction =
        json!({"commit": field("commit")?, "payloadSha256": field("payloadSha256")?, "signer": field("signer")?});
    Ok(json!({"spec": {"introduction": introduction, "rootKeys": {"threshold": 1, "keys": [root.public()]}}}))
}

fn patch(stage: &Stage<'_>, patch: &Value) -> Result<()> {
    let (name, patch) = (&stage.view.namespace, patch.to_string());
    stage.view.plane.kubectl(&["patch", "trustroot", name, "--type=merge", "-p", &patch]).map(drop)
}

#[test]
fn trust_starts_anew_when_the_roots_are_lost() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let first = stage.good().to_owned();
    let accepted = stage.roll_out("apps/settings.yaml", &config_map("settings", "two"))?;
    stage.names.call_commit(&accepted, "accepted commit");
    let keys = Keys::new()?;
    let rhea = keys.generate("rhea", KeyType::Ed25519)?;
    for (text, name) in [(rhea.fingerprint()?, "key of rhea"), (rhea.public().to_owned(), "public key of rhea")] {
        stage.names.call(&text, name);
    }

    let mut story = Story::begin(&stage, "lost-roots", "The key of the only root principal is lost")?;
    story.done(
        "ruth's key is lost; rhea signs a trust file that names her as root, and sam brings it on top of the accepted commit; git push",
    );
    stage.repo.write(".writ/trust.yaml", file_of(&stage, &rhea).text())?;
    stage.repo.remove(".writ/trust.yaml.sigs")?;
    stage.repo.sign_trust_file(&rhea)?;
    let begin = stage.repo.commit_signed(&stage.people.sre, "trust starts anew")?;
    stage.names.call_commit(&begin, "new introduction");
    stage.push(Push::FastForward)?;
    stage.held(Owner::Source, &begin, "W504")?;
    story.status(&stage, Owner::Source)?;
    story.then("nobody can make it count by a commit.");

    story.done("an admin compares rhea's key with her, and puts what `writ trust root` prints of it into the TrustRoot: introduction and rootKeys");
    patch(&stage, &anew(&stage, &begin, &rhea)?)?;
    stage.applied(&begin)?;
    let entry = wait_until("the entry is published", WITHIN, || {
        let entries = stage.entries(&["--kind", "advance"])?;
        let names_both = |entry: &&Value| entry["digests"]["trustRootBefore"].is_string();
        entries.iter().find(names_both).cloned().with_context(|| format!("no such entry among {entries:?}"))
    })?;
    ensure!(entry["subject"]["commit"] == begin.as_str(), "{entry}");
    ensure!(entry["digests"]["trustRoot"] != entry["digests"]["trustRootBefore"], "{entry}");
    let next = stage.roll_out("apps/settings.yaml", &config_map("settings", "three"))?;
    stage.names.call_commit(&next, "next commit");
    story.then("it is accepted, and commits are judged by the new trust file; the entry in the audit log names the digests of the TrustRoot before and after.");

    story.done("somebody puts the branch back to the commit before the accepted one");
    stage.repo.reset(&first)?;
    stage.push(Push::Force)?;
    stage.held(Owner::Source, &first, "W401")?;
    let sync = stage.view.sync(SYNC)?;
    ensure!(sync["status"]["appliedRevision"] == next.as_str(), "{}", sync["status"]);
    stage.heals()?;
    story.then("it is refused with W401: what was accepted stays the floor, and a hand edit of ConfigMap settings is reverted.");
    story.end(&stage)
}
