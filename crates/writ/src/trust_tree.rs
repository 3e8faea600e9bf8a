//! The trust file of a work tree: read, edited, written as a whole or not at all, and what is to be signed then.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use evidence::KeylessSignatures;
use git::Objects;
use jiff::Timestamp;
use manifest::{Finding, RepoPath, shell_quote};
use serde::Serialize;
use trust::{
    CommitId, MAX_BUNDLE_BYTES, MAX_SIGNATURE_FILES, MAX_TRUST_FILE_BYTES, TRUST_FILE, TRUST_SIGNATURES,
    TrustEditError, TrustEditor, TrustFile, Verifiers, openpgp::MAX_CERTIFICATE_BYTES,
};

use crate::{
    exit::{Outcome, UsageError},
    input,
    output::{self, Format},
    trust_vouched::{Vouched, next_commands},
    trusted_root::TrustedRoot,
    verify::open,
};

/// Schema of the document about an edit.
const SCHEMA: &str = "writ.dev/trust-edit/v1alpha1";

/// What the commands that edit the trust file have in common.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The work tree.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repo: PathBuf,
    #[command(flatten)]
    trusted_root: TrustedRoot,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// A work tree and the trust file in force in it.
pub(crate) struct WorkTree {
    dir: PathBuf,
    pub(crate) repository: Objects,
    /// The commit that is checked out; `None` before the first.
    pub(crate) head: Option<CommitId>,
    /// The trust file of that commit, with its certificates.
    pub(crate) before: Option<TrustFile>,
    /// The text of the file in the work tree.
    pub(crate) text: String,
    keyless: KeylessSignatures,
}

/// An edit of the trust file that has not been written yet.
pub(crate) struct Edit {
    pub(crate) editor: TrustEditor,
    /// New files beside it.
    pub(crate) files: BTreeMap<RepoPath, Vec<u8>>,
    /// What is done, in words.
    pub(crate) done: Vec<String>,
    /// What else should be known.
    pub(crate) notes: Vec<String>,
}

#[derive(Serialize)]
struct Edited<'a> {
    schema: &'static str,
    file: &'static str,
    version: u64,
    done: &'a [String],
    notes: &'a [String],
    /// What is still wrong with the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<RefusedItem>,
    signatures: &'a Vouched,
    next: &'a [String],
}

/// What is told of an edit.
pub(crate) struct Told<'a> {
    /// What is done, in words.
    pub(crate) done: &'a [String],
    /// What else should be known.
    pub(crate) notes: &'a [String],
    /// What is still wrong with the file.
    pub(crate) left: &'a [Finding],
}

#[derive(Serialize)]
struct Refused {
    schema: &'static str,
    refused: Vec<RefusedItem>,
}

#[derive(Serialize)]
struct RefusedItem {
    code: &'static str,
    reason: &'static str,
    message: String,
    fix: String,
}

/// What became of a command, with the findings of the trust file printed as `writ trust lint` prints them.
pub(crate) fn concluded(format: Format, result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    let error = match result {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    match error.downcast::<TrustEditError>() {
        Ok(TrustEditError::Refused(findings)) => {
            refused(format, &findings)?;
            Ok(Outcome::Finding)
        }
        Ok(error @ TrustEditError::Text(_)) => Err(error.into()),
        Ok(error) => Err(UsageError(error.to_string()).into()),
        Err(error) => Err(error),
    }
}

fn refused(format: Format, findings: &[Finding]) -> anyhow::Result<()> {
    if format == Format::Human {
        return findings.iter().try_for_each(|finding| output::text(&output::refusal(finding)));
    }
    output::document(format, &Refused { schema: SCHEMA, refused: findings.iter().map(RefusedItem::of).collect() })
}

impl RefusedItem {
    fn of(finding: &Finding) -> Self {
        Self {
            code: finding.code.code,
            reason: finding.code.reason,
            message: finding.message(),
            fix: finding.fix.to_string(),
        }
    }
}

impl WorkTree {
    /// Opens the work tree and the trust file in force.
    pub(crate) fn open(args: &EditArgs) -> anyhow::Result<Self> {
        let (dir, keyless) = (args.repo.as_path(), args.trusted_root.verifier()?);
        let repository = open(dir)?;
        let head = repository.tip("HEAD")?;
        let before = match &head {
            Some(commit) => in_force(&repository, commit)?,
            None => None,
        };
        let file = dir.join(TRUST_FILE);
        let missing = || format!("{} is not there; writ trust init makes it", file.display());
        let about = fs::symlink_metadata(&file).with_context(missing)?;
        ensure!(about.is_file(), "{} is no ordinary file", file.display());
        let bytes = input::bytes(&file, MAX_TRUST_FILE_BYTES + 1)?;
        // What is no text is refused by the parser, in its words.
        let text = String::from_utf8(bytes)
            .map_err(|error| TrustEditError::Refused(TrustFile::parse(error.as_bytes()).err().unwrap_or_default()))?;
        Ok(Self { dir: dir.to_owned(), repository, head, before, text, keyless })
    }

    /// What verifies signatures.
    pub(crate) fn verifiers(&self) -> Verifiers<'_> {
        Verifiers { known: None, keyless: Some(&self.keyless) }
    }

    /// Begins an edit.
    pub(crate) fn edit(&self) -> anyhow::Result<Edit> {
        let editor = TrustEditor::open(&self.text)?;
        Ok(Edit { editor, files: BTreeMap::new(), done: Vec::new(), notes: Vec::new() })
    }

    /// Writes an edit and prints what is to be done next.
    pub(crate) fn finish(&self, edit: Edit, format: Format) -> anyhow::Result<Outcome> {
        let now = Timestamp::now();
        let Edit { editor, files, done, mut notes } = edit;
        let mut opened = editor.opened().clone();
        let (text, mut file) = editor.finish(self.before.as_ref().map(|before| before.version), now)?;
        let mut findings = file.load_from(&self.certificates(&file, &files)?);
        // What was wrong with its certificates says nothing about the edit; who can sign with them does.
        drop(opened.load_from(&self.certificates(&opened, &BTreeMap::new())?));
        let left = file.left_by_edit(&opened, Some(now)).unwrap_or_else(|refused| {
            findings.extend(refused);
            Vec::new()
        });
        if let Some(before) = &self.before {
            findings.extend(file.against_predecessor(before));
        }
        if !findings.is_empty() {
            return Err(TrustEditError::Refused(findings).into());
        }
        self.write(&text, &files)?;
        let unused = opened.pins().filter(|(_, pin)| file.pins().all(|(_, other)| other.file != pin.file));
        notes.extend(unused.map(|(_, pin)| {
            format!("no key needs {} any more: git rm -- {}", pin.file, shell_quote(pin.file.as_str()))
        }));
        for line in &done {
            eprintln!("{line}");
        }
        eprintln!("wrote {}, version {}", self.dir.join(TRUST_FILE).display(), file.version);
        self.report(&file, &text, Told { done: &done, notes: &notes, left: &left }, format)
    }

    /// Says that all of it is in the file already.
    pub(crate) fn unchanged(&self, edit: &Edit, format: Format) -> anyhow::Result<Outcome> {
        eprintln!("nothing of it is new to the trust file");
        let mut file = edit.editor.file().clone();
        let findings = file.load_from(&self.certificates(&file, &BTreeMap::new())?);
        let notes = edit.notes.iter().cloned().chain(findings.iter().map(ToString::to_string));
        let notes = notes.collect::<Vec<_>>();
        self.report(&file, &self.text, Told { done: &edit.done, notes: &notes, left: &[] }, format)
    }

    /// Prints who has signed the file and what is to be done next: nobody need sign a file that has to be edited once more.
    pub(crate) fn report(
        &self,
        file: &TrustFile,
        text: &str,
        Told { done, notes, left }: Told<'_>,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        for note in notes {
            eprintln!("note: {note}");
        }
        let now = Timestamp::now();
        let vouched = self.vouched(file, text, now)?;
        let next = if left.is_empty() {
            next_commands(&self.dir, self.before.as_ref(), file, &vouched, now)
        } else {
            Vec::new()
        };
        if format == Format::Human {
            eprint!("{}", vouched.in_words());
            left.iter().try_for_each(|finding| output::text(&output::refusal(finding)))?;
            output::text(&next.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        } else {
            let version = file.version;
            let left = left.iter().map(RefusedItem::of).collect();
            let (schema, file) = (SCHEMA, TRUST_FILE);
            let edited = Edited { schema, file, version, done, notes, left, signatures: &vouched, next: &next };
            output::document(format, &edited)?;
        }
        Ok(if left.is_empty() { Outcome::Fine } else { Outcome::Finding })
    }

    /// Who has signed this text of the trust file, and who has to.
    pub(crate) fn vouched(&self, file: &TrustFile, text: &str, at: Timestamp) -> anyhow::Result<Vouched> {
        let (before, bytes, earlier) = (self.before.as_ref(), text.as_bytes(), self.earlier(text)?);
        Ok(Vouched::of(before, file, (bytes, &earlier), &self.signatures()?, at, self.verifiers()))
    }

    /// What the trust file was before it was this text: in the commit, and in the work tree before the edit.
    fn earlier(&self, text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        use trust::History as _;
        let committed = match &self.head {
            Some(commit) => self.repository.read(commit, &TRUST_FILE.parse()?)?,
            None => None,
        };
        let all = committed.into_iter().chain([self.text.clone().into_bytes()]);
        Ok(all.filter(|bytes| bytes != text.as_bytes()).collect())
    }

    /// The signature files, by name.
    pub(crate) fn signatures(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let folder = self.dir.join(TRUST_SIGNATURES);
        let cannot = || format!("cannot read {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(cannot)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.with_context(cannot)?;
            ensure!(files.len() < MAX_SIGNATURE_FILES, "more than {MAX_SIGNATURE_FILES} files in {}", folder.display());
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, input::bytes(&entry.path(), MAX_BUNDLE_BYTES)?));
        }
        files.sort_unstable();
        Ok(files)
    }

    /// The certificates that a trust file pins, of those that are new or lie in the work tree.
    pub(crate) fn certificates(
        &self,
        file: &TrustFile,
        new: &BTreeMap<RepoPath, Vec<u8>>,
    ) -> anyhow::Result<BTreeMap<RepoPath, Vec<u8>>> {
        certificates(&self.dir, file, new)
    }

    /// Writes the new files, then the trust file, each at once; on an error everything is as it was before.
    fn write(&self, text: &str, files: &BTreeMap<RepoPath, Vec<u8>>) -> anyhow::Result<()> {
        let trust_file = self.dir.join(TRUST_FILE);
        let lock = Lock::take(&trust_file)?;
        let mut written: Vec<PathBuf> = Vec::new();
        let result = (|| -> anyhow::Result<()> {
            // Somebody else's edit since it was read is not overwritten.
            let now = input::bytes(&trust_file, MAX_TRUST_FILE_BYTES + 1)?;
            ensure!(now == self.text.as_bytes(), "{} was changed meanwhile; try again", trust_file.display());
            for (path, bytes) in files {
                let file = self.dir.join(path.as_str());
                match fs::read(&file) {
                    Ok(there) if there == *bytes => continue,
                    Ok(_other) => bail!("{} is there already, with something else in it", file.display()),
                    Err(_not_there) => {}
                }
                replace(&file, bytes)?;
                written.push(file);
            }
            lock.replace(text.as_bytes())
        })();
        if result.is_err() {
            for file in &written {
                fs::remove_file(file).with_context(|| format!("cannot remove {} again", file.display()))?;
            }
        }
        result
    }

    /// Writes a file below the work tree at once.
    pub(crate) fn replace(&self, path: &RepoPath, bytes: &[u8]) -> anyhow::Result<()> {
        replace(&self.dir.join(path.as_str()), bytes)
    }

    /// Removes a signature file.
    pub(crate) fn remove_signature(&self, name: &str) -> anyhow::Result<()> {
        let file = self.dir.join(TRUST_SIGNATURES).join(name);
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }
}

/// The trust file of a commit, with its certificates; `None` if it has none.
fn in_force(repository: &Objects, commit: &CommitId) -> anyhow::Result<Option<TrustFile>> {
    use trust::History as _;
    let path: RepoPath = TRUST_FILE.parse()?;
    if repository.entry(commit, &path)?.is_none() {
        return Ok(None);
    }
    let file = TrustFile::of_commit(repository, commit).map_err(|findings| {
        let mistakes: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("nothing can follow the {TRUST_FILE} of {commit}: {}", mistakes.join("; "))
    })?;
    Ok(Some(file))
}

/// The files of certificates that a trust file pins, of those that are new or lie in a work tree.
pub(crate) fn certificates(
    dir: &Path,
    file: &TrustFile,
    new: &BTreeMap<RepoPath, Vec<u8>>,
) -> anyhow::Result<BTreeMap<RepoPath, Vec<u8>>> {
    let mut files = new.clone();
    for (_name, pin) in file.pins() {
        let place = dir.join(pin.file.as_str());
        // One that is not there is a finding, in the words of the trust file.
        if !files.contains_key(&pin.file) && place.exists() {
            files.insert(pin.file.clone(), input::bytes(&place, MAX_CERTIFICATE_BYTES + 1)?);
        }
    }
    Ok(files)
}

/// The file beside the trust file that holds it for one edit, and becomes it.
struct Lock {
    place: PathBuf,
    /// Until it has become the trust file.
    file: Option<PathBuf>,
}

impl Lock {
    fn take(place: &Path) -> anyhow::Result<Self> {
        let file = beside(place);
        match OpenOptions::new().write(true).create_new(true).open(&file) {
            Ok(_empty) => Ok(Self { place: place.to_owned(), file: Some(file) }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there: another writ edits the file; if none does, remove it", file.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot create {}", file.display())),
        }
    }

    fn replace(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let place = self.place.clone();
        let cannot = || format!("cannot write {}", place.display());
        let file = self.file.as_ref().with_context(cannot)?;
        let mut new = File::create(file).with_context(cannot)?;
        new.set_permissions(fs::metadata(&place).with_context(cannot)?.permissions()).with_context(cannot)?;
        new.write_all(bytes).with_context(cannot)?;
        new.sync_all().with_context(cannot)?;
        fs::rename(file, &place).with_context(cannot)?;
        // From here on the name may be another writ's.
        self.file = None;
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is named by the next edit.
        drop(self.file.as_ref().map(fs::remove_file));
    }
}

/// Writes a file at once: what is there stays whole until the new one is.
fn replace(place: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", place.display());
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    let new = beside(place);
    let mut file = File::create(&new).with_context(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(cannot)?;
    fs::rename(&new, place).with_context(cannot)
}

/// `name.lock`, as Git calls it.
fn beside(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// ` --repo DIR` for a printed command; nothing where the person is.
pub(crate) fn repo_option(dir: &Path) -> String {
    if dir == Path::new(".") { String::new() } else { format!(" --repo {}", shell_quote(&dir.display().to_string())) }
}
