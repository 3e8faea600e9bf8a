//! Keys, rights and trust files: the codes that no other test shows. One stage serves several stories; each begins at the last good
//! commit.

use anyhow::{Context, Result};
use testkit::{KeyType, Keys, PrincipalKind, Push, Signing, SigningKey, TrustFile};

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map};

/// What is told and by whom it is done.
struct Told {
    name: &'static str,
    title: &'static str,
    done: &'static str,
    code: &'static str,
}

/// From the last good commit on: `push` makes and pushes a commit, and it is refused.
fn refusal(stage: &mut Stage<'_>, told: &Told, push: impl FnOnce(&mut Stage<'_>) -> Result<String>) -> Test {
    stage.restore().with_context(|| format!("before {}", told.name))?;
    let mut story = Story::begin(stage, told.name, told.title)?;
    story.done(told.done);
    let commit = push(stage)?;
    refused(stage, story, Owner::Source, &commit, told.code, Offline::Told).with_context(|| told.name.to_owned())
}

/// A change of settings signed by `key`.
fn settings_by(stage: &mut Stage<'_>, key: &SigningKey) -> Result<String> {
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(key, "change settings")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

/// Keys of principals that only these stories have.
struct More {
    /// Of olga: its time is over.
    ended: SigningKey,
    /// Of theo: revoked.
    revoked: SigningKey,
    /// Of relbot, a machine.
    robot: SigningKey,
    _keys: Keys,
}

impl More {
    fn new(stage: &mut Stage<'_>) -> Result<Self> {
        let keys = Keys::new()?;
        let key = |name| keys.generate(name, KeyType::Ed25519);
        let more = Self { ended: key("olga")?, revoked: key("theo")?, robot: key("relbot")?, _keys: keys };
        for key in [&more.ended, &more.revoked, &more.robot] {
            stage.names.call(&key.fingerprint()?, &format!("key of {}", key.principal()));
            stage.names.call(key.public(), &format!("public key of {}", key.principal()));
        }
        Ok(more)
    }

    /// The trust file with them, without what it revokes and without the rule for itself.
    fn file(&self, stage: &Stage<'_>) -> TrustFile {
        let people = &stage.people;
        let file = TrustFile::new(&format!("urn:writ:{}", stage.view.namespace));
        [&people.root, &people.security, &people.sre, &self.revoked]
            .into_iter()
            .fold(file, |file, key| file.principal(key.principal(), PrincipalKind::Human, &[key]))
            .principal_until("olga", PrincipalKind::Human, &[(&self.ended, Some("2026-06-01T00:00:00Z"))])
            .principal("relbot", PrincipalKind::Robot, &[&self.robot])
            .role("root", &["ruth"])
            .role("security", &["sena", "relbot"])
            .role("sre", &["sam", "olga", "theo"])
            .role("pair", &["ruth", "sena"])
            .rule(
                "policies",
                &["policies/**"],
                &[("security", 1)],
                &["admissionregistration.k8s.io/ValidatingAdmissionPolicy*"],
            )
            .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
            .rule("notes", &[".writ/notes/**"], &[("pair", 2)], &[])
    }

    /// The same, in force: who signs it, and whose key is revoked.
    fn whole(&self, stage: &Stage<'_>) -> Result<TrustFile> {
        Ok(self
            .file(stage)
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .revoke_key(&self.revoked.fingerprint()?, "laptop lost"))
    }
}

/// Pushes a trust file that ruth signs, as she does the commit.
fn push_trust_file(stage: &mut Stage<'_>, file: &TrustFile) -> Result<String> {
    stage.repo.write(".writ/trust.yaml", file.text())?;
    stage.repo.sign_trust_file(&stage.people.root)?;
    let commit = stage.repo.commit_signed(&stage.people.root, "change trust")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

/// W204, W304, W303, W306: who signs is known, and may not all the same.
#[test]
fn signers_who_are_known_and_may_not() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let more = More::new(&mut stage)?;
    let file = more.whole(&stage)?.version(2);
    let commit = push_trust_file(&mut stage, &file)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");

    let ended = Told {
        name: "key-that-has-ended",
        title: "A key whose time is over",
        done: "the trust file says that olga's key ends 2026-06-01; later she signs a change of apps/settings.yaml; git push",
        code: "W204",
    };
    refusal(&mut stage, &ended, |stage| settings_by(stage, &more.ended))?;

    let revoked = Told {
        name: "key-revoked",
        title: "A key that is revoked",
        done: "theo's key is revoked in the trust file; somebody signs a change of apps/settings.yaml with it; git push",
        code: "W304",
    };
    refusal(&mut stage, &revoked, |stage| settings_by(stage, &more.revoked))?;

    let threshold = Told {
        name: "threshold-not-met",
        title: "One signer where a rule wants two",
        done: "the rule for .writ/notes/ wants two of ruth and sena; ruth alone signs a commit that adds a file there; git push",
        code: "W303",
    };
    refusal(&mut stage, &threshold, |stage| {
        stage.repo.write(".writ/notes/who.txt", "who may do what\n")?;
        let commit = stage.repo.commit_signed(&stage.people.root, "a note")?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })?;

    let machine = Told {
        name: "machine-not-allowed",
        title: "A machine that changes a policy",
        done: "relbot, a robot with the role security, signs a commit that adds policies/values.yaml; git push",
        code: "W306",
    };
    refusal(&mut stage, &machine, |stage| {
        stage.repo.write("policies/values.yaml", super::content::policy("values", "true"))?;
        let commit = stage.repo.commit_signed(&more.robot, "a policy")?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

/// A policy that takes two of security: held with one signature, and let in by the fix that is printed, without another push to
/// the branch. Attacks 29 and 30: neither the author's own word nor one about another tree is the second.
#[test]
fn policies_of_two_people() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let file = two_for_policies(&stage).rule("trust", &[".writ/**"], &[("root", 1)], &[]).version(2);
    let commit = push_trust_file(&mut stage, &file)?;
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
        stage.repo.write("policies/values.yaml", super::content::policy("values", "true"))?;
        let commit = stage.repo.commit_signed(&stage.people.security, "a policy")?;
        stage.push(Push::FastForward)?;
        pushed.clone_from(&commit);
        Ok(commit)
    })?;
    let (root, security) = (stage.people.root.clone(), stage.people.security.clone());
    // The author's own word makes no second one.
    stage.approve(&pushed, &security)?;
    stage.held(Owner::Source, &pushed, "W303")?;
    stage.approve(&pushed, &root)?;
    stage.applied(&pushed).map(drop)
}

/// With ruth beside sena in security, and two of them for policies.
fn two_for_policies(stage: &Stage<'_>) -> TrustFile {
    let people = &stage.people;
    let file = TrustFile::new(&format!("urn:writ:{}", stage.view.namespace));
    [&people.root, &people.security, &people.sre]
        .into_iter()
        .fold(file, |file, key| file.principal(key.principal(), PrincipalKind::Human, &[key]))
        .role("root", &["ruth"])
        .role("security", &["sena", "ruth"])
        .role("sre", &["sam"])
        .rule("policies", &["policies/**"], &[("security", 2)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
}

/// The key of an accepted commit is revoked: the revocation is in force at once, what runs goes on running and being healed, and
/// what the key brought is rolled out no more until somebody in force makes it anew.
#[test]
fn key_of_an_accepted_commit_is_revoked() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let more = More::new(&mut stage)?;
    let before = more.file(&stage).rule("trust", &[".writ/**"], &[("root", 1)], &[]).version(2);
    let commit = push_trust_file(&mut stage, &before)?;
    stage.applied(&commit)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "theos"))?;
    let theos = stage.repo.commit_signed(&more.revoked, "change settings")?;
    stage.push(Push::FastForward)?;
    stage.applied(&theos)?;
    stage.names.call_commit(&theos, "commit of theo");
    let mut story = Story::begin(&stage, "key-of-accepted-commit-revoked", "The key of an accepted commit is revoked")?;
    story.done("theo's commit is accepted and applied; then ruth revokes his key in the trust file; git push");
    let revoking = more.whole(&stage)?.version(3);
    let commit = push_trust_file(&mut stage, &revoking)?;
    super::told(&mut stage, &mut story, Owner::Source, &commit, "W304")?;
    stage.wait("the revocation is verified", |view| {
        let source = view.source()?;
        anyhow::ensure!(source["status"]["verifiedRevision"] == commit.as_str(), "{}", source["status"]);
        Ok(())
    })?;
    anyhow::ensure!(stage.view.config_map("settings")?["data"]["value"] == "theos", "what runs was taken away");
    story.events(&stage, Owner::Source, "TrustChanged")?;
    story.then("what runs is left alone; the revocation is in force.");
    story.done("sam looks at the file and makes it anew, signed by himself; git push");
    let anew = stage.change("apps/settings.yaml", &config_map("settings", "sams"))?;
    stage.applied(&anew)?;
    anyhow::ensure!(stage.view.config_map("settings")?["data"]["value"] == "sams");
    story.events(&stage, Owner::Source, "CommitVerified")?;
    story.then("it is rolled out.");
    story.end(&stage)
}

/// W505, W506, W508: trust files that would take trust back or lock everybody out, and one that is too old.
#[test]
fn trust_files_that_would_undo_trust() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let more = More::new(&mut stage)?;
    let file = more.whole(&stage)?.version(2);
    let commit = push_trust_file(&mut stage, &file)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");

    let revocation = Told {
        name: "revocation-removed",
        title: "A trust file that forgets a revocation",
        done: "the new trust file no longer lists theo's revoked key as revoked; ruth signs file and commit; git push",
        code: "W505",
    };
    let forgetful = more.file(&stage).rule("trust", &[".writ/**"], &[("root", 1)], &[]).version(3);
    refusal(&mut stage, &revocation, |stage| push_trust_file(stage, &forgetful))?;

    let locking = Told {
        name: "trust-file-self-locking",
        title: "A trust file that nobody could ever change again",
        done: "the new trust file wants three signatures of the role root, which only ruth has; ruth signs file and commit; git push",
        code: "W506",
    };
    let locked = more.file(&stage).rule("trust", &[".writ/**"], &[("root", 3)], &[]);
    let locked = locked.revoke_key(&more.revoked.fingerprint()?, "laptop lost").version(3);
    refusal(&mut stage, &locking, |stage| push_trust_file(stage, &locked))?;

    // Accepted: only `.writ/` changes. What comes after it is refused until the file is renewed.
    let old = more.whole(&stage)?.version(3).expires("2026-06-01T00:00:00Z");
    stage.restore()?;
    let commit = push_trust_file(&mut stage, &old)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    let expired = Told {
        name: "trust-file-expired",
        title: "A trust file that has expired",
        done: "the trust file expired on 2026-06-01 and a week has passed; sam signs a change of apps/settings.yaml; git push",
        code: "W508",
    };
    refusal(&mut stage, &expired, |stage| stage.change("apps/settings.yaml", &config_map("settings", "bad")))?;
    let renewed = push_renewal(&mut stage, &more)?;
    stage.applied(&renewed)?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer")).map(drop)
}

/// The fix that W508 names: `expires` renewed, version raised, signed, and committed alone.
fn push_renewal(stage: &mut Stage<'_>, more: &More) -> Result<String> {
    stage.restore()?;
    let renewed = more.whole(stage)?.version(4);
    push_trust_file(stage, &renewed)
}

#[test]
fn weak_key() -> Test {
    let mut stage = Lent::stage()?;
    let keys = Keys::new()?;
    let short = keys.generate("sam", KeyType::Rsa(2048))?;
    stage.names.call(&short.fingerprint()?, "short RSA key");
    stage.names.call(short.public(), "short public RSA key");
    let told = Told {
        name: "weak-key",
        title: "A signature by an RSA key that is too short",
        done: "sam signs a change of apps/settings.yaml with an RSA key of 2048 bits; git push",
        code: "W203",
    };
    refusal(&mut stage, &told, |stage| settings_by(stage, &short))
}

#[test]
fn signature_of_a_format_that_is_not_supported() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "signature-format-not-supported",
        title: "An OpenPGP signature where nobody has an OpenPGP key",
        done: "a change of apps/settings.yaml carries an OpenPGP signature instead of an SSH signature; git push",
        code: "W208",
    };
    refusal(&mut stage, &told, |stage| {
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        let unsigned = stage.repo.commit_unsigned("change settings")?;
        stage.push_aside("main", "aside")?;
        let payload = String::from_utf8(stage.repo.read_object("commit", &unsigned)?).context("not UTF-8")?;
        let armour = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iHUEABYKAB0WIQ==\n -----END PGP SIGNATURE-----\n\n";
        let raw = payload.replacen("\n\n", &format!("\n{armour}"), 1);
        let commit = stage.repo.write_object("commit", raw.as_bytes())?;
        stage.force_head(&commit)?;
        Ok(commit)
    })
}

#[test]
fn accepted_commit_as_second_parent() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "not-first-parent",
        title: "A merge that puts another branch in the place of main",
        done: "sam merges main into a branch of his own instead of the other way round, and pushes that as main",
        code: "W402",
    };
    refusal(&mut stage, &told, |stage| {
        let good = stage.good().to_owned();
        let introduction = stage.repo.rev_parse(&format!("{good}~1"))?;
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        let tree = stage.repo.commit_signed(&stage.people.sre, "change settings")?;
        let tree = stage.repo.rev_parse(&format!("{tree}^{{tree}}"))?;
        let parents = [introduction.as_str(), good.as_str()];
        let commit = stage.repo.commit_tree(&tree, &parents, Signing::By(&stage.people.sre), "merge main")?;
        stage.repo.set_main(&commit)?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

#[test]
fn commit_made_before_its_parent() -> Test {
    let mut stage = Lent::stage()?;
    let good = stage.good().to_owned();
    let made: i64 = stage.repo.git(&["show", "-s", "--format=%ct", &good])?.parse().context("no committer time")?;
    let told = Told {
        name: "committer-time-goes-back",
        title: "A commit that says it was made before its parent",
        done: "sam's clock is a day behind; he signs a change of apps/settings.yaml; git push",
        code: "W406",
    };
    stage.repo.set_time(made - 24 * 60 * 60);
    let outcome = refusal(&mut stage, &told, |stage| {
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        stage.commit("change settings")
    });
    // The stage goes back to the pool.
    stage.repo.set_time(made + 24 * 60 * 60);
    outcome
}
