//! Certificates of clients, and tokens of a GitHub App.

use std::{fs, time::Duration};

use git::{App, ClientCertificate, Credentials, ExchangeError, GitCode, GitError, Remote, RemoteOptions, poll};
use manifest::Sensitive;
use testkit::{Authority, Fault, GitServer, Issued, KeyType, Keys, Push, SigningKey};

use super::{CANARY, Case, MAIN, Setting};

pub(super) const CASES: &[Case] = &[
    ("a_client_certificate_is_shown", a_client_certificate_is_shown),
    ("a_client_certificate_without_its_key_is_w609", a_client_certificate_without_its_key_is_w609),
    ("a_token_of_an_app_is_asked_for_once", a_token_of_an_app_is_asked_for_once),
    ("an_app_that_is_refused_is_w606", an_app_that_is_refused_is_w606),
];

fn certificate(issued: &Issued) -> Option<ClientCertificate> {
    let key = Sensitive::new(issued.key.as_bytes().to_vec());
    Some(ClientCertificate { chain: issued.certificate.as_bytes().to_vec(), key })
}

fn a_client_certificate_is_shown() {
    let clients = Authority::generate("clients").unwrap();
    let server = GitServer::start_for(&clients).unwrap();
    server.create("shop").unwrap();
    let setting = Setting { server, ..Setting::new() };
    let first = setting.commit("a", "1");
    // The real git has no certificate here: what it would push is put there.
    let mut git = testkit::hermetic_command("git", setting.dir.path());
    git.arg("-C").arg(setting.server.repository("shop")).args(["fetch", "-q"]);
    testkit::run(git.arg(setting.repo.path()).arg("HEAD:refs/heads/main")).unwrap();

    let issued = clients.client("writ", &[]).unwrap();
    let options = RemoteOptions { client_certificate: certificate(&issued), ..setting.options() };
    let remote = setting.remote_of(MAIN, &options);
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    assert_eq!(setting.fetch(&remote).unwrap().head, first);
    setting.mirror.pin("verified", &first).unwrap();
    let secret = issued.key.lines().nth(1).unwrap();
    assert!(!format!("{remote:?} {options:?}").contains(secret));

    let stranger = Authority::generate("strangers").unwrap().client("writ", &[]).unwrap();
    for client_certificate in [None, certificate(&stranger)] {
        let remote = setting.remote_of(MAIN, &RemoteOptions { client_certificate, ..setting.options() });
        let (polled, fetched) = setting.check_refused(&remote, GitCode::W606);
        assert!(matches!(polled, ExchangeError::ClientCertificate { .. }), "{polled:?}");
        assert!(matches!(fetched, ExchangeError::ClientCertificate { .. }), "{fetched:?}");
    }
}

fn a_client_certificate_without_its_key_is_w609() {
    let clients = Authority::generate("clients").unwrap();
    let [one, other] = ["one", "other"].map(|name| clients.client(name, &[]).unwrap());
    for (certificate, key, words) in [
        (one.certificate.as_str(), other.key.as_str(), "not that of the certificate"),
        (CANARY, &one.key, "cannot be read"),
        (&one.certificate, CANARY, "not in PEM form"),
    ] {
        let key = Sensitive::new(key.as_bytes().to_vec());
        let client_certificate = Some(ClientCertificate { chain: certificate.as_bytes().to_vec(), key });
        let options = RemoteOptions { client_certificate, ..RemoteOptions::default() };
        let error = GitError::from(Remote::new("https://127.0.0.1/shop", MAIN, &options).unwrap_err());
        assert_eq!(error.code(), GitCode::W609);
        assert!(error.finding().found.contains(words), "{}", error.finding());
        assert!(!super::everything(&error).contains(CANARY));
    }
}

/// An App of the server of a [`Setting`], with the key that GitHub would have given it.
fn app_key(keys: &Keys) -> SigningKey {
    let key = keys.generate("app", KeyType::Rsa(2048)).unwrap();
    key.make_pem().unwrap();
    assert!(fs::read_to_string(key.private_file()).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY"));
    key
}

fn remote(setting: &Setting, key: &SigningKey, installation: &str) -> Remote {
    let app = App {
        id: "4711".to_owned(),
        installation: installation.to_owned(),
        key: Sensitive::new(fs::read(key.private_file()).unwrap()),
        api: Some(format!("https://{}/", setting.server.address())),
    };
    let options = RemoteOptions { credentials: Some(Credentials::App(app)), ..setting.options() };
    let remote = setting.remote_of(MAIN, &options);
    assert!(!format!("{remote:?} {options:?}").contains("PRIVATE KEY"));
    remote
}

fn asked(setting: &Setting) -> usize {
    setting.server.requests().iter().filter(|request| request.path.contains("access_tokens")).count()
}

fn a_token_of_an_app_is_asked_for_once() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    let keys = Keys::new().unwrap();
    let key = app_key(&keys);
    setting.server.install_app("4711", "42", &key, Duration::from_secs(3_600)).unwrap();
    let once = remote(&setting, &key, "42");
    assert!(!format!("{once:?}").contains(setting.server.token()));
    assert_eq!(poll(&once).unwrap().head, Some(first));
    assert_eq!(setting.fetch(&once).unwrap().head, first);
    assert_eq!(poll(&once).unwrap().head, Some(first));
    assert_eq!(asked(&setting), 1);
    // Refused, it is asked for anew with the next question.
    setting.server.set_fault(Some(Fault::Unauthorized)).unwrap();
    assert_eq!(poll(&once).unwrap_err().code(), GitCode::W606);
    setting.server.set_fault(None).unwrap();
    assert_eq!(poll(&once).unwrap().head, Some(first));
    assert_eq!(asked(&setting), 2);
    // One that ends within five minutes is used, and not kept.
    setting.server.install_app("4711", "42", &key, Duration::from_secs(299)).unwrap();
    setting.server.clear_requests();
    let short = remote(&setting, &key, "42");
    for _ in 0..2 {
        assert_eq!(poll(&short).unwrap().head, Some(first));
    }
    assert_eq!(asked(&setting), 2);
}

fn an_app_that_is_refused_is_w606() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    let keys = Keys::new().unwrap();
    let (key, other) = (app_key(&keys), app_key(&keys));
    setting.server.install_app("4711", "42", &key, Duration::from_secs(3_600)).unwrap();
    let refused = |remote: &Remote, code| {
        let before = setting.files();
        let polled = super::exchange(poll(remote).unwrap_err(), code, &setting);
        assert_eq!(super::exchange(setting.fetch(remote).unwrap_err(), code, &setting), polled);
        assert_eq!(setting.files(), before);
        polled
    };
    let error = refused(&remote(&setting, &other, "42"), GitCode::W606);
    assert!(matches!(error, ExchangeError::App { .. }), "{error:?}");
    let error = refused(&remote(&setting, &key, "43"), GitCode::W606);
    assert!(matches!(error, ExchangeError::App { .. }), "{error:?}");
    // The statement goes nowhere else.
    setting.server.set_fault(Some(Fault::Redirect(format!("https://elsewhere.example/?{CANARY}")))).unwrap();
    let error = refused(&remote(&setting, &key, "42"), GitCode::W605);
    assert!(matches!(error, ExchangeError::Redirect { .. }), "{error:?}");
}
