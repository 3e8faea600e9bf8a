//! Servers that refuse, or that are refused, over https.

use git::{Credentials, ExchangeError, GitCode, Limits, Remote, RemoteOptions, Waiting, poll};
use manifest::Sensitive;
use testkit::{Fault, Push};

use super::{CANARY, Case, MAIN, Setting, basic, noise};

pub(super) const CASES: &[Case] = &[
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
];

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
