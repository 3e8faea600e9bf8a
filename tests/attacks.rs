//! The attacks on repositories of signed commits that are known, by the numbers of `docs/trust.md`: each as somebody would play it
//! against a running writ, with a real Git server and real keys. Stories are in `scenarios/` as those of other bad input are.
//!
//! What an attack comes in many forms for (commits that are almost a signed one, states of keys, names in trees) is listed in tables
//! of the crates that decide: `parser_table`, `key_states_table_…`, `a_refused_entry_is_named`. Here is one of each kind.

mod cast;
mod documentation;
mod history;
mod keys;
mod objects;
mod people;
mod second_ids;

use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use crate::bad_input::{Offline, Pooled, noticed, refused};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map};
pub(crate) use cast::{Cast, push_trust_file};

/// A stage whose trust file names everybody of the [`Cast`], for attacks that leave nothing behind.
pub(crate) struct Arena {
    pub(crate) stage: Stage<'static>,
    pub(crate) cast: Cast,
}

static ARENAS: Mutex<Vec<Arena>> = Mutex::new(Vec::new());

impl Pooled for Arena {
    fn pool() -> &'static Mutex<Vec<Self>> {
        &ARENAS
    }

    fn make() -> Result<Self> {
        let mut stage = Setup::shared()?.start()?;
        let cast = Cast::new(&mut stage)?;
        cast.write_certificates(&stage)?;
        let file = cast.whole(&stage)?.version(2);
        let commit = push_trust_file(&mut stage, &file)?;
        stage.applied(&commit)?;
        stage.names.call_commit(&commit, "trust commit");
        Ok(Self { stage, cast })
    }

    fn restore(&mut self) -> Result<()> {
        self.stage.restore()
    }
}

/// What is told and by whom it is done.
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) done: &'static str,
    pub(crate) code: &'static str,
}

/// From the last good commit on: `push` makes and pushes a commit, and it is refused.
pub(crate) fn refusal(stage: &mut Stage<'_>, told: &Told, push: impl FnOnce(&mut Stage<'_>) -> Result<String>) -> Test {
    stage.restore().with_context(|| format!("before {}", told.name))?;
    let mut story = Story::begin(stage, told.name, told.title)?;
    story.done(told.done);
    let commit = push(stage)?;
    refused(stage, story, Owner::Source, &commit, told.code, Offline::Told).with_context(|| told.name.to_owned())
}

/// One more hostile head, which was just pushed: it is refused with `code`, and a person sees why.
pub(crate) fn head(stage: &mut Stage<'_>, story: &mut Story, name: &str, commit: &str, code: &str) -> Test {
    stage.names.call_commit(commit, name);
    let source = stage.held(Owner::Source, commit, code).with_context(|| name.to_owned())?;
    let held = |field: &str| source["status"]["heldRevision"][field].as_str().unwrap_or_default();
    story.seen(
        &format!("kubectl get gitsource config  # {name}"),
        &format!("{} {}\nfix: {}", held("code"), held("message"), held("fix")),
    );
    noticed(stage, Owner::Source, &source, commit, code).with_context(|| name.to_owned())?;
    let verified = stage.verify(commit, &[])?;
    ensure!(verified.code == Some(1), "{name}: writ verify: {verified:?}");
    Ok(())
}

/// A change of settings on the last good commit, signed with whatever `sign` makes of its bytes; the objects below it are on the
/// server, on another branch.
pub(crate) fn signed_with(stage: &Stage<'_>, sign: impl FnOnce(&str) -> Result<String>) -> Result<String> {
    stage.repo.reset(stage.good())?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let unsigned = stage.repo.commit_unsigned("change settings")?;
    stage.push_aside("main", "aside")?;
    let payload = String::from_utf8(stage.repo.read_object("commit", &unsigned)?).context("a commit is not UTF-8")?;
    let header = format!("gpgsig {}\n\n", sign(&payload)?.trim_end().replace('\n', "\n "));
    stage.repo.write_object("commit", payload.replacen("\n\n", &format!("\n{header}"), 1).as_bytes())
}

/// The same as the head of main, past everything that git would check.
pub(crate) fn with_signature(stage: &mut Stage<'_>, sign: impl FnOnce(&str) -> Result<String>) -> Result<String> {
    let commit = signed_with(stage, sign)?;
    stage.force_head(&commit)?;
    Ok(commit)
}

/// A change of settings signed by `key`.
pub(crate) fn settings_by(stage: &mut Stage<'_>, key: &testkit::SigningKey) -> Result<String> {
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(key, "change settings")?;
    stage.push(testkit::Push::FastForward)?;
    Ok(commit)
}
