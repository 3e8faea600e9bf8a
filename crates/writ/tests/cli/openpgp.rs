//! OpenPGP keys of people, made by the real gpg: added, signing the trust file, approving, linted.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use testkit::{Finished, WritCommand, hermetic_command};

use crate::{
    pasted::fix,
    support::{World, paste, text, writ},
};

/// A home of gpg. Its agent ends with it.
pub(crate) struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let all = ["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        let output = hermetic_command("gpg", self.home.path())
            .env("GNUPGHOME", self.home.path())
            .args(all)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("gpg is missing ({error}): apt-get install gnupg"));
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A new key, and its fingerprint.
    pub(crate) fn key(&self, name: &str, usage: &str, expires: &str) -> String {
        self.run(&["--quick-generate-key", name, "ed25519", usage, expires]);
        self.fingerprint(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", name])).unwrap();
        listed.lines().find(|line| line.starts_with("fpr:")).unwrap().split(':').nth(9).unwrap().to_owned()
    }

    pub(crate) fn certificate(&self, key: &str) -> PathBuf {
        let file = self.home.path().join(format!("{key}.asc"));
        std::fs::write(&file, self.run(&["--armor", "--export", key])).unwrap();
        file
    }

    /// Runs writ with this home.
    #[track_caller]
    fn writ(&self, world: &World, code: i32, arguments: &[&str]) -> Finished {
        let path = world.path();
        let finished = WritCommand::new(env!("CARGO_BIN_EXE_writ"))
            .unwrap()
            .env("GNUPGHOME", text(self.home.path()))
            .args([&["trust"], arguments, &["--repo", &path]].concat())
            .output()
            .unwrap();
        assert_eq!(finished.code, Some(code), "{arguments:?}\n{}\n{}", finished.stdout, finished.stderr);
        finished
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut kill = hermetic_command("gpgconf", self.home.path());
        drop(kill.env("GNUPGHOME", self.home.path()).args(["--kill", "gpg-agent"]).output());
    }
}

/// Signs the trust file as alice and commits it.
fn sign_and_commit(world: &World, gpg: &Gpg) {
    gpg.writ(world, 0, &["sign", "--key", text(world.alice.private_file())]);
    world.repo.commit_signed(&world.alice, "trust").unwrap();
    world.verify(0, &[]);
}

#[test]
fn an_openpgp_key_signs_the_trust_file_and_approves() {
    let world = World::with_two_for_policies();
    let gpg = Gpg::new();
    let [greta, mallory] = ["Greta <greta@example.com>", "mallory"].map(|name| gpg.key(name, "sign", "never"));
    let certificate = gpg.certificate(&greta);
    let roles = ["--role", "root", "--role", "security"];
    let added = [&["add", "greta", "--openpgp", text(&certificate)], roles.as_slice()].concat();
    let added = gpg.writ(&world, 0, &added);
    assert!(added.stderr.contains("copied the certificate to .writ/keys/greta-"), "{}", added.stderr);
    sign_and_commit(&world, &gpg);

    // As a root principal, in a file of its own.
    gpg.writ(&world, 0, &["add", "bob", "--role", "security"]);
    let signed = gpg.writ(&world, 0, &["sign", "--openpgp", &greta]);
    assert!(signed.stderr.contains("1 of 1 of root have signed (greta)"), "{}", signed.stderr);
    let names: Vec<_> = std::fs::read_dir(world.repo.path().join(".writ/trust.yaml.sigs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["greta.asc"], "the signature of other bytes is gone");
    let unknown = gpg.writ(&world, 2, &["sign", "--openpgp", &mallory]);
    assert!(unknown.stderr.contains("would not count"), "{}", unknown.stderr);
    world.repo.commit_signed(&world.alice, "signed by greta").unwrap();
    world.verify(0, &[]);

    // As the second for a policy.
    world.repo.write("policies/limits.txt", "1").unwrap();
    let commit = world.repo.commit_signed(&world.alice, "limits").unwrap();
    assert_eq!(world.verify(1, &[])["steps"].as_array().unwrap().last().unwrap()["code"], "W303");
    for (name, value) in [("user.name", "greta"), ("user.email", "greta@example.com")] {
        world.repo.git(&["config", name, value]).unwrap();
    }
    let refused = gpg.writ(&world, 2, &["approve", &commit, "--openpgp", &mallory]);
    assert!(refused.stderr.contains("the approval would not count"), "{}", refused.stderr);
    let approved = gpg.writ(&world, 0, &["approve", &commit, "--openpgp", &greta]);
    assert!(approved.stderr.contains("as greta"), "{}", approved.stderr);
    world.verify(0, &[]);
    // One over SHA-1 is told before it is pushed.
    std::fs::write(gpg.home.path().join("gpg.conf"), "digest-algo SHA1\n").unwrap();
    let weak = gpg.writ(&world, 2, &["approve", &commit, "--openpgp", &greta]);
    assert!(weak.stderr.contains("SHA-1"), "{}", weak.stderr);
}

/// The fix of a commit by a key that nobody has, or of a certificate that is gone, mends it.
#[test]
fn fixes_of_openpgp_work_when_pasted() {
    let world = World::new();
    let gpg = Gpg::new();
    let [greta, mallory] = ["greta", "mallory"].map(|name| gpg.key(name, "sign", "never"));
    gpg.writ(&world, 0, &["add", "greta", "--openpgp", text(&gpg.certificate(&greta)), "--role", "sre"]);
    sign_and_commit(&world, &gpg);
    let paste = |command: &str| {
        let command = command.replace("FINGERPRINT", &greta);
        paste(&world.repo.path(), &world.alice, &format!("export GNUPGHOME='{}'\n{command}", gpg.home().display()));
    };
    let commit = "git add apps && git -c gpg.format=openpgp commit --quiet -m x --gpg-sign=";
    for on_top in [false, true] {
        world.repo.write("apps/x.txt", if on_top { "2" } else { "1" }).unwrap();
        paste(&format!("{commit}{mallory}"));
        if on_top {
            world.repo.write("apps/y.txt", "y").unwrap();
            paste(&format!("{commit}{greta}"));
        }
        paste(&fix(&world, "W202"));
        world.verify(0, &[]);
    }
    // The certificate is changed by a commit that leaves the trust file as it is.
    let file = format!(".writ/keys/greta-{}.asc", greta.chars().skip(24).collect::<String>());
    let before = world.repo.read(&file).unwrap();
    world.repo.remove(&file).unwrap();
    let found = gpg.writ(&world, 1, &["lint"]);
    let fix = found.stdout.lines().find_map(|line| line.split_once("fix: ")).unwrap().1;
    paste(fix);
    assert_eq!(world.repo.read(&file).unwrap(), before);
    gpg.writ(&world, 0, &["lint"]);
}

/// Where some sign with SSH and some with OpenPGP, Git signs as it is set up, and the fix says who has which.
#[test]
fn fixes_fit_whoever_signs() {
    let world = World::new();
    let gpg = Gpg::new();
    let greta = gpg.key("greta", "sign", "never");
    let roles = ["--role", "root", "--role", "security", "--role", "sre"];
    let certificate = gpg.certificate(&greta);
    gpg.writ(&world, 0, &[&["add", "greta", "--openpgp", text(&certificate)], roles.as_slice()].concat());
    sign_and_commit(&world, &gpg);
    let paste_as = |format: &str, key: &str, fix: &str| {
        let set_up = format!("git config gpg.format {format}\ngit config user.signingkey '{key}'");
        let fix = fix.replace("FINGERPRINT", &greta).replace("PRINCIPAL", "greta");
        paste(
            &world.repo.path(),
            &world.alice,
            &format!("export GNUPGHOME='{}'\n{set_up}\n{fix}", gpg.home().display()),
        );
        world.verify(0, &[]);
    };
    // What is pasted is of now, and commits may not go back in time.
    let now = || world.repo.set_time(jiff::Timestamp::now().as_second());
    let unsigned = |name: &str| {
        now();
        world.repo.write(&format!("apps/{name}.txt"), name).unwrap();
        world.repo.commit_unsigned(name).unwrap();
        let found = world.verify(1, &[]);
        let message = found["steps"].as_array().unwrap().last().unwrap()["message"].as_str().unwrap().to_owned();
        (fix(&world, "W301"), message)
    };
    for (format, key) in [("openpgp", greta.as_str()), ("ssh", text(world.bob.private_file()))] {
        let (fix, message) = unsigned(format);
        assert!(message.ends_with("needed: an SSH or OpenPGP signature by a principal"), "{message}");
        let known = "# gpg.format as your key: ssh (alice, bob, frank), openpgp (greta)";
        assert_eq!(fix, format!("git commit --amend --no-edit --gpg-sign {known}"));
        paste_as(format, key, &fix);
    }
    // Nobody is left who signs with SSH.
    for name in ["alice", "bob", "frank"] {
        gpg.writ(&world, 0, &["remove", name]);
    }
    let next = gpg.writ(&world, 0, &["sign", "--openpgp", &greta]);
    assert!(next.stdout.contains(" commit --gpg-sign -m 'Trust file, version 3' -- .writ"), "{}", next.stdout);
    now();
    world.repo.commit_signed(&world.alice, "greta alone").unwrap();
    world.verify(0, &[]);
    let (fix_of_head, message) = unsigned("alone");
    assert!(message.ends_with("needed: an OpenPGP signature by a principal"), "{message}");
    assert_eq!(fix_of_head, "git -c gpg.format=openpgp commit --amend --no-edit --gpg-sign");
    paste_as("openpgp", &greta, &fix_of_head);
    // A trust file that nobody signed, in a commit of greta's.
    let zoe = world.stranger();
    let edited = gpg.writ(&world, 0, &["add", "zoe", "--key", zoe.public()]);
    let sign = "writ trust sign --repo ";
    assert!(
        edited.stdout.starts_with(sign) && edited.stdout.contains(" --openpgp FINGERPRINT # as 1 of greta\n"),
        "{}",
        edited.stdout
    );
    assert!(edited.stdout.contains("git -c gpg.format=openpgp commit --gpg-sign"), "{}", edited.stdout);
    paste(
        &world.repo.path(),
        &world.alice,
        &format!(
            "export GNUPGHOME='{}'\ngit add .writ\ngit -c gpg.format=openpgp commit -qm zoe --gpg-sign={greta}",
            gpg.home().display()
        ),
    );
    let found = fix(&world, "W504");
    assert!(found.contains(" gpg --yes --armor --detach-sign --local-user FINGERPRINT "), "{found}");
    paste_as("openpgp", &greta, &found);
}

/// What holds no longer is vouched for, and left out, by root principals who have no SSH key.
#[test]
fn what_was_accepted_is_mended_with_openpgp() {
    let (world, gpg, server) = (World::new(), Gpg::new(), tempfile::tempdir().unwrap());
    world.repo.git(&["init", "--bare", "--quiet", text(server.path())]).unwrap();
    world.repo.git(&["remote", "add", "origin", text(server.path())]).unwrap();
    let greta = gpg.key("greta", "sign", "never");
    let roles = ["--role", "root", "--role", "security", "--role", "sre"];
    gpg.writ(&world, 0, &[&["add", "greta", "--openpgp", text(&gpg.certificate(&greta))], roles.as_slice()].concat());
    sign_and_commit(&world, &gpg);
    world.good("by bob");
    for name in ["alice", "bob", "frank"] {
        gpg.writ(&world, 0, &["remove", name]);
    }
    gpg.writ(&world, 0, &["revoke", "--key", &world.bob.fingerprint().unwrap()]);
    gpg.writ(&world, 0, &["sign", "--openpgp", &greta]);
    world.repo.set_time(jiff::Timestamp::now().as_second());
    world.repo.commit_signed(&world.alice, "greta alone").unwrap();
    let paste_as_greta = |fix: &str| {
        let fix =
            fix.replace("FINGERPRINT", &greta).replace("writ trust", &format!("{} trust", env!("CARGO_BIN_EXE_writ")));
        let set_up = format!("export GNUPGHOME='{}'\ngit config user.signingkey {greta}", gpg.home().display());
        paste(&world.repo.path(), &world.alice, &format!("{set_up}\n{fix}"));
    };
    let root = world.trust_root();
    let verify = || writ(&["verify", "--repo", &world.path(), "--trust-root", text(&root)]);
    let vouch = || {
        let held = verify();
        let fix = held.stderr.lines().find_map(|line| line.split_once("fix: ")).unwrap().1;
        assert!(held.stderr.contains("W304") && fix.contains(" --vouch --openpgp FINGERPRINT && git push"), "{fix}");
        paste_as_greta(fix);
        assert_eq!(verify().code, Some(0));
    };
    vouch();
    world.repo.write("apps/x.txt", "x").unwrap();
    let accepted = world.repo.commit_signed(&world.stranger(), "by an authority that is gone").unwrap();
    let vouched_for = |commit: &str| {
        let text = std::fs::read_to_string(&root).unwrap();
        let lines = text.lines().filter(|line| !line.contains("resumeFrom:"));
        let lines: Vec<_> =
            lines.map(|line| line.replace("spec:", &format!("spec:\n  resumeFrom: {commit}"))).collect();
        std::fs::write(&root, lines.join("\n")).unwrap();
    };
    vouched_for(&accepted);
    let leave_out = fix(&world, "W202");
    assert!(leave_out.starts_with("git -c gpg.format=openpgp revert "), "{leave_out}");
    assert!(leave_out.contains(" --openpgp FINGERPRINT && git push"), "{leave_out}");
    paste_as_greta(&leave_out);
    vouched_for(&world.repo.head().unwrap());
    // Whoever vouches does so for one commit.
    vouch();
}

#[test]
fn pinned_certificates_are_linted() {
    let world = World::new();
    let gpg = Gpg::new();
    let [greta, soon, certify] = [("greta", "sign", "never"), ("soon", "sign", "2w"), ("certify", "cert", "never")]
        .map(|(name, usage, end)| {
            let key = gpg.key(name, usage, end);
            gpg.writ(&world, 0, &["add", name, "--openpgp", text(&gpg.certificate(&key))]);
            key
        });
    let fine = gpg.writ(&world, 0, &["lint"]);
    assert!(fine.stderr.contains(&format!("certificate {soon} of soon signs until ")), "{}", fine.stderr);
    assert!(fine.stderr.contains(&format!("certificate {certify} of certify cannot sign")), "{}", fine.stderr);
    assert!(!fine.stderr.contains(&greta), "{}", fine.stderr);
    let trust = world.repo.read(".writ/trust.yaml").unwrap();
    let line = trust.lines().position(|line| line.contains(&greta)).unwrap() + 1;
    let file = world.repo.path().join(format!(".writ/keys/greta-{}.asc", greta.chars().skip(24).collect::<String>()));
    let certificate = std::fs::read(&file).unwrap();
    let check = |what: &str| {
        let linted = gpg.writ(&world, 1, &["lint"]);
        let place = format!(".writ/trust.yaml:{line}:");
        assert!(linted.stdout.contains(&place) && linted.stdout.contains(what), "{what}: {}", linted.stdout);
    };
    std::fs::write(&file, [&certificate, b"\n".as_slice()].concat()).unwrap();
    check("is a file of sha256 ");
    std::fs::remove_file(&file).unwrap();
    check("is not there");
    // No edit is written on top of that.
    gpg.writ(&world, 1, &["add", "bob", "--role", "root"]);
    std::fs::write(&file, &certificate).unwrap();
    let other = trust.replace(&greta, &"0A".repeat(20));
    world.repo.write(".writ/trust.yaml", other).unwrap();
    check(&format!("is the certificate {greta}"));
    // An algorithm that the settings do not allow, in a key that is good otherwise.
    gpg.run(&["--quick-generate-key", "curve", "nistp384", "sign", "never"]);
    let curve = gpg.fingerprint("curve");
    world.repo.write(".writ/trust.yaml", &trust).unwrap();
    // A file that is there is never written over, and nothing is written then.
    let place = format!(".writ/keys/curve-{}.asc", curve.chars().skip(24).collect::<String>());
    world.repo.write(&place, "something else").unwrap();
    let refused = gpg.writ(&world, 2, &["add", "curve", "--openpgp", text(&gpg.certificate(&curve))]);
    assert!(refused.stderr.contains("something else in it"), "{}", refused.stderr);
    assert_eq!(world.repo.read(".writ/trust.yaml").unwrap(), trust);
    world.repo.remove(&place).unwrap();
    gpg.writ(&world, 0, &["add", "curve", "--openpgp", text(&gpg.certificate(&curve))]);
    let about = |stderr: &str| stderr.lines().find(|line| line.contains(&curve)).map(str::to_owned);
    assert_eq!(about(&gpg.writ(&world, 0, &["lint"]).stderr), None);
    let trust = world.repo.read(".writ/trust.yaml").unwrap();
    world.repo.write(".writ/trust.yaml", format!("{trust}crypto: {{allow: [ed25519]}}\n")).unwrap();
    let removed = gpg.writ(&world, 0, &["remove", "soon"]);
    assert!(removed.stderr.contains("any more: git rm -- .writ/keys/soon-"), "{}", removed.stderr);
    let noted = about(&gpg.writ(&world, 0, &["lint"]).stderr).unwrap();
    assert!(noted.contains("/trust.yaml:") && noted.contains("of curve cannot sign: "), "{noted}");
    assert!(noted.contains("ecdsa-p384"), "{noted}");
}
