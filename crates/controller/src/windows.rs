//! Windows of a Sync: what is good is held while they do not let it advance, and nothing else is.
//!
//! They are asked where a candidate has become a plan, so that what is refused is told at once, also in a freeze. What orders nothing
//! new passes: a roll-out of what is accepted goes on, and healing is not asked at all. So does a signed order to go back. While
//! something is held they are asked anew at every turn, by the clock on the wall: nothing is set to ring, so a clock that is moved
//! does no harm.

use cluster::crd;
use jiff::Timestamp;
use manifest::Finding;
use plan::{ApprovedPlan, Closed, DesiredState, SyncRef, SyncSpec, Windows};

use crate::{
    code::ControllerCode,
    resources::finding,
    rollout::same,
    state::{Dirty, Held, Phase, State, SyncState, VerdictKey},
};

/// The field that says it.
const FIELD: &str = "spec.advance.windows";

/// What keeps a good candidate from being rolled out.
#[derive(Debug)]
pub(crate) struct Frozen {
    windows: Windows,
    until: Option<Timestamp>,
}

impl Frozen {
    /// Whether there is something else to say: it may advance, or another window has taken over from the one that was named.
    fn is_over(&self, now: Timestamp) -> bool {
        self.windows.is_open(now) || self.until.is_some_and(|until| until <= now)
    }
}

/// Why a candidate is not rolled out now, and what has to be asked until it is; without that, a spec that is mended.
pub(crate) struct Hold {
    finding: Finding,
    frozen: Option<Frozen>,
}

/// Whether this is held by windows alone: it is good, and time is all that it needs.
#[must_use]
pub(crate) fn is_frozen(held: &Held) -> bool {
    held.findings.first().is_some_and(|finding| finding.code == ControllerCode::A149.entry())
}

/// Whether a status shows that.
fn is_shown_frozen(shown: &crd::HeldRevision) -> bool {
    shown.code == ControllerCode::A149.entry().code
}

/// The windows that a spec has.
///
/// # Errors
/// What is wrong with them. Nothing advances by such a spec: what it was to hold is not known.
pub(crate) fn windows_of(sync: &SyncRef, spec: &SyncSpec) -> Result<Windows, Finding> {
    let windows = spec.advance.as_ref().and_then(|advance| advance.windows.as_deref()).unwrap_or_default();
    Windows::parse(windows).map_err(|errors| {
        let said: Vec<String> = errors.iter().map(|error| format!("{FIELD}{}: {error}", error.field())).collect();
        let fields: Vec<String> = errors.iter().map(|error| format!("{FIELD}{}", error.field())).collect();
        let needed = "windows that can be read; until then no revision advances, and drift is mended all the same";
        Finding {
            fix: format!("mend {}", fields.join(", ")).into(),
            ..finding(ControllerCode::A146, &format!("Sync {sync}"), &said.join("; "), needed)
        }
    })
}

fn outside(sync: &SyncRef, closed: &Closed) -> Finding {
    let (found, fix) = match closed.until {
        Some(until) => (
            format!("{}; held until {until}", closed.by),
            format!("none is needed, it is rolled out then; earlier, change {FIELD} by a signed commit"),
        ),
        None => (
            format!("{}; held, and no end of that is foreseen", closed.by),
            format!("change {FIELD} by a signed commit"),
        ),
    };
    let needed = format!("a time at which {FIELD} lets revisions advance");
    Finding { fix: fix.into(), ..finding(ControllerCode::A149, &format!("Sync {sync}"), &found, &needed) }
}

/// Whether a plan orders nothing that is not accepted: the roll-out of that goes on, or a commit leaves all as it is.
fn orders_nothing_new(state: &SyncState, plan: &ApprovedPlan, desired: &DesiredState, key: &VerdictKey) -> bool {
    let Some(accepted) = &state.accepted else { return false };
    let goes_on = same(accepted, desired) && state.logged_spec == Some(key.spec);
    let digest = |state: &DesiredState, object| state.get(object).map(|object| object.digest);
    let leaves_all = accepted.len() == desired.len()
        && desired.iter().all(|object| digest(accepted, &object.reference) == Some(object.digest));
    goes_on || leaves_all && plan.counts().pruned == 0
}

impl State {
    /// Why a good candidate may not be rolled out now.
    pub(crate) fn window_hold(
        &self,
        sync: &SyncRef,
        plan: &ApprovedPlan,
        desired: &DesiredState,
        key: &VerdictKey,
        now: Timestamp,
    ) -> Option<Hold> {
        let state = self.syncs.get(sync)?;
        let spec = state.obeyed.as_ref()?;
        if orders_nothing_new(state, plan, desired, key) {
            return None;
        }
        match windows_of(sync, spec) {
            Err(finding) => Some(Hold { finding, frozen: None }),
            Ok(windows) => {
                let closed = windows.open(now).err()?;
                let finding = outside(sync, &closed);
                Some(Hold { finding, frozen: Some(Frozen { windows, until: closed.until }) })
            }
        }
    }

    /// A good candidate has to wait. It is told once; what was accepted stays in force and is healed.
    pub(crate) fn hold_for_window(&mut self, sync: &SyncRef, key: VerdictKey, hold: Hold, now: Timestamp) {
        let signer = self.signer_of(sync);
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let held = Held::renew(state.held.as_ref(), key.commit.to_string(), vec![hold.finding], signer, now);
        let shown = state.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
        let code = |held: &Held| held.findings.first().map(|finding| finding.code.code);
        let is_known = |revision: &str, shown| revision == held.revision && shown == code(&held);
        let is_told = state.held.as_ref().is_some_and(|before| is_known(&before.revision, code(before)))
            || shown.is_some_and(|shown| is_known(&shown.revision, Some(&shown.code)));
        state.held = Some(held.clone());
        state.enforcement.frozen = hold.frozen;
        state.enforcement.forget_proposal();
        state.judged(Some(key));
        state.phase = Phase::Idle;
        self.refusals.clear(&format!("Sync {sync}"));
        self.dirty.insert(Dirty::Sync(sync.clone()));
        if let Some(finding) = held.findings.first().filter(|_finding| !is_told) {
            tracing::info!(sync = %sync, commit = held.revision, code = finding.code.code, reason = finding.code.reason, "held: {finding}");
            self.metrics.decided("hold", finding.code.reason);
            self.announce_held_sync(sync, &held);
        }
        self.heal_incomplete(sync, now);
    }

    /// What windows have held is judged again once they let it advance.
    pub(crate) fn follow_windows(&mut self, now: Timestamp) {
        for state in self.syncs.values_mut() {
            if state.enforcement.frozen.as_ref().is_some_and(|frozen| frozen.is_over(now)) {
                state.enforcement.frozen = None;
                state.settled = None;
            }
        }
    }

    /// Syncs of which the status says since before the start that windows hold a revision, and which were not judged since.
    pub(crate) fn still_frozen(&self) -> impl Iterator<Item = &SyncRef> {
        let is_frozen = |state: &SyncState| {
            let shown = state.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
            // The first verdict may still be under way.
            let is_judged = state.candidate.is_some() && (state.judging.is_none() || state.held.is_some());
            !is_judged && !state.gone && shown.is_some_and(is_shown_frozen)
        };
        self.syncs.iter().filter(move |(_, state)| is_frozen(state)).map(|(sync, _)| sync)
    }
}

#[cfg(test)]
mod tests {
    use plan::{Window, WindowKind};

    use super::*;
    use crate::conditions;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn spec(windows: &[(&str, &str)]) -> SyncSpec {
        let mut spec: SyncSpec =
            serde_json::from_str(r#"{"sourceRef":{"name":"a"},"advance":{},"drift":{"mode":"Revert"}}"#).unwrap();
        let window = |&(schedule, duration): &(&str, &str)| Window {
            kind: WindowKind::Deny,
            schedule: schedule.to_owned(),
            duration: duration.to_owned(),
            time_zone: None,
        };
        spec.advance.as_mut().unwrap().windows = Some(windows.iter().map(window).collect());
        spec
    }

    fn web() -> SyncRef {
        SyncRef { namespace: "shop".into(), name: "web".into() }
    }

    fn frozen(windows: &[(&str, &str)], now: &str) -> Frozen {
        let windows = windows_of(&web(), &spec(windows)).unwrap();
        let until = windows.open(time(now)).unwrap_err().until;
        Frozen { windows, until }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_field() {
        let finding = windows_of(&web(), &spec(&[("0 0 * * *", "1h"), ("0 0 30 2 *", "1s")])).unwrap_err();
        let said = finding.to_string();
        let begins = "A146 InvalidWindow: Sync shop/web: spec.advance.windows[1].schedule: schedule \"0 0 30 2 *\": it never comes";
        assert!(said.starts_with(begins), "{said}");
        assert!(
            said.ends_with("Fix: mend spec.advance.windows[1].schedule, spec.advance.windows[1].duration"),
            "{said}"
        );
        assert!(windows_of(&web(), &spec(&[])).unwrap().is_open(time("2026-01-01T00:00Z")));
    }

    /// Whatever the clock does in between: it is asked what is now.
    #[test]
    fn what_is_held_is_asked_by_the_clock_on_the_wall() {
        let day = frozen(&[("0 9 * * *", "8h")], "2026-01-01T10:00Z");
        assert_eq!(day.until, Some(time("2026-01-01T17:00Z")));
        let over = |frozen: &Frozen, at| frozen.is_over(time(at));
        assert!(!over(&day, "2026-01-01T16:59:59Z"));
        assert!(over(&day, "2026-01-01T17:00Z"));
        assert!(over(&day, "2026-01-01T08:00Z"), "the clock was moved back");
        assert!(over(&day, "2026-01-02T10:00Z"), "the clock was moved ahead: another window is named");
        let ever = frozen(&[("* * * * *", "1m")], "2026-01-01T10:00Z");
        assert_eq!((ever.until, over(&ever, "2027-01-01T10:00Z")), (None, false));
    }

    #[test]
    fn what_is_held_says_until_when_and_needs_nobody() {
        let closed = |until| Closed { until, by: "window 1 denies it (0 9 * * * for 8h, UTC)".to_owned() };
        let known = outside(&web(), &closed(Some(time("2026-01-01T17:00Z"))));
        assert!(known.found.ends_with("UTC); held until 2026-01-01T17:00:00Z"), "{known}");
        let unknown = outside(&web(), &closed(None));
        assert!(unknown.found.ends_with("held, and no end of that is foreseen"), "{unknown}");
        let held = |finding| Held::renew(None, "c".to_owned(), vec![finding], None, Timestamp::UNIX_EPOCH);
        assert!(is_frozen(&held(known.clone())));
        assert!(is_shown_frozen(&conditions::held_revision(&held(known))));
        let invalid = windows_of(&web(), &spec(&[("0 0 30 2 *", "1h")])).unwrap_err();
        assert!(!is_frozen(&held(invalid)), "somebody has to mend it");
    }
}
