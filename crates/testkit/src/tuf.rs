//! A TUF repository in a folder: keys made at run time, metadata in canonical JSON, one target, `trusted_root.json`. Each of
//! its files can be published with one thing wrong.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

/// A key that signs metadata.
pub struct TufKey(Ed25519KeyPair);

impl TufKey {
    /// A new one.
    pub fn generate() -> Result<Self> {
        Ed25519KeyPair::generate().map(Self).map_err(|_error| anyhow!("no key"))
    }

    fn id(&self) -> String {
        hex::encode(digest(&SHA256, self.0.public_key().as_ref()))
    }

    fn value(&self) -> Value {
        let public = hex::encode(self.0.public_key().as_ref());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    }

    fn sign(&self, message: &[u8]) -> Value {
        json!({"keyid": self.id(), "sig": hex::encode(self.0.sign(message).as_ref())})
    }
}

/// One of the files that say what is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// `timestamp.json`
    Timestamp,
    /// `snapshot.json`
    Snapshot,
    /// `targets.json`
    Targets,
}

impl Metadata {
    const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

/// The repository. What is set holds from the next [`Tuf::publish`] on.
pub struct Tuf {
    folder: PathBuf,
    first: String,
    /// The version of the newest root.
    root_version: u64,
    /// Who signs roots, and how many of them must.
    roots: (Vec<TufKey>, usize),
    online: TufKey,
    /// The version that the next metadata have.
    pub version: u64,
    /// The metadata that expired an hour ago.
    pub expired: Option<Metadata>,
    /// The metadata that somebody else signs.
    pub forged: Option<Metadata>,
    /// The length of the target that is signed, if it is not its length.
    pub target_length: Option<usize>,
    now: Timestamp,
}

impl Tuf {
    /// A new one in a folder, whose root has one key. Everything in it expires a year after `now`.
    pub fn generate(folder: &Path, now: Timestamp) -> Result<Self> {
        let mut made = Self {
            folder: folder.to_owned(),
            first: String::new(),
            root_version: 0,
            roots: (vec![TufKey::generate()?], 1),
            online: TufKey::generate()?,
            version: 1,
            expired: None,
            forged: None,
            target_length: None,
            now,
        };
        made.first = made.add_root(&[])?;
        Ok(made)
    }

    /// Its first `root.json`, with which trust begins.
    pub fn first_root(&self) -> &str {
        &self.first
    }

    /// Publishes a root of other keys, of which `threshold` must sign, signed by the ones before it as well, if `by_old`.
    pub fn rotate(&mut self, keys: Vec<TufKey>, threshold: usize, by_old: bool) -> Result<()> {
        let (old, _) = std::mem::replace(&mut self.roots, (keys, threshold));
        self.add_root(if by_old { &old } else { &[] }).map(drop)
    }

    /// Publishes a root by which another key signs everything else.
    pub fn rotate_online(&mut self) -> Result<()> {
        self.online = TufKey::generate()?;
        self.add_root(&[]).map(drop)
    }

    fn add_root(&mut self, also: &[TufKey]) -> Result<String> {
        self.root_version += 1;
        let (keys, threshold) = &self.roots;
        let mut known = serde_json::Map::new();
        for key in keys.iter().chain([&self.online]) {
            known.insert(key.id(), key.value());
        }
        let online = json!({"keyids": [self.online.id()], "threshold": 1});
        let ids: Vec<String> = keys.iter().map(TufKey::id).collect();
        let signed = json!({
            "_type": "root", "spec_version": "1.0.31", "version": self.root_version, "consistent_snapshot": true,
            "expires": self.expires(false)?.to_string(), "keys": known,
            "roles": {
                "root": {"keyids": ids, "threshold": threshold},
                "timestamp": online, "snapshot": online, "targets": online,
            },
        });
        let signers: Vec<&TufKey> = keys.iter().chain(also).collect();
        let text = envelope(&signed, &signers)?;
        self.write(&format!("{}.root.json", self.root_version), &text)?;
        Ok(text)
    }

    /// Publishes a trust root, by metadata of [`Self::version`], which then goes up by one.
    pub fn publish(&mut self, trusted_root: &str) -> Result<()> {
        let hash = hex::encode(digest(&SHA256, trusted_root.as_bytes()));
        self.write(&format!("targets/{hash}.trusted_root.json"), trusted_root)?;
        let length = self.target_length.unwrap_or(trusted_root.len());
        let target = json!({"trusted_root.json": {"length": length, "hashes": {"sha256": hash}}});
        let version = self.version;
        let targets = self.metadata(Metadata::Targets, ("targets", target))?;
        self.write(&format!("{version}.targets.json"), &targets)?;
        let snapshot = self.metadata(Metadata::Snapshot, ("meta", json!({"targets.json": {"version": version}})))?;
        self.write(&format!("{version}.snapshot.json"), &snapshot)?;
        let timestamp = self.metadata(Metadata::Timestamp, ("meta", json!({"snapshot.json": {"version": version}})))?;
        self.write("timestamp.json", &timestamp)?;
        self.version += 1;
        Ok(())
    }

    fn metadata(&self, which: Metadata, (field, value): (&str, Value)) -> Result<String> {
        let signed = json!({
            "_type": which.name(), "spec_version": "1.0.31", "version": self.version,
            "expires": self.expires(self.expired == Some(which))?.to_string(), field: value,
        });
        let stranger = TufKey::generate()?;
        envelope(&signed, &[if self.forged == Some(which) { &stranger } else { &self.online }])
    }

    fn expires(&self, is_over: bool) -> Result<Timestamp> {
        let hours = if is_over { -1 } else { 366 * 24 };
        Ok(Timestamp::from_second(self.now.as_second())?.checked_add(hours.hours())?)
    }

    /// Puts a file into the repository, whatever it says.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What a file of the repository says.
    pub fn read(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.folder.join(name)).with_context(|| format!("cannot read {name}"))
    }
}

/// All texts in it are plain ASCII, of which the canonical JSON of TUF is that of everybody else.
fn envelope(signed: &Value, signers: &[&TufKey]) -> Result<String> {
    let message = manifest::canonical_json(signed);
    let signatures: Vec<Value> = signers.iter().map(|key| key.sign(&message)).collect();
    Ok(serde_json::to_string(&json!({"signed": signed, "signatures": signatures}))?)
}
