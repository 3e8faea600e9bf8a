//! Polls and fetches over https from the real `git http-backend`, and what a hostile or broken
//! server gets. This executable is also the fetch child, hence its own `main`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod confined;
mod formats;
mod hostile;
mod large;
mod packs;
mod proofs;
mod room;
mod ssh;
mod tags;

use std::{
    collections::BTreeSet,
    error::Error,
    fmt::Write as _,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use git::{
    Approvals, Attested, ChildError, Credentials, ExchangeError, FetchChild, Fetched, GitCode, GitError,
    HEARTBEAT_FILE, HEARTBEAT_REF, Heartbeats, Limits, Mirror, MirrorError, Remote, RemoteOptions, Waiting,
    fetch_child, poll,
};
use manifest::{RepoPath, Sensitive};
use testkit::{Fault, GitServer, Push, SignedRepo};
use trust::{CommitId, History as _, ObjectFormat};

const CHILD: &str = "git-fetch-child";
const MAIN: &str = "refs/heads/main";

/// A test by its name.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        return fetch_child(io::stdin(), io::stdout());
    }
    if arguments.first().is_some_and(|first| first == confined::PROBE) {
        return confined::probe(&arguments);
    }
    let cases: &[Case] = &[
        ("what_ran_is_counted", what_ran_is_counted),
        ("clone_then_increment_then_nothing", clone_then_increment_then_nothing),
        ("approvals_are_fetched_beside_the_branch", approvals_are_fetched_beside_the_branch),
        ("heartbeats_are_fetched_beside_the_branch", heartbeats_are_fetched_beside_the_branch),
        ("a_forced_push_arrives", a_forced_push_arrives),
        ("only_the_named_ref_is_fetched", only_the_named_ref_is_fetched),
        (
            "thousands_of_branches_that_begin_alike_hide_nothing",
            large::thousands_of_branches_that_begin_alike_hide_nothing,
        ),
        ("refused_pushes_do_not_pile_up", room::refused_pushes_do_not_pile_up),
        ("a_mirror_that_would_be_too_large_is_w603", room::a_mirror_that_would_be_too_large_is_w603),
        ("what_is_pinned_stays_whenever_the_power_goes", room::what_is_pinned_stays_whenever_the_power_goes),
        ("whoever_reads_goes_on_when_a_pack_moves", room::whoever_reads_goes_on_when_a_pack_moves),
        ("branches_of_others_cost_nothing", large::branches_of_others_cost_nothing),
        ("as_many_objects_as_may_be_fit_into_memory", large::as_many_objects_as_may_be_fit_into_memory),
        ("a_bearer_token_works", a_bearer_token_works),
        ("an_unknown_authority_is_w602", an_unknown_authority_is_w602),
        ("a_wrong_host_name_is_w602", a_wrong_host_name_is_w602),
        ("wrong_credentials_are_w606", wrong_credentials_are_w606),
        ("a_redirect_is_w605", a_redirect_is_w605),
        ("a_stalled_server_is_w607", a_stalled_server_is_w607),
        ("a_server_that_is_down_is_w601", a_server_that_is_down_is_w601),
        ("a_truncated_answer_is_w601", a_truncated_answer_is_w601),
        ("too_many_bytes_are_w603", too_many_bytes_are_w603),
        ("too_many_objects_are_w603", too_many_objects_are_w603),
        ("an_object_that_is_too_large_is_w603", an_object_that_is_too_large_is_w603),
        ("a_commit_that_is_too_large_is_w603", large::a_commit_that_is_too_large_is_w603),
        ("a_base_that_is_too_large_is_w603", large::a_base_that_is_too_large_is_w603),
        ("a_large_file_is_w603", large::a_large_file_is_w603),
        ("what_git_cannot_parse_does_not_stay", large::what_git_cannot_parse_does_not_stay),
        ("a_missing_ref_is_w608", a_missing_ref_is_w608),
        ("a_branch_that_is_no_commit_is_refused", a_branch_that_is_no_commit_is_refused),
        ("a_child_that_misbehaves_is_an_error", a_child_that_misbehaves_is_an_error),
        ("a_failure_to_tidy_up_hides_nothing", a_failure_to_tidy_up_hides_nothing),
        ("a_child_without_its_parent_ends", a_child_without_its_parent_ends),
        ("a_mirror_that_others_wrote_to_is_w604", a_mirror_that_others_wrote_to_is_w604),
        ("pins_stay", pins_stay),
        ("a_mirror_of_many_packs_is_compacted", packs::a_mirror_of_many_packs_is_compacted),
        ("a_pack_with_a_large_object_stays", packs::a_pack_with_a_large_object_stays),
        ("a_mirror_that_is_nearly_full_is_compacted", packs::a_mirror_that_is_nearly_full_is_compacted),
        (
            "what_lies_above_a_pin_goes_when_the_mirror_is_compacted",
            packs::what_lies_above_a_pin_goes_when_the_mirror_is_compacted,
        ),
        ("one_pin_keeps_a_line", packs::one_pin_keeps_a_line),
        ("a_mirror_that_was_fetched_600_times_goes_on", packs::a_mirror_that_was_fetched_600_times_goes_on),
        ("one_fetch_at_a_time", one_fetch_at_a_time),
        ("whoever_waits_for_a_turn_loses_nothing", room::whoever_waits_for_a_turn_loses_nothing),
        ("leftovers_of_an_interrupted_fetch_are_removed", leftovers_of_an_interrupted_fetch_are_removed),
    ];
    run(
        &[cases, confined::CASES, formats::CASES, hostile::CASES, proofs::CASES, ssh::CASES, tags::CASES].concat(),
        &arguments,
    )
}

/// What cargo and nextest expect of a test executable.
fn run(cases: &[Case], arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| if has("--exact") { name == *filter } else { name.contains(*filter) })
    };
    let started = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases.iter().filter(|(name, _)| wanted(name)) {
        let good = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        *(if good { &mut passed } else { &mut failed }) += 1;
    }
    // What `cargo xtask test` adds up.
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        cases.len() - passed - failed,
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of a fetch is told, whatever becomes of what it left.
fn a_failure_to_tidy_up_hides_nothing() {
    let setting = Setting::new();
    let head = setting.commit("a", "1");
    let remote = setting.remote();
    let left = setting.mirror.dir().join("objects/pack/left");
    let error = setting.mirror.fetch(&remote, &shell("cat >/dev/null; mkdir objects/pack/left; exit 7")).unwrap_err();
    assert_eq!(error.code(), GitCode::W601, "{error:?}");
    // It is told once it is all that is in the way.
    assert_eq!(setting.fetch(&remote).unwrap_err().code(), GitCode::W610);
    fs::remove_dir(left).unwrap();
    let reply = format!(r#"{{"fetched":{{"head":"{head}","bytes":1,"objects":1,"requests":1}}}}"#);
    let child = shell(&format!("cat >/dev/null; mv objects/pack objects/away; echo '{reply}'"));
    assert_eq!(setting.mirror.fetch(&remote, &child).unwrap().head, head);
}

/// This executable stands in the totals of a run like any other.
fn what_ran_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut again = testkit::hermetic_command(std::env::current_exe().unwrap(), dir.path());
    let output = again.args(["--exact", "a_wrong_host_name_is_w602"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let counted = "\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; ";
    assert!(output.status.success() && printed.contains(counted), "{printed}");
}

/// A server with one repository, a clone to push from, and an empty mirror.
struct Setting {
    server: GitServer,
    repo: SignedRepo,
    dir: tempfile::TempDir,
    mirror: Mirror,
}

impl Setting {
    fn new() -> Self {
        Self::with_ids(ObjectFormat::Sha1)
    }

    fn with_ids(format: ObjectFormat) -> Self {
        let server = GitServer::start().unwrap();
        server.create_with_ids("shop", format.git_name()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirror::open_for(&dir.path().join("mirrors/shop"), format).unwrap();
        Self { server, repo: SignedRepo::with_ids(format.git_name()).unwrap(), dir, mirror }
    }

    fn commit(&self, path: &str, content: impl AsRef<[u8]>) -> CommitId {
        self.repo.write(path, content).unwrap();
        self.repo.commit_unsigned(path).unwrap().parse().unwrap()
    }

    /// Pushes another ref than the branch.
    fn push_ref(&self, refspec: &str) {
        self.repo.push(&self.server.remote("shop"), refspec, Push::Force).unwrap();
        self.server.clear_requests();
    }

    fn push(&self, push: Push) {
        self.repo.push(&self.server.remote("shop"), "HEAD:refs/heads/main", push).unwrap();
        self.server.clear_requests();
    }

    /// Makes the server keep, and send, what is alike as differences.
    fn repack(&self) {
        let mut git = testkit::hermetic_command("git", self.dir.path());
        git.arg("-C").arg(self.server.repository("shop"));
        testkit::run(git.args(["repack", "-adfq", "--window=10", "--depth=10"])).unwrap();
    }

    fn options(&self) -> RemoteOptions {
        RemoteOptions {
            ca: Some(self.server.authority().as_bytes().to_vec()),
            credentials: Some(basic(self.server.username(), self.server.password())),
            format: self.mirror.objects().format(),
            limits: Limits { poll_seconds: 10, fetch_seconds: 30, ..Limits::default() },
            ..RemoteOptions::default()
        }
    }

    fn remote(&self) -> Remote {
        self.remote_of(MAIN, &self.options())
    }

    fn remote_of(&self, reference: &str, options: &RemoteOptions) -> Remote {
        Remote::new(&self.server.url("shop"), reference, options).unwrap()
    }

    fn limited(&self, limits: Limits) -> Remote {
        self.remote_of(MAIN, &RemoteOptions { limits, ..self.options() })
    }

    fn fetch(&self, remote: &Remote) -> Result<Fetched, GitError> {
        self.mirror.fetch(remote, &child())
    }

    /// Every file of the mirror but its locks.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.mirror.dir().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path);
                }
            }
        }
        for lock in ["writ-fetch.lock", "writ-pins.lock"] {
            found.remove(&self.mirror.dir().join(lock));
        }
        found
    }

    /// Fails poll and fetch with the same code, leaves nothing behind, and never shows a credential.
    fn check_refused(&self, remote: &Remote, code: GitCode) -> (ExchangeError, ExchangeError) {
        let polled = exchange(poll(remote).unwrap_err(), code, self);
        (polled, self.check_fetch_refused(remote, code))
    }

    fn check_fetch_refused(&self, remote: &Remote, code: GitCode) -> ExchangeError {
        let before = self.files();
        let incoming = self.mirror.incoming().unwrap();
        let error = exchange(self.fetch(remote).unwrap_err(), code, self);
        assert_eq!(self.files(), before, "something was left behind");
        assert_eq!(self.mirror.incoming().unwrap(), incoming);
        error
    }
}

/// Bytes that do not compress, the same in every run (xorshift).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn child() -> FetchChild {
    FetchChild { exe: std::env::current_exe().unwrap(), args: vec![CHILD.into()], owner: String::new() }
}

/// A script in the place of the child.
fn shell(script: &str) -> FetchChild {
    FetchChild { exe: "/bin/sh".into(), args: vec!["-c".into(), script.into()], owner: String::new() }
}

fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.to_owned(), password: Sensitive::new(password.to_owned()) }
}

fn exchange(error: GitError, code: GitCode, setting: &Setting) -> ExchangeError {
    let shown = everything(&error);
    assert_eq!(error.code(), code, "{shown}");
    assert_eq!(error.finding().code.code, code.as_str());
    let authorization = setting.server.remote("shop").authorization().unwrap();
    for secret in [setting.server.password(), setting.server.token(), &authorization, CANARY] {
        assert!(!shown.contains(secret.trim_start_matches("Basic ")), "{shown}");
    }
    match error {
        GitError::Exchange { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

const CANARY: &str = "canary-9c41e7";

/// All that can be printed of an error.
fn everything(error: &GitError) -> String {
    let mut text = format!("{error} {error:?} {} {:?}", error.finding(), error.finding());
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, " {cause}").unwrap();
        source = cause.source();
    }
    text
}

/// Each heartbeat takes the place of the one before, and what takes the ref away takes nothing back.
fn heartbeats_are_fetched_beside_the_branch() {
    let setting = Setting::new();
    setting.commit("readme", "1");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    let heartbeats = Heartbeats::open(setting.mirror.dir()).unwrap();
    let fetch = || heartbeats.fetch(&remote, &child(), &poll(&remote).unwrap());
    assert!(!fetch().unwrap());
    assert!(heartbeats.envelopes().unwrap().is_empty());
    let beat = |text: &str| {
        setting.repo.write(HEARTBEAT_FILE, text).unwrap();
        let blob = setting.repo.git(&["hash-object", "-w", HEARTBEAT_FILE]).unwrap();
        setting.repo.git(&["update-index", "--add", "--cacheinfo", "100644", blob.trim(), HEARTBEAT_FILE]).unwrap();
        let tree = setting.repo.git(&["write-tree"]).unwrap();
        let commit = setting.repo.git(&["commit-tree", "-m", "heartbeat", tree.trim()]).unwrap();
        setting.push_ref(&format!("+{}:{HEARTBEAT_REF}", commit.trim()));
    };
    beat("{\"n\":1}\n{\"n\":2}\n");
    assert!(fetch().unwrap());
    assert_eq!(heartbeats.envelopes().unwrap(), [b"{\"n\":1}", b"{\"n\":2}"]);
    let old = poll(&remote).unwrap();
    beat("{\"n\":3}\n");
    // Between the question and the fetch another one came.
    let polled = git::Polled { heartbeat: old.head, ..old };
    assert!(!heartbeats.fetch(&remote, &child(), &polled).unwrap());
    assert!(fetch().unwrap());
    assert_eq!(heartbeats.envelopes().unwrap(), [b"{\"n\":3}"]);
    setting.push_ref(&format!(":{HEARTBEAT_REF}"));
    assert!(!fetch().unwrap());
    assert_eq!(heartbeats.envelopes().unwrap().len(), 1);
}

/// Approvals arrive in mirrors of their own; what takes the ref away takes nothing back, and what is too large keeps
/// nothing else from being fetched.
fn approvals_are_fetched_beside_the_branch() {
    let setting = Setting::new();
    let first = setting.commit("readme", "1");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    let tree = setting.repo.rev_parse("HEAD^{tree}").unwrap().parse().unwrap();
    let approvals = Approvals::open(setting.mirror.dir()).unwrap();
    let fetch = || approvals.fetch(&remote, &child(), &poll(&remote).unwrap());
    let found = || {
        let history = Attested { objects: setting.mirror.objects(), approvals: &approvals };
        history.attestations(&first, &tree).unwrap().len()
    };
    fetch().unwrap();
    assert_eq!((approvals.tips().unwrap(), found()), ([None, None], 0));
    let note = |text: &str| {
        let file = setting.dir.path().join("note");
        fs::write(&file, text).unwrap();
        let (file, commit) = (file.to_str().unwrap(), first.to_string());
        setting.repo.git(&["notes", "--ref", "writ-approvals", "append", "-F", file, &commit]).unwrap();
        setting.push_ref("refs/notes/writ-approvals");
    };
    note("{\"n\":1}");
    setting.server.clear_requests();
    let polled = poll(&remote).unwrap();
    assert_eq!(setting.server.requests().len(), 1, "one request for all refs");
    assert!(polled.head == Some(first) && polled.approvals[0].is_some() && polled.approvals[1].is_none());
    fetch().unwrap();
    assert_eq!(found(), 1);
    setting.server.clear_requests();
    fetch().unwrap();
    assert_eq!(setting.server.requests().len(), 1, "the poll alone");
    note("{\"n\":2}");
    fetch().unwrap();
    assert_eq!(found(), 2);
    // Only the ref is gone.
    setting.push_ref(":refs/notes/writ-approvals");
    fetch().unwrap();
    assert_eq!(found(), 2);
    // Notes that are written anew without what was kept.
    approvals.keep(&first, &[b"{\"n\":1}".to_vec()]).unwrap();
    setting.repo.git(&["update-ref", "-d", "refs/notes/writ-approvals"]).unwrap();
    note("{\"n\":3}");
    fetch().unwrap();
    assert_eq!(found(), 2, "the one that is kept, and the new one");
    // Too much of it.
    note(&"x".repeat(2 << 20));
    let error = fetch().unwrap_err();
    assert_eq!(error.code(), GitCode::W603, "{error:?}");
    setting.fetch(&remote).unwrap();
}

fn clone_then_increment_then_nothing() {
    let setting = Setting::new();
    for number in 0..50 {
        setting.repo.write(&format!("apps/{number}.yaml"), format!("replicas: {number}\n").repeat(20)).unwrap();
    }
    let first = setting.commit("readme", "1");
    setting.push(Push::FastForward);
    let remote = setting.remote();

    assert_eq!(poll(&remote).unwrap().head, Some(first));
    let requests = setting.server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].protocol.as_deref(), Some("version=2"));
    assert_eq!(requests[0].command.as_deref(), Some("ls-refs"));

    let fetched = setting.fetch(&remote).unwrap();
    assert_eq!((fetched.head, fetched.requests, fetched.objects), (first, 2, 54));
    assert_eq!(setting.mirror.incoming().unwrap(), Some(first));
    assert_eq!(setting.mirror.objects().list(&first, &"apps".parse().unwrap()).unwrap().len(), 50);

    // What is pinned is not fetched again.
    setting.mirror.pin("verified", &first).unwrap();

    // Nothing new: one request, no other process.
    setting.server.clear_requests();
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    assert_eq!(setting.server.requests().len(), 1);

    let second = setting.commit("readme", "2");
    setting.push(Push::FastForward);
    assert_eq!(poll(&remote).unwrap().head, Some(second));
    let fetched = setting.fetch(&remote).unwrap();
    assert_eq!((fetched.head, fetched.objects), (second, 3));
    assert!(fetched.bytes < 2_000, "{fetched:?}");
    let changes = setting.mirror.objects().changes(Some(&first), &second, usize::MAX).unwrap();
    assert_eq!(changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), ["readme"]);
    assert!(setting.mirror.objects().is_ancestor(&first, &second).unwrap());
    assert_eq!(setting.mirror.objects().read(&second, &"readme".parse().unwrap()).unwrap().as_deref(), Some(&b"2"[..]));

    // A fetch without news brings nothing and is no error.
    setting.mirror.pin("verified", &second).unwrap();
    let again = setting.fetch(&remote).unwrap();
    assert_eq!((again.head, again.objects, again.requests), (second, 0, 1));
}

fn a_forced_push_arrives() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    let second = setting.commit("a", "2");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    assert_eq!(setting.fetch(&remote).unwrap().head, second);
    setting.mirror.pin("verified", &second).unwrap();
    setting.repo.reset(&first.to_string()).unwrap();
    setting.push(Push::Force);
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    assert_eq!(setting.fetch(&remote).unwrap().head, first);
    // What was accepted before is still there: trust decides by it.
    assert!(setting.mirror.objects().commit(&second).unwrap().is_some());
}

fn only_the_named_ref_is_fetched() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.repo.branch("other").unwrap();
    let other = setting.commit("b", "2");
    setting.repo.tag("v1", "other").unwrap();
    setting.repo.switch("main").unwrap();
    let main = setting.commit("c", "3");
    for refspec in
        ["other", "main:refs/heads/main-2", "v1", "other:refs/replace/1111111111111111111111111111111111111111"]
    {
        setting.repo.push(&setting.server.remote("shop"), refspec, Push::FastForward).unwrap();
    }
    setting.push(Push::FastForward);
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, main);
    assert_eq!(setting.mirror.objects().commit(&other).unwrap(), None);
    let refs: Vec<_> =
        setting.files().into_iter().filter(|path| path.components().any(|part| part.as_os_str() == "refs")).collect();
    assert_eq!(refs, [setting.mirror.dir().join("refs/writ/incoming")]);
    // Still a mirror that only we wrote to.
    Mirror::open(setting.mirror.dir()).unwrap();
}

fn a_bearer_token_works() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    let credentials = Some(Credentials::Bearer(Sensitive::new(setting.server.token().to_owned())));
    let remote = setting.remote_of(MAIN, &RemoteOptions { credentials, ..setting.options() });
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    assert_eq!(setting.fetch(&remote).unwrap().head, first);
}

fn an_unknown_authority_is_w602() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    setting.server.set_fault(Some(Fault::WrongCertificate)).unwrap();
    let unknown = ExchangeError::UnknownIssuer;
    assert_eq!(setting.check_refused(&remote, GitCode::W602), (unknown.clone(), unknown));
}

fn a_wrong_host_name_is_w602() {
    let setting = Setting::new();
    // The same server by a name that is not in its certificate.
    let url = setting.server.url("shop").replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let remote = Remote::new(&url, MAIN, &setting.options()).unwrap();
    assert_eq!(setting.check_refused(&remote, GitCode::W602), (ExchangeError::WrongName, ExchangeError::WrongName));
}

fn wrong_credentials_are_w606() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let refused = ExchangeError::Credentials { status: 401 };
    for credentials in [Some(basic(CANARY, CANARY)), Some(Credentials::Bearer(Sensitive::new(CANARY.into()))), None] {
        let remote = setting.remote_of(MAIN, &RemoteOptions { credentials, ..setting.options() });
        assert!(!format!("{remote:?}").contains(CANARY));
        assert_eq!(setting.check_refused(&remote, GitCode::W606), (refused.clone(), refused.clone()));
    }
    // Asked once each: a refused password is not tried again and again.
    assert_eq!(setting.server.requests().len(), 6);
}

fn a_redirect_is_w605() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let target = format!("https://user:{CANARY}@elsewhere.example/shop?token={CANARY}");
    setting.server.set_fault(Some(Fault::Redirect(target))).unwrap();
    let refused = ExchangeError::Redirect { status: 302, location: "https://elsewhere.example/shop".to_owned() };
    assert_eq!(setting.check_refused(&setting.remote(), GitCode::W605), (refused.clone(), refused));
    assert_eq!(setting.server.requests().len(), 2, "the redirect was followed");
}

fn a_stalled_server_is_w607() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.server.set_fault(Some(Fault::Stall)).unwrap();
    let remote = setting.limited(Limits { poll_seconds: 1, fetch_seconds: 1, ..Limits::default() });
    let whole = ExchangeError::TimedOut { waiting: Waiting::Whole, seconds: 1 };
    assert_eq!(setting.check_refused(&remote, GitCode::W607), (whole.clone(), whole));
}

fn a_server_that_is_down_is_w601() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    poll(&remote).unwrap();
    setting.server.set_fault(Some(Fault::Down)).unwrap();
    let (polled, fetched) = setting.check_refused(&remote, GitCode::W601);
    assert!(matches!(fetched, ExchangeError::Connection { .. }), "{polled:?} {fetched:?}");
    setting.server.set_fault(Some(Fault::Status(500))).unwrap();
    let failed = ExchangeError::Status { status: 500 };
    assert_eq!(setting.check_refused(&remote, GitCode::W601), (failed.clone(), failed));
    // The same remote works again when the server does.
    setting.server.set_fault(None).unwrap();
    assert!(poll(&remote).unwrap().head.is_some());
}

fn a_truncated_answer_is_w601() {
    let setting = Setting::new();
    setting.commit("a", noise(200_000));
    setting.push(Push::FastForward);
    let remote = setting.remote();
    setting.server.set_fault(Some(Fault::Truncate(30))).unwrap();
    setting.check_refused(&remote, GitCode::W601);
    // Long enough for the list of refs, too short for the pack.
    setting.server.set_fault(Some(Fault::Truncate(5_000))).unwrap();
    setting.check_fetch_refused(&remote, GitCode::W601);
    setting.server.set_fault(None).unwrap();
    setting.fetch(&remote).unwrap();
}

fn too_many_bytes_are_w603() {
    let setting = Setting::new();
    setting.commit("a", noise(200_000));
    setting.push(Push::FastForward);
    for bytes in [10, 50_000] {
        let remote = setting.limited(Limits { bytes, ..Limits::default() });
        assert_eq!(setting.check_fetch_refused(&remote, GitCode::W603), ExchangeError::Bytes { limit: bytes });
    }
}

fn too_many_objects_are_w603() {
    let setting = Setting::new();
    for number in 0..30 {
        setting.repo.write(&format!("{number}"), format!("{number}")).unwrap();
    }
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let remote = setting.limited(Limits { objects: 31, ..Limits::default() });
    assert_eq!(setting.check_fetch_refused(&remote, GitCode::W603), ExchangeError::Objects { limit: 31 });
    let enough = setting.limited(Limits { objects: 32, ..Limits::default() });
    assert_eq!(setting.fetch(&enough).unwrap().objects, 32);
}

fn an_object_that_is_too_large_is_w603() {
    let setting = Setting::new();
    let text = noise(100_000);
    setting.commit("a", &text);
    let head = setting.commit("a", [&text[..], b"and a difference"].concat());
    setting.push(Push::FastForward);
    // The server sends one of the two as a difference to the other.
    setting.repack();
    let remote = setting.limited(Limits { object_bytes: 50_000, ..Limits::default() });
    assert_eq!(setting.check_fetch_refused(&remote, GitCode::W603), ExchangeError::ObjectBytes { limit: 50_000 });
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, head);
}

fn a_missing_ref_is_w608() {
    let setting = Setting::new();
    setting.commit("a", "1");
    // An empty repository first, then one with another branch whose name begins alike.
    assert_eq!(poll(&setting.remote()).unwrap().head, None);
    setting.push(Push::FastForward);
    let fetched = setting.fetch(&setting.remote()).unwrap();
    setting.mirror.pin("verified", &fetched.head).unwrap();
    let remote = setting.remote_of("refs/heads/mai", &setting.options());
    assert_eq!(poll(&remote).unwrap().head, None);
    let missing = ExchangeError::RefMissing { reference: "refs/heads/mai".to_owned() };
    assert_eq!(setting.check_fetch_refused(&remote, GitCode::W608), missing);
}

fn a_branch_that_is_no_commit_is_refused() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let blob = setting.repo.rev_parse("HEAD:a").unwrap();
    fs::write(setting.server.repository("shop").join("refs/heads/main"), format!("{blob}\n")).unwrap();
    let error = setting.fetch(&setting.remote()).unwrap_err();
    assert_eq!(exchange(error, GitCode::W601, &setting), ExchangeError::NotACommit { reference: MAIN.to_owned() });
    assert_eq!(setting.mirror.incoming().unwrap(), None);
}

fn a_child_that_misbehaves_is_an_error() {
    let setting = Setting::new();
    let remote = setting.limited(Limits { fetch_seconds: 1, ..Limits::default() });
    let run = |child: &FetchChild| match setting.mirror.fetch(&remote, child).unwrap_err() {
        error @ GitError::Child { .. } => (error.code(), everything(&error)),
        other => panic!("{other:?}"),
    };
    for (script, code, words) in [
        ("exit 0", GitCode::W601, "without an answer"),
        ("cat >/dev/null; echo broken pack >&2; exit 7", GitCode::W601, "broken pack"),
        ("cat >/dev/null; echo '{\"fetched\":1}'", GitCode::W601, "without an answer"),
        ("cat >/dev/null; head -c 1000000 /dev/zero", GitCode::W601, "without an answer"),
        ("cat >/dev/null; kill -XFSZ $$", GitCode::W603, "file size"),
        (
            "cat >/dev/null; echo memory allocation of 9 bytes failed >&2; kill -ABRT $$",
            GitCode::W603,
            "limit of memory",
        ),
        ("cat >/dev/null; echo double free >&2; kill -ABRT $$", GitCode::W601, "double free"),
        ("cat >/dev/null; echo '\"outOfMemory\"'; exit 1", GitCode::W603, "limit of memory"),
        ("cat >/dev/null; kill -XCPU $$", GitCode::W603, "processor time"),
        ("cat >/dev/null; echo '{\"broken\":\"no space\"}'; exit 1", GitCode::W610, "no space"),
        ("exec sleep 1000", GitCode::W607, "longer than"),
    ] {
        let (found, text) = run(&shell(script));
        assert_eq!(found, code, "{script}: {text}");
        assert!(text.contains(words), "{script}: {text}");
    }
    let absent = FetchChild { exe: "/nonexistent".into(), args: Vec::new(), owner: String::new() };
    assert_eq!(run(&absent).0, GitCode::W610);
    // Nothing of the environment reaches a child; what a shell sets itself is all there is.
    let error = setting.mirror.fetch(&remote, &shell("cat >/dev/null; env >&2; exit 1")).unwrap_err();
    assert!(!everything(&error).contains("CARGO"), "{}", everything(&error));
    assert!(matches!(error, GitError::Child { source: ChildError::Silent { .. }, .. }));
}

fn a_child_without_its_parent_ends() {
    // Started by hand, so the parent that the request names is not this process.
    let request = r#"{"task":"fetch","parent":1,"url":"https://127.0.0.1:1/x","reference":"refs/heads/main",
        "way":{"https":{"anchors":[],"authorization":null}},"limits":{"bytes":1,"mirrorBytes":1,"objects":1,"objectBytes":1,"pollSeconds":1,"fetchSeconds":1}}"#;
    let dir = tempfile::tempdir().unwrap();
    for (input, words) in [(request, "parent is gone"), ("{", "malformed"), (CANARY, "malformed")] {
        let mut child = testkit::hermetic_command(std::env::current_exe().unwrap(), dir.path());
        child.arg(CHILD).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let reply = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success());
        assert!(reply.contains(words) && !reply.contains(CANARY), "{reply}");
    }
}

fn a_mirror_that_others_wrote_to_is_w604() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    let id = format!("{}\n", "1".repeat(40));
    for (path, content) in [
        ("refs/replace/1111111111111111111111111111111111111111", id.as_str()),
        ("info/grafts", "x"),
        ("objects/info/alternates", "/srv/other/objects\n"),
        ("incoming/info/alternates", "/srv/other/objects\n"),
        ("incoming/11/1111", "x"),
        ("shallow", &id),
        ("packed-refs", ""),
        ("refs/heads/main", &id),
        ("refs/tags/v1", &id),
        ("refs/writ/other", &id),
        ("config", "[core]\n\tbare = true\n[include]\n\tpath = /tmp/x\n"),
    ] {
        let file = setting.mirror.dir().join(path);
        let before = fs::read(&file).ok();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let error = GitError::from(Mirror::open(setting.mirror.dir()).unwrap_err());
        assert_eq!(error.code(), GitCode::W604, "{path}: {error:?}");
        assert!(
            matches!(setting.fetch(&setting.remote()), Err(GitError::Mirror(MirrorError::Foreign { .. }))),
            "{path}"
        );
        match before {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        if path.starts_with("refs/replace") || path.starts_with("incoming/") {
            fs::remove_dir(file.parent().unwrap()).unwrap();
        }
    }
    Mirror::open(setting.mirror.dir()).unwrap();
    let error = Mirror::open(Path::new("/proc/writ-cannot-write-here")).unwrap_err();
    assert_eq!(GitError::from(error).code(), GitCode::W610);
}

fn pins_stay() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    let mirror = &setting.mirror;
    mirror.pin("accepted/shop", &first).unwrap();
    mirror.pin("applied/shop.2", &first).unwrap();
    // An interrupted write leaves its lock; it holds nobody up.
    fs::write(mirror.dir().join("refs/writ/pins/accepted/shop.lock"), "").unwrap();
    setting.repo.orphan("other").unwrap();
    let unrelated = setting.commit("b", "2");
    setting.push(Push::Force);
    setting.fetch(&setting.remote()).unwrap();
    assert_eq!(mirror.pins().unwrap(), [("accepted/shop".to_owned(), first), ("applied/shop.2".to_owned(), first)]);
    mirror.pin("accepted/shop", &unrelated).unwrap();
    mirror.unpin("applied/shop.2").unwrap();
    mirror.unpin("applied/shop.2").unwrap();
    assert_eq!(Mirror::open(mirror.dir()).unwrap().pins().unwrap(), [("accepted/shop".to_owned(), unrelated)]);
    assert!(mirror.objects().commit(&first).unwrap().is_some());
    for name in ["", "/", "a/", "../x", "a..b", "a.lock", ".a", "a b", "ü", &"x".repeat(201)] {
        assert!(matches!(mirror.pin(name, &first), Err(MirrorError::PinName { .. })), "{name:?}");
    }
    assert!(mirror.pin("absent", &"1".repeat(40).parse().unwrap()).is_err());
}

fn one_fetch_at_a_time() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    let lock = fs::File::create(setting.mirror.dir().join("writ-fetch.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(setting.fetch(&setting.remote()), Err(GitError::Mirror(MirrorError::Busy { .. }))));
    drop(lock);
    // Each from a thread that ends right after: the child outlives no process, but any thread.
    let (dir, remote) = (setting.mirror.dir().to_owned(), setting.remote());
    let fetched =
        std::thread::spawn(move || Mirror::open(&dir).unwrap().fetch(&remote, &child()).unwrap()).join().unwrap();
    assert_eq!(fetched.head, first);
    // A mirror that was open before sees what another one fetched.
    assert_eq!(setting.mirror.objects().list(&first, &RepoPath::root()).unwrap().len(), 1);
}

fn leftovers_of_an_interrupted_fetch_are_removed() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    fs::create_dir_all(setting.mirror.dir().join("refs/writ")).unwrap();
    let left = [
        "objects/pack/pack_git2_123",
        "objects/pack/pack-1.idx",
        "objects/pack/pack-2.pack",
        "refs/writ/incoming.lock",
        "arriving/objects/pack/pack_git2_456",
    ];
    fs::create_dir_all(setting.mirror.dir().join("arriving/objects/pack")).unwrap();
    for name in left {
        fs::write(setting.mirror.dir().join(name), "").unwrap();
    }
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, first);
    for name in left {
        assert!(!setting.mirror.dir().join(name).exists(), "{name}");
    }
}
