//! What the demo plays on: control plane, Git server, signed repository, controller.

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use testkit::{
    ControlPlane, Credentials, GitServer, KeyType, Keys, Metrics, Push, Remote, Rights, SignedRepo, SigningKey, Tenant,
    Writ, WritCommand, install, wait_until,
};

use crate::{
    stage::{Controller, Order, text, writ},
    workspace::Workspace,
};

/// Name of the repository on the Git server, of the GitSource and of the Sync.
pub(crate) const SHOP: &str = "shop";
/// Name of the log.
const LOG_ORIGIN: &str = "writ.dev/demo";
/// The binary, as cargo builds it.
pub(crate) const PROGRAM: &str = "target/debug/writ";
/// How long one step may take: far above what it takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The annotation that asks for a look now.
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// A value that must never be printed, made at run time.
pub(crate) const SECRET_BYTES: usize = 16;

/// The people of the example.
pub(crate) struct People {
    /// Holds the root role.
    pub(crate) alice: SigningKey,
    /// Holds the role `security`.
    pub(crate) sam: SigningKey,
    /// Holds the role `sre`.
    pub(crate) dora: SigningKey,
    /// Holds the role `sre` as well, until her key is stolen.
    pub(crate) kim: SigningKey,
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) tenant: Tenant<'static>,
    pub(crate) repo: SignedRepo,
    pub(crate) people: People,
    pub(crate) canary: String,
    pub(crate) metrics: String,
    pub(crate) writ: Writ,
    pub(crate) state: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) log_public_key: PathBuf,
    /// The TrustRoot as a file, for `writ verify`.
    pub(crate) trust_root: PathBuf,
    remote: Remote,
    server: GitServer,
    /// The folder of the private keys goes with it.
    _keys: Keys,
}

impl Stage {
    /// Starts everything and introduces the repository to the cluster.
    pub(crate) fn set(workspace: &Workspace, plane: &'static ControlPlane, namespace: &str) -> Result<Self> {
        let program = workspace.path(PROGRAM);
        install(plane, &writ(&program, &["crds"])?)?;
        let tenant = Tenant::named(plane, namespace, Rights::Cluster)?;
        let server = GitServer::start()?;
        server.create(SHOP)?;
        let keys = Keys::new()?;
        let people = People {
            alice: keys.generate("alice", KeyType::Ed25519)?,
            sam: keys.generate("sam", KeyType::Ed25519)?,
            dora: keys.generate("dora", KeyType::Ed25519)?,
            kim: keys.generate("kim", KeyType::Ed25519)?,
        };
        let repo = SignedRepo::new()?;
        introduce(&program, &repo, &people, &workspace.path("examples/shop/policies"))?;
        let remote = server.remote(SHOP);
        repo.push(&remote, "main", Push::FastForward)?;
        let order = Order { program: &program, repository: &repo.path(), name: SHOP, path: "" };
        let orders = order.give(&server, &tenant)?;
        let controller = Controller::new(&program, &tenant, LOG_ORIGIN)?;
        let (state, log_public_key) = (controller.state.clone(), controller.log_public_key.clone());
        let trust_root = state.with_file_name("trust-root.yaml");
        std::fs::write(&trust_root, orders).context("cannot write the TrustRoot for writ verify")?;
        let metrics = controller.metrics.clone();
        let mut writ = controller.start()?;
        writ.wait_until("the controller to be ready", PATIENCE, |_| Metrics::scrape(&metrics).map(drop))?;
        let canary = canary()?;
        Ok(Self {
            plane,
            tenant,
            repo,
            people,
            canary,
            metrics,
            writ,
            state,
            program,
            log_public_key,
            trust_root,
            remote,
            server,
            _keys: keys,
        })
    }

    /// Pushes the head of the work tree and asks writ to look at once.
    pub(crate) fn push(&self, push: Push) -> Result<String> {
        let head = self.repo.head()?;
        self.repo.push(&self.remote, "main", push)?;
        self.poke()?;
        Ok(head)
    }

    /// Approves a commit: `writ trust approve`, kept as a note, and the notes are pushed. Nothing is pushed to the branch.
    pub(crate) fn approve(&self, commit: &str, key: &SigningKey) -> Result<()> {
        let (repo, key) = (self.repo.path(), key.private_file());
        let arguments = ["trust", "approve", commit, "--repo", text(&repo)?, "--key", text(key)?, "--print"];
        let finished = self.run_writ(&arguments)?;
        ensure!(finished.code == Some(0), "writ trust approve: {}", finished.stderr);
        let note = ["notes", "--ref", "writ-approvals", "append", "-m", finished.stdout.trim(), commit];
        self.repo.git(&[["-c", "user.name=alice", "-c", "user.email=alice@example.com"].as_slice(), &note].concat())?;
        let notes = "refs/notes/writ-approvals:refs/notes/writ-approvals";
        self.repo.push(&self.remote, notes, Push::FastForward)?;
        self.poke()
    }

    /// Asks for a reconcile now, as people do.
    fn poke(&self) -> Result<()> {
        let stamp = format!("{REQUESTED_AT}={}", jiff::Timestamp::now());
        self.tenant.kubectl(&["annotate", "--overwrite", "gitsource", SHOP, &stamp]).map(drop)
    }

    /// Waits until a field of an object is as wanted.
    pub(crate) fn wait_field(&self, object: &str, path: &str, wanted: &str) -> Result<()> {
        wait_until(&format!("{object} {path} to be {wanted:?}"), PATIENCE, || {
            let found = self.field(object, path)?;
            ensure!(found == wanted, "it is {found:?}");
            Ok(())
        })
    }

    /// A field of an object by JSONPath.
    pub(crate) fn field(&self, object: &str, path: &str) -> Result<String> {
        self.tenant.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// The controller's log so far.
    pub(crate) fn log(&self) -> Result<String> {
        self.writ.log()
    }

    /// Everything `/metrics` says.
    pub(crate) fn metrics_text(&self) -> Result<String> {
        Ok(format!("{:?}", Metrics::scrape(&self.metrics)?.samples()))
    }

    /// Runs the `writ` command and returns exit status and output.
    pub(crate) fn run_writ(&self, arguments: &[&str]) -> Result<testkit::Finished> {
        WritCommand::new(&self.program)?.args(arguments.iter().copied()).output()
    }

    /// Leaves everything running until Enter is pressed or standard input ends. What is printed can be pasted.
    pub(crate) fn keep(&self, workspace: &Workspace, kubeconfig: Option<&Path>) -> Result<()> {
        let kubeconfig = match kubeconfig {
            Some(theirs) => theirs.canonicalize().context("the kubeconfig is gone")?,
            None => self.plane.admin_kubeconfig(),
        };
        let (namespace, log) = (self.tenant.namespace(), self.state.join("log"));
        println!(
            "\nEverything keeps running until you press Enter here, or standard input ends. In another terminal:\n"
        );
        println!("  export KUBECONFIG={}", quoted(&kubeconfig)?);
        println!(
            "  export PATH={}:\"$PATH\"   # kubectl, unless you have your own",
            quoted(&workspace.path("target/controlplane"))?
        );
        println!("  kubectl get syncs -A");
        println!("  kubectl -n {namespace} describe sync {SHOP}");
        println!(
            "  kubectl -n {namespace} describe gitsource {SHOP}   # the repository, and what its commits are judged by"
        );
        println!("  kubectl -n {namespace} edit deployment shop   # change replicas or the image: it comes back");
        println!("  kubectl -n {namespace} get events --sort-by=.metadata.creationTimestamp");
        println!("  curl http://{}/metrics", self.metrics);
        let (program, repo, log) = (quoted(&self.program)?, quoted(&self.repo.path())?, quoted(&log)?);
        let key = quoted(&self.log_public_key)?;
        println!("  {program} audit show {log} --key {key} --last 5");
        println!("  {program} audit verify {log} --key {key}");
        println!("  {program} verify --repo {repo} --trust-root {}", quoted(&self.trust_root)?);
        println!("  git -C {repo} log --format='%h %an %s'");
        self.say_how_to_push(&repo)?;
        println!(
            "\nThe Git server is {}; what writ prints is in {}.",
            self.server.url(SHOP),
            self.writ.log_file().display()
        );
        let mut byte = [0];
        std::io::stdin().read(&mut byte).context("cannot read standard input")?;
        Ok(())
    }

    /// An unsigned commit from the edit to the refusal, as lines to paste; `repo` is the work tree, quoted.
    fn say_how_to_push(&self, repo: &str) -> Result<()> {
        let file = self.state.with_file_name("git-credentials");
        write_credentials(&self.remote, &file)?;
        // The environment would win over http.sslCAInfo. The first helper, which is none, puts aside those of the user, who would
        // be given the password to keep.
        let authority = quoted(&self.remote.authority)?;
        let helper = quoted_text(&format!("credential.helper=store --file={}", quoted(&file)?));
        let git = format!("GIT_SSL_CAINFO={authority} git -C {repo} -c credential.helper= -c {helper}");
        let url = &self.remote.url;
        let namespace = self.tenant.namespace();
        let key = self.people.dora.private_file();
        for (name, value) in
            [("user.name", "dora"), ("user.email", "dora@example.com"), ("user.signingkey", text(key)?)]
        {
            self.repo.git(&["config", name, value])?;
        }
        println!("\nTo push a commit of your own, here one without a signature, and to see what is made of it:\n");
        println!("  sed -i 's/replicas: .*/replicas: 5/' {repo}/apps/shop/deployment.yaml");
        println!("  git -C {repo} commit --all --no-gpg-sign -m 'Scale without a signature'");
        println!("  {git} push {url} HEAD:main");
        println!(
            "  kubectl -n {namespace} annotate --overwrite gitsource {SHOP} {REQUESTED_AT}=\"$(date -u +%FT%TZ)\"   # look now, not at the next poll"
        );
        println!(
            "  kubectl -n {namespace} wait gitsource {SHOP} --for=jsonpath='{{.status.heldRevision.code}}'=W301 --timeout=60s"
        );
        println!(
            "  kubectl -n {namespace} get gitsource {SHOP} -o jsonpath='{{.status.heldRevision.message}}{{\"\\n\"}}fix: {{.status.heldRevision.fix}}{{\"\\n\"}}'"
        );
        println!(
            "\nThe work tree is configured with dora's name and key, so the printed fix, pasted there, signs as dora. It makes another\n\
             commit of it: push that with --force."
        );
        Ok(())
    }
}

/// A path for a shell.
fn quoted(path: &Path) -> Result<String> {
    Ok(quoted_text(text(path)?))
}

/// A word for a shell.
fn quoted_text(text: &str) -> String {
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || "/._-".contains(character));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Writes the credentials of a remote for `git credential-store`, so that no command has to name the password.
fn write_credentials(remote: &Remote, file: &Path) -> Result<()> {
    let Credentials::Basic { username, password } = &remote.credentials else { bail!("the remote has no password") };
    let server = remote.url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let server = server.with_context(|| format!("{} names no server", remote.url))?;
    let cannot_write = || format!("cannot write {}", file.display());
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(0o600).open(file).with_context(cannot_write)?;
    writeln!(opened, "https://{username}:{password}@{server}").with_context(cannot_write)
}

/// Writes the trust file with `writ trust init`, has it signed, and commits it with the policies.
fn introduce(program: &Path, repo: &SignedRepo, people: &People, policies: &Path) -> Result<()> {
    let key = |person: &SigningKey, name: &str| -> Result<String> {
        let file = person.private_file();
        Ok(format!("{name}={}.pub", text(file)?))
    };
    let path = repo.path();
    let arguments = [
        "trust",
        "init",
        "--repo",
        text(&path)?,
        "--repo-id",
        "urn:writ:shop",
        "--root",
        &key(&people.alice, "alice")?,
        "--principal",
        &key(&people.sam, "sam")?,
        "--principal",
        &key(&people.dora, "dora")?,
        "--principal",
        &key(&people.kim, "kim")?,
        "--role",
        "security=sam",
        "--role",
        "sre=dora,kim",
        "--rule",
        "policies/**=security",
        "--rule",
        "apps/**=sre",
        "--rule",
        "platform/**=sre",
        "--expires",
        "2099-01-01T00:00:00Z",
    ];
    writ(program, &arguments)?;
    repo.sign_trust_file(&people.alice)?;
    for entry in std::fs::read_dir(policies).context("cannot read the example's policies")? {
        let file = entry?.path();
        let name = file.file_name().and_then(|name| name.to_str()).context("a policy's file name")?;
        repo.write(&format!("policies/{name}"), std::fs::read(&file)?)?;
    }
    repo.commit_signed(&people.alice, "Introduce trust and policies")?;
    Ok(())
}

/// A secret value made here and now.
fn canary() -> Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    Ok(format!("canary-{}", hex::encode(bytes)))
}
