//! Attacks 17 to 25: what a Git server, or whoever writes objects by hand, may try.

use anyhow::{Context, ensure};
use testkit::{Fault, Push, RawEntry, Signing};

use super::{Cast, Told, push_trust_file, refusal};
use crate::bad_input::git_server::{DISK_BYTES, faulty, no_verdict, too_large};
use crate::bad_input::orders::any_order;
use crate::bad_input::trees::hostile_commit;
use crate::bad_input::{Lent, Offline, refused, told};
use crate::stage::{Owner, SOURCE, SYNC, Setup, Stage, Story, Test, View, config_map};

/// Replace refs make one commit look like another: on the server they are not fetched, and in the mirror they are no one's but an
/// intruder's.
#[test]
fn attack_17_replace_refs() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "mirror-foreign-refs", "A mirror that somebody else wrote to")?;
    story.done("somebody makes refs/replace in the mirror on the state volume; writ polls");
    let mirror = mirror(&stage);
    std::fs::create_dir(mirror.join("refs/replace")).context("cannot write to the mirror")?;
    stage.poke()?;
    no_verdict(&mut stage, &mut story, "W604")?;
    story.done("rm -r of the mirror, as the fix says; sam pushes a signed commit");
    std::fs::remove_dir_all(&mirror).context("cannot remove the mirror")?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    story.then("the repository is fetched anew, and the commit applied.");
    story.end(&stage)?;
    // With the replacement git takes the unsigned commit for sam's.
    let good = stage.good().to_owned();
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let unsigned = stage.repo.commit_unsigned("unsigned")?;
    stage.push(Push::FastForward)?;
    let server = stage.server_repository();
    stage.repo.git(&["-C", &server.to_string_lossy(), "replace", &unsigned, &good])?;
    stage.poke()?;
    stage.held(Owner::Source, &unsigned, "W301")?;
    ensure!(!mirror.join("refs/replace").exists(), "it was fetched");
    stage.heals()
}

fn mirror(stage: &Stage<'_>) -> std::path::PathBuf {
    stage.state().join("mirror").join(format!("{}.{SOURCE}", stage.view.namespace))
}

#[test]
fn attack_18_symlink() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "symlink", "A symbolic link")?;
    story.done("apps/token.yaml is a symbolic link to /var/run/secrets/kubernetes.io/serviceaccount/token; sam signs; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    stage.repo.symlink("apps/token.yaml", "/var/run/secrets/kubernetes.io/serviceaccount/token")?;
    let commit = stage.commit("a link")?;
    refused(&mut stage, story, Owner::Source, &commit, "W105", Offline::Told)
}

#[test]
fn attack_19_path_traversal() -> Test {
    hostile_name("dot-dot", "A name that climbs out of its folder", &[b".."])
}

#[test]
fn attack_20_colliding_names() -> Test {
    hostile_name("case-colliding-names", "Two names that some file systems take for one", &[b"Web.yaml", b"web.yaml"])
}

/// A signed commit whose folder `apps` holds files of these names, besides a changed settings.yaml.
fn hostile_name(name: &'static str, title: &str, names: &[&[u8]]) -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, name, title)?;
    let shown: Vec<_> = names.iter().map(|name| format!("apps/{}", String::from_utf8_lossy(name))).collect();
    story.done(&format!(
        "a tree object with {} is written by hand; sam signs the commit; git push",
        shown.join(" and ")
    ));
    let commit = hostile_commit(&stage, names, |_| ())?;
    stage.repo.set_main(&commit)?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W104", Offline::Told)
}

#[test]
fn attack_21_submodule() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "submodule", "A submodule")?;
    story.done("apps/vendor is a submodule; sam signs; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let head = stage.repo.head()?;
    stage.repo.submodule("apps/vendor", &head)?;
    let commit = stage.commit("a submodule")?;
    refused(&mut stage, story, Owner::Source, &commit, "W105", Offline::Told)
}

/// Objects from elsewhere on the disk: named by the mirror, or by the address of a GitSource.
#[test]
fn attack_22_alternates_and_local_addresses() -> Test {
    let mut stage = Setup::shared()?.trust(any_order).cluster_admin().start()?;
    let mut story = Story::begin(&stage, "local-addresses", "Objects from elsewhere on the disk")?;
    story.done("somebody writes objects/info/alternates into the mirror on the state volume; writ polls");
    let mirror = mirror(&stage);
    std::fs::write(mirror.join("objects/info/alternates"), "/srv/other/objects\n").context("cannot write")?;
    stage.poke()?;
    no_verdict(&mut stage, &mut story, "W604")?;
    std::fs::remove_dir_all(&mirror).context("cannot remove the mirror")?;
    stage.restore()?;
    for url in ["file:///srv/other.git", "ext::sh -c touch% /tmp/owned", "/srv/other.git"] {
        story.done(&format!("a signed commit declares a GitSource with the url {url}; git push"));
        let commit = stage.change("apps/other.yaml", &source(&stage, url))?;
        let message = stage.wait(&format!("{url} is refused"), |view| {
            let sync = view.sync(SYNC)?;
            let (ready, reason, message) = View::condition(&sync, "Ready");
            ensure!(ready == "False" && message.contains("A101") && message.contains(url), "{reason}: {message}");
            Ok(message.to_owned())
        })?;
        stage.names.call_commit(&commit, "commit");
        story.seen("kubectl get sync shop", &message);
    }
    ensure!(stage.view.is_absent("apis/writ.dev/v1alpha1/gitsources", "other")?);
    stage.repo.remove("apps/other.yaml")?;
    let commit = stage.commit("no other source")?;
    stage.applied(&commit)?;
    story.done("the next commit does not declare it any more");
    story.then("it is applied.");
    story.end(&stage)
}

fn source(stage: &Stage<'_>, url: &str) -> String {
    format!(
        "apiVersion: writ.dev/v1alpha1\nkind: GitSource\nmetadata:\n  name: other\nspec:\n  url: \"{url}\"\n  \
         ref: refs/heads/main\n  trustRootRef:\n    name: {}\n",
        stage.view.namespace
    )
}

#[test]
fn attack_23_pack_bomb() -> Test {
    // A stage of its own: what was fetched would stay in the mirror of those that come after.
    let mut stage = Setup::shared()?.start()?;
    let disk = |last: u8| [vec![0_u8; DISK_BYTES], vec![last]].concat();
    stage.repo.write("images/disk.img", disk(0))?;
    let mut story = Story::begin(&stage, "object-too-large", "An object that is larger than one may be")?;
    story.done("a signed commit changes apps/settings.yaml and one byte of a file of 40 MiB, which is sent as the difference to the old one; git push");
    stage.repo.commit_signed(&stage.people.sre, "a disk image")?;
    stage.repo.write("images/disk.img", disk(1))?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    stage.repo.commit_signed(&stage.people.sre, "another disk image")?;
    // One pack, in which the second image is a difference to the first.
    stage.repo.git(&["repack", "-a", "-d", "-f", "-q", "--depth=10", "--window=10"])?;
    too_large(&mut stage, &mut story)?;
    story.end(&stage)
}

/// Ten objects that name each other are a tree of ten billion files.
#[test]
fn attack_23_tree_bomb() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "tree-bomb",
        title: "A tree of ten billion files",
        done: "ten tree objects, each of which holds the next one ten times, are written by hand; sam signs the commit; git push",
        code: "W403",
    };
    refusal(&mut stage, &told, |stage| {
        let mut tree = stage.repo.write_object("blob", b"x")?;
        let mut mode = "100644";
        for _ in 0..10 {
            let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
            let entries: Vec<_> =
                names.iter().map(|name| RawEntry { mode, name: name.as_bytes(), id: &tree }).collect();
            tree = stage.repo.write_tree(&entries)?;
            mode = "40000";
        }
        let trust = stage.repo.rev_parse("HEAD:.writ")?;
        let root = stage.repo.write_tree(&[
            RawEntry { mode: "40000", name: b".writ", id: &trust },
            RawEntry { mode: "40000", name: b"apps", id: &tree },
        ])?;
        let parent = stage.repo.head()?;
        let commit = stage.repo.commit_tree(&root, &[&parent], Signing::By(&stage.people.sre), "a bomb")?;
        stage.repo.set_main(&commit)?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

/// Somebody between writ and the server. (Over ssh: `a_wrong_host_key_is_w602` of crate git.)
#[test]
fn attack_24_server_with_the_wrong_certificate() -> Test {
    faulty(
        "git-server-wrong-certificate",
        "The Git server shows a certificate that nobody signed",
        "W602",
        Fault::WrongCertificate,
    )
}

/// Credentials do not follow to where the server points.
#[test]
fn attack_24_redirect() -> Test {
    faulty(
        "git-server-redirecting",
        "The Git server redirects to another address",
        "W605",
        Fault::Redirect("https://127.0.0.1:1/elsewhere.git".to_owned()),
    )
}

/// The key of an accepted commit is revoked: the revocation is in force at once, what runs goes on running and being healed, and
/// what the key brought is rolled out no more until somebody in force makes it anew.
#[test]
fn attack_25_stale_verdict() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let cast = Cast::new(&mut stage)?;
    cast.write_certificates(&stage)?;
    let before = cast.file(&stage).rule("trust", &[".writ/**"], &[("root", 1)], &[]).version(2);
    let commit = push_trust_file(&mut stage, &before)?;
    stage.applied(&commit)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "theos"))?;
    let theos = stage.repo.commit_signed(&cast.revoked, "change settings")?;
    stage.push(Push::FastForward)?;
    stage.applied(&theos)?;
    stage.names.call_commit(&theos, "commit of theo");
    let mut story = Story::begin(&stage, "key-of-accepted-commit-revoked", "The key of an accepted commit is revoked")?;
    story.done("theo's commit is accepted and applied; then ruth revokes his key in the trust file; git push");
    let revoking = cast.whole(&stage)?.version(3);
    let commit = push_trust_file(&mut stage, &revoking)?;
    // The GitSource refuses, then the Sync: the newest entry is told.
    stage.held(Owner::Source, &commit, "W304")?;
    stage.entries_once(&["--code", "W304"], 2)?;
    told(&mut stage, &mut story, Owner::Source, &commit, "W304")?;
    stage.wait("the revocation is verified", |view| {
        let source = view.source()?;
        ensure!(source["status"]["verifiedRevision"] == commit.as_str(), "{}", source["status"]);
        Ok(())
    })?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "theos", "what runs was taken away");
    story.events(&stage, Owner::Source, "TrustChanged")?;
    story.then("what runs is left alone; the revocation is in force.");
    story.done("sam looks at the file and makes it anew, signed by himself; git push");
    let anew = stage.change("apps/settings.yaml", &config_map("settings", "sams"))?;
    stage.applied(&anew)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "sams");
    story.events(&stage, Owner::Source, "CommitVerified")?;
    story.then("it is rolled out.");
    story.end(&stage)
}
