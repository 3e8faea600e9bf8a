//! A tag as the tracked ref: the tag object and the commit that it names.

use git::{ExchangeError, GitCode, Objects, Remote, poll};
use testkit::{Push, SignedRepo};
use trust::{CommitId, Head, History as _, ObjectFormat, TagId};

use super::{Case, Setting, child, exchange, ssh::Ssh};

pub(super) const CASES: &[Case] = &[
    ("a_tag_is_fetched_with_its_commit", a_tag_is_fetched_with_its_commit),
    ("a_tag_over_ssh", a_tag_over_ssh),
    ("a_name_for_a_commit_is_fetched_as_that", a_name_for_a_commit_is_fetched_as_that),
    ("a_tag_of_anything_but_a_commit_is_refused", a_tag_of_anything_but_a_commit_is_refused),
    ("a_missing_tag_is_w608", a_missing_tag_is_w608),
    ("what_a_revision_names_is_told_with_its_tag", what_a_revision_names_is_told_with_its_tag),
];

const TAG: &str = "refs/tags/live";

fn id(repo: &SignedRepo, name: &str) -> TagId {
    repo.rev_parse(name).unwrap().parse().unwrap()
}

/// Makes or moves an annotated tag, and pushes it alone.
fn tag(setting: &Setting, revision: &str) -> TagId {
    setting.repo.git(&["tag", "--annotate", "--force", "-m", "release", "live", revision]).unwrap();
    setting.push_ref(TAG);
    id(&setting.repo, TAG)
}

fn tracked(setting: &Setting) -> Remote {
    setting.remote_of(TAG, &setting.options())
}

/// What poll, fetch and mirror say.
fn check(setting: &Setting, remote: &Remote, head: Head) {
    let polled = poll(remote).unwrap();
    assert_eq!((polled.head, polled.tag), (Some(head.commit), head.tag));
    let fetched = setting.fetch(remote).unwrap();
    assert_eq!((fetched.head, fetched.tag), (head.commit, head.tag));
    assert_eq!(
        (setting.mirror.incoming().unwrap(), setting.mirror.incoming_tag().unwrap()),
        (Some(head.commit), head.tag)
    );
    let objects = setting.mirror.objects();
    assert!(objects.commit(&head.commit).unwrap().is_some());
    if let Some(tag) = head.tag {
        let raw = objects.tag(&tag).unwrap().unwrap();
        assert_eq!(TagId::of(tag.format(), &raw).unwrap(), tag);
    }
}

fn a_tag_is_fetched_with_its_commit() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let setting = Setting::with_ids(format);
        let first = setting.commit("a", "1");
        let second = setting.commit("a", "2");
        let remote = tracked(&setting);
        let one = Head { commit: first, tag: Some(tag(&setting, "HEAD~1")) };
        check(&setting, &remote, one);
        check(&setting, &remote, one);
        setting.mirror.pin("accepted/shop", &first).unwrap();
        check(&setting, &remote, one);
        let two = Head { commit: second, tag: Some(tag(&setting, "HEAD")) };
        check(&setting, &remote, two);
        assert_eq!(setting.mirror.objects().tag(&"ab".repeat(20).parse().unwrap()).unwrap(), None);
        assert_eq!(setting.mirror.objects().tag(&"ab".repeat(32).parse().unwrap()).unwrap(), None);
        // One that goes back arrives: what it means is not decided here.
        let back = Head { commit: first, tag: Some(tag(&setting, "HEAD~1")) };
        check(&setting, &remote, back);
        // Another tag of the same commit is one object.
        setting.mirror.pin("accepted/shop", &first).unwrap();
        setting.repo.git(&["tag", "--annotate", "--force", "-m", "again", "live", "HEAD~1"]).unwrap();
        setting.push_ref(TAG);
        let again = setting.fetch(&remote).unwrap();
        assert_eq!((again.objects, again.tag), (1, Some(id(&setting.repo, TAG))));
    }
}

fn a_tag_over_ssh() {
    let ssh = Ssh::new();
    let first = ssh.push("a", "1");
    let head = Head { commit: first, tag: Some(tag(&ssh.setting, "HEAD")) };
    ssh.setting.repo.git(&["tag", "live2", "HEAD"]).unwrap();
    ssh.setting.push_ref("refs/tags/live2");
    check(&ssh.setting, &ssh.remote_for(TAG), head);
}

fn a_name_for_a_commit_is_fetched_as_that() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    let remote = tracked(&setting);
    check(&setting, &remote, Head { commit: first, tag: Some(tag(&setting, "HEAD")) });
    setting.repo.git(&["tag", "--force", "live", "HEAD"]).unwrap();
    setting.push_ref(TAG);
    check(&setting, &remote, Head { commit: first, tag: None });
    // For a branch nothing is said of tags.
    setting.push(Push::FastForward);
    tag(&setting, "HEAD");
    check(&setting, &setting.remote(), Head { commit: first, tag: None });
}

fn a_tag_of_anything_but_a_commit_is_refused() {
    let setting = Setting::new();
    setting.commit("a", "1");
    let remote = tracked(&setting);
    setting.repo.git(&["tag", "--annotate", "-m", "inner", "inner", "HEAD"]).unwrap();
    for revision in ["inner", "HEAD:a", "HEAD^{tree}"] {
        tag(&setting, revision);
        let error = setting.fetch(&remote).unwrap_err();
        let finding = error.finding();
        assert_eq!(finding.needed, "a signed tag of a commit", "{finding}");
        assert!(
            finding.fix.contains("tag --sign --force -m live live COMMIT && git push origin +refs/tags/live"),
            "{finding}"
        );
        assert_eq!(exchange(error, GitCode::W601, &setting), ExchangeError::NotACommit { reference: TAG.to_owned() });
        assert_eq!((setting.mirror.incoming().unwrap(), setting.mirror.incoming_tag().unwrap()), (None, None));
    }
}

fn a_missing_tag_is_w608() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let remote = tracked(&setting);
    assert_eq!(poll(&remote).unwrap().head, None);
    let missing = ExchangeError::RefMissing { reference: TAG.to_owned() };
    assert_eq!(exchange(setting.mirror.fetch(&remote, &child()).unwrap_err(), GitCode::W608, &setting), missing);
}

fn what_a_revision_names_is_told_with_its_tag() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "1").unwrap();
    let commit: CommitId = repo.commit_unsigned("a").unwrap().parse().unwrap();
    repo.git(&["tag", "--annotate", "-m", "release", "live"]).unwrap();
    repo.git(&["tag", "light"]).unwrap();
    let objects = Objects::open(&repo.path()).unwrap();
    let tag = id(&repo, TAG);
    let (full, tag) = (tag.to_string(), Some(tag));
    for (revision, tag) in
        [("live", tag), (TAG, tag), (&full, tag), ("light", None), ("HEAD", None), ("live^{commit}", None)]
    {
        assert_eq!(objects.head(revision).unwrap(), Head { commit, tag }, "{revision}");
    }
}
