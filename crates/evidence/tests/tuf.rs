//! A trust root out of a TUF repository that is made at run time and served on loopback.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, time::Instant};

use evidence::{FETCH_SECONDS, FetchedRoot, TufError, TufRepository, Unwritten};
use jiff::{Timestamp, ToSpan as _};
use tempfile::TempDir;
use testkit::{Fault, GitServer, Metadata, Sigstore, Tuf, TufKey};
use trust::{KeylessRefresh, MAX_TRUSTED_ROOT_BYTES};

struct World {
    server: GitServer,
    tuf: Tuf,
    state: TempDir,
    now: Timestamp,
}

impl World {
    /// A repository with a trust root.
    fn new() -> (Self, String) {
        let (server, now) = (GitServer::start().unwrap(), Timestamp::now());
        let tuf = Tuf::generate(&server.files(), now).unwrap();
        let mut world = Self { server, tuf, state: TempDir::new().unwrap(), now };
        let first = world.publish();
        (world, first)
    }

    /// Publishes another trust root; its text.
    fn publish(&mut self) -> String {
        let text = Sigstore::generate(self.now).unwrap().trusted_root().unwrap();
        self.tuf.publish(&text).unwrap();
        text
    }

    fn refresh(&self) -> KeylessRefresh {
        KeylessRefresh {
            mirror: Some(self.server.files_url()),
            root: Some(self.tuf.first_root().to_owned()),
            ca_certificates: Some(self.server.authority().to_owned()),
        }
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("tuf").join("shop.json")
    }

    fn repository(&self) -> TufRepository {
        TufRepository::of(&self.refresh()).unwrap()
    }

    /// What is fetched and kept.
    fn fetch(&self) -> Result<FetchedRoot, TufError> {
        let fetched = self.repository().fetch(&self.file(), self.now)?;
        fetched.not_kept.map_or(Ok(fetched.root), Err)
    }

    fn kept(&self) -> Option<String> {
        let kept = self.repository().kept(&self.file()).unwrap();
        kept.map(|kept| kept.trusted_root)
    }

    /// Nothing is fetched, for this reason, and what was in force before is.
    fn refused(&self, words: &str, in_force: &str) {
        let error = self.fetch().map(drop).unwrap_err();
        assert!(error.to_string().contains(words), "{error}, not {words}");
        assert_eq!(self.kept().as_deref(), Some(in_force), "after {error}");
    }
}

#[test]
fn what_the_repository_holds_is_fetched_and_kept() {
    let (mut world, first) = World::new();
    assert_eq!(world.kept(), None);
    assert_eq!(world.fetch().unwrap(), FetchedRoot { trusted_root: first.clone(), at: world.now });
    assert_eq!(world.fetch().unwrap().trusted_root, first, "nothing has changed");
    let second = world.publish();
    assert_eq!(world.fetch().unwrap().trusted_root, second);
    world.server.set_fault(Some(Fault::Down)).unwrap();
    assert_eq!(world.kept(), Some(second.clone()), "no network is needed for what was fetched");
    world.refused("/2.root.json: ", &second);
    // Years later, when everything has expired: it was the newest that there was.
    world.now = world.now.checked_add((3 * 366 * 24).hours()).unwrap();
    world.server.set_fault(None).unwrap();
    world.refused("root metadata expired", &second);
}

#[test]
fn roots_are_rotated_by_the_old_and_the_new_keys() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    let keys = |number: usize| (0..number).map(|_| TufKey::generate().unwrap()).collect::<Vec<_>>();
    world.tuf.rotate(keys(3), 2, true).unwrap();
    world.tuf.rotate_online().unwrap();
    let second = world.publish();
    assert_eq!(world.fetch().unwrap().trusted_root, second);
    assert_ne!(first, second);
    world.server.set_fault(Some(Fault::Down)).unwrap();
    assert_eq!(world.kept(), Some(second.clone()), "the way from the first root is kept");
    world.server.set_fault(None).unwrap();
    // Signed by its own keys alone.
    world.tuf.rotate(keys(1), 1, false).unwrap();
    world.publish();
    world.refused("signature threshold not met for role root: 0/2", &second);
}

#[test]
fn a_new_root_that_too_few_of_its_own_keys_sign_is_refused() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    world.tuf.rotate(vec![TufKey::generate().unwrap()], 2, true).unwrap();
    world.publish();
    world.refused("signature threshold not met for role root: 1/2", &first);
}

#[test]
fn what_is_expired_or_forged_changes_nothing() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    for which in [Metadata::Timestamp, Metadata::Snapshot, Metadata::Targets] {
        world.tuf.expired = Some(which);
        world.publish();
        world.refused("metadata expired at", &first);
        world.tuf.expired = None;
        world.tuf.forged = Some(which);
        world.publish();
        world.refused("signature threshold not met", &first);
        world.tuf.forged = None;
    }
    let good = world.publish();
    assert_eq!(world.fetch().unwrap().trusted_root, good);
}

#[test]
fn versions_never_go_back_also_not_those_of_which_nothing_came() {
    let (mut world, _) = World::new();
    let (timestamp, second) = (world.tuf.read("timestamp.json").unwrap(), world.publish());
    world.fetch().unwrap();
    let newest = world.tuf.read("timestamp.json").unwrap();
    world.tuf.write("timestamp.json", &timestamp).unwrap();
    world.refused("rollback detected for timestamp: trusted version 2 > new version 1", &second);
    // A version that was seen, and whose snapshot does not follow.
    world.tuf.forged = Some(Metadata::Snapshot);
    world.publish();
    world.refused("signature threshold not met for role snapshot", &second);
    world.tuf.write("timestamp.json", &newest).unwrap();
    world.refused("rollback detected for timestamp: trusted version 3 > new version 2", &second);
}

/// Whoever has the key of timestamps and snapshots can make new ones for ever.
#[test]
fn what_is_kept_does_not_grow_with_the_number_of_versions() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        world.tuf.forged = Some(Metadata::Targets);
        world.publish();
        world.refused("signature threshold not met for role targets", &first);
        world.tuf.forged = None;
        let good = world.publish();
        assert_eq!(world.fetch().unwrap().trusted_root, good);
        world.tuf.publish(&first).unwrap();
        world.fetch().unwrap();
        sizes.push(std::fs::metadata(world.file()).unwrap().len());
    }
    // Versions get a digit more, and times have more digits or fewer.
    let grown = sizes.last().unwrap().abs_diff(*sizes.first().unwrap());
    assert!(grown < 64, "{sizes:?}");
    assert_eq!(world.kept(), Some(first));
}

#[test]
fn too_much_is_not_read() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    let timestamp = world.tuf.read("timestamp.json").unwrap();
    world.tuf.write("timestamp.json", &" ".repeat(1 << 20)).unwrap();
    world.refused("/timestamp.json: more than 16384 bytes", &first);
    world.tuf.write("timestamp.json", &timestamp).unwrap();
    // More than is signed, and more than a trust root may have.
    world.tuf.target_length = Some(10);
    world.publish();
    world.refused("trusted_root.json: more than 10 bytes", &first);
    world.tuf.target_length = Some(MAX_TRUSTED_ROOT_BYTES + 1);
    world.publish();
    world.refused("pinned length 65537 exceeds configured max 65536", &first);
}

#[test]
fn servers_that_lead_elsewhere_or_fail_are_not_followed() {
    let (world, first) = World::new();
    world.fetch().unwrap();
    let elsewhere = format!("{}/1.root.json", world.server.files_url());
    for (fault, words) in [
        (Fault::Redirect(elsewhere), "it redirects (status 302), which is not followed"),
        (Fault::Status(503), "status 503"),
        (Fault::WrongCertificate, "/2.root.json: "),
        // As if there were nothing: the chain of roots ends, and there must be a timestamp.
        (Fault::Status(404), "timestamp.json not found"),
    ] {
        world.server.set_fault(Some(fault)).unwrap();
        world.refused(words, &first);
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let (world, first) = World::new();
    world.fetch().unwrap();
    world.server.set_fault(Some(Fault::Stall)).unwrap();
    let begun = Instant::now();
    world.refused("/2.root.json: ", &first);
    assert!(begun.elapsed().as_secs() < FETCH_SECONDS, "{:?}", begun.elapsed());
}

#[test]
fn what_is_signed_and_no_trust_root_is_not_taken() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    for text in ["", "{}", "no JSON"] {
        world.tuf.publish(text).unwrap();
        world.refused("its trusted_root.json cannot be used", &first);
    }
}

#[test]
fn what_was_kept_is_verified_again() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    let (file, repository) = (world.file(), world.repository());
    let kept = std::fs::read_to_string(&file).unwrap();
    let error = |text: &str| {
        std::fs::write(&file, text).unwrap();
        // Neither is it used, nor is anything in its place; a fetch does not begin anew behind it.
        let error = repository.kept(&file).unwrap_err();
        assert!(matches!(error, TufError::Kept { .. }), "{error}");
        error.to_string()
    };
    let stranger = Sigstore::generate(world.now).unwrap().trusted_root().unwrap();
    let swapped = |from: &str, to: &str| {
        let json = |text: &str| serde_json::to_string(text).unwrap();
        kept.replace(&json(from), &json(to))
    };
    let unsigned = error(&swapped(&first, &stranger));
    assert!(unsigned.contains("trusted_root.json not found"), "{unsigned}");
    assert!(error("{").contains("EOF"));
    assert!(matches!(world.fetch(), Err(TufError::Kept { .. })));
    std::fs::write(&file, &kept).unwrap();
    assert_eq!(world.kept(), Some(first));
    // Of another repository, as after an edit of the TrustRoot, it counts for nothing.
    world.tuf = Tuf::generate(&world.server.files(), world.now).unwrap();
    assert_eq!(world.kept(), None);
    let second = world.publish();
    assert_eq!(world.fetch().unwrap().trusted_root, second);
    assert_eq!(world.kept(), Some(second));
}

/// As on a volume that is full: what is older may trust an authority that was taken away.
#[test]
fn what_cannot_be_kept_counts_all_the_same_and_is_told() {
    let (mut world, first) = World::new();
    world.fetch().unwrap();
    let older = world.tuf.read("timestamp.json").unwrap();
    let second = world.publish();
    // A folder where the file is written first.
    let in_the_way = world.file().with_extension("new");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let unwritten = Unwritten::default();
    let repository = world.repository().after(&unwritten);
    for _try in 0..2 {
        let fetched = repository.fetch(&world.file(), world.now).unwrap();
        assert_eq!(fetched.root, FetchedRoot { trusted_root: second.clone(), at: world.now });
        assert!(matches!(fetched.not_kept, Some(TufError::NotKept { .. })), "{:?}", fetched.not_kept);
        assert_eq!(world.kept(), Some(first.clone()), "after a restart");
        let edited = world.repository().after(&unwritten).kept(&world.file()).unwrap();
        assert_eq!(edited, Some(fetched.root), "after an edit of the TrustRoot");
    }
    // Neither does the next fetch go back, by what was seen or by what the file says.
    let newest = world.tuf.read("timestamp.json").unwrap();
    world.tuf.write("timestamp.json", &older).unwrap();
    let error = |repository: &TufRepository| repository.fetch(&world.file(), world.now).unwrap_err();
    // Both are told: who rolls a repository back does not hide behind a full volume.
    let both = error(&repository).to_string();
    assert!(both.contains("rollback detected for timestamp") && both.contains("cannot be written"), "{both}");
    std::fs::remove_dir(&in_the_way).unwrap();
    let refused = error(&repository).to_string();
    assert!(refused.contains("rollback detected for timestamp: trusted version 2 > new version 1"), "{refused}");
    assert_eq!(world.kept(), Some(second.clone()), "what could not be written is written");
    world.tuf.write("timestamp.json", &newest).unwrap();
    assert_eq!(world.fetch().unwrap().trusted_root, second);
}

#[test]
fn what_was_kept_and_cannot_be_read_is_not_passed_over() {
    let (world, first) = World::new();
    std::fs::write(world.state.path().join("tuf"), "no folder").unwrap();
    assert!(matches!(world.fetch(), Err(TufError::Kept { .. })));
    std::fs::remove_file(world.state.path().join("tuf")).unwrap();
    assert_eq!(world.fetch().unwrap().trusted_root, first);
}

/// Whoever is between us and the server need not sign what cannot be read.
#[test]
fn what_nobody_signed_is_not_told_at_length() {
    let (world, first) = World::new();
    world.fetch().unwrap();
    let long = "x\\n".repeat(20 << 10);
    let next = format!("{{\"signed\":{{\"_type\":\"root\",\"version\":\"{long}\"}},\"signatures\":[]}}");
    world.tuf.write("2.root.json", &next).unwrap();
    let error = world.fetch().unwrap_err().to_string();
    assert!(error.ends_with('…') && error.chars().count() == 401, "{error}");
    world.refused("invalid type", &first);
}

#[test]
fn a_repository_begins_with_a_root_and_a_server_with_certificates() {
    let (world, _) = World::new();
    let of = |refresh: KeylessRefresh| TufRepository::of(&refresh).map(|made| made.address().to_owned());
    assert_eq!(of(world.refresh()).unwrap(), world.server.files_url());
    // The one of the public Sigstore, which is built in.
    assert_eq!(of(KeylessRefresh::default()).unwrap(), "https://tuf-repo-cdn.sigstore.dev");
    let unsigned = world.tuf.first_root().replace("\"sig\":\"", "\"sig\":\"00");
    for root in ["{}".to_owned(), unsigned] {
        let Err(TufError::Root(_)) = of(KeylessRefresh { root: Some(root), ..world.refresh() }) else { panic!() };
    }
    let none = KeylessRefresh { ca_certificates: Some("none".to_owned()), ..world.refresh() };
    let Err(TufError::Certificates(_)) = of(none) else { panic!() };
}
