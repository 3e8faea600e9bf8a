//! Repositories made for the measurement: so many commits by one key, each of them changing one of three hundred small files.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use testkit::measured::trust::{
    CommitId, CommitObject, Introduction, ObjectFormat, PublicKey, RootKeys, TrustRootSpec,
};
use testkit::measured::{manifest, trust};
use testkit::{hermetic_command, run};

use super::{
    pack::{Id, Kind, Pack},
    signer::{Algorithm, Signed, Signer},
};

/// Folders below `apps/`, and files in each of them.
const FOLDERS: usize = 20;
const FILES: usize = 15;

/// How many seconds ago the first commit was made; each is one second younger than the one before, and none of the future.
const AGE: i64 = 1_000_000;

/// Who signs the trust file, and all commits but where another's OpenPGP key is measured.
const NAME: &str = "alice";
const EMAIL: &str = "alice@example.com";
/// Who has the OpenPGP key, and its file.
const HOLDER: &str = "bob";
const REPO_ID: &str = "urn:writ:bench";
const BRANCH: &str = "refs/heads/main";

/// A repository with its history.
pub(super) struct History {
    /// Bare.
    pub(super) directory: PathBuf,
    /// An `allowed_signers` file that lists the SSH key.
    pub(super) allowed_signers: PathBuf,
    /// The certificate of the OpenPGP key, if that is what signs.
    pub(super) certificate: Option<String>,
    /// Where trust starts.
    pub(super) root: TrustRootSpec,
    /// All signed commits, oldest first.
    pub(super) signed: Vec<Commit>,
    /// The key that signed them.
    pub(super) signer: Signer,
    home: PathBuf,
}

/// A signed commit.
pub(super) struct Commit {
    pub(super) id: CommitId,
    /// The bytes that are signed.
    pub(super) payload: Vec<u8>,
    /// The signature as the maths library has it.
    pub(super) signature: Vec<u8>,
}

/// What is made, and how many of each; the unsigned ones are older.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) algorithm: Algorithm,
    pub(super) unsigned: usize,
    pub(super) signed: usize,
}

impl History {
    /// Makes it below a folder.
    pub(super) fn make(folder: &Path, wanted: Wanted) -> Result<Self> {
        let time = Timestamp::now().as_second() - AGE;
        let signer = Signer::generate(wanted.algorithm, time)?;
        // Trust starts with an SSH key.
        let other = signer.certificate().map(|_| Signer::generate(Algorithm::Ed25519, time)).transpose()?;
        let root_signer = other.as_ref().unwrap_or(&signer);
        let directory = folder.join("repository.git");
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        run(hermetic(folder).args(["init", "--quiet", "--bare"]).arg(&directory))?;
        let mut making = Making::new(root_signer, &signer, time)?;
        for _ in 0..wanted.unsigned {
            making.commit(None)?;
        }
        if let Some(other) = &other {
            making.commit(Some(other))?;
        }
        let mut signed = Vec::with_capacity(wanted.signed);
        for number in 0..wanted.signed {
            if number > 0 {
                making.change(number)?;
            }
            signed.extend(making.commit(Some(&signer))?);
        }
        let Making { pack, first, .. } = making;
        let certificate = signer.exported()?;
        if let (Some(text), Some(certificate)) = (&certificate, signer.certificate()) {
            import(folder, text, &certificate.fingerprint())?;
        }
        let git = || in_repository(folder, &directory);
        pack.store(&directory, git)?;
        let head = signed.last().context("no signed commit is wanted")?.id;
        run(git().args(["update-ref", BRANCH, &head.to_string()]))?;
        run(git().args(["repack", "-a", "-d", "-q"]))?;
        let (commit, payload) = first.context("no commit is wanted")?;
        let root = trust_root(root_signer, commit, &payload)?;
        let allowed_signers = folder.join("allowed_signers");
        let line = format!("{EMAIL} namespaces=\"git\" {}\n", root_signer.public()?);
        fs::write(&allowed_signers, line).context("cannot write the allowed signers")?;
        Ok(Self { directory, allowed_signers, certificate, root, signed, signer, home: folder.to_owned() })
    }

    /// `git` in this repository, with settings that come from here alone.
    pub(super) fn git(&self) -> Command {
        in_repository(&self.home, &self.directory)
    }
}

fn hermetic(home: &Path) -> Command {
    let mut git = hermetic_command("git", home);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GNUPGHOME", keyring(home));
    git
}

/// The folder that gpg has its keys in.
fn keyring(home: &Path) -> PathBuf {
    home.join("gnupg")
}

/// Gives a certificate to gpg, and its holder full trust: as an `allowed_signers` file does for SSH, and Argo CD for the keys
/// of its projects. Of any other key gpg, and so Git, says that it does not know whose it is.
fn import(home: &Path, certificate: &str, fingerprint: &str) -> Result<()> {
    const ULTIMATE: u8 = 6;
    let (folder, file, trust) = (keyring(home), home.join("certificate.asc"), home.join("ownertrust"));
    let private = fs::DirBuilder::new().mode(0o700).create(&folder);
    private.with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&file, certificate).with_context(|| format!("cannot write {}", file.display()))?;
    fs::write(&trust, format!("{fingerprint}:{ULTIMATE}:\n"))
        .with_context(|| format!("cannot write {}", trust.display()))?;
    let gpg = |program: &str| {
        let mut command = hermetic_command(program, home);
        command.env("GNUPGHOME", &folder);
        command
    };
    let imported = run(gpg("gpg").args(["--batch", "--quiet", "--import"]).arg(&file));
    imported.context("gpg does not take the certificate (is it there? apt-get install gnupg)")?;
    run(gpg("gpg").args(["--batch", "--quiet", "--import-ownertrust"]).arg(&trust))?;
    run(gpg("gpg").args(["--batch", "--quiet", "--check-trustdb"]))?;
    // Verifying needs none of its servers.
    run(gpg("gpgconf").args(["--kill", "gpg-agent"])).map(drop)
}

fn in_repository(home: &Path, directory: &Path) -> Command {
    let mut git = hermetic(home);
    git.arg("--git-dir").arg(directory);
    git
}

fn trust_root(signer: &Signer, commit: CommitId, payload: &[u8]) -> Result<TrustRootSpec> {
    let key = PublicKey::parse(&signer.public()?)?;
    Ok(TrustRootSpec {
        repo_id: REPO_ID.to_owned(),
        r#ref: BRANCH.to_owned(),
        introduction: Introduction { commit, payload_sha256: manifest::Digest::of(payload), signer: key.fingerprint() },
        root_keys: RootKeys { threshold: 1, keys: vec![key.to_string()] },
        min_policy_version: 0,
        mode: trust::TrustMode::Enforce,
        limits: None,
        resume_from: None,
        freshness: None,
        orders: trust::TrustOrders::Signed,
        keyless: None,
        bootstrap: Vec::new(),
    })
}

/// The history while it is made.
struct Making {
    pack: Pack,
    /// The ids of the files, folder by folder, and of the folders.
    files: Vec<Vec<Id>>,
    folders: Vec<Id>,
    /// The id of `.writ/`, which does not change.
    writ: Id,
    root: Id,
    parent: Option<CommitId>,
    time: i64,
    /// The first commit, and its payload.
    first: Option<(CommitId, Vec<u8>)>,
}

impl Making {
    fn new(root: &Signer, signer: &Signer, time: i64) -> Result<Self> {
        let mut pack = Pack::default();
        let certificate = signer.exported()?;
        let policy = policy(root, signer, certificate.as_deref())?;
        let signature = root.sign("writ-trust@1", policy.as_bytes())?;
        let policy = pack.add(Kind::Blob, policy.as_bytes())?;
        let signature = pack.add(Kind::Blob, signature.armoured.as_bytes())?;
        let signatures = pack.add(Kind::Tree, &listing([(format!("{NAME}.sig"), FILE, signature)]))?;
        let mut entries =
            vec![("trust.yaml".to_owned(), FILE, policy), ("trust.yaml.sigs".to_owned(), FOLDER, signatures)];
        if let Some(certificate) = certificate {
            let file = pack.add(Kind::Blob, certificate.as_bytes())?;
            let keys = pack.add(Kind::Tree, &listing([(format!("{HOLDER}.asc"), FILE, file)]))?;
            entries.insert(0, ("keys".to_owned(), FOLDER, keys));
        }
        let writ = pack.add(Kind::Tree, &listing(entries))?;
        let mut making =
            Self { pack, files: Vec::new(), folders: Vec::new(), writ, root: writ, parent: None, time, first: None };
        for folder in 0..FOLDERS {
            let files = (0..FILES).map(|file| making.file(folder, file, 0)).collect::<Result<Vec<_>>>()?;
            making.files.push(files);
            let id = making.folder(folder)?;
            making.folders.push(id);
        }
        making.root = making.top()?;
        Ok(making)
    }

    fn file(&mut self, folder: usize, file: usize, value: usize) -> Result<Id> {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings-{folder}-{file}\n  namespace: shop\ndata:\n  value: \"{value}\"\n"
        );
        self.pack.add(Kind::Blob, text.as_bytes())
    }

    fn folder(&mut self, folder: usize) -> Result<Id> {
        let files = self.files.get(folder).context("no such folder")?;
        let entries = files.iter().enumerate().map(|(file, id)| (format!("settings-{file:02}.yaml"), FILE, *id));
        self.pack.add(Kind::Tree, &listing(entries))
    }

    fn top(&mut self) -> Result<Id> {
        let folders = self.folders.iter().enumerate();
        let apps = listing(folders.map(|(folder, id)| (format!("team-{folder:02}"), FOLDER, *id)));
        let apps = self.pack.add(Kind::Tree, &apps)?;
        let entries = [(".writ".to_owned(), FOLDER, self.writ), ("apps".to_owned(), FOLDER, apps)];
        self.pack.add(Kind::Tree, &listing(entries))
    }

    /// Changes one file: another one each time.
    fn change(&mut self, number: usize) -> Result<()> {
        // A step that is prime to the number of files spreads the changes over all of them.
        let place = number * 97 % (FOLDERS * FILES);
        let (folder, file) = (place / FILES, place % FILES);
        let id = self.file(folder, file, number)?;
        *self.files.get_mut(folder).and_then(|files| files.get_mut(file)).context("no such file")? = id;
        let id = self.folder(folder)?;
        *self.folders.get_mut(folder).context("no such folder")? = id;
        self.root = self.top()?;
        Ok(())
    }

    /// A commit of what is there now; what there is to verify of it, if it is signed.
    fn commit(&mut self, signer: Option<&Signer>) -> Result<Option<Commit>> {
        self.time += 1;
        let mut head = format!("tree {}\n", hex::encode(self.root));
        if let Some(parent) = self.parent {
            head += &format!("parent {parent}\n");
        }
        let person = format!("Alice <{EMAIL}> {} +0000", self.time);
        head += &format!("author {person}\ncommitter {person}\n");
        let message = "\nChange one of the settings\n";
        let payload = format!("{head}{message}").into_bytes();
        let signature = signer.map(|signer| signer.sign("git", &payload)).transpose()?;
        let header = signature.as_ref().map_or_else(String::new, |Signed { armoured, .. }| {
            format!("gpgsig {}\n", armoured.trim_end().replace('\n', "\n "))
        });
        let raw = format!("{head}{header}{message}");
        let id = CommitId::from_bytes(&self.pack.add(Kind::Commit, raw.as_bytes())?)?;
        self.parent = Some(id);
        if self.first.is_none() {
            self.first = Some((id, payload.clone()));
        }
        Ok(signature.map(|Signed { plain, .. }| Commit { id, payload, signature: plain }))
    }
}

const FILE: &str = "100644";
const FOLDER: &str = "40000";

/// A tree object; the entries must be in Git's order.
fn listing(entries: impl IntoIterator<Item = (String, &'static str, Id)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, mode, id) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(&id);
    }
    bytes
}

/// The trust file: whoever signs may do everything, but whose key is one of OpenPGP may not change the file.
fn policy(root: &Signer, signer: &Signer, certificate: Option<&str>) -> Result<String> {
    let key = root.public()?;
    let expires = Timestamp::now().checked_add(jiff::SignedDuration::from_hours(24 * 365))?;
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ");
    let (holder, name) = match (signer.certificate(), certificate) {
        (Some(known), Some(text)) => {
            let (fingerprint, sha256) = (known.fingerprint(), manifest::Digest::of(text.as_bytes()));
            let file = format!(".writ/keys/{HOLDER}.asc");
            let key = format!("openpgp: {{fingerprint: {fingerprint}, certFile: {file}, sha256: \"{sha256}\"}}");
            (format!("  {HOLDER}: {{kind: human, keys: [{{{key}}}]}}\n"), HOLDER)
        }
        _ => (String::new(), NAME),
    };
    Ok(format!(
        "apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: {REPO_ID}\nref: {BRANCH}\nversion: 1\nexpires: {expires}\n\
         principals:\n  {NAME}: {{kind: human, keys: [{{ssh: \"{key}\"}}]}}\n{holder}\
         roles: {{root: [{NAME}], sre: [{name}]}}\nrules:\n  \
         - {{name: trust, paths: [\".writ/**\"], anyOf: [{{role: root, threshold: 1}}]}}\n  \
         - {{name: apps, paths: [\"apps/**\"], anyOf: [{{role: sre, threshold: 1}}], kinds: [\"namespaced\"]}}\n\
         revoked: []\n"
    ))
}

/// A commit as it was read, strictly.
pub(super) fn parsed(id: CommitId, raw: Option<Vec<u8>>) -> Result<CommitObject> {
    let raw = raw.with_context(|| format!("commit {id} is not in the repository"))?;
    debug_assert_eq!(id.format(), ObjectFormat::Sha1, "packs are made of SHA-1");
    CommitObject::parse(id, &raw).map_err(|finding| anyhow!("{finding}"))
}
