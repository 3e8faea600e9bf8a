//! Floors, restarts and refused pushes, over real commits, mirrors and logs.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use audit::Log;
use cluster::crd::{GitSourceSpec, LocalName};
use git::{Approvals, Archive, Attested, FetchChild, Mirror};
use jiff::Timestamp;
use manifest::Digest;
use tempfile::TempDir;
use testkit::{KeyType, Keys, SignedRepo, SigningKey, TrustFile, hermetic_command, run};
use trust::{AuthorizedCommit, CommitId, CommitObject, Introduction, RootKeys, SignatureCache, TrustRootSpec};

use crate::{
    archives::Stores,
    break_glass::Overrides,
    floor::Floors,
    journal::Journal,
    metrics::Metrics,
    resume::{self, Under},
    source_gate::{InForce, Judged, LastJudged, SourceJob, SourceOutcome, verdict},
    source_run::{Recorded, record},
    source_turns::{MAX_GATES_OF_NAMESPACE, Turns},
    state::Key,
};

pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) root_key: SigningKey,
    pub(crate) sre: SigningKey,
    pub(crate) repo: SignedRepo,
    pub(crate) root: Arc<TrustRootSpec>,
    pub(crate) journal: Journal,
    pub(crate) signatures: Arc<SignatureCache>,
    state: TempDir,
}

pub(crate) fn id(text: &str) -> CommitId {
    text.parse().unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key { namespace: "shop".to_owned(), name: name.to_owned() }
}

pub(crate) fn spec() -> GitSourceSpec {
    GitSourceSpec {
        url: "https://127.0.0.1/config.git".to_owned(),
        r#ref: "refs/heads/main".to_owned(),
        interval: "1m".to_owned(),
        secret_ref: None,
        trust_root_ref: LocalName { name: "main".to_owned() },
        policy_from: None,
        allowed_namespaces: None,
        suspend: false,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let keys = Keys::new().unwrap();
        let root_key = keys.generate("root", KeyType::Ed25519).unwrap();
        let sre = keys.generate("sam", KeyType::Ed25519).unwrap();
        let repo = SignedRepo::new().unwrap();
        let state = TempDir::new().unwrap();
        let introduction = trust(&repo, &TrustFile::team("urn:shop", &root_key, &root_key, &sre), &root_key);
        let raw = repo.read_object("commit", &introduction).unwrap();
        let object = CommitObject::parse(id(&introduction), &raw).unwrap();
        let root = TrustRootSpec {
            repo_id: "urn:shop".to_owned(),
            r#ref: "refs/heads/main".to_owned(),
            introduction: Introduction {
                commit: object.id,
                payload_sha256: object.payload_sha256,
                signer: root_key.fingerprint().unwrap().parse().unwrap(),
            },
            root_keys: RootKeys { threshold: 1, keys: vec![root_key.public().to_owned()] },
            min_policy_version: 0,
            mode: trust::TrustMode::Enforce,
            limits: None,
            resume_from: None,
            freshness: None,
            orders: trust::TrustOrders::Signed,
            keyless: None,
            bootstrap: Vec::new(),
        };
        let log_key = audit::LogKey::generate("writ.test/log").unwrap();
        let public = log_key.public().to_string();
        let log = Log::open(&state.path().join("log"), log_key, "writ.test/log").unwrap();
        let journal = Journal::new(Arc::new(log), &public);
        Self { keys, root_key, sre, repo, root: Arc::new(root), journal, signatures: Arc::default(), state }
    }

    /// What is in force of a source, apart from its mirror.
    pub(crate) fn archive(&self, source: &str) -> Archive {
        Archive::new(self.state.path().join("accepted").join(source))
    }

    pub(crate) fn mirror(&self, source: &str) -> PathBuf {
        self.state.path().join("mirror").join(source)
    }

    /// What a fetch leaves behind.
    pub(crate) fn fetch(&self, source: &str, reference: &str) {
        let mirror = self.mirror(source);
        Mirror::open(&mirror).unwrap();
        let mut git = hermetic_command("git", self.state.path());
        git.current_dir(&mirror).args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
        run(git.arg(self.repo.path()).arg(format!("+{reference}:refs/writ/incoming"))).unwrap();
    }

    pub(crate) fn config(&self, value: &str) -> CommitId {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: \"{value}\"}}\n");
        self.repo.write("apps/a.yaml", text).unwrap();
        id(&self.repo.commit_signed(&self.sre, value).unwrap())
    }

    pub(crate) fn job(&self, source: &str, floors: Floors) -> SourceJob {
        SourceJob {
            mirror: self.mirror(source),
            child: FetchChild { exe: PathBuf::from("/none"), args: Vec::new(), owner: String::new() },
            root: self.root.clone(),
            root_name: "prod".to_owned(),
            signatures: Arc::clone(&self.signatures),
            floors,
            spec: spec().digest().unwrap(),
            orders: Vec::new(),
            overrides: Overrides::default(),
            judged: None,
            in_force: InForce::Known,
            trust_file: None,
            heard: None,
        }
    }

    /// Fetches the head and judges it.
    pub(crate) fn judge(&self, floors: Floors) -> SourceOutcome {
        self.run(&self.job("a", floors))
    }

    /// As [`Self::judge`], for a job of source `a`.
    pub(crate) fn run(&self, job: &SourceJob) -> SourceOutcome {
        self.fetch("a", "HEAD");
        let head = id(&self.repo.head().unwrap());
        let root = Digest::of(&job.root.canonical());
        let judged = Judged { head, tag: None, root, spec: job.spec, approvals: [None; 2], orders: Digest::of(b"") };
        let (mirror, approvals) = (Mirror::open(&job.mirror).unwrap(), Approvals::open(&job.mirror).unwrap());
        verdict(job, &Attested { objects: mirror.objects(), approvals: &approvals }, judged, Timestamp::now())
    }

    /// Judges and records the head, as source `a`.
    pub(crate) fn accept(&self, floor: Option<&AuthorizedCommit>) -> AuthorizedCommit {
        let floors = Floors { log: floor.cloned(), ..Floors::default() };
        let SourceOutcome::Accepted { verified, .. } = self.judge(floors.clone()) else { panic!("not accepted") };
        let recorded = self.record("a", floors, &verified);
        assert!(matches!(recorded, Recorded::Done(Ok(()))), "{recorded:?}");
        verified.commit
    }

    pub(crate) fn record(&self, source: &str, floors: Floors, verified: &crate::source_gate::Verified) -> Recorded {
        let job = self.job(source, floors);
        record(&job, &self.journal, &Mutex::new(()), &key(source), &spec(), (verified, None), Timestamp::now()).unwrap()
    }

    pub(crate) fn resume(&self, source: &str, known: Option<&str>) -> Result<resume::ResumedSource, manifest::Finding> {
        let (mirror, archive) = (self.mirror(source), self.archive(source));
        let stores = Stores { mirror: &mirror, archive: Some(&archive) };
        let under = Under { root: &self.root, signatures: &self.signatures };
        resume::source(&self.journal, &key(source), under, stores, known, "prod", Timestamp::now())
    }
}

/// Commits a trust file, signed as it must be.
pub(crate) fn trust(repo: &SignedRepo, file: &TrustFile, root: &SigningKey) -> String {
    repo.write(".writ/trust.yaml", file.text()).unwrap();
    repo.sign_trust_file(root).unwrap();
    repo.commit_signed(root, "trust").unwrap()
}

/// `ok`, or the code of the refusal.
pub(crate) fn code(outcome: &SourceOutcome) -> &str {
    match outcome {
        SourceOutcome::Accepted { .. } => "ok",
        SourceOutcome::Refused { findings, .. } => findings[0].code.code,
        other => panic!("no verdict: {other:?}"),
    }
}

#[test]
fn the_floor_is_the_repositorys_whatever_the_source_is_called() {
    let world = World::new();
    let first = world.accept(None);
    let shown = first.id().to_string();
    // Another GitSource of the same TrustRoot: no accepted state was lost.
    let resumed = world.resume("b", Some(&shown)).unwrap();
    assert_eq!(resumed.floor.map(|floor| floor.id()), Some(first.id()));
    assert_eq!(resumed.root.as_ref(), Some(&*world.root));
    // Another repository: it was.
    let mut other = (*world.root).clone();
    other.repo_id = "urn:other".to_owned();
    let other = World { root: Arc::new(other), ..world };
    let lost = other.resume("a", Some(&shown)).unwrap_err();
    assert_eq!(lost.code.code, "W407");
    let vouch = format!("kubectl patch trustroot prod --type=merge -p '{{\"spec\":{{\"resumeFrom\":\"{shown}\"}}}}'");
    assert!(lost.fix.ends_with(&vouch), "{}", lost.fix);
}

/// No more of `policies/` is kept than is compiled: the file after the limit is larger than any that is read.
#[test]
fn policies_end_at_their_limit() {
    let world = World::new();
    for (name, bytes) in [("a.md", 5), ("b.md", 5), ("c.md", 17)] {
        world.repo.write(&format!("policies/{name}"), vec![b'x'; bytes << 20]).unwrap();
    }
    world.repo.commit_signed(&world.root_key, "notes").unwrap();
    let SourceOutcome::Refused { findings, .. } = world.judge(Floors::default()) else { panic!("accepted") };
    assert_eq!(findings[0].code.code, "W802");
    assert!(findings[0].found.starts_with("up to policies/b.md "), "{}", findings[0].found);
}

#[test]
fn two_sources_do_not_accept_side_by_side() {
    let world = World::new();
    let first = world.accept(None);
    let floors = Floors { log: Some(first.clone()), ..Floors::default() };
    world.config("one");
    let SourceOutcome::Accepted { verified: late, .. } = world.judge(floors.clone()) else { panic!("not accepted") };
    let second = world.accept(Some(&first));
    assert_eq!(second.id(), late.commit.id());
    assert!(matches!(world.record("b", floors, &late), Recorded::Overtaken));
}

#[test]
fn a_status_ahead_of_the_log_is_a_floor() {
    let world = World::new();
    let first = world.accept(None);
    let (two, three) = (world.config("two"), world.config("three"));
    let judge = |status| world.judge(Floors { log: Some(first.clone()), status, admin: None });
    assert_eq!(code(&judge(Some(three))), "ok");
    assert_eq!(code(&judge(Some(first.id()))), "ok");
    world.repo.reset(&two.to_string()).unwrap();
    assert_eq!(code(&judge(None)), "ok");
    // A replay: signed, above the log, below what was accepted.
    assert_eq!(code(&judge(Some(three))), "W401");
    world.repo.reset(&first.id().to_string()).unwrap();
    assert_eq!(code(&judge(Some(three))), "W401");
    let fork = world.config("fork");
    assert_eq!(code(&judge(Some(three))), "W401");
    // The log knows another line than the status.
    let forked = world.accept(Some(&first));
    assert_eq!(forked.id(), fork);
    let dispute = |admin| world.judge(Floors { log: Some(forked.clone()), status: Some(three), admin });
    assert_eq!(code(&dispute(None)), "W407");
    assert_eq!(code(&dispute(Some(fork))), "W407");
    world.repo.reset(&three.to_string()).unwrap();
    assert_eq!(code(&dispute(Some(two))), "ok", "an admin vouches for the line of the status");
}

#[test]
fn an_old_word_of_the_admin_lowers_no_floor() {
    let world = World::new();
    let first = world.accept(None);
    let two = world.config("two");
    let second = world.accept(Some(&first));
    let three = world.config("three");
    let third = world.accept(Some(&second));
    world.repo.reset(&two.to_string()).unwrap();
    let judge = |status| world.judge(Floors { log: Some(third.clone()), status, admin: Some(first.id()) });
    assert_eq!(code(&judge(None)), "W401");
    assert_eq!(code(&judge(Some(three))), "W401");
}

#[test]
fn a_revocation_holds_although_its_push_is_refused() {
    let world = World::new();
    let first = world.accept(None);
    let floors = Floors { log: Some(first.clone()), ..Floors::default() };
    // A good commit alone is not taken out of a refused push.
    world.config("good");
    world.repo.write("apps/b.yaml", "a: 1").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    let outcome = world.judge(floors.clone());
    assert_eq!(code(&outcome), "W301");
    assert!(matches!(outcome, SourceOutcome::Refused { prefix: None, .. }));
    // Sam's key is revoked; the thief of the key pushes on top.
    world.repo.reset(&first.id().to_string()).unwrap();
    let other = world.keys.generate("kim", KeyType::Ed25519).unwrap();
    let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &other).version(2);
    let file = file.revoke_key(&world.sre.fingerprint().unwrap(), "stolen");
    let revoked = id(&trust(&world.repo, &file, &world.root_key));
    world.config("evil");
    let outcome = world.judge(floors.clone());
    let SourceOutcome::Refused { prefix: Some(prefix), findings, .. } = outcome else { panic!("{outcome:?}") };
    assert!(findings[0].code.code.starts_with('W'));
    assert_eq!(prefix.commit.id(), revoked);
    assert!(matches!(world.record("a", floors, &prefix), Recorded::Done(Ok(()))));
    // Without the revocation nothing of the thief's is accepted any more.
    world.repo.reset(&first.id().to_string()).unwrap();
    world.config("evil");
    let floor = world.resume("a", None).unwrap().floor;
    assert_eq!(code(&world.judge(Floors { log: floor, ..Floors::default() })), "W401");
}

/// The revocation is in force at once; what the key brought before is not rolled out until somebody in force makes it anew.
#[test]
fn what_a_revoked_key_brought_is_held_and_its_revocation_is_not() {
    let mut world = World::new();
    world.config("stolen");
    let before = world.accept(None);
    let other = world.keys.generate("kim", KeyType::Ed25519).unwrap();
    let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &other).version(2);
    let file = file.revoke_key(&world.sre.fingerprint().unwrap(), "stolen");
    let revoked = id(&trust(&world.repo, &file, &world.root_key));
    let floors = Floors { log: Some(before), ..Floors::default() };
    let outcome = world.judge(floors.clone());
    let SourceOutcome::Refused { prefix: Some(verified), findings, commit, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((findings[0].code.code, commit, verified.commit.id()), ("W304", revoked, revoked));
    assert!(findings[0].found.contains("apps/"), "{}", findings[0].found);
    assert!(matches!(world.record("a", floors, &verified), Recorded::Done(Ok(()))));
    // A restart knows it as well.
    let resumed = world.resume("a", None).unwrap();
    assert_eq!(resumed.floor.as_ref().unwrap().id(), revoked);
    assert_eq!(resumed.verified.unwrap().broken.unwrap().code.code, "W304");
    // The same head again; then the file made anew.
    let floors = Floors { log: resumed.floor, ..Floors::default() };
    assert!(matches!(world.judge(floors.clone()), SourceOutcome::Refused { prefix: Some(_), .. }));
    world.sre = other;
    world.config("reviewed");
    let SourceOutcome::Accepted { verified, .. } = world.judge(floors) else { panic!("held") };
    assert!(verified.broken.is_none());
}

#[test]
fn what_was_verified_is_not_verified_again() {
    let world = World::new();
    world.config("1");
    assert_eq!(code(&world.judge(Floors::default())), "ok");
    let verified = world.signatures.verified();
    assert!(verified >= 3, "two commits and a trust file, but {verified}");
    assert_eq!(code(&world.judge(Floors::default())), "ok");
    assert_eq!(world.signatures.verified(), verified);
    world.config("2");
    assert_eq!(code(&world.judge(Floors::default())), "ok");
    assert_eq!(world.signatures.verified(), verified + 1);
}

#[test]
fn the_commits_of_a_judgement_are_counted() {
    let world = World::new();
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::register(&mut registry);
    let count = |second: i64| {
        let outcome = world.judge(Floors::default());
        metrics.gate_ended(&key("a"), &outcome, Timestamp::from_second(second).unwrap());
    };
    world.config("1");
    world.config("2");
    count(60);
    world.repo.commit_unsigned("unsigned").unwrap();
    count(70);
    let mut shown = String::new();
    prometheus_client::encoding::text::encode(&mut shown, &registry).unwrap();
    for line in [
        r#"writ_commit_verifications_total{source="shop/a",result="accepted",reason=""} 4"#,
        r#"writ_commit_verifications_total{source="shop/a",result="refused",reason="Unsigned"} 1"#,
        r#"writ_source_refused_commits{source="shop/a"} 1"#,
        r#"writ_source_last_verified_timestamp_seconds{source="shop/a"} 60"#,
        "writ_commit_verification_seconds_count 2",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[test]
fn a_refusal_whose_reason_may_pass_is_judged_again() {
    let world = World::new();
    world.repo.set_time(Timestamp::now().as_second() + 3_600);
    world.config("from a clock that is ahead");
    let SourceOutcome::Refused { judged, findings, .. } = world.judge(Floors::default()) else { panic!("accepted") };
    assert_eq!(findings[0].code.code, "W406");
    let now = std::time::Instant::now();
    let mut last = None;
    let first = LastJudged::refused(&mut last, judged.clone(), &findings, 0).unwrap();
    let holds = |last: &Option<LastJudged>, at| last.as_ref().unwrap().holds(at);
    assert!(holds(&last, now));
    assert!(!holds(&last, std::time::Instant::now() + first));
    let second = LastJudged::refused(&mut last, judged.clone(), &findings, 0).unwrap();
    assert!(second > first, "the pause grows");
    // An unsigned commit stays unsigned.
    let mut unsigned = findings;
    unsigned[0].code = trust::TrustCode::W301.entry();
    assert_eq!(LastJudged::refused(&mut last, judged, &unsigned, 0), None);
    assert!(holds(&last, now + std::time::Duration::from_secs(86_400)));
}

/// Sixteen threads, as the binary has them, and thirty servers of two tenants that do not answer.
#[test]
fn stalled_servers_do_not_keep_another_source_from_being_recorded() {
    const SERVERS: usize = 30;
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(16).enable_time().build().unwrap();
    let turns = Arc::new(Turns::default());
    let (stalled, stalls) = std::sync::mpsc::channel();
    let answer = Arc::new(RwLock::new(()));
    let silence = answer.write().unwrap();
    for number in 0..SERVERS {
        let (turns, stalled, answer) = (turns.clone(), stalled.clone(), answer.clone());
        runtime.spawn(async move {
            let wait = move || {
                stalled.send(()).unwrap();
                drop(answer.read());
            };
            turns.run(["tenant-a", "tenant-b"][number % 2], wait).await
        });
    }
    for _ in 0..2 * MAX_GATES_OF_NAMESPACE {
        stalls.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }
    let world = World::new();
    let SourceOutcome::Accepted { verified, .. } = world.judge(Floors::default()) else { panic!("not accepted") };
    let (job, journal) = (world.job("a", Floors::default()), world.journal.clone());
    let recorded = turns.run("shop", move || {
        record(&job, &journal, &Mutex::new(()), &key("a"), &spec(), (&verified, None), Timestamp::now())
    });
    let recorded = runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(60), recorded).await });
    assert!(matches!(recorded.unwrap().unwrap(), Ok(Recorded::Done(Ok(())))));
    assert!(resume::obeyed_source(&world.journal, &key("a")).unwrap().is_some());
    assert!(stalls.try_recv().is_err(), "no tenant has more turns than its own");
    drop(silence);
    // Everybody's turn comes.
    for _ in 2 * MAX_GATES_OF_NAMESPACE..SERVERS {
        stalls.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }
}
