//! What becomes of the trust that is in force when a repository is asked, and of what was accepted by it.

use std::sync::Arc;

use cluster::crd;
use jiff::ToSpan as _;
use tempfile::TempDir;
use testkit::{Account, GitServer, PrincipalKind, Signing, Sigstore, TrustFile, Tuf};
use trust::{KeylessTrust, TrustCode};

use super::*;
use crate::{
    floor::Floors,
    source_gate::SourceOutcome,
    source_tests::{World, id, trust},
};

/// A repository with one trust root, and a file for what is kept of it.
struct Repository {
    server: GitServer,
    tuf: Tuf,
    state: TempDir,
}

impl Repository {
    fn new() -> Self {
        let server = GitServer::start().unwrap();
        let tuf = Tuf::generate(&server.files(), Timestamp::now()).unwrap();
        Self { server, tuf, state: TempDir::new().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("tuf").join("prod.json")
    }

    fn declared(&self) -> KeylessRefresh {
        KeylessRefresh {
            mirror: Some(self.server.files_url()),
            root: Some(self.tuf.first_root().to_owned()),
            ca_certificates: Some(self.server.authority().to_owned()),
        }
    }

    fn spec(&self, world: &World) -> TrustRootSpec {
        let keyless = KeylessTrust { trusted_root: None, refresh: Some(self.declared()) };
        TrustRootSpec { keyless: Some(keyless), ..(*world.root).clone() }
    }

    /// What is in force at a start.
    fn begin(&self, spec: &TrustRootSpec) -> (TrustRootSpec, Refresh) {
        let (in_force, refresh) =
            Refresh::begin("prod", spec, &self.file(), &Unwritten::default(), Instant::now()).unwrap();
        (in_force, refresh.unwrap())
    }

    fn publish(&mut self, trusted_root: &str) {
        self.tuf.publish(trusted_root).unwrap();
        TufRepository::of(&self.declared()).unwrap().fetch(&self.file(), Timestamp::now()).unwrap();
    }
}

fn trusted_root(spec: &TrustRootSpec) -> Option<&str> {
    spec.keyless.as_ref()?.trusted_root.as_deref()
}

#[test]
fn without_the_field_the_spec_is_in_force_as_it_is() {
    let (world, state) = (World::new(), TempDir::new().unwrap());
    let (in_force, refresh) =
        Refresh::begin("prod", &world.root, &state.path().join("x"), &Unwritten::default(), Instant::now()).unwrap();
    assert!(in_force == *world.root && refresh.is_none());
    assert_eq!(state.path().read_dir().unwrap().count(), 0);
}

#[test]
fn what_was_fetched_is_in_force_after_a_restart() {
    let (world, mut repository) = (World::new(), Repository::new());
    let spec = repository.spec(&world);
    let (in_force, refresh) = repository.begin(&spec);
    assert!(in_force == spec && refresh.at.is_none() && refresh.problem.is_none());
    assert!(refresh.due <= Instant::now(), "at the start");
    let text = Sigstore::generate(Timestamp::now()).unwrap().trusted_root().unwrap();
    repository.publish(&text);
    repository.server.set_fault(Some(testkit::Fault::Down)).unwrap();
    let (in_force, refresh) = repository.begin(&spec);
    assert_eq!(trusted_root(&in_force), Some(text.as_str()));
    assert!(refresh.at.is_some() && in_force.canonical() != spec.canonical());
}

#[test]
fn what_was_kept_and_cannot_be_used_leaves_nothing_in_force() {
    let (world, mut repository) = (World::new(), Repository::new());
    let spec = repository.spec(&world);
    repository.publish(&Sigstore::generate(Timestamp::now()).unwrap().trusted_root().unwrap());
    std::fs::write(repository.file(), "{}").unwrap();
    let (in_force, refresh) = repository.begin(&spec);
    assert_eq!(trusted_root(&in_force), Some(""), "neither what is built in");
    let finding = refresh.problem.unwrap();
    assert!(finding.to_string().starts_with("A144 KeylessNotRefreshed: TrustRoot prod: "), "{finding}");
    assert!(finding.fix.starts_with("rm ") && finding.found.contains("no keyless signature is good"), "{finding}");
}

/// As on a volume that is full: an authority that was taken away must not go on counting.
#[test]
fn what_cannot_be_kept_is_in_force_and_told_also_after_an_edit() {
    let (world, mut repository) = (World::new(), Repository::new());
    let spec = repository.spec(&world);
    let text = || Sigstore::generate(Timestamp::now()).unwrap().trusted_root().unwrap();
    repository.publish(&text());
    let mut refreshes = Refreshes::default();
    let file = repository.file();
    let begin = |refreshes: &mut Refreshes, spec: &TrustRootSpec| {
        Refresh::begin("prod", spec, &file, &refreshes.unwritten("prod"), Instant::now()).unwrap()
    };
    let (in_force, refresh) = begin(&mut refreshes, &spec);
    let refresh = refresh.unwrap();
    let resource = crd::TrustRoot {
        api_version: "writ.dev/v1alpha1".to_owned(),
        kind: "TrustRoot".to_owned(),
        metadata: Default::default(),
        spec: spec.clone(),
        status: None,
    };
    let mut root = RootState {
        resource: Box::new(resource),
        spec: Some(Arc::new(in_force)),
        problem: None,
        refresh: Some(refresh),
        signatures: Arc::default(),
    };
    std::fs::create_dir(repository.file().with_extension("new")).unwrap();
    let newest = text();
    repository.tuf.publish(&newest).unwrap();
    let fetched = |root: &mut RootState| {
        let outcome = root.refresh.as_ref().unwrap().repository.fetch(&repository.file(), Timestamp::now());
        root.take_fetched("prod", &repository.declared(), outcome, Instant::now(), 0).unwrap()
    };
    let taken = fetched(&mut root);
    assert!(taken.is_changed && taken.is_failure && taken.at.is_some());
    assert_eq!(trusted_root(root.spec.as_ref().unwrap()), Some(newest.as_str()));
    let news = taken.news.unwrap();
    assert!(news.found.contains("cannot be written") && news.fix.contains("state volume"), "{news}");
    assert_eq!(root.refresh.as_ref().unwrap().failures, 1, "it is tried again soon");
    assert!(!fetched(&mut root).is_changed);
    let (edited, _) = begin(&mut refreshes, &spec);
    assert_eq!(trusted_root(&edited), Some(newest.as_str()));
    // Also where the TrustRoot had no such field, was of no use, or was gone in between.
    let (_, none) = begin(&mut refreshes, &world.root);
    drop((none, root));
    drop(refreshes.unwritten("other"));
    let (again, _) = begin(&mut refreshes, &spec);
    assert_eq!(trusted_root(&again), Some(newest.as_str()));
    assert!(refreshes.unwritten.len() == 1, "of the other nothing is remembered");
}

#[test]
fn a_repository_that_cannot_be_used_is_refused_by_its_field() {
    let (world, repository) = (World::new(), Repository::new());
    let declared = KeylessRefresh { root: Some("{}".to_owned()), ..repository.declared() };
    let keyless = KeylessTrust { trusted_root: None, refresh: Some(declared) };
    let spec = TrustRootSpec { keyless: Some(keyless), ..(*world.root).clone() };
    let error = Refresh::begin("prod", &spec, &repository.file(), &Unwritten::default(), Instant::now()).unwrap_err();
    assert!(error.starts_with("spec.keyless.refresh: no root.json that is signed by its own keys"), "{error}");
}

#[test]
fn it_is_asked_once_a_day_and_sooner_after_failures_but_not_in_step() {
    assert_eq!(pause(0, 0), REFRESH_EVERY);
    let tries: Vec<u64> = (1..9).map(|failures| pause(failures, 0).as_secs() / 60).collect();
    assert_eq!(tries, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(pause(u32::MAX, u64::MAX) <= AGAIN_MAX + AGAIN_MAX / 10);
    assert!(pause(0, 3_600_000) > pause(0, 0));
}

#[test]
fn a_failure_is_news_once_and_its_end_as_well() {
    let (world, repository) = (World::new(), Repository::new());
    let (_, mut refresh) = repository.begin(&repository.spec(&world));
    let why = |text: &str| TufError::Refused(text.to_owned());
    let finding = failed("prod", &refresh.repository, refresh.at, &why("timestamp metadata expired"));
    assert!(finding.fix.starts_with("ask who runs https://127.0.0.1"), "{finding}");
    // A full volume hides no forged mirror.
    let not_kept = TufError::NotKept { path: "x.json".into(), reason: "no space left".to_owned() };
    let both =
        TufError::RefusedAndNotKept { refused: Box::new(why("rollback detected")), not_kept: Box::new(not_kept) };
    let both = failed("prod", &refresh.repository, refresh.at, &both);
    assert!(
        both.found.contains("rollback detected") && both.found.ends_with("cannot be written: no space left"),
        "{both}"
    );
    assert!(both.fix.contains("state volume, and ask who runs https://127.0.0.1"), "{both}");
    let now = Instant::now();
    assert!(refresh.end(Some(finding.clone()), now, 0) && !refresh.end(Some(finding), now, 0));
    assert_eq!(refresh.due, now + AGAIN_FIRST * 2);
    assert!(refresh.end(None, now, 0));
    assert_eq!((refresh.due, refresh.failures), (now + REFRESH_EVERY, 0));
}

fn carol() -> Account {
    Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() }
}

/// A trust file by which carol may change what is below `apps/`.
fn with_carol(world: &World) -> TrustFile {
    let root = world.root_key.principal();
    TrustFile::new("urn:shop")
        .version(2)
        .principal(root, PrincipalKind::Human, &[&world.root_key])
        .keyless("carol", &carol())
        .role("root", &[root])
        .role("sre", &["carol"])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &[])
}

/// Puts a commit of carol on the branch, vouched for by this Sigstore.
fn commit_by(world: &World, sigstore: &Sigstore, text: &str) -> trust::CommitId {
    let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: \"{text}\"}}\n");
    world.repo.write("apps/a.yaml", map).unwrap();
    world.repo.commit(Signing::Unsigned, text).unwrap();
    let payload = world.repo.read_object("commit", "HEAD").unwrap();
    let armour = sigstore.sign(&payload, &carol(), Timestamp::now() - 1.minutes(), &[]).unwrap();
    let header = format!("\ngpgsig {}\n\n", armour.trim_end().replace('\n', "\n "));
    let raw = String::from_utf8(payload).unwrap().replacen("\n\n", &header, 1);
    let commit = world.repo.write_object("commit", raw.as_bytes()).unwrap();
    world.repo.reset(&commit).unwrap();
    id(&commit)
}

/// The code by which it was refused, if it was.
fn code(outcome: &SourceOutcome) -> Option<&'static str> {
    match outcome {
        SourceOutcome::Accepted { .. } => None,
        SourceOutcome::Refused { findings, .. } => Some(findings[0].code.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_authority_that_is_taken_away_holds_what_it_vouched_for() {
    let (mut world, mut repository) = (World::new(), Repository::new());
    let spec = repository.spec(&world);
    let first = Sigstore::generate(Timestamp::now() - 48.hours()).unwrap();
    let second = first.with_another_authority().unwrap();
    trust(&world.repo, &with_carol(&world), &world.root_key);
    let w206 = Some(TrustCode::W206.entry().code);
    let judge = |world: &mut World, spec: &TrustRootSpec, floors: Floors| {
        world.root = Arc::new(spec.clone());
        world.judge(floors)
    };

    commit_by(&world, &first, "first");
    assert_eq!(code(&judge(&mut world, &spec, Floors::default())), w206, "nothing was fetched");
    repository.publish(&first.trusted_root().unwrap());
    let by_first = repository.begin(&spec).0;
    let accepted = judge(&mut world, &by_first, Floors::default());
    let SourceOutcome::Accepted { verified, .. } = &accepted else { panic!("{accepted:?}") };
    let floors = || Floors { log: Some(verified.commit.clone()), ..Floors::default() };
    assert_eq!(code(&judge(&mut world, &by_first, floors())), None, "it goes on holding");

    // Both: what is added lets commits through, and what is there still counts.
    let both =
        testkit::joined_trusted_roots(&[&first.trusted_root().unwrap(), &second.trusted_root().unwrap()]).unwrap();
    commit_by(&world, &second, "second");
    assert_eq!(code(&judge(&mut world, &by_first, floors())), w206);
    repository.publish(&both);
    let by_both = repository.begin(&spec).0;
    assert_eq!(code(&judge(&mut world, &by_both, floors())), None);

    // The first is taken away: the accepted commit does not hold any more, nor what comes after it.
    repository.publish(&second.trusted_root().unwrap());
    let by_second = repository.begin(&spec).0;
    assert_eq!(code(&judge(&mut world, &by_second, floors())), w206);
    assert_ne!(verified.trust_digest(&Arc::new(by_second)), verified.trust_digest(&Arc::new(by_both)));
}
