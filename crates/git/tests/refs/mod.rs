//! What is fetched: the branch that is tracked, and what lies beside it.

use std::fs;

use git::{Approvals, Attested, ExchangeError, GitCode, HEARTBEAT_REF, Heartbeats, Mirror, poll};
use testkit::Push;
use trust::History as _;

use super::{Case, MAIN, Setting, child, exchange};

pub(super) const CASES: &[Case] = &[
    ("clone_then_increment_then_nothing", clone_then_increment_then_nothing),
    ("approvals_are_fetched_beside_the_branch", approvals_are_fetched_beside_the_branch),
    ("heartbeats_are_fetched_beside_the_branch", heartbeats_are_fetched_beside_the_branch),
    ("a_forced_push_arrives", a_forced_push_arrives),
    ("only_the_named_ref_is_fetched", only_the_named_ref_is_fetched),
    ("a_missing_ref_is_w608", a_missing_ref_is_w608),
    ("a_branch_that_is_no_commit_is_refused", a_branch_that_is_no_commit_is_refused),
];

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
    let note = |text: &str| setting.note(&first, text);
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
    let beat = |text: &str| setting.heartbeat(text);
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
