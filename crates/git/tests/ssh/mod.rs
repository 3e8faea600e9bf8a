//! Polls and fetches over ssh from the real `git-upload-pack`.

use std::{fs, path::PathBuf};

use git::{
    Approvals, Attested, Credentials, ExchangeError, Fetched, GitCode, GitError, Heartbeats, KeyProblem, Limits,
    Mirror, Remote, RemoteError, RemoteOptions, Waiting, poll,
};
use manifest::Sensitive;
use testkit::{KeyType, Keys, Push, SigningKey, SshFault, SshServer};
use trust::{CommitId, History as _, ObjectFormat};

use super::{CANARY, Case, MAIN, Setting, child, everything, noise};

pub(super) const CASES: &[Case] = &[
    ("ssh_clone_then_increment", clone_then_increment),
    ("ssh_without_protocol_2", without_protocol_2),
    ("ssh_approvals_and_heartbeats_without_protocol_2", approvals_and_heartbeats_without_protocol_2),
    ("ssh_with_each_kind_of_key", with_each_kind_of_key),
    ("ssh_an_unknown_host_key_is_w602", an_unknown_host_key_is_w602),
    ("ssh_a_wrong_host_key_is_w602", a_wrong_host_key_is_w602),
    ("ssh_a_revoked_host_key_is_w602", a_revoked_host_key_is_w602),
    ("ssh_a_hashed_name_is_known", a_hashed_name_is_known),
    ("ssh_a_passphrase_opens_the_key", a_passphrase_opens_the_key),
    ("ssh_a_refused_key_is_w606", a_refused_key_is_w606),
    ("ssh_what_does_not_fit_to_the_url_is_w609", what_does_not_fit_to_the_url_is_w609),
    ("ssh_a_silent_server_is_w607", a_silent_server_is_w607),
    ("ssh_too_many_bytes_are_w603", too_many_bytes_are_w603),
    ("ssh_a_truncated_answer_is_w601", a_truncated_answer_is_w601),
    ("ssh_what_the_server_says_is_told", what_the_server_says_is_told),
    ("ssh_a_path_with_quotes", a_path_with_quotes),
    ("ssh_a_missing_ref_is_w608", a_missing_ref_is_w608),
];

/// An ssh server in front of the repository of a [`Setting`].
pub(super) struct Ssh {
    pub(super) setting: Setting,
    server: SshServer,
    keys: Keys,
    host: SigningKey,
    user: SigningKey,
}

impl Ssh {
    pub(super) fn new() -> Self {
        Self::with(KeyType::Ed25519)
    }

    pub(super) fn with_ids(format: ObjectFormat) -> Self {
        Self { setting: Setting::with_ids(format), ..Self::new() }
    }

    /// The repository as if it named its objects like this.
    pub(super) fn remote_with_ids(&self, format: ObjectFormat) -> Remote {
        self.remote_of(&RemoteOptions { format, ..self.options() })
    }

    pub(super) fn remote_for(&self, reference: &str) -> Remote {
        Remote::new(&self.server.url(&self.repository()), reference, &self.options()).unwrap()
    }

    fn with(kind: KeyType) -> Self {
        let keys = Keys::new().unwrap();
        let host = keys.generate("host", kind).unwrap();
        let user = keys.generate("user", kind).unwrap();
        let server = SshServer::start(&host).unwrap();
        server.allow(&user).unwrap();
        Self { setting: Setting::new(), server, keys, host, user }
    }

    pub(super) fn push(&self, path: &str, content: impl AsRef<[u8]>) -> CommitId {
        let head = self.setting.commit(path, content);
        self.setting.push(Push::FastForward);
        head
    }

    fn repository(&self) -> PathBuf {
        self.setting.server.repository("shop")
    }

    fn line(&self, key: &SigningKey) -> String {
        format!("{} {}\n", self.server.known_as(), key.public())
    }

    fn options(&self) -> RemoteOptions {
        RemoteOptions {
            known_hosts: Some(self.line(&self.host)),
            credentials: Some(private_key(&self.user, None)),
            format: self.setting.mirror.objects().format(),
            limits: Limits { poll_seconds: 10, fetch_seconds: 30, ..Limits::default() },
            ..RemoteOptions::default()
        }
    }

    pub(super) fn remote(&self) -> Remote {
        self.remote_of(&self.options())
    }

    fn remote_of(&self, options: &RemoteOptions) -> Remote {
        Remote::new(&self.server.url(&self.repository()), MAIN, options).unwrap()
    }

    fn limited(&self, limits: Limits) -> Remote {
        self.remote_of(&RemoteOptions { limits, ..self.options() })
    }

    fn known(&self, known_hosts: String) -> Remote {
        self.remote_of(&RemoteOptions { known_hosts: Some(known_hosts), ..self.options() })
    }

    fn fetch(&self, remote: &Remote) -> Result<Fetched, GitError> {
        self.setting.mirror.fetch(remote, &child())
    }

    fn check_refused(&self, remote: &Remote, code: GitCode) -> (ExchangeError, ExchangeError) {
        let identity = fs::read_to_string(self.user.private_file()).unwrap();
        let secret = identity.lines().nth(3).unwrap();
        assert!(!format!("{remote:?}").contains(secret));
        for error in [poll(remote).unwrap_err(), self.fetch(remote).unwrap_err()] {
            assert!(!everything(&error).contains(secret));
        }
        self.setting.check_refused(remote, code)
    }
}

fn private_key(key: &SigningKey, passphrase: Option<&str>) -> Credentials {
    Credentials::PrivateKey {
        identity: Sensitive::new(fs::read_to_string(key.private_file()).unwrap()),
        passphrase: passphrase.map(|text| Sensitive::new(text.to_owned())),
    }
}

fn clone_then_increment() {
    let ssh = Ssh::new();
    let first = ssh.push("a", noise(200_000));
    let remote = ssh.remote();
    // As the controller asks: on a thread that a runtime has for what blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = remote.clone();
    let polled = runtime.block_on(async { tokio::task::spawn_blocking(move || poll(&asked)).await });
    assert_eq!(polled.unwrap().unwrap().head, Some(first));
    let fetched = ssh.fetch(&remote).unwrap();
    assert_eq!((fetched.head, fetched.objects, fetched.requests), (first, 3, 1));
    assert!((200_000..220_000).contains(&fetched.bytes), "{fetched:?}");
    ssh.setting.mirror.pin("verified", &first).unwrap();

    let second = ssh.push("b", "2");
    assert_eq!(poll(&remote).unwrap().head, Some(second));
    let fetched = ssh.fetch(&remote).unwrap();
    assert_eq!((fetched.head, fetched.objects), (second, 3));
    assert!(fetched.bytes < 10_000, "{fetched:?}");
    assert_eq!(ssh.setting.mirror.objects().read(&second, &"b".parse().unwrap()).unwrap().as_deref(), Some(&b"2"[..]));
    ssh.setting.mirror.pin("verified", &second).unwrap();
    assert_eq!(ssh.fetch(&remote).unwrap().objects, 0);

    let commands = ssh.server.commands();
    let expected = format!("git-upload-pack '{}'", ssh.repository().display());
    assert!(commands.iter().all(|seen| seen.command == expected), "{commands:?}");
    assert_eq!(commands[0].protocol.as_deref(), Some("version=2"));
    assert_eq!(commands[1].protocol, None);
}

/// sshd does not pass the variable on unless it is told to.
fn without_protocol_2() {
    let ssh = Ssh::new();
    ssh.server.take_protocol(false);
    let first = ssh.push("a", "1");
    for number in 0..50 {
        let name = format!("HEAD:refs/heads/{}-{number}", if number % 2 == 0 { "a" } else { "z" });
        ssh.setting.repo.push(&ssh.setting.server.remote("shop"), &name, Push::FastForward).unwrap();
    }
    assert_eq!(poll(&ssh.remote()).unwrap().head, Some(first));
    assert_eq!(ssh.fetch(&ssh.remote()).unwrap().head, first);
}

fn approvals_and_heartbeats_without_protocol_2() {
    let ssh = Ssh::new();
    ssh.server.take_protocol(false);
    let first = ssh.push("a", "1");
    let (setting, remote) = (&ssh.setting, ssh.remote());
    let approvals = Approvals::open(setting.mirror.dir()).unwrap();
    let heartbeats = Heartbeats::open(setting.mirror.dir()).unwrap();
    let fetch = || {
        let polled = poll(&remote).unwrap();
        assert_eq!(polled.head, Some(first));
        approvals.fetch(&remote, &child(), &polled).unwrap();
        heartbeats.fetch(&remote, &child(), &polled).unwrap()
    };
    assert!(!fetch(), "there is none");
    setting.note(&first, "{\"n\":1}");
    setting.heartbeat("{\"n\":2}\n");
    assert!(fetch());
    let history = Attested { objects: setting.mirror.objects(), approvals: &approvals };
    let tree = setting.repo.rev_parse("HEAD^{tree}").unwrap().parse().unwrap();
    assert_eq!(history.attestations(&first, &tree).unwrap(), [b"{\"n\":1}"]);
    assert_eq!(heartbeats.envelopes().unwrap(), [b"{\"n\":2}"]);
}

fn with_each_kind_of_key() {
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521, KeyType::Rsa(3072)] {
        let ssh = Ssh::with(kind);
        let first = ssh.push("a", "1");
        assert_eq!(poll(&ssh.remote()).unwrap().head, Some(first), "{kind:?}");
        assert_eq!(ssh.fetch(&ssh.remote()).unwrap().head, first, "{kind:?}");
    }
    let keys = Keys::new().unwrap();
    let short = keys.generate("user", KeyType::Rsa(1024)).unwrap();
    let options = RemoteOptions { credentials: Some(private_key(&short, None)), ..RemoteOptions::default() };
    let error = Remote::new("ssh://git@127.0.0.1/shop", MAIN, &options).unwrap_err();
    assert!(error.to_string().contains("2048"), "{error}");
}

fn host_key(ssh: &Ssh, problem: KeyProblem) -> (ExchangeError, ExchangeError) {
    let refused = ExchangeError::HostKey {
        host: ssh.server.known_as(),
        fingerprint: ssh.host.fingerprint().unwrap(),
        problem,
        line: Some(ssh.line(&ssh.host).trim_end().to_owned()),
    };
    (refused.clone(), refused)
}

fn an_unknown_host_key_is_w602() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    let expected = host_key(&ssh, KeyProblem::Unknown);
    // Another port is another server.
    let other = format!("127.0.0.1 {}\n", ssh.host.public());
    for known_hosts in [String::new(), other] {
        assert_eq!(ssh.check_refused(&ssh.known(known_hosts), GitCode::W602), expected);
    }
    assert_eq!(
        ssh.check_refused(&ssh.remote_of(&RemoteOptions { known_hosts: None, ..ssh.options() }), GitCode::W602),
        expected
    );
    assert_eq!(ssh.server.commands(), [], "nobody logged in");
    // What is proposed mends it.
    let finding = poll(&ssh.known(String::new())).unwrap_err().finding();
    let line = finding.fix.split_once("secret: ").unwrap().1.to_owned();
    assert!(finding.found.contains(&ssh.host.fingerprint().unwrap()), "{finding}");
    poll(&ssh.known(line)).unwrap();
}

fn a_wrong_host_key_is_w602() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    let same_kind = ssh.keys.generate("other", KeyType::Ed25519).unwrap();
    let other_kind = ssh.keys.generate("other", KeyType::EcdsaP256).unwrap();
    for other in [same_kind, other_kind] {
        let found = ssh.check_refused(&ssh.known(ssh.line(&other)), GitCode::W602);
        assert_eq!(found, host_key(&ssh, KeyProblem::Different));
    }
    assert_eq!(ssh.server.commands(), [], "nobody logged in");
}

fn a_revoked_host_key_is_w602() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    let file = format!("{}@revoked * {}\n", ssh.line(&ssh.host), ssh.host.public());
    assert_eq!(ssh.check_refused(&ssh.known(file), GitCode::W602), host_key(&ssh, KeyProblem::Revoked));
    let authority = format!("@cert-authority * {}\n", ssh.host.public());
    let options = RemoteOptions { known_hosts: Some(authority), ..ssh.options() };
    let error = GitError::from(Remote::new(&ssh.server.url(&ssh.repository()), MAIN, &options).unwrap_err());
    assert_eq!(error.code(), GitCode::W609);
    assert!(error.finding().found.contains("not supported yet"), "{}", error.finding());
}

/// As `ssh-keygen -H` hides it.
fn a_hashed_name_is_known() {
    let ssh = Ssh::new();
    let first = ssh.push("a", "1");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    fs::write(&file, ssh.line(&ssh.host)).unwrap();
    let mut keygen = testkit::hermetic_command("ssh-keygen", dir.path());
    testkit::run(keygen.args(["-q", "-H", "-f"]).arg(&file)).unwrap();
    let hashed = fs::read_to_string(&file).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    assert_eq!(ssh.fetch(&ssh.known(hashed)).unwrap().head, first);
}

fn a_passphrase_opens_the_key() {
    let ssh = Ssh::new();
    let first = ssh.push("a", "1");
    ssh.user.lock(CANARY).unwrap();
    let of = |passphrase| {
        let credentials = Some(private_key(&ssh.user, passphrase));
        RemoteOptions { credentials, ..ssh.options() }
    };
    let remote = ssh.remote_of(&of(Some(CANARY)));
    assert!(!format!("{remote:?} {:?}", of(Some(CANARY))).contains(CANARY));
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    assert_eq!(ssh.fetch(&remote).unwrap().head, first);

    let wrong = ssh.remote_of(&of(Some("another")));
    for error in [poll(&wrong).unwrap_err(), ssh.fetch(&wrong).unwrap_err()] {
        assert_eq!(error.code(), GitCode::W609);
        assert!(error.finding().found.contains("passphrase does not open"), "{}", error.finding());
    }
    let missing = Remote::new(&ssh.server.url(&ssh.repository()), MAIN, &of(None)).unwrap_err();
    assert!(matches!(missing, RemoteError::Credentials { reason } if reason.contains("missing")), "{missing}");
}

fn a_refused_key_is_w606() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    let stranger = ssh.keys.generate("stranger", KeyType::Ed25519).unwrap();
    let options = RemoteOptions { credentials: Some(private_key(&stranger, None)), ..ssh.options() };
    let fingerprint = stranger.fingerprint().unwrap();
    let refused = ExchangeError::KeyRefused { user: "git".to_owned(), fingerprint };
    assert_eq!(ssh.check_refused(&ssh.remote_of(&options), GitCode::W606), (refused.clone(), refused));
}

fn what_does_not_fit_to_the_url_is_w609() {
    let ssh = Ssh::new();
    let https = ssh.setting.options();
    let refused = |url: &str, options: RemoteOptions, words: &str| {
        let error = GitError::from(Remote::new(url, MAIN, &options).unwrap_err());
        assert_eq!(error.code(), GitCode::W609);
        assert!(error.finding().found.contains(words), "{}", error.finding());
    };
    let (over_ssh, over_https) = (ssh.server.url(&ssh.repository()), ssh.setting.server.url("shop"));
    refused(&over_ssh, https.clone(), "it is for https");
    refused(&over_ssh, RemoteOptions { ca: None, ..https.clone() }, "ssh needs a private key");
    refused(&over_ssh, RemoteOptions { credentials: None, ..ssh.options() }, "ssh needs a private key");
    refused(&over_https, RemoteOptions { known_hosts: Some(String::new()), ..https }, "it is for ssh");
    refused(&over_https, RemoteOptions { known_hosts: None, ..ssh.options() }, "a private key is for ssh");
    let text = Credentials::PrivateKey { identity: Sensitive::new(CANARY.to_owned()), passphrase: None };
    refused(&over_ssh, RemoteOptions { credentials: Some(text), ..ssh.options() }, "OpenSSH's form");
}

fn a_silent_server_is_w607() {
    let ssh = Ssh::new();
    ssh.push("a", "1");
    let remote = ssh.limited(Limits { poll_seconds: 1, fetch_seconds: 1, ..Limits::default() });
    let whole = ExchangeError::TimedOut { waiting: Waiting::Whole, seconds: 1 };
    for fault in [SshFault::Silent, SshFault::Stall] {
        ssh.server.set_fault(Some(fault));
        assert_eq!(ssh.setting.check_refused(&remote, GitCode::W607), (whole.clone(), whole.clone()), "{fault:?}");
    }
    ssh.server.set_fault(None);
    poll(&ssh.remote()).unwrap();
}

fn too_many_bytes_are_w603() {
    let ssh = Ssh::new();
    ssh.push("a", noise(200_000));
    for bytes in [10, 50_000] {
        let remote = ssh.limited(Limits { bytes, ..Limits::default() });
        let found = ssh.setting.check_fetch_refused(&remote, GitCode::W603);
        assert_eq!(found, ExchangeError::Bytes { limit: bytes });
    }
    // A list of refs without end.
    ssh.server.set_fault(Some(SshFault::Flood));
    ssh.check_refused(&ssh.limited(Limits { bytes: 1 << 20, ..Limits::default() }), GitCode::W603);
}

fn a_truncated_answer_is_w601() {
    let ssh = Ssh::new();
    ssh.push("a", noise(200_000));
    // Within the list of refs, then within the pack.
    ssh.server.set_fault(Some(SshFault::Truncate(30)));
    let (polled, fetched) = ssh.check_refused(&ssh.remote(), GitCode::W601);
    assert_eq!((polled, fetched), (ExchangeError::Truncated, ExchangeError::Truncated));
    ssh.server.set_fault(Some(SshFault::Truncate(5_000)));
    ssh.setting.check_fetch_refused(&ssh.remote(), GitCode::W601);
    ssh.server.set_fault(None);
    ssh.fetch(&ssh.remote()).unwrap();
}

fn what_the_server_says_is_told() {
    let ssh = Ssh::new();
    let url = format!("{}-absent", ssh.server.url(&ssh.repository()));
    let remote = Remote::new(&url, MAIN, &ssh.options()).unwrap();
    let (polled, fetched) = ssh.check_refused(&remote, GitCode::W601);
    for error in [polled, fetched] {
        assert!(
            matches!(&error, ExchangeError::Server { message } if message.contains("shop.git-absent")),
            "{error:?}"
        );
    }
    ssh.server.set_fault(Some(SshFault::Refuse));
    let (polled, fetched) = ssh.check_refused(&ssh.remote(), GitCode::W601);
    assert_eq!(polled, fetched);
    assert!(matches!(&polled, ExchangeError::Server { message } if message.contains("does not run")), "{polled:?}");
}

/// The server's shell would run what is not quoted.
fn a_path_with_quotes() {
    let ssh = Ssh::new();
    let first = ssh.push("a", "1");
    let odd = ssh.setting.dir.path().join("it's!$(exit)&x;y.git");
    fs::rename(ssh.repository(), &odd).unwrap();
    let remote = Remote::new(&ssh.server.url(&odd), MAIN, &ssh.options()).unwrap();
    assert_eq!(poll(&remote).unwrap().head, Some(first));
    let mirror = Mirror::open(&ssh.setting.dir.path().join("mirrors/odd")).unwrap();
    assert_eq!(mirror.fetch(&remote, &child()).unwrap().head, first);
}

fn a_missing_ref_is_w608() {
    let ssh = Ssh::new();
    for takes in [true, false] {
        ssh.server.take_protocol(takes);
        assert_eq!(poll(&ssh.remote()).unwrap().head, None, "an empty repository");
    }
    ssh.push("a", "1");
    let remote = Remote::new(&ssh.server.url(&ssh.repository()), "refs/heads/mai", &ssh.options()).unwrap();
    for takes in [true, false] {
        ssh.server.take_protocol(takes);
        assert_eq!(poll(&remote).unwrap().head, None);
    }
    let missing = ExchangeError::RefMissing { reference: "refs/heads/mai".to_owned() };
    assert_eq!(ssh.setting.check_fetch_refused(&remote, GitCode::W608), missing);
}
