//! Hostile trees.

use anyhow::{Result, ensure};
use testkit::{Push, RawEntry, Signing};

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Stage, Story, Test, config_map};

/// What git shows of it is not what would be applied.
#[test]
fn names_out_of_order() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "names-out-of-order", "A tree in which git does not find a file")?;
    story.done("a tree object with apps/settings.yaml before apps/other.yaml is written by hand; sam signs the commit; git push");
    let commit = hostile_commit(&stage, &[b"other.yaml"], |entries| entries.reverse())?;
    let shown = stage.repo.git(&["ls-tree", &commit, "apps/other.yaml"])?;
    ensure!(shown.is_empty(), "git finds it: {shown}");
    stage.repo.set_main(&commit)?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W104", Offline::Told)
}

/// A signed commit whose folder `apps` holds files of these names, besides a changed settings.yaml.
pub(crate) fn hostile_commit(
    stage: &Stage<'_>,
    names: &[&[u8]],
    arrange: impl FnOnce(&mut [RawEntry<'_>]),
) -> Result<String> {
    let settings = stage.repo.write_object("blob", config_map("settings", "bad").as_bytes())?;
    let other = stage.repo.write_object("blob", config_map("other", "bad").as_bytes())?;
    let mut entries: Vec<RawEntry<'_>> =
        names.iter().map(|&name| RawEntry { mode: "100644", name, id: &other }).collect();
    entries.push(RawEntry { mode: "100644", name: b"settings.yaml", id: &settings });
    entries.sort_by_key(|entry| entry.name);
    arrange(&mut entries);
    let apps = stage.repo.write_tree(&entries)?;
    let trust = stage.repo.rev_parse("HEAD:.writ")?;
    let root = stage.repo.write_tree(&[
        RawEntry { mode: "40000", name: b".writ", id: &trust },
        RawEntry { mode: "40000", name: b"apps", id: &apps },
    ])?;
    let parent = stage.repo.head()?;
    stage.repo.commit_tree(&root, &[&parent], Signing::By(&stage.people.sre), "a hostile tree")
}
