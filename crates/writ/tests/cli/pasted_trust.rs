//! The fixes of refusals about signatures and trust files, pasted into a shell as the people whom they name.

use testkit::{KeyType, Merge, Signing, SigningKey};

use crate::{
    pasted::fix,
    support::{World, expect, paste, text, writ},
};

/// A fix as somebody completes it who has this key.
fn completed(fix: &str, key: &SigningKey) -> String {
    fix.replace("writ trust ", &format!("{} trust ", env!("CARGO_BIN_EXE_writ")))
        .replace("KEY_FILE", text(key.private_file()))
        .replace("PRINCIPAL", key.principal())
}

fn by_frank(world: &World, name: &str) -> String {
    world.repo.write(&format!("apps/{name}.txt"), name).unwrap();
    world.repo.commit_signed(&world.frank, name).unwrap()
}

/// Makes something bad in the world, and lets the fix mend it, as the head and with another commit on top. All steps
/// are accepted then.
#[track_caller]
fn mended(code: &str, begin: impl Fn() -> World, bad: impl Fn(&World)) {
    for on_top in [0, 1] {
        let world = begin();
        bad(&world);
        for _ in 0..on_top {
            by_frank(&world, "later");
        }
        let fix = fix(&world, code);
        assert!(fix.starts_with("git ") || fix.starts_with("mkdir "), "{fix}");
        paste(&world.repo.path(), &world.frank, &completed(&fix, &world.frank));
        world.verify(0, &[]);
        assert_eq!(world.repo.git(&["symbolic-ref", "HEAD"]).unwrap().trim(), "refs/heads/main", "{fix}");
    }
}

/// Makes a signed commit, and another one of its bytes.
fn edited(world: &World, edit: impl Fn(String) -> String) {
    let good = by_frank(world, "x");
    let raw = String::from_utf8(world.repo.read_object("commit", &good).unwrap()).unwrap();
    let bad = world.repo.write_object("commit", edit(raw).as_bytes()).unwrap();
    world.repo.git(&["reset", "--quiet", "--soft", &bad]).unwrap();
}

fn new_version(world: &World, sign: bool) {
    let text = world.repo.read(".writ/trust.yaml").unwrap();
    world.repo.write(".writ/trust.yaml", text.replace("version: 1\n", "version: 2\n")).unwrap();
    if sign {
        world.repo.sign_trust_file(&world.frank).unwrap();
    }
}

#[test]
fn a_commit_is_signed_again() {
    let begin = World::for_anything_by_frank;
    mended("W301", begin, |world| {
        world.repo.write("apps/x.txt", "x").unwrap();
        world.repo.commit_unsigned("unsigned").unwrap();
    });
    mended("W201", begin, |world| edited(world, |raw| format!("{raw}\nand more\n")));
    // As of a tool that signs files, and does not know what a commit is.
    mended("W207", begin, |world| {
        edited(world, |raw| {
            let (before, rest) = raw.split_once("gpgsig ").unwrap();
            let (_signature, after) = rest.split_once("-----END SSH SIGNATURE-----\n").unwrap();
            let armour = world.frank.sign("file", format!("{before}{after}").as_bytes()).unwrap();
            format!("{before}gpgsig {}\n{after}", armour.trim_end().replace('\n', "\n "))
        });
    });
    mended("W208", begin, |world| {
        edited(world, |raw| {
            let (before, rest) = raw.split_once("gpgsig ").unwrap();
            let (_signature, after) = rest.split_once("-----END SSH SIGNATURE-----\n").unwrap();
            let openpgp = "-----BEGIN PGP SIGNATURE-----\n \n iHUEABYKAB0WIQ==\n -----END PGP SIGNATURE-----\n";
            format!("{before}gpgsig {openpgp}{after}")
        });
    });
}

/// Where the key is what is wrong, the fix asks for another one.
#[test]
fn a_commit_is_signed_with_another_key() {
    let begin = World::for_anything_by_frank;
    let signed_by = |world: &World, key: &SigningKey| {
        world.repo.write("apps/x.txt", "x").unwrap();
        world.repo.commit_signed(key, "x").unwrap();
    };
    mended("W202", begin, |world| signed_by(world, &world.stranger()));
    mended("W204", World::where_frank_has_an_old_key, |world| signed_by(world, &world.bob));
    mended("W203", begin, |world| signed_by(world, &world.key_of_type("frank", KeyType::Rsa(2048))));
}

#[test]
fn a_trust_file_is_signed() {
    mended("W504", World::for_anything_by_frank, |world| {
        new_version(world, false);
        world.repo.commit_signed(&world.frank, "no signature over it").unwrap();
    });
    mended("W502", World::for_anything_by_frank, |world| {
        new_version(world, true);
        world.repo.write(".writ/trust.yaml.sigs/a note", "x").unwrap();
        world.repo.commit_signed(&world.frank, "something else beside the signatures").unwrap();
    });
}

#[test]
fn a_commit_says_which_ref_it_is_for() {
    // What is on top says it too: one that does not is the next refusal.
    let world = World::bound_to_its_ref();
    by_frank(&world, "x");
    paste(&world.repo.path(), &world.frank, &fix(&world, "W404"));
    world.verify(0, &[]);
}

#[test]
fn the_clock_was_wrong() {
    let world = World::for_anything_by_frank();
    by_frank(&world, "early");
    world.repo.set_time(1_767_000_000);
    by_frank(&world, "earlier");
    paste(&world.repo.path(), &world.frank, &fix(&world, "W406"));
    world.verify(0, &[]);
}

/// What was accepted and is not verified any more is left out, and an admin vouches for what takes its place.
#[test]
fn what_was_accepted_is_left_out() {
    for on_top in [0, 1] {
        let world = World::for_anything_by_frank();
        let server = tempfile::tempdir().unwrap();
        let origin = text(server.path());
        world.repo.git(&["init", "--bare", "--quiet", origin]).unwrap();
        world.repo.git(&["remote", "add", "origin", origin]).unwrap();
        by_frank(&world, "good");
        world.repo.write("apps/x.txt", "x").unwrap();
        let mut accepted = world.repo.commit_signed(&world.stranger(), "by an authority that is gone").unwrap();
        for _ in 0..on_top {
            accepted = by_frank(&world, "later");
        }
        let admin_vouches = |commit: &str| {
            let root = std::fs::read_to_string(world.trust_root()).unwrap();
            let lines = root.lines().filter(|line| !line.contains("resumeFrom:"));
            let lines: Vec<String> =
                lines.map(|line| line.replace("spec:", &format!("spec:\n  resumeFrom: {commit}"))).collect();
            std::fs::write(world.trust_root(), lines.join("\n")).unwrap();
        };
        admin_vouches(&accepted);
        let left_out = fix(&world, "W202");
        paste(&world.repo.path(), &world.frank, &completed(&left_out, &world.frank));
        let patch = fix(&world, "W407");
        let head = world.repo.git(&["rev-parse", "HEAD"]).unwrap();
        assert_eq!(
            patch,
            format!(
                "kubectl patch trustroot root --type=merge -p '{{\"spec\":{{\"resumeFrom\":\"{}\"}}}}'",
                head.trim()
            )
        );
        admin_vouches(head.trim());
        world.verify(0, &[]);
        let pushed = world.repo.git(&["ls-remote", "origin"]).unwrap();
        assert!(pushed.contains(&format!("{}\trefs/heads/main", head.trim())), "{pushed}");
        assert!(pushed.contains("refs/notes/writ-approvals"), "{pushed}");
        assert!(!world.repo.path().join("apps/x.txt").exists());
    }
}

/// The people of a rule stand for what another one made: after a refusal, and after a revocation (W304).
#[test]
fn others_stand_for_a_commit() {
    let world = World::new();
    let server = tempfile::tempdir().unwrap();
    let origin = text(server.path());
    world.repo.git(&["init", "--bare", "--quiet", origin]).unwrap();
    world.repo.git(&["remote", "add", "origin", origin]).unwrap();
    let by_bob = world.good("by bob");
    let key = world.bob.fingerprint().unwrap();
    let path = world.path();
    // Somebody else holds his role from now on.
    let carol = world.key("carol");
    let add = ["trust", "add", "carol", "--key", carol.public(), "--role", "sre", "--repo", &path];
    paste(&world.repo.path(), &world.alice, &completed(&expect(0, &add).stdout, &world.alice));
    let revoked = expect(0, &["trust", "revoke", "--key", &key, "--repo", &path]);
    paste(&world.repo.path(), &world.alice, &completed(&revoked.stdout, &world.alice));
    let root = world.trust_root();
    let verify = || writ(&["verify", "--repo", &path, "--trust-root", text(&root)]);
    let held = verify();
    assert!(held.code == Some(1) && held.stderr.contains("W304"), "{}\n{}", held.stdout, held.stderr);
    let fix = held.stderr.lines().find_map(|line| line.split_once("fix: ")).unwrap().1;
    // Whoever may change the file may vouch for it.
    paste(&world.repo.path(), &carol, &completed(fix, &carol));
    let now = verify();
    assert_eq!(now.code, Some(0), "{}\n{}", now.stdout, now.stderr);
    // For an older commit that a Sync is taken back to, by the trust file of today.
    let older = ["trust", "approve", &by_bob, "--vouch", "--print-payload", "--repo", &path];
    for (trust, version) in [([].as_slice(), 1), (&["--trust", "HEAD"], 3)] {
        let statement = expect(0, &[&older, trust].concat()).stdout;
        assert!(statement.contains(&format!("\"policyVersion\":{version}")), "{statement}");
    }
}

#[test]
fn a_commit_on_a_side_branch_is_signed() {
    let world = World::for_anything_by_frank();
    world.repo.branch("side").unwrap();
    world.repo.switch("side").unwrap();
    world.repo.write("apps/side.txt", "x").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    world.repo.switch("main").unwrap();
    by_frank(&world, "main");
    world.repo.merge("side", Merge::NoFastForward, Signing::By(&world.frank)).unwrap();
    let fix = fix(&world, "W301");
    let command = fix.strip_prefix("on the side branch: ").unwrap();
    let again = format!(
        "git switch --quiet side && {command} && git switch --quiet main && git reset --quiet --hard HEAD^ && \
         git -c gpg.format=ssh merge --quiet --no-ff --gpg-sign -m merge side"
    );
    paste(&world.repo.path(), &world.frank, &again);
    world.verify(0, &[]);
}

#[test]
fn a_shallow_clone_is_completed() {
    let world = World::for_anything_by_frank();
    by_frank(&world, "one");
    by_frank(&world, "two");
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("clone");
    let url = format!("file://{}", world.path());
    world.repo.git(&["clone", "--quiet", "--depth", "1", &url, text(&clone)]).unwrap();
    let root = world.trust_root();
    let verify = || writ(&["verify", "--repo", text(&clone), "--trust-root", text(&root), "-o", "json"]);
    let refused = verify();
    let fix = "fetch it: git fetch --unshallow origin";
    assert!(
        refused.code != Some(0) && (refused.stdout.contains(fix) || refused.stderr.contains(fix)),
        "{}\n{}",
        refused.stdout,
        refused.stderr
    );
    paste(&clone, &world.frank, fix.strip_prefix("fetch it: ").unwrap());
    assert_eq!(verify().code, Some(0));
}
