//! `writ rollback` and `writ break-glass`: orders that people sign outside of Git.

use crate::support::{World, expect, text};

#[test]
fn an_order_is_made_by_one_and_signed_by_others() {
    let world = World::new();
    let (path, good) = (world.path(), world.good("good"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.yaml");
    let key = |key: &testkit::SigningKey| text(key.private_file()).to_owned();
    let (bob, alice) = (key(&world.bob), key(&world.alice));
    let orders = [("rollback", "--to", "RollbackRequest"), ("break-glass", "--commit", "BreakGlass")];
    for (command, commit, kind) in orders {
        // Of those who may change the trust file alone a BreakGlass is obeyed.
        let (bobs, said) = if kind == "BreakGlass" { (1, "bob, which does not count: ") } else { (0, "bob: ") };
        let make = [command, "shop/web", commit, &good, "--reason", "a: \"b\"", "--repo", &path, "--key", &bob];
        let made = expect(bobs, &make);
        assert!(
            made.stdout.contains(&format!("kind: {kind}\n")) && made.stdout.contains("namespace: shop\n"),
            "{}",
            made.stdout
        );
        let signed = format!("signed as {said}shop/web and commit {good} until ");
        assert!(made.stderr.contains(&signed), "{}", made.stderr);
        let why = "bob is in no role that a rule for .writ/trust.yaml asks for; needed: that of one of alice";
        assert_eq!(made.stderr.contains(why), bobs == 1, "{}", made.stderr);
        std::fs::write(&file, &made.stdout).unwrap();
        let add = |code, key: &str| expect(code, &[command, "--add", text(&file), "--repo", &path, "--key", key]);
        // Once more by the same person is the same signature.
        assert!(add(bobs, &bob).stderr.lines().next().unwrap().ends_with("signatures: bob"));
        let both = add(0, &alice);
        assert!(both.stderr.trim_end().ends_with("signatures: bob, alice"), "{}", both.stderr);
        assert_eq!(both.stdout.matches("BEGIN SSH SIGNATURE").count(), 2, "{}", both.stdout);
        // What is signed is what was signed.
        let head = |text: &str| text.split("signatures:").next().unwrap().to_owned();
        assert_eq!(head(&both.stdout), head(&made.stdout));
        assert!(add(2, &key(&world.stranger())).stderr.contains("belongs to no principal"));
        std::fs::write(&file, made.stdout.replace("urn:test", "urn:other")).unwrap();
        assert!(add(2, &alice).stderr.contains("the order is for urn:other, and this repository is urn:test"));
        std::fs::write(&file, made.stdout.replace(kind, "Sync")).unwrap();
        assert!(add(2, &alice).stderr.contains(&format!("is a Sync, not a {kind}")));
    }
}

#[test]
fn what_an_order_lacks_is_told() {
    let world = World::new();
    let (path, key) = (world.path(), text(world.bob.private_file()).to_owned());
    let common = ["--repo", &path, "--key", &key];
    for wrong in [
        &["rollback", "shop/web", "--to", "HEAD"][..],
        &["rollback", "shop/web", "--reason", "x"],
        &["rollback", "web", "--to", "HEAD", "--reason", "x"],
        &["rollback", "shop/web", "--to", "HEAD", "--reason", "x", "--until", "tomorrow"],
        &["rollback", "--add", "order.yaml", "--reason", "x"],
        &["break-glass", "shop/config", "--reason", "x"],
    ] {
        expect(64, &[wrong, &common].concat());
    }
    expect(2, &[&["rollback", "shop/web", "--to", "nowhere", "--reason", "x"][..], &common].concat());
}
