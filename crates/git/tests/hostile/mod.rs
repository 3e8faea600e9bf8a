//! Servers that answer the two requests of a fetch from two histories, or have a part of one only.

use std::fs;

use git::{ExchangeError, GitCode, poll};
use testkit::{Fault, Push};
use trust::History as _;

use super::{Case, Setting, ssh::Ssh};

pub(super) const CASES: &[Case] = &[
    ("history_rewritten_between_two_requests_is_w601", history_rewritten_between_two_requests_is_w601),
    ("another_pack_than_was_asked_for_is_w601", another_pack_than_was_asked_for_is_w601),
    ("a_shallow_server_is_told_over_ssh", a_shallow_server_is_told_over_ssh),
    ("what_a_shallow_server_lacks_is_missing", what_a_shallow_server_lacks_is_missing),
];

/// Where the branch was is not to be had any more. What came before stays, and the next poll sees where it is now.
fn history_rewritten_between_two_requests_is_w601() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    setting.mirror.pin("verified", &first).unwrap();
    let second = setting.commit("a", "2");
    setting.push(Push::FastForward);
    setting.repo.orphan("other").unwrap();
    let other = setting.commit("b", "3");
    setting.repo.push(&setting.server.remote("shop"), "HEAD:refs/heads/other", Push::FastForward).unwrap();

    let branch = setting.server.repository("shop").join("refs/heads/main");
    assert_eq!(poll(&setting.remote()).unwrap().head, Some(second));
    setting.server.set_fault(Some(Fault::Rewrite(branch, format!("{other}\n")))).unwrap();
    let error = setting.check_fetch_refused(&setting.remote(), GitCode::W601);
    // git says why on its standard error alone, and answers with nothing.
    assert_eq!(error, ExchangeError::Truncated);
    assert!(fs::read_to_string(setting.server.log_file()).unwrap().contains("not our ref"));
    assert_eq!(poll(&setting.remote()).unwrap().head, Some(other));
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, other);
}

/// The list says one commit, the pack has another.
fn another_pack_than_was_asked_for_is_w601() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.repo.orphan("other").unwrap();
    let other = setting.commit("b", "2");
    setting.repo.push(&setting.server.remote("shop"), "HEAD:refs/heads/other", Push::FastForward).unwrap();
    setting.server.set_fault(Some(Fault::Instead(first.to_string(), other.to_string()))).unwrap();
    let error = setting.check_fetch_refused(&setting.remote(), GitCode::W601);
    assert!(matches!(&error, ExchangeError::Protocol { detail } if detail.contains("without")), "{error:?}");
    setting.server.set_fault(None).unwrap();
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, first);
}

/// Cuts the history of the server below its head.
fn cut(setting: &Setting) {
    let head = setting.repo.rev_parse("HEAD").unwrap();
    fs::write(setting.server.repository("shop").join("shallow"), format!("{head}\n")).unwrap();
}

fn a_shallow_server_is_told_over_ssh() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    ssh.push("a", "2");
    cut(&ssh.setting);
    let error = ssh.setting.check_fetch_refused(&ssh.remote(), GitCode::W601);
    assert!(matches!(&error, ExchangeError::Protocol { detail } if detail.contains("shallow")), "{error:?}");
}

/// Over https it does not tell. The judge meets a commit that is not there, which is W403.
fn what_a_shallow_server_lacks_is_missing() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    let second = setting.commit("a", "2");
    setting.push(Push::FastForward);
    cut(&setting);
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, second);
    assert!(setting.mirror.objects().commit(&second).unwrap().is_some());
    assert_eq!(setting.mirror.objects().commit(&first).unwrap(), None);
}
