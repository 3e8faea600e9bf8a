//! The fetch child, as its parent sees it.

use std::{fs, io};

use git::{ChildError, FetchChild, GitCode, GitError, Limits};

use super::{CANARY, CHILD, Case, Setting, everything, shell};

pub(super) const CASES: &[Case] = &[
    ("what_ran_is_counted", what_ran_is_counted),
    ("a_child_that_misbehaves_is_an_error", a_child_that_misbehaves_is_an_error),
    ("a_failure_to_tidy_up_hides_nothing", a_failure_to_tidy_up_hides_nothing),
    ("a_child_without_its_parent_ends", a_child_without_its_parent_ends),
];

/// This executable stands in the totals of a run like any other.
fn what_ran_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut again = testkit::hermetic_command(std::env::current_exe().unwrap(), dir.path());
    let output = again.args(["--exact", "a_wrong_host_name_is_w602"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let counted = "\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; ";
    assert!(output.status.success() && printed.contains(counted), "{printed}");
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
