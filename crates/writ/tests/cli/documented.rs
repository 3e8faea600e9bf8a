//! What `docs/trust.md` shows is so: the trust file is one, and the commands do what they are said to do.

use std::path::Path;

use testkit::hermetic_command;
use trust::PublicKey;

use crate::{
    openpgp::Gpg,
    support::{World, expect, paste, text},
};

/// The blocks of a language in a page, in order.
fn blocks(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/trust.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// The same key, as if a token held it.
fn of_a_token(public: &str) -> String {
    let blob = PublicKey::parse(public).unwrap().blob().to_vec();
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    // After the name and its length, the 32 bytes of the key with theirs.
    let key = blob.get(blob.len() - 36..).unwrap();
    let all = [&string(b"sk-ssh-ed25519@openssh.com"), key, &string(b"ssh:")].concat();
    PublicKey::from_blob(&all).unwrap().to_string()
}

#[test]
fn the_trust_file_that_is_shown_is_one() {
    let world = World::new();
    let gpg = Gpg::new();
    let bob = gpg.key("bob", "sign", "never");
    let certificate = std::fs::read(gpg.certificate(&bob)).unwrap();
    world.repo.write(".writ/keys/bob.asc", &certificate).unwrap();
    let mut shown = blocks("yaml").remove(0);
    // What stands for a key is another one each time; the times are those of a reader of today.
    let mut number = 0;
    let mut next = || {
        number += 1;
        world.key(&format!("key{number}"))
    };
    while shown.contains("\"sk-ssh-ed25519@openssh.com AAAA…\"") {
        let key = of_a_token(next().public());
        shown = shown.replacen("sk-ssh-ed25519@openssh.com AAAA…", &key, 1);
    }
    while shown.contains("ssh-ed25519 AAAA…") {
        shown = shown.replacen("ssh-ed25519 AAAA…", next().public(), 1);
    }
    while shown.contains("SHA256:…") {
        shown = shown.replacen("SHA256:…", &next().fingerprint().unwrap(), 1);
    }
    let sha256 = manifest::Digest::of(&certificate).to_string();
    shown = shown.replace("<40 hex>", &bob).replace("<hex>", &sha256).replace("2027-", "2099-");
    shown = shown.replace("<full commit id>", &world.introduction);
    assert!(!shown.contains(['…', '<']), "{shown}");
    world.repo.write(".writ/trust.yaml", &shown).unwrap();
    let linted = expect(0, &["trust", "lint", "--repo", &world.path()]);
    assert!(linted.stderr.contains("is a valid trust file"), "{}", linted.stderr);
}

/// Files that the commands name, in the work tree, where git does not see them.
fn files(world: &World, gpg: &Gpg, fingerprint: &str) {
    let folder = world.repo.path();
    let [carol, new, zoe, yan, lost] = ["carol", "bob", "zoe", "yan", "lost"].map(|name| world.key(name));
    let write = |name: &str, content: &[u8]| std::fs::write(folder.join(name), content).unwrap();
    write("carol.pub", carol.public().as_bytes());
    write("new.pub", new.public().as_bytes());
    write("allowed_signers", format!("zoe@example.com valid-after=\"20260101\" {}\n", zoe.public()).as_bytes());
    write("github.keys", format!("{}\n", yan.public()).as_bytes());
    write("keyring.asc", &std::fs::read(gpg.certificate(fingerprint)).unwrap());
    let list = format!("{}.pub", lost.private_file().display());
    let mut make = hermetic_command("ssh-keygen", &folder);
    assert!(make.current_dir(&folder).args(["-q", "-k", "-f", "revoked.krl", &list]).status().unwrap().success());
}

#[test]
fn the_commands_that_are_shown_work() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("Greta <greta@example.com>", "sign", "never");
    let shown = blocks("sh");
    assert_eq!(shown.len(), 7, "{shown:?}");
    for block in shown {
        let world = World::with_two_for_policies();
        files(&world, &gpg, &fingerprint);
        world.repo.git(&["config", "gpg.format", "ssh"]).unwrap();
        let server = tempfile::tempdir().unwrap();
        world.repo.git(&["init", "--bare", "--quiet", text(server.path())]).unwrap();
        world.repo.git(&["remote", "add", "origin", text(server.path())]).unwrap();
        // Where bob alone is sre, nothing of his can be taken away.
        let path = world.path();
        expect(0, &["trust", "add", "frank", "--role", "sre", "--repo", &path]);
        if block.contains("trust remove carol") {
            expect(0, &["trust", "add", "carol", "--key", world.key("carol").public(), "--repo", &path]);
        }
        world.repo.sign_trust_file(&world.alice).unwrap();
        world.repo.git(&["add", ".writ"]).unwrap();
        let mut who = &world.alice;
        paste(&world.repo.path(), who, "git commit --quiet -S -m 'who is there' -- .writ");
        if block.contains("approve") {
            world.repo.write("policies/limits.txt", "1").unwrap();
            paste(&world.repo.path(), who, "git add policies && git commit --quiet -S -m limits");
            world.verify(1, &[]);
            who = &world.frank;
        }
        let before = world.repo.head().unwrap();
        let script = block
            .replace("writ trust ", &format!("{} trust ", env!("CARGO_BIN_EXE_writ")))
            .replace("KEY_FILE", text(who.private_file()))
            .replace("OLD_FINGERPRINT", &world.bob.fingerprint().unwrap())
            .replace("FINGERPRINT", &fingerprint)
            .replace("COMMIT", "HEAD");
        paste(&world.repo.path(), who, &format!("export GNUPGHOME='{}'\n{script}", gpg.home().display()));
        world.verify(0, &[]);
        let made = block.matches("git commit").count();
        let since = world.repo.git(&["rev-list", "--count", &format!("{before}..HEAD")]).unwrap();
        assert_eq!(since.trim(), made.to_string(), "{block}");
    }
}

/// These need an account, a cluster or another person: of them it is shown that each takes the options it is shown with.
#[test]
fn the_commands_that_are_only_shown_have_options_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let asks = |command: &str| {
        let command = command.replacen("writ", env!("CARGO_BIN_EXE_writ"), 1);
        let mut shell = hermetic_command("sh", folder.path());
        // An option that is not there is refused before the help is reached, and nothing is run after it.
        let shell = shell.current_dir(folder.path()).args(["-c", &format!("{command} --help")]);
        shell.output().unwrap().status.code()
    };
    assert_eq!(asks("writ rollback shop/web --nonsense"), Some(64));
    let shown = blocks("shell");
    let lines = shown.iter().flat_map(|block| block.lines()).flat_map(|line| line.split(" && "));
    let commands: Vec<&str> = lines
        .filter(|line| line.starts_with("writ "))
        .map(|line| line.split(['>', '#']).next().unwrap_or_default())
        .collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands {
        assert_eq!(asks(command), Some(0), "{command}");
    }
}
