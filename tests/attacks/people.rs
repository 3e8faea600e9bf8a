//! Attacks 26 to 34: who counts, how often, and for what.

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::{Push, TrustFile};

use super::{Arena, Told, head, push_trust_file, refusal, settings_by};
use crate::bad_input::git_server::no_verdict;
use crate::bad_input::{Lent, Offline, content, refused, unharmed};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map, people_and_roles};

/// An input that is missing is no permission: nothing is asked of the server without its Secret. (Without the TrustRoot:
/// `restart::trust_root_deleted_while_writ_is_down`; other inputs: `bad_input::git_server`.)
#[test]
fn attack_26_fail_open() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "secret-missing", "The Secret of the GitSource is gone")?;
    story.done("kubectl delete secret git; writ polls");
    let mut secret = stage.view.object("api/v1/secrets", "git")?;
    stage.tenant.kubectl(&["delete", "secret", "git"])?;
    stage.poke()?;
    let outcome = no_verdict(&mut stage, &mut story, "A141");
    secret["metadata"] = json!({ "name": "git" });
    stage.tenant.apply(&secret.to_string())?;
    outcome?;
    stage.restore()?;
    story.then("the Secret is there again: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

/// An unsigned commit hides below a signed one of a known key.
#[test]
fn attack_27_unsigned_below_signed() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "unsigned-below-signed",
        title: "An unsigned commit below a signed one",
        done: "an unsigned commit changes apps/settings.yaml; sam, who does not look, signs one on top of it; git push",
        code: "W301",
    };
    refusal(&mut stage, &told, |stage| {
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        let below = stage.repo.commit_unsigned("change settings")?;
        let head = stage.change("apps/more.yaml", &config_map("more", "sams"))?;
        stage.names.call_commit(&head, "signed commit on top");
        Ok(below)
    })?;
    ensure!(stage.view.is_absent("api/v1/configmaps", "more")?);
    Ok(())
}

/// The key of a forge signs for everybody who presses its buttons.
#[test]
fn attack_28_forge_key() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let told = Told {
        name: "forge-signs",
        title: "A commit that a forge signed",
        done: "somebody squashes a branch in the pages of hub, which signs the commit with its own key; hub pushes it",
        code: "W302",
    };
    refusal(stage, &told, |stage| settings_by(stage, &cast.forge))
}

/// A policy that takes two of security: held with one signature, and let in by the fix that is printed, without another push to
/// the branch. Whoever made it is not the second, with whichever key.
#[test]
fn attack_29_one_person_twice() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let keys = testkit::Keys::new()?;
    let second = keys.generate("sena", testkit::KeyType::Ed25519)?;
    let commit = two_for_policies(&mut stage, &second)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    let mut pushed = String::new();
    let told = Told {
        name: "policy-takes-two",
        title: "A policy that one person signed and two must stand for",
        done: "policies take two of sena and ruth; sena signs a commit that adds policies/values.yaml; git push",
        code: "W303",
    };
    refusal(&mut stage, &told, |stage| {
        pushed = policy(stage, "true")?;
        Ok(pushed.clone())
    })?;
    let (root, security) = (stage.people.root.clone(), stage.people.security.clone());
    for own in [&security, &second] {
        stage.approve(&pushed, own)?;
        stage.held(Owner::Source, &pushed, "W303")?;
    }
    stage.approve(&pushed, &root)?;
    stage.applied(&pushed).map(drop)
}

/// What somebody approved is copied to another commit of the same branch.
#[test]
fn attack_30_replayed_approval() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let second = testkit::Keys::new()?.generate("sena", testkit::KeyType::Ed25519)?;
    let commit = two_for_policies(&mut stage, &second)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    let mut story = Story::begin(&stage, "replayed-approval", "An approval that was made for another commit")?;
    let root = stage.people.root.clone();
    let harmless = policy(&mut stage, "true")?;
    stage.held(Owner::Source, &harmless, "W303")?;
    let statement = stage.approval(&harmless, &root)?;
    story.done("policies take two; sena makes a harmless policy, and ruth approves it; sena pushes another policy in its place, with ruth's approval as its note");
    let good = stage.good().to_owned();
    stage.repo.reset(&good)?;
    stage.repo.write("policies/values.yaml", content::policy("values", "object.data.value != 'good'"))?;
    let other = stage.repo.commit_signed(&stage.people.security, "a policy")?;
    stage.attach(&other, &statement)?;
    stage.push(Push::Force)?;
    head(&mut stage, &mut story, "commit that nobody approved", &other, "W307")?;
    unharmed(&mut stage, &mut story)?;
    story.done("the policy that ruth approved is pushed again, with the same note");
    stage.repo.reset(&harmless)?;
    stage.attach(&harmless, &statement)?;
    stage.push(Push::Force)?;
    stage.applied(&harmless)?;
    story.then("it is accepted.");
    story.end(&stage)
}

fn policy(stage: &mut Stage<'_>, expression: &str) -> Result<String> {
    stage.repo.write("policies/values.yaml", content::policy("values", expression))?;
    let commit = stage.repo.commit_signed(&stage.people.security, "a policy")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

/// Pushes a trust file with ruth beside sena in security, two of them for policies, and a second key of sena's.
fn two_for_policies(stage: &mut Stage<'_>, second: &testkit::SigningKey) -> Result<String> {
    let people = &stage.people;
    let file = [(&people.root, None), (&people.security, Some(second)), (&people.sre, None)].into_iter().fold(
        TrustFile::new(&format!("urn:writ:{}", stage.view.namespace)),
        |file, (key, more)| {
            let keys: Vec<_> = [key].into_iter().chain(more).collect();
            file.principal(key.principal(), testkit::PrincipalKind::Human, &keys)
        },
    );
    let file = file
        .role("root", &["ruth"])
        .role("security", &["sena", "ruth"])
        .role("sre", &["sam"])
        .rule("policies", &["policies/**"], &[("security", 2)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .version(2);
    push_trust_file(stage, &file)
}

/// A key whose signatures fit everything: refused when the trust file is loaded. And a signature that is changed without the key.
#[test]
fn attack_31_ambiguous_keys() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "small-order-key", "A key of small order in the trust file")?;
    story.done("the new trust file gives sam a key whose signatures fit any message (the neutral element of the curve); ruth signs file and commit");
    let mut blob = [&[0, 0, 0, 11], b"ssh-ed25519".as_slice(), &[0, 0, 0, 32, 1]].concat();
    blob.resize(blob.len() + 31, 0);
    let neutral = format!("ssh-ed25519 {}", super::keys::base64(&blob));
    stage.names.call(&neutral, "neutral element");
    let file = people_and_roles(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).version(2).text();
    let file = file.replace(stage.people.sre.public(), &neutral);
    stage.repo.write(".writ/trust.yaml", file)?;
    stage.repo.sign_trust_file(&stage.people.root)?;
    let commit = stage.repo.commit_signed(&stage.people.root, "change trust")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W502", Offline::Told)?;

    let mut story = Story::begin(&stage, "malleated-signature", "A signature that is changed without its key")?;
    story.done("the order of the curve is added to the second half of sam's signature, which leaves it fitting to whoever does not look; the commit is pushed");
    let key = stage.people.sre.clone();
    let commit =
        super::with_signature(&mut stage, |payload| super::keys::malleated(&key.sign("git", payload.as_bytes())?))?;
    head(&mut stage, &mut story, "malleated commit", &commit, "W201")?;
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

/// Signatures, trust files and commits without measure.
#[test]
fn attack_32_without_measure() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "without-measure", "Signatures and trust files without measure")?;
    story.done("a commit carries a signature of 70,000 bytes; then ruth signs a trust file of 10 MB; each becomes the head of main");
    let commit = super::with_signature(&mut stage, |_payload| {
        Ok(format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            vec!["U1NIU0lH".repeat(8); 70_000 / 65].join("\n")
        ))
    })?;
    head(&mut stage, &mut story, "a signature of 70,000 bytes", &commit, "W103")?;
    stage.restore()?;
    let file = people_and_roles(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).version(2).text();
    stage.repo.write(".writ/trust.yaml", format!("{file}{}", "# and so on\n".repeat(10_000_000 / 12)))?;
    stage.repo.sign_trust_file(&stage.people.root)?;
    let commit = stage.repo.commit_signed(&stage.people.root, "change trust")?;
    stage.push(Push::FastForward)?;
    head(&mut stage, &mut story, "a trust file of 10 MB", &commit, "W502")?;
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

/// A machine that may change images tries what only people may.
#[test]
fn attack_33_robot_key() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let told = Told {
        name: "machine-not-allowed",
        title: "A machine that changes a policy",
        done: "relbot, a robot with the role security, signs a commit that adds policies/values.yaml; git push",
        code: "W306",
    };
    refusal(stage, &told, |stage| {
        stage.repo.write("policies/values.yaml", content::policy("values", "true"))?;
        let commit = stage.repo.commit_signed(&cast.robot, "a policy")?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })?;
    // Nor what says who may.
    stage.restore()?;
    stage.repo.write(".writ/trust.yaml", cast.whole(stage)?.version(3).text())?;
    stage.repo.sign_trust_file(&cast.robot)?;
    let commit = stage.repo.commit_signed(&cast.robot, "change trust")?;
    stage.push(Push::FastForward)?;
    stage.held(Owner::Source, &commit, "W504").map(drop)
}

#[test]
fn attack_34_semantic_escape() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "kind-outside-the-rule", "A kind that the path's rule does not allow")?;
    story.done("sam adds a ClusterRoleBinding below apps/, whose rule allows namespaced kinds only; git push");
    let name = format!("{}-owns-all", stage.view.namespace);
    stage.names.call(&name, "binding");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    stage.repo.write(
        "apps/role.yaml",
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {name}\nroleRef:\n  \
             apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: cluster-admin\nsubjects: []\n"
        ),
    )?;
    let commit = stage.commit("more rights")?;
    refused(&mut stage, story, Owner::Source, &commit, "W305", Offline::Told)?;
    // Nor writ's own kinds, which a rule has to name.
    stage.restore()?;
    let sync = "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata:\n  name: second\nspec:\n  sourceRef:\n    name: config\n  \
                path: other\n  serviceAccountName: admin\n  drift:\n    mode: Off\n";
    let commit = stage.change("apps/second.yaml", sync)?;
    stage.held(Owner::Source, &commit, "W305").map(drop)
}
