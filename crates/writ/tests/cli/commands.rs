//! Documents, completion, the start of the controller, exit statuses of the whole.

use std::collections::BTreeSet;

use crate::support::{expect, text};

#[test]
fn usage_is_64_and_help_is_0() {
    for arguments in [&[][..], &["nonsense"], &["verify", "--nonsense"], &["audit"], &["completion", "tcl"]] {
        expect(64, arguments);
    }
    for arguments in [&["--help"][..], &["--version"], &["verify", "--help"], &["help"]] {
        expect(0, arguments);
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let finished = expect(0, &["completion", shell]);
        assert!(finished.stdout.contains("signatures-only"), "{shell}");
    }
}

#[test]
fn every_code_is_printed_once_with_all_its_parts() {
    let text = expect(0, &["generate", "codes"]).stdout;
    let codes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")?.split(' ').next()).collect();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    for code in ["W101", "W301", "W407", "W601", "W801", "M101", "A101", "D101"] {
        assert!(codes.contains(&code), "{code} is not in {codes:?}");
    }
    assert_eq!(text.matches("**What to do.**").count(), codes.len());
}

#[test]
fn generated_documents_do_not_depend_on_the_environment() {
    let run = |environment: Option<(&str, &str)>| {
        let mut command = testkit::WritCommand::new(env!("CARGO_BIN_EXE_writ")).unwrap().args(["generate", "cli"]);
        if let Some((name, value)) = environment {
            command = command.env(name, value);
        }
        command.output().unwrap().stdout
    };
    let reference = run(None);
    assert!(reference.contains("## writ audit verify") && !reference.contains("git-fetch-child"), "{reference}");
    for (name, value) in [("KUBECONFIG", "/secret/place"), ("COLUMNS", "40"), ("WRIT_INSTANCE", "blue")] {
        assert_eq!(run(Some((name, value))), reference, "{name}");
    }
    let crds = expect(0, &["crds"]).stdout;
    assert_eq!(crds, expect(0, &["generate", "crds"]).stdout);
    for kind in ["TrustRoot", "GitSource", "Sync", "PauseRequest", "DriftRequest", "RollbackRequest", "BreakGlass"] {
        assert!(crds.contains(&format!("kind: {kind}\n")), "{kind}");
    }
}

#[test]
fn a_controller_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(folder.path()).to_owned();
    let start =
        |code: i32, more: &[&str]| expect(code, &[&["controller", "--state-dir", &state], more].concat()).stderr;
    let missing = start(2, &["--log-key", "/nowhere/key"]);
    assert!(missing.contains("/nowhere/key") && missing.contains("No such file"), "{missing}");
    assert!(start(64, &["--instance", "not an id"]).contains("--instance"));
    assert!(start(64, &["--log-filter", "a=b=c"]).contains("--log-filter"));
    start(64, &["--listen", "everywhere"]);
}

#[test]
fn the_fetch_child_answers_a_request_that_is_none() {
    let finished = expect(1, &["git-fetch-child"]);
    assert!(finished.stdout.contains("malformed"), "{}", finished.stdout);
}
