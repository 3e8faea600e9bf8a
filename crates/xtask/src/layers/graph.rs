//! The dependency graph as far as the rules look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, anyhow};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::process::{output, run};
use crate::workspace::Workspace;

/// How one crate declares another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Part of what is built.
    Normal,
    /// For a build script.
    Build,
    /// For tests only.
    Development,
}

/// A package of the lock file: name and version.
pub(super) type Key = (String, String);

/// A crate of this workspace.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its place in [`Graph::packages`].
    pub(super) key: Key,
    /// What it declares, by the real name of the package (never a renamed one), on every platform, optional or not.
    pub(super) declared: BTreeSet<(String, Kind)>,
    /// Whether its manifest says `[lints] workspace = true`.
    pub(super) inherits_lints: bool,
    /// The text of its own `clippy.toml`, if it has one.
    pub(super) clippy: Option<String>,
}

/// Members, and who links whom.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    /// By name.
    pub(super) members: BTreeMap<String, Member>,
    /// Every package of the resolved graph with the packages it links (normal dependencies only).
    pub(super) packages: BTreeMap<Key, BTreeSet<Key>>,
    /// The text of the workspace's `clippy.toml`.
    pub(super) clippy: String,
}

impl Graph {
    /// Reads the locked graph of this workspace for the machine's own platform. Downloads what the lock file names and is not
    /// there yet (a fresh clone); otherwise touches no network.
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let host = host(workspace)?;
        run(workspace.cargo().args(["fetch", "--quiet", "--locked", "--target", &host]))?;
        let metadata = MetadataCommand::new()
            .current_dir(workspace.root())
            .other_options(["--locked", "--offline", "--filter-platform", &host].map(str::to_owned).to_vec())
            .exec()
            .context("cannot read the dependency graph")?;
        let clippy = fs::read_to_string(workspace.path("clippy.toml")).context("cannot read clippy.toml")?;
        Self::from_metadata(&metadata, clippy)
    }

    fn from_metadata(metadata: &Metadata, clippy: String) -> Result<Self> {
        let keys: BTreeMap<&PackageId, Key> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, (package.name.to_string(), package.version.to_string())))
            .collect();
        let key_of = |id: &PackageId| keys.get(id).cloned().ok_or_else(|| anyhow!("the graph names no package {id}"));
        let resolve = metadata.resolve.as_ref().context("cargo resolved no graph")?;
        let mut packages = BTreeMap::new();
        for node in &resolve.nodes {
            let linked = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|declared| declared.kind == DependencyKind::Normal)
            });
            packages.insert(
                key_of(&node.id)?,
                linked.map(|dependency| key_of(&dependency.pkg)).collect::<Result<BTreeSet<_>>>()?,
            );
        }
        let mut members = BTreeMap::new();
        for package in metadata.workspace_packages() {
            let manifest = fs::read_to_string(&package.manifest_path)
                .with_context(|| format!("cannot read {}", package.manifest_path))?;
            let declared = package.dependencies.iter().map(|dependency| {
                let kind = match dependency.kind {
                    DependencyKind::Development => Kind::Development,
                    DependencyKind::Build => Kind::Build,
                    _ => Kind::Normal,
                };
                (dependency.name.clone(), kind)
            });
            let member = Member {
                key: key_of(&package.id)?,
                declared: declared.collect(),
                inherits_lints: inherits_lints(&manifest),
                clippy: package
                    .manifest_path
                    .parent()
                    .and_then(|folder| fs::read_to_string(folder.join("clippy.toml")).ok()),
            };
            members.insert(package.name.to_string(), member);
        }
        Ok(Self { members, packages, clippy })
    }

    /// The shortest chain of linked packages from a member to a package of one of these names, both ends included.
    pub(super) fn chain_to(&self, member: &Member, target: &str) -> Option<Vec<Key>> {
        let mut reached_from: BTreeMap<&Key, Option<&Key>> = BTreeMap::from([(&member.key, None)]);
        let mut level = vec![&member.key];
        while !level.is_empty() {
            let mut next = Vec::new();
            for key in level {
                if key.0 == target && *key != member.key {
                    let mut chain = vec![key.clone()];
                    let mut at = key;
                    while let Some(Some(before)) = reached_from.get(at) {
                        chain.push((*before).clone());
                        at = before;
                    }
                    chain.reverse();
                    return Some(chain);
                }
                for linked in self.packages.get(key).into_iter().flatten() {
                    if !reached_from.contains_key(linked) {
                        reached_from.insert(linked, Some(key));
                        next.push(linked);
                    }
                }
            }
            level = next;
        }
        None
    }
}

/// The platform that rustc builds for here, such as `x86_64-unknown-linux-gnu`.
fn host(workspace: &Workspace) -> Result<String> {
    let mut rustc = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let text = output(rustc.arg("-vV").current_dir(workspace.root()))?;
    let text = String::from_utf8(text).context("rustc did not answer in UTF-8")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| anyhow!("rustc names no host platform"))
}

/// Whether a manifest's `[lints]` table says `workspace = true`.
fn inherits_lints(manifest: &str) -> bool {
    let mut in_lints = false;
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            in_lints = line == "[lints]";
        }
        in_lints && line.split('#').next().unwrap_or_default().replace(' ', "") == "workspace=true"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lints_table_counts() {
        assert!(inherits_lints("[package]\nname = \"x\"\n\n[lints]\nworkspace = true # as everywhere\n"));
        assert!(!inherits_lints("[lints]\nworkspace = false\n"));
        assert!(!inherits_lints("[package.metadata]\nworkspace = true\n[lints]\n[dependencies]\n"));
    }
}
