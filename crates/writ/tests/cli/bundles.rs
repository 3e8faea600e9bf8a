//! What accounts sign elsewhere, in Sigstore bundles as cosign writes them: trust files, approvals, heartbeats and orders.

use jiff::{Timestamp, ToSpan as _};
use testkit::{Account, Blob, Finished, Sigstore};

use crate::support::{World, expect, text};

fn carol() -> Account {
    Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() }
}

/// A repository in which carol is an account of a private Sigstore, which its TrustRoot trusts.
struct Signed {
    world: World,
    sigstore: Sigstore,
    trusted_root: String,
}

impl Signed {
    fn new() -> Self {
        let sigstore = Sigstore::generate(Timestamp::now() - 48.hours()).unwrap();
        let world = World::with_carol(&carol());
        let root = sigstore.trusted_root().unwrap();
        let trusted_root = world.file("trusted_root.json", &root);
        let before = std::fs::read_to_string(world.trust_root()).unwrap();
        let with = before.replacen("\nspec:\n", &format!("\nspec:\n  keyless: {{trustedRoot: '{root}'}}\n"), 1);
        std::fs::write(world.trust_root(), with).unwrap();
        Self { world, sigstore, trusted_root }
    }

    #[track_caller]
    fn writ(&self, code: i32, arguments: &[&str]) -> Finished {
        let path = self.world.path();
        expect(code, &[arguments, &["--repo", &path]].concat())
    }

    /// With the file in which an account has signed something, by the private Sigstore.
    #[track_caller]
    fn with_bundle(&self, code: i32, blob: Blob<'_>, account: &Account, arguments: &[&str]) -> Finished {
        let bundle = self.sigstore.bundle(blob, account, Timestamp::now() - 1.minutes(), &[]).unwrap();
        // Cosign may write it on several lines.
        let bundle = self.world.file("bundle.json", &bundle.replacen(",\"", ",\n  \"", 3));
        self.writ(code, &[arguments, &["--bundle", &bundle, "--trusted-root", &self.trusted_root]].concat())
    }
}

#[test]
fn an_account_approves() {
    let signed = Signed::new();
    let world = &signed.world;
    world.repo.write("pair/web.txt", "1").unwrap();
    let commit = world.repo.commit_signed(&world.bob, "for two").unwrap();
    assert_eq!(world.verify(1, &[])["steps"][0]["code"], "W303");
    for (name, value) in [("user.name", "carol"), ("user.email", "carol@example.com")] {
        world.repo.git(&["config", name, value]).unwrap();
    }
    let approve = ["trust", "approve", &commit];
    let statement = signed.writ(0, &[&approve[..], &["--print-payload"]].concat()).stdout;
    let statement = Blob::Statement(statement.as_bytes());
    let eve = Account { identity: "eve@example.com".to_owned(), ..carol() };
    let refused = signed.with_bundle(2, statement, &eve, &approve).stderr;
    assert!(
        refused.contains("signed as eve@example.com of https://accounts.example.com, which belongs to no principal")
    );
    let refused = signed.with_bundle(64, statement, &carol(), &[&approve[..], &["--vouch"]].concat()).stderr;
    assert!(refused.contains("the bundle is about something else"), "{refused}");
    let refused = signed.with_bundle(2, Blob::Message(b"x"), &carol(), &approve).stderr;
    assert!(refused.contains("dsseEnvelope"), "{refused}");
    let approved = signed.with_bundle(0, statement, &carol(), &approve).stderr;
    assert!(approved.contains(&format!("approved {commit} as carol until ")), "{approved}");
    world.verify(0, &[]);
    // Without the private Sigstore it is nobody's.
    let root = std::fs::read_to_string(world.trust_root()).unwrap();
    let lines = root.lines().filter(|line| !line.starts_with("  keyless:"));
    std::fs::write(world.trust_root(), lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let step = &world.verify(1, &[])["steps"][0];
    assert_eq!(step["code"], "W303");
    assert!(step["message"].as_str().unwrap().contains("invalid inclusion promise"), "{step}");
}

#[test]
fn an_account_signs_the_trust_file() {
    let signed = Signed::new();
    let world = &signed.world;
    let key = format!("{}.pub", world.stranger().private_file().display());
    signed.writ(0, &["trust", "add", "dave", "--key", &key, "--role", "sre"]);
    let file = signed.writ(0, &["trust", "sign", "--print-payload"]).stdout;
    assert_eq!(file, world.repo.read(".writ/trust.yaml").unwrap());
    let sign = ["trust", "sign"];
    let refused = signed.with_bundle(2, Blob::Message(b"another file"), &carol(), &sign).stderr;
    assert!(refused.contains("the signature would not count: the signature does not fit these bytes"), "{refused}");
    let told = signed.with_bundle(0, Blob::Message(file.as_bytes()), &carol(), &sign).stderr;
    assert!(told.contains("signed version 2 as carol: .writ/trust.yaml.sigs/carol.sig"), "{told}");
    assert!(told.contains("1 of 1 of root have signed (carol)"), "{told}");
    world.repo.commit_signed(&world.bob, "dave").unwrap();
    world.verify(0, &[]);
    // Whoever has no account of that name signs with it in vain.
    let bundle = world.repo.read(".writ/trust.yaml.sigs/carol.sig").unwrap();
    world.repo.write(".writ/trust.yaml.sigs/alice.sig", bundle).unwrap();
    std::fs::remove_file(world.repo.path().join(".writ/trust.yaml.sigs/carol.sig")).unwrap();
    world.repo.git(&["add", "--all"]).unwrap();
    world.repo.git(&["reset", "--quiet", "--soft", "HEAD^"]).unwrap();
    world.repo.commit_signed(&world.bob, "dave").unwrap();
    let step = &world.verify(1, &[])["steps"][0];
    assert_eq!(step["code"], "W504");
    assert!(step["message"].as_str().unwrap().contains("alice.sig: signed by carol"), "{step}");
}

#[test]
fn an_account_says_which_head_there_is() {
    let signed = Signed::new();
    let head = signed.world.good("web");
    let heartbeat = ["trust", "heartbeat"];
    let statement = signed.writ(0, &[&heartbeat[..], &["--print-payload"]].concat()).stdout;
    let told = signed.with_bundle(0, Blob::Statement(statement.as_bytes()), &carol(), &heartbeat).stderr;
    assert!(told.contains(&format!("has {head} at ")) && told.contains("says carol"), "{told}");
    signed.world.good("later");
    let refused = signed.with_bundle(2, Blob::Statement(statement.as_bytes()), &carol(), &heartbeat).stderr;
    assert!(refused.contains(&format!("at {head}, not about ")), "{refused}");
}

#[test]
fn an_account_signs_orders() {
    let signed = Signed::new();
    let world = &signed.world;
    let good = world.good("good");
    for (command, commit) in [("rollback", "--to"), ("break-glass", "--commit")] {
        let make = [command, "shop/web", commit, &good, "--reason", "a bad night"];
        let order = signed.writ(0, &[&make[..], &["--unsigned"]].concat()).stdout;
        assert!(order.contains("signatures: []"), "{order}");
        signed.writ(64, &[&make[..], &["--print-payload"]].concat());
        let file = world.file("order.yaml", &order);
        let add = [command, "--add", &file];
        let payload = signed.writ(0, &[&add[..], &["--print-payload"]].concat()).stdout;
        let refused = signed.with_bundle(2, Blob::Message(b"{}"), &carol(), &add).stderr;
        assert!(refused.contains("the order would not count: the signature does not fit these bytes"), "{refused}");
        let made = signed.with_bundle(0, Blob::Message(payload.as_bytes()), &carol(), &add);
        assert!(made.stderr.trim_end().ends_with("signatures: carol"), "{}", made.stderr);
        // Others add theirs beside it.
        let file = world.file("order.yaml", &made.stdout);
        let both = [command, "--add", &file, "--key", text(world.bob.private_file())];
        let both = signed.writ(i32::from(command == "break-glass"), &both);
        assert!(both.stderr.lines().next().unwrap().ends_with("signatures: carol, bob"), "{}", both.stderr);
    }
}
