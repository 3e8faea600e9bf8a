//! Signed repositories and the Git server, judged by the real git and ssh-keygen.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at the first surprise, as tests do")]

use std::process::Command;
use std::time::Duration;

use testkit::{
    Credentials, Fault, GitServer, KeyType, Keys, Merge, PrincipalKind, Push, RawEntry, Scratch, SignedRepo, Signing,
    TrustFile, allowed_signers, hermetic_command, run, wait_until,
};

/// Whether `git verify-commit` accepts the commit, and what it says.
fn verify(repository: &SignedRepo, commit: &str, allowed: &str) -> (bool, String) {
    let scratch = Scratch::new("allowed").unwrap();
    let file = scratch.path().join("allowed_signers");
    std::fs::write(&file, allowed).unwrap();
    let mut command = hermetic_command("git", scratch.path());
    let output = command
        .current_dir(repository.path())
        .arg("-c")
        .arg(format!("gpg.ssh.allowedSignersFile={}", file.display()))
        .args(["verify-commit", commit])
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn git_verifies_commits_of_every_key_type_and_refuses_others() {
    let keys = Keys::new().unwrap();
    let repository = SignedRepo::new().unwrap();
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521, KeyType::Rsa(3072)] {
        let alice = keys.generate("alice", key_type).unwrap();
        repository.write("file", format!("{key_type:?}")).unwrap();
        let commit = repository.commit_signed(&alice, "by alice").unwrap();
        let (accepted, found) = verify(&repository, &commit, &allowed_signers(&[&alice]));
        assert!(accepted && found.contains("Good \"git\" signature for alice"), "{key_type:?}: {found}");
        assert!(found.contains(&alice.fingerprint().unwrap()), "{key_type:?}: {found}");
        let mallory = keys.generate("mallory", KeyType::Ed25519).unwrap();
        assert!(!verify(&repository, &commit, &allowed_signers(&[&mallory])).0);
    }
    let unsigned = repository.commit_unsigned("by nobody").unwrap();
    assert!(!verify(&repository, &unsigned, "").0);
}

#[test]
fn histories_have_the_shape_that_was_asked_for() {
    let keys = Keys::new().unwrap();
    let alice = keys.generate("alice", KeyType::Ed25519).unwrap();
    let repository = SignedRepo::new().unwrap();
    repository.set_time(1_800_000_000);
    repository.write("a", "1").unwrap();
    let first = repository.commit_signed(&alice, "first").unwrap();
    repository.branch("side").unwrap();
    repository.write("b", "2").unwrap();
    let side = repository.commit_unsigned("side").unwrap();
    repository.switch("main").unwrap();
    let merge = repository.merge("side", Merge::NoFastForward, Signing::By(&alice)).unwrap();
    assert_eq!(
        repository.git(&["log", "-1", "--format=%P %ct", &merge]).unwrap(),
        format!("{first} {side} 1800000120")
    );
    assert!(verify(&repository, &merge, &allowed_signers(&[&alice])).0);

    repository.reset(&first).unwrap();
    let ours = repository.merge("side", Merge::Ours, Signing::By(&alice)).unwrap();
    assert_eq!(
        repository.rev_parse(&format!("{ours}^{{tree}}")).unwrap(),
        repository.rev_parse("main~^{tree}").unwrap()
    );

    repository.symlink("link", "/etc/passwd").unwrap();
    repository.submodule("modules/x", &first).unwrap();
    repository.commit_signed(&alice, "entries").unwrap();
    let tree = repository.git(&["ls-tree", "-r", "HEAD"]).unwrap();
    assert!(tree.contains("120000 blob") && tree.contains(&format!("160000 commit {first}\tmodules/x")), "{tree}");

    let blob = repository.write_object("blob", b"x").unwrap();
    let hostile = repository.write_tree(&[RawEntry { mode: "100644", name: b"..", id: &blob }]).unwrap();
    let commit = repository.commit_tree(&hostile, &[&first], Signing::By(&alice), "hostile").unwrap();
    assert!(verify(&repository, &commit, &allowed_signers(&[&alice])).0);
    repository.set_main(&commit).unwrap();
    assert_eq!(repository.head().unwrap(), commit);
}

#[test]
fn a_mutated_commit_keeps_every_other_byte_and_is_not_verified() {
    let keys = Keys::new().unwrap();
    let alice = keys.generate("alice", KeyType::Ed25519).unwrap();
    let repository = SignedRepo::new().unwrap();
    let good = repository.commit_signed(&alice, "pay 10").unwrap();
    let body = String::from_utf8(repository.read_object("commit", &good).unwrap()).unwrap();
    let mutant = repository.write_object("commit", body.replace("pay 10", "pay 99").as_bytes()).unwrap();
    assert!(verify(&repository, &good, &allowed_signers(&[&alice])).0);
    assert!(!verify(&repository, &mutant, &allowed_signers(&[&alice])).0);
}

#[test]
fn ssh_keygen_verifies_the_signature_over_a_trust_file() {
    let keys = Keys::new().unwrap();
    let alice = keys.generate("alice", KeyType::Ed25519).unwrap();
    let robot = keys.generate("bump", KeyType::EcdsaP256).unwrap();
    let repository = SignedRepo::new().unwrap();
    let file = TrustFile::team("urn:writ:test", &alice, &alice, &alice)
        .principal("bump", PrincipalKind::Robot, &[&robot])
        .version(2)
        .text();
    assert!(file.contains(alice.public()) && file.contains("version: 2\n") && file.contains("kind: robot"), "{file}");
    repository.write(".writ/trust.yaml", &file).unwrap();
    repository.sign_trust_file(&alice).unwrap();

    let allowed = keys_file(&format!("alice {}\n", alice.public()));
    let signature = repository.path().join(".writ/trust.yaml.sigs/alice.sig");
    let check = |namespace: &str| {
        let mut command = hermetic_command("ssh-keygen", allowed.path());
        command.args(["-Y", "verify", "-I", "alice", "-n", namespace, "-s"]).arg(&signature).arg("-f");
        command.arg(allowed.path().join("file"));
        command.stdin(std::fs::File::open(repository.path().join(".writ/trust.yaml")).unwrap());
        command.output().unwrap().status.success()
    };
    assert!(check("writ-trust@1"));
    assert!(!check("git"));
}

#[test]
fn writ_reads_the_trust_files_made_here() {
    let keys = Keys::new().unwrap();
    let key = |name: &str, key_type| keys.generate(name, key_type).unwrap();
    let (alice, bob) = (key("alice", KeyType::Ed25519), key("bob", KeyType::EcdsaP384));
    let file = TrustFile::team("urn:writ:test", &alice, &bob, &bob)
        .version(7)
        .expires("2098-01-01T00:00:00Z")
        .principal("bump", PrincipalKind::Robot, &[&key("bump", KeyType::Rsa(3072))])
        .principal_until(
            "eve",
            PrincipalKind::Human,
            &[(&key("eve", KeyType::EcdsaP521), Some("2027-01-01T00:00:00Z"))],
        )
        .role("bots", &["bump", "eve"])
        .rule("bump", &["bump/**"], &[("bots", 1), ("root", 1)], &["!/Secret", "*/Deployment"])
        .ancestry("firstParent")
        .revoke_key(&key("old", KeyType::Ed25519).fingerprint().unwrap(), "lost")
        .revoke_payload(&"ab".repeat(32), "bad change")
        .crypto("{minRsa: 3072}")
        .text();
    let read = trust::TrustFile::parse(file.as_bytes()).unwrap_or_else(|findings| panic!("{findings:#?}\n{file}"));
    assert_eq!(read.version, 7);
    assert_eq!(read.repo_id, "urn:writ:test");
}

fn keys_file(text: &str) -> Scratch {
    let scratch = Scratch::new("keys-file").unwrap();
    std::fs::write(scratch.path().join("file"), text).unwrap();
    scratch
}

/// A server with one repository `shop` that holds one commit.
fn served() -> (GitServer, SignedRepo) {
    let server = GitServer::start().unwrap();
    server.create("shop").unwrap();
    let repository = SignedRepo::new().unwrap();
    repository.write("a", "1").unwrap();
    repository.commit_unsigned("first").unwrap();
    repository.push(&server.remote("shop"), "main", Push::FastForward).unwrap();
    (server, repository)
}

#[test]
fn push_clone_and_rewrite_go_through_the_server() {
    let (server, repository) = served();
    let scratch = Scratch::new("clones").unwrap();
    let clone = scratch.path().join("clone");
    server.clear_requests();
    server.remote("shop").clone_into(&clone).unwrap();
    assert_eq!(std::fs::read_to_string(clone.join("a")).unwrap(), "1");
    let requests = server.requests();
    let commands: Vec<_> = requests.iter().filter_map(|request| request.command.as_deref()).collect();
    assert_eq!(commands, ["ls-refs", "fetch"], "{requests:?}");
    assert!(
        requests.iter().all(|r| r.protocol.as_deref() == Some("version=2") && r.status == Some(200)),
        "{requests:?}"
    );

    // Large enough for git to compress and to chunk its request.
    let noise: String = (0..200_000u32).map(|i| format!("{:x}\n", i.wrapping_mul(2_654_435_761))).collect();
    repository.write("large", noise).unwrap();
    repository.commit_unsigned("second").unwrap();
    let bearer = server.remote_with("shop", Credentials::Bearer(server.token().to_owned()));
    repository.push(&bearer, "main", Push::FastForward).unwrap();
    bearer.fetch_into(&clone, "main").unwrap();

    repository.reset("HEAD~").unwrap();
    assert!(repository.push(&bearer, "main", Push::FastForward).is_err());
    repository.push(&bearer, "main", Push::Force).unwrap();
    let mut on_server = Command::new("git");
    on_server.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let head = run(on_server.arg("-C").arg(server.repository("shop")).args(["rev-parse", "main"])).unwrap();
    assert_eq!(String::from_utf8(head).unwrap().trim(), repository.head().unwrap());
}

#[test]
fn wrong_credentials_and_an_unknown_authority_are_refused() {
    let (server, _repository) = served();
    let scratch = Scratch::new("clones").unwrap();
    let wrong = Credentials::Basic { username: server.username().to_owned(), password: "wrong".to_owned() };
    for (name, credentials) in
        [("basic", wrong), ("bearer", Credentials::Bearer("wrong".to_owned())), ("none", Credentials::Anonymous)]
    {
        server.clear_requests();
        let error = server.remote_with("shop", credentials).clone_into(&scratch.path().join(name)).unwrap_err();
        let requests = server.requests();
        assert!(
            !requests.is_empty() && requests.iter().all(|r| r.status == Some(401)),
            "{name}: {error:#} {requests:?}"
        );
    }
    let other = GitServer::start().unwrap();
    let mut remote = server.remote("shop");
    remote.authority = other.authority_file();
    server.clear_requests();
    let error = remote.clone_into(&scratch.path().join("authority")).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.requests(), []);
}

#[test]
fn each_fault_is_seen_by_git_and_ends_when_switched_off() {
    let (server, _repository) = served();
    let scratch = Scratch::new("clones").unwrap();
    for (name, fault, expected) in [
        ("down", Fault::Down, "Failed to connect"),
        ("redirect", Fault::Redirect("https://127.0.0.1:1/elsewhere.git/info/refs".to_owned()), "127.0.0.1 port 1"),
        ("certificate", Fault::WrongCertificate, "certificate"),
        ("unauthorized", Fault::Unauthorized, "could not read Username"),
        ("status", Fault::Status(503), "503"),
        ("truncate", Fault::Truncate(20), ""),
    ] {
        server.set_fault(Some(fault)).unwrap();
        let error = server.remote("shop").clone_into(&scratch.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        server.set_fault(None).unwrap();
        server.remote("shop").clone_into(&scratch.path().join(format!("{name}-after"))).unwrap();
    }
}

#[test]
fn a_stalled_request_ends_with_the_fault() {
    let (server, _repository) = served();
    let scratch = Scratch::new("clones").unwrap();
    let directory = scratch.path().join("stalled");
    server.set_fault(Some(Fault::Stall)).unwrap();
    server.clear_requests();
    let remote = server.remote("shop");
    let client = std::thread::spawn(move || remote.clone_into(&directory));
    wait_until("the request is stalled", Duration::from_secs(30), || match server.requests().as_slice() {
        [request] if request.status.is_none() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    assert!(!client.is_finished());
    server.set_fault(None).unwrap();
    assert!(client.join().unwrap().is_err());
}
