//! The trust root of keyless signatures, fetched anew where the TrustRoot says so (`spec.keyless.refresh`): at the start, then
//! once a day, off the loop; no judgement ever waits for it.
//!
//! What was verified takes the place of `spec.keyless.trustedRoot` in the TrustRoot as it is in force. So a key that is taken
//! away, or added, is a change of trust like an edit of the TrustRoot: what is accepted is judged again, the log names both
//! digests, and after a restart the newest one is in force from the state volume. Whatever fails changes nothing but what
//! is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use evidence::{Fetched, TufError, TufRepository, Unwritten};
use jiff::Timestamp;
use manifest::{Finding, Subject, shell_quote};
use trust::{KeylessRefresh, TrustRootSpec};

use crate::{
    code::ControllerCode,
    event::Event,
    state::{Dirty, RootState, State},
};

/// How often. What says that nothing is newer is good for a week with the public Sigstore: six tries are left when one fails.
const REFRESH_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// First pause after a failure; it doubles.
const AGAIN_FIRST: Duration = Duration::from_secs(60);
/// The longest: a repository that is mended is noticed within an hour, at 24 requests a day.
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// What is known of the fetches of all TrustRoots, those included that have none or are gone at the moment.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    /// TrustRoots for which something is being fetched.
    under_way: BTreeSet<String>,
    /// What could not be written, by TrustRoot: whoever takes `refresh` out, and puts it back, does not go back behind it.
    unwritten: BTreeMap<String, Unwritten>,
}

impl Refreshes {
    /// What could not be written for a TrustRoot.
    pub(crate) fn unwritten(&mut self, root: &str) -> Unwritten {
        self.unwritten.retain(|name, unwritten| name == root || !unwritten.is_free());
        self.unwritten.entry(root.to_owned()).or_default().clone()
    }
}

/// What is known of the repository that a TrustRoot names.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    /// What the TrustRoot says.
    declared: KeylessRefresh,
    repository: TufRepository,
    /// When it is asked next.
    due: Instant,
    /// Failures in a row.
    failures: u32,
    /// When what is in force was the newest; `None` if that is what was built in, or nothing.
    pub(crate) at: Option<Timestamp>,
    /// Why it is not known what is the newest, or nothing is in force.
    pub(crate) problem: Option<Finding>,
}

impl Refresh {
    /// Of a TrustRoot that is seen, perhaps after an edit, and the spec as it is in force. Reads one file of some KiB and
    /// verifies ten signatures, so rarely that it does not matter to the loop.
    ///
    /// # Errors
    /// If what the TrustRoot says cannot be used.
    pub(crate) fn begin(
        name: &str,
        spec: &TrustRootSpec,
        file: &Path,
        unwritten: &Unwritten,
        now: Instant,
    ) -> Result<(TrustRootSpec, Option<Self>), String> {
        let Some(declared) = spec.keyless.as_ref().and_then(|keyless| keyless.refresh.as_ref()) else {
            return Ok((spec.clone(), None));
        };
        let repository = TufRepository::of(declared).map_err(|error| format!("spec.keyless.refresh: {error}"))?;
        let repository = repository.after(unwritten);
        let (in_force, at, problem) = match repository.kept(file) {
            Ok(None) => (spec.clone(), None, None),
            Ok(Some(kept)) => (spec.with_trusted_root(&kept.trusted_root), Some(kept.at), None),
            // Something newer than what is built in was in force, perhaps without a key that is there: nothing takes its place.
            Err(error) => (spec.with_trusted_root(""), None, Some(failed(name, &repository, None, &error))),
        };
        let refresh = Self { declared: declared.clone(), repository, due: now, failures: 0, at, problem };
        Ok((in_force, Some(refresh)))
    }

    /// Somebody asks for it at once.
    pub(crate) const fn ask(&mut self, now: Instant) {
        self.due = now;
    }

    /// It was fetched, or not; whether the problem is news. `random` is any number.
    fn end(&mut self, problem: Option<Finding>, now: Instant, random: u64) -> bool {
        self.failures = if problem.is_some() { self.failures.saturating_add(1) } else { 0 };
        self.due = now + pause(self.failures, random);
        let is_news = problem != self.problem;
        self.problem = problem;
        is_news
    }
}

/// The pause until the next try, and up to a tenth of it.
fn pause(failures: u32, random: u64) -> Duration {
    let pause = match failures.checked_sub(1) {
        None => REFRESH_EVERY,
        Some(before) => AGAIN_FIRST.saturating_mul(1 << before.min(6)).min(AGAIN_MAX),
    };
    let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(u64::MAX).max(1);
    pause + Duration::from_millis(random % tenth)
}

/// What failed, and what to do.
fn told(repository: &TufRepository, at: Option<Timestamp>, error: &TufError) -> (String, String) {
    let stays = match at {
        Some(at) => format!("what was fetched {at} stays in force"),
        None => "what was in force before stays".to_owned(),
    };
    match error {
        TufError::Kept { path, .. } => {
            let path = shell_quote(&path.display().to_string());
            let found = match at {
                Some(_) => format!("{error}; {stays} until a restart"),
                None => format!("{error}; no keyless signature is good until it is fetched anew"),
            };
            (found, format!("rm {path} # once it is known what became of it: versions may go back then"))
        }
        TufError::NotKept { .. } => {
            let found = format!("{error}; {stays}, and after a restart what could be kept last");
            (found, "check space and permissions of the state volume".to_owned())
        }
        TufError::RefusedAndNotKept { refused, not_kept } => {
            let (refused, ask) = told(repository, at, refused);
            let (_, check) = told(repository, at, not_kept);
            (format!("{refused}; and {not_kept}"), format!("{check}, and {ask}"))
        }
        TufError::Unreachable(_) => {
            let fix = format!("check the server of {} and the way to it", repository.address());
            (format!("{error}; {stays}"), fix)
        }
        TufError::Refused(_) | TufError::TrustedRoot(_) | TufError::Root(_) | TufError::Certificates(_) => {
            let fix =
                format!("ask who runs {}: it shows nothing that follows on what is trusted", repository.address());
            (format!("{}: {error}; {stays}", repository.address()), fix)
        }
    }
}

fn failed(name: &str, repository: &TufRepository, at: Option<Timestamp>, error: &TufError) -> Finding {
    let (found, fix) = told(repository, at, error);
    Finding {
        code: ControllerCode::A144.entry(),
        subject: Subject::Named(format!("TrustRoot {name}")),
        rule: None,
        found: found.into(),
        needed: "a trust root that is known to be the newest".into(),
        fix: fix.into(),
    }
}

/// What became of a fetch.
struct Taken {
    /// Whether another trust root is in force.
    is_changed: bool,
    /// When what is in force was the newest.
    at: Option<Timestamp>,
    /// Whether something went wrong.
    is_failure: bool,
    /// What, if that is news.
    news: Option<Finding>,
}

impl RootState {
    /// Puts what was fetched in force, whether it could be kept or not. `None` if it is not of what the TrustRoot names by now,
    /// which is due.
    fn take_fetched(
        &mut self,
        name: &str,
        declared: &KeylessRefresh,
        outcome: Result<Fetched, TufError>,
        now: Instant,
        random: u64,
    ) -> Option<Taken> {
        let refresh = self.refresh.as_mut().filter(|refresh| refresh.declared == *declared)?;
        let mut is_changed = false;
        let error = match outcome {
            Ok(Fetched { root, not_kept }) => {
                refresh.at = Some(root.at);
                let in_force = self.resource.spec.with_trusted_root(&root.trusted_root);
                is_changed = self.spec.as_deref() != Some(&in_force);
                if is_changed {
                    self.spec = Some(Arc::new(in_force));
                }
                not_kept
            }
            Err(error) => Some(error),
        };
        let problem = error.map(|error| failed(name, &refresh.repository, refresh.at, &error));
        let is_failure = problem.is_some();
        let news = if refresh.end(problem.clone(), now, random) { problem } else { None };
        Some(Taken { is_changed, at: refresh.at, is_failure, news })
    }
}

impl State {
    /// Where what was fetched for a TrustRoot is kept.
    pub(crate) fn tuf_file(&self, root: &str) -> PathBuf {
        self.options.state_dir.join("tuf").join(format!("{root}.json"))
    }

    /// Asks the repositories that are due. One TrustRoot has one fetch at a time, also after an edit.
    pub(crate) fn refresh_keyless(&mut self) {
        let now = Instant::now();
        let due = self.roots.iter().filter(|(name, root)| {
            !self.refreshes.under_way.contains(*name) && root.refresh.as_ref().is_some_and(|refresh| refresh.due <= now)
        });
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for root in due {
            let Some(refresh) = self.roots.get(&root).and_then(|state| state.refresh.as_ref()) else { continue };
            let (declared, repository, file) =
                (refresh.declared.clone(), refresh.repository.clone(), self.tuf_file(&root));
            let (panicked, of) = (root.clone(), declared.clone());
            self.refreshes.under_way.insert(root.clone());
            self.blocking(
                move || {
                    let outcome = repository.fetch(&file, Timestamp::now());
                    Event::KeylessFetched { root, declared: Box::new(declared), outcome }
                },
                move |why| {
                    let outcome = Err(TufError::Unreachable(format!("the fetch ended unexpectedly: {why}")));
                    Event::KeylessFetched { root: panicked, declared: Box::new(of), outcome }
                },
            );
        }
    }

    /// A repository was asked.
    pub(crate) fn keyless_fetched(
        &mut self,
        name: &str,
        declared: &KeylessRefresh,
        outcome: Result<Fetched, TufError>,
    ) {
        self.refreshes.under_way.remove(name);
        let (now, random) = (Instant::now(), self.jitter.draw());
        let Some(root) = self.roots.get_mut(name) else { return };
        let Some(taken) = root.take_fetched(name, declared, outcome, now, random) else { return };
        self.metrics.keyless.asked(name, !taken.is_failure);
        self.metrics.keyless.in_force(name, taken.at);
        if taken.is_changed {
            tracing::info!(root = name, "another trust root of keyless signatures is in force");
            self.trust_changed();
        }
        if let Some(finding) = taken.news {
            tracing::warn!(root = name, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_root(name, &finding);
        }
        self.dirty.insert(Dirty::Root(name.to_owned()));
    }

    /// What was judged is judged again.
    pub(crate) fn trust_changed(&mut self) {
        for source in self.sources.values_mut() {
            source.due = Instant::now();
        }
    }
}

#[cfg(test)]
#[path = "keyless_refresh_tests.rs"]
mod tests;
