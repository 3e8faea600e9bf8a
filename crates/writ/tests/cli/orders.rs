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
        let made =
            expect(0, &[command, "shop/web", commit, &good, "--reason", "a: \"b\"", "--repo", &path, "--key", &bob]);
        assert!(
            made.stdout.contains(&format!("kind: {kind}\n")) && made.stdout.contains("namespace: shop\n"),
            "{}",
            made.stdout
        );
        assert!(made.stderr.contains(&format!("signed as bob: shop/web and commit {good} until ")), "{}", made.stderr);
        std::fs::write(&file, &made.stdout).unwrap();
        let add = |code, key: &str| expect(code, &[command, "--add", text(&file), "--repo", &path, "--key", key]);
        // Once more by the same person is the same signature.
        assert!(add(0, &bob).stderr.trim_end().ends_with("signatures: bob"));
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
