//! What the conditions of the custom resources say.
//!
//! `Ready`, `Reconciling` and `Stalled` are what kstatus (and `kubectl wait`, and other GitOps tools)
//! read: `Stalled=True` needs a person, `Reconciling=True` needs time, `Ready=True` needs neither.
//! `Drifted`, `PolicyCompliant` and `SourceVerified` say more about one promise each. `Healthy` and
//! `ArtifactsVerified` are `Unknown` with the reason [`NOT_SUPPORTED`]: nobody looked, so neither
//! `True` nor `False` would be the truth; whoever waits for them sees why.

use cluster::crd::{Condition, ConditionStatus, HeldRevision, set_condition};
use jiff::Timestamp;
use manifest::{Finding, shell_quote};
use plan::DriftMode;

use crate::{
    keyless_refresh::Refresh,
    refuse::signer,
    source_state::SourceState,
    state::{Held, Phase, SyncState},
    windows::is_frozen,
};

/// Reason of a condition that this version does not judge.
pub(crate) const NOT_SUPPORTED: &str = "NotSupported";
/// Whether a source shows what is new.
pub(crate) const FRESH: &str = "SourceFresh";
/// Whether the trust root of keyless signatures is the newest.
pub(crate) const REFRESHED: &str = "KeylessRefreshed";
/// The most failures named in a condition; the Events and the log have all.
const MAX_NAMED: usize = 5;
/// The longest text of `heldRevision`, in bytes, as of a condition's message: what people read, and a
/// hundredth of what an object may weigh.
const MAX_TEXT: usize = 2_048;

/// What one condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    kind: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Verdict {
    /// It holds.
    pub(crate) fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::True, reason, message: message.into() }
    }

    /// It does not hold.
    pub(crate) fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::False, reason, message: message.into() }
    }

    /// It is not known.
    pub(crate) fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::Unknown, reason, message: message.into() }
    }

    /// Whether it says what a judgement of the revision said.
    #[must_use]
    pub(crate) fn is_of_judgement(&self) -> bool {
        matches!(self.kind, "Ready" | "Stalled" | "SourceVerified" | "PolicyCompliant")
    }

    /// It does not hold because of what is held.
    fn held(kind: &'static str, held: &Held) -> Self {
        let reason = held.findings.first().map_or("Held", |finding| finding.code.reason);
        let why = some_of(held.findings.iter(), 1);
        let message = match held.words() {
            Some(words) => format!("{words} since {}: {why}", held.since),
            None => why,
        };
        Self::no(kind, reason, message)
    }

    /// It does not hold because of this.
    pub(crate) fn refused(kind: &'static str, finding: &Finding) -> Self {
        Self::no(kind, finding.code.reason, finding.to_string())
    }
}

/// Sets conditions among those that are there.
pub(crate) fn set(
    conditions: &mut Vec<Condition>,
    verdicts: impl IntoIterator<Item = Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) {
    for Verdict { kind, status, reason, message } in verdicts {
        set_condition(conditions, kind, status, reason, &message, generation, now);
    }
}

/// Conditions of a TrustRoot. `log`: what is wrong with the log that it anchors.
#[must_use]
pub(crate) fn of_root(problem: Option<&Finding>, log: Option<&Finding>) -> [Verdict; 4] {
    let ready = match problem {
        None => Verdict::yes("Ready", "Usable", ""),
        Some(problem) => Verdict::refused("Ready", problem),
    };
    let intact = match log {
        None => Verdict::yes("LogIntact", "Published", ""),
        Some(finding) => Verdict::refused("LogIntact", finding),
    };
    [ready, intact, Verdict::no("Reconciling", "Settled", ""), stalled(problem)]
}

/// Whether the trust root of keyless signatures is the newest, if it is fetched; `is_shown`: it was before.
#[must_use]
pub(crate) fn of_refresh(refresh: Option<&Refresh>, is_shown: bool) -> Option<Verdict> {
    match refresh {
        None => is_shown.then(|| Verdict::unknown(REFRESHED, "NotAsked", "")),
        Some(Refresh { problem: Some(finding), .. }) => Some(Verdict::refused(REFRESHED, finding)),
        Some(Refresh { at: Some(at), .. }) => Some(Verdict::yes(REFRESHED, "Refreshed", format!("the newest of {at}"))),
        Some(_) => Some(Verdict::unknown(REFRESHED, "Pending", "nothing was fetched yet")),
    }
}

/// Conditions of a GitSource.
#[must_use]
pub(crate) fn of_source(source: &SourceState) -> [Verdict; 4] {
    let held = source.held.as_ref().and_then(|held| held.findings.first());
    let verified = source.verified.as_ref().map(|verified| {
        let released = verified.released.as_ref().map_or_else(String::new, |tag| format!(", released by {tag}"));
        format!("verified {}{released}", verified.commit.id())
    });
    let is_verified = match (&source.held, &verified) {
        (Some(held), _) => Verdict::held("SourceVerified", held),
        (None, Some(verified)) => {
            let by = source.verified.as_ref().and_then(|verified| verified.commit.signer()).map(signer);
            let by = by.map_or_else(String::new, |by| format!(", signed by {by}"));
            let since = source.since.map_or_else(String::new, |since| format!(", since {since}"));
            Verdict::yes("SourceVerified", "Verified", format!("{verified}{by}{since}"))
        }
        (None, None) => Verdict::unknown("SourceVerified", "Pending", ""),
    };
    let ready = match (source.order.as_ref().or(source.unreachable.as_ref()), &source.held, &verified) {
        (Some(finding), ..) => Verdict::refused("Ready", finding),
        (None, Some(held), _) => Verdict::held("Ready", held),
        (None, None, Some(verified)) => Verdict::yes("Ready", "Verified", verified),
        (None, None, None) => Verdict::unknown("Ready", "Progressing", "the first judgement is under way"),
    };
    let suspended = source.obeyed.as_ref().is_some_and(|spec| spec.suspend);
    let reconciling = match (&source.unreachable, &verified, held) {
        _ if suspended => Verdict::no("Reconciling", "Suspended", "spec.suspend is set: nothing is fetched"),
        (Some(finding), ..) => Verdict::yes("Reconciling", "Retrying", finding.message()),
        (None, None, None) => Verdict::yes("Reconciling", "Judging", ""),
        _ => Verdict::no("Reconciling", "Settled", ""),
    };
    [is_verified, ready, reconciling, stalled(source.order.as_ref().or(held))]
}

/// Whether a source shows what is new, if the TrustRoot asks; `is_shown`: it asked before.
#[must_use]
pub(crate) fn of_freshness(source: &SourceState, is_shown: bool) -> Option<Verdict> {
    let pulse = &source.pulse;
    let times = || {
        let head = source.verified.as_ref().map(|verified| format!("head of {}", verified.made));
        let beat = pulse.beat().map(|beat| format!("heartbeat of {}", beat.heard.heartbeat.time));
        head.into_iter().chain(beat).collect::<Vec<_>>().join(", ")
    };
    match &pulse.stale {
        Some(finding) => Some(Verdict::refused(FRESH, finding)),
        None if !pulse.is_asked => is_shown.then(|| Verdict::unknown(FRESH, "NotAsked", "")),
        None if pulse.is_known() => Some(Verdict::yes(FRESH, "Fresh", times())),
        None => Some(Verdict::unknown(FRESH, "Pending", "the server has not answered yet")),
    }
}

/// Conditions of a Sync. `log`: the log takes no entries; `unwatched`: something that it declares cannot be watched;
/// `unreverted`: drift that stays.
#[must_use]
pub(crate) fn of_sync<'a>(
    state: &'a SyncState,
    log: Option<&Finding>,
    unwatched: Option<&Finding>,
    unreverted: impl ExactSizeIterator<Item = &'a Finding> + Clone,
) -> [Verdict; 7] {
    let last = state.last_drift.as_ref().map(|(at, text)| format!("last seen {at}: {text}"));
    let mode = state.obeyed.as_ref().filter(|_| state.accepted.is_some()).map(|spec| spec.drift.mode);
    [
        sync_ready(state, log.or(state.order.as_ref()).or(unwatched), unreverted.clone()),
        reconciling(state.phase, state.held.as_ref()),
        stalled(
            state
                .order
                .as_ref()
                .or_else(|| state.held.as_ref().filter(|held| !is_frozen(held))?.findings.first())
                .or(state.enforcement.finding.as_ref()),
        ),
        drifted(mode, unreverted, state.flagged.values(), unwatched, last.unwrap_or_default()),
        policy_compliant(state.held.as_ref(), state.accepted.is_some() || state.enforcement.has_proposal()),
        Verdict::unknown("Healthy", NOT_SUPPORTED, "the health of applied objects is not judged by this version"),
        Verdict::unknown("ArtifactsVerified", NOT_SUPPORTED, "images and models are not judged by this version"),
    ]
}

/// Ready means that everything is as declared: a revision that is applied is not, once something of it
/// cannot be put back.
fn sync_ready<'a>(
    state: &SyncState,
    problem: Option<&Finding>,
    unreverted: impl ExactSizeIterator<Item = &'a Finding>,
) -> Verdict {
    if let Some(finding) = problem {
        return Verdict::refused("Ready", finding);
    }
    if let Some(held) = &state.held {
        let mut verdict = Verdict::held("Ready", held);
        if let Some(text) = not_applied(&state.failures).filter(|_| state.is_incomplete()) {
            verdict.message.push_str(&format!("; of the accepted revision {text}"));
        }
        return verdict;
    }
    if let Some(finding) = &state.enforcement.finding {
        return Verdict::refused("Ready", finding);
    }
    if let Some(text) = not_applied(&state.failures) {
        return Verdict::no("Ready", "ApplyFailed", text);
    }
    if let Some((reason, text)) = not_put_back(unreverted) {
        return Verdict::no("Ready", reason, text);
    }
    match (&state.accepted, &state.applied) {
        (Some(accepted), Some(applied)) if accepted.commit().id() == applied.commit().id() => {
            let text = format!("applied {}", applied.commit().id());
            match &state.rolled_back {
                None => Verdict::yes("Ready", "Applied", text),
                Some(order) => Verdict::yes("Ready", "RolledBack", format!("{text}, {}", order.words())),
            }
        }
        (Some(accepted), _) => Verdict::unknown("Ready", "Progressing", format!("applying {}", accepted.commit().id())),
        (None, _) => Verdict::unknown("Ready", "Pending", "no revision is accepted yet"),
    }
}

/// What windows hold needs time and nobody.
fn reconciling(phase: Phase, held: Option<&Held>) -> Verdict {
    match phase {
        Phase::Idle
            if let Some(finding) = held.filter(|held| is_frozen(held)).and_then(|held| held.findings.first()) =>
        {
            Verdict::yes("Reconciling", finding.code.reason, finding.found.as_str())
        }
        Phase::Idle => Verdict::no("Reconciling", "Settled", ""),
        Phase::Preparing => Verdict::yes("Reconciling", "Judging", ""),
        Phase::Applying => Verdict::yes("Reconciling", "Applying", ""),
        Phase::Waiting { .. } => Verdict::yes("Reconciling", "Retrying", ""),
    }
}

/// Drift that is put back at once is not shown as such: it is over before anybody reads it. `mode`
/// is `None` while nothing is accepted.
fn drifted<'a>(
    mode: Option<DriftMode>,
    unreverted: impl ExactSizeIterator<Item = &'a Finding>,
    flagged: impl ExactSizeIterator<Item = &'a Finding>,
    unwatched: Option<&Finding>,
    last: String,
) -> Verdict {
    let mut flagged = flagged.peekable();
    if let Some((reason, mut text)) = not_put_back(unreverted) {
        if flagged.peek().is_some() {
            text.push_str(&format!("; {}", some_of(flagged, MAX_NAMED)));
        }
        return Verdict::yes("Drifted", reason, text);
    }
    if let Some(first) = flagged.peek() {
        let reason = first.code.reason;
        return Verdict::yes("Drifted", reason, some_of(flagged, MAX_NAMED));
    }
    match mode {
        Some(DriftMode::Revert | DriftMode::Flag) if let Some(finding) = unwatched => {
            Verdict::unknown("Drifted", finding.code.reason, format!("not seen: {finding}"))
        }
        None => Verdict::unknown("Drifted", "Pending", "no revision is accepted yet"),
        Some(DriftMode::Off) => Verdict::unknown("Drifted", "Off", "drift.mode is Off: nobody looks"),
        Some(DriftMode::Revert | DriftMode::Flag) => Verdict::no("Drifted", "AsDeclared", last),
    }
}

/// What of the last roll-out failed, if anything did and is not there since.
fn not_applied(failures: &[Finding]) -> Option<String> {
    let count = objects(failures.len(), "was", "were");
    (!failures.is_empty()).then(|| format!("{count} not applied: {}", some_of(failures.iter(), MAX_NAMED)))
}

/// Reason and text about drift that stays, if there is any.
fn not_put_back<'a>(unreverted: impl ExactSizeIterator<Item = &'a Finding>) -> Option<(&'static str, String)> {
    let (count, mut unreverted) = (unreverted.len(), unreverted.peekable());
    let reason = unreverted.peek()?.code.reason;
    Some((reason, format!("{} not put back: {}", objects(count, "is", "are"), some_of(unreverted, MAX_NAMED))))
}

/// `is_good`: a revision was accepted, or would be.
fn policy_compliant(held: Option<&Held>, is_good: bool) -> Verdict {
    let mut findings = held.iter().flat_map(|held| &held.findings);
    match findings.find(|finding| finding.code.code.starts_with("W8")) {
        Some(finding) => Verdict::refused("PolicyCompliant", finding),
        None if is_good => Verdict::yes("PolicyCompliant", "Compliant", ""),
        None => Verdict::unknown("PolicyCompliant", "Pending", ""),
    }
}

fn stalled(problem: Option<&Finding>) -> Verdict {
    match problem {
        Some(finding) => Verdict::yes("Stalled", finding.code.reason, finding.fix.as_str()),
        None => Verdict::no("Stalled", "Progressing", ""),
    }
}

/// What `heldRevision` says.
#[must_use]
pub(crate) fn held_revision(held: &Held) -> HeldRevision {
    let first = held.findings.first();
    HeldRevision {
        revision: held.revision.clone(),
        code: first.map_or("", |finding| finding.code.code).to_owned(),
        reason: first.map_or("", |finding| finding.code.reason).to_owned(),
        message: first.map(|finding| cut(finding.message())).unwrap_or_default(),
        fix: first.map(|finding| whole_fix(finding, &held.revision)).unwrap_or_default(),
        signer: held.signer.clone().map(cut),
        since: held.since.to_string(),
    }
}

/// `1 object was`, `2 objects were`.
fn objects(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 object {one}") } else { format!("{count} objects {many}") }
}

/// The first findings, and how many more there are.
fn some_of<'a>(mut findings: impl Iterator<Item = &'a Finding>, most: usize) -> String {
    let named: Vec<String> = findings.by_ref().take(most).map(ToString::to_string).collect();
    let text = named.join("; ");
    match findings.count() {
        0 => text,
        more => format!("{text} (and {more} more)"),
    }
}

/// What mends it: whole, since half a command may do something else; where there is no room for it, what tells it.
fn whole_fix(finding: &Finding, revision: &str) -> String {
    if finding.fix.len() <= MAX_TEXT {
        return finding.fix.to_string();
    }
    let by_trust = ["W1", "W2", "W3", "W4", "W5"].iter().any(|class| finding.code.code.starts_with(class));
    match by_trust {
        true => format!(
            "writ verify --trust-root FILE {} # prints the fix, which is too long to stand here",
            shell_quote(revision)
        ),
        false => "too long to stand here: the log of the controller has it whole".to_owned(),
    }
}

/// At most [`MAX_TEXT`] bytes.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use manifest::Subject;

    use super::*;
    use crate::code::ControllerCode;

    fn finding(found: &str) -> Finding {
        Finding {
            code: ControllerCode::A140.entry(),
            subject: Subject::Named("ConfigMap shop/a".into()),
            rule: None,
            found: found.into(),
            needed: "room".into(),
            fix: "make room".into(),
        }
    }

    fn check_drift(mode: Option<DriftMode>, unreverted: usize, flagged: usize) -> String {
        let findings: Vec<Finding> = (0..unreverted.max(flagged)).map(|n| finding(&format!("f{n}"))).collect();
        let verdict = drifted(mode, findings[..unreverted].iter(), findings[..flagged].iter(), None, "last".to_owned());
        let message = verdict.message.split(':').next().unwrap();
        format!("{:?} {} {message}", verdict.status, verdict.reason)
    }

    #[test]
    fn drift_that_stays_is_shown() {
        let revert = Some(DriftMode::Revert);
        assert_eq!(check_drift(revert, 0, 0), "False AsDeclared last");
        assert_eq!(check_drift(revert, 1, 0), "True StateVolume 1 object is not put back");
        assert_eq!(check_drift(revert, 7, 0), "True StateVolume 7 objects are not put back");
        assert_eq!(check_drift(Some(DriftMode::Flag), 0, 2), "True StateVolume A140 StateVolume");
        let (one, other) = (finding("it is terminating"), finding("it was edited"));
        let both = drifted(revert, [one].iter(), [other].iter(), None, String::new()).message;
        assert!(
            both.contains("1 object is not put back")
                && both.contains("; A140 StateVolume: ConfigMap shop/a: it was edited"),
            "{both}"
        );
        assert_eq!(check_drift(Some(DriftMode::Off), 0, 0), "Unknown Off drift.mode is Off");
        assert_eq!(check_drift(None, 0, 0), "Unknown Pending no revision is accepted yet");
    }

    #[test]
    fn where_nobody_looks_nothing_is_said_to_be_as_declared() {
        let problem = finding("the watch is closed");
        let none = || [].iter();
        let said = |mode| {
            let verdict = drifted(Some(mode), none(), none(), Some(&problem), "last".to_owned());
            (verdict.status, verdict.reason)
        };
        assert_eq!(said(DriftMode::Revert), (ConditionStatus::Unknown, problem.code.reason));
        assert_eq!(said(DriftMode::Off), (ConditionStatus::Unknown, "Off"));
        let known = drifted(Some(DriftMode::Revert), [finding("x")].iter(), none(), Some(&problem), String::new());
        assert_eq!(known.status, ConditionStatus::True, "what was seen before stays");
    }

    #[test]
    fn of_many_findings_some_are_named_and_the_rest_is_counted() {
        let findings: Vec<Finding> = (0..7).map(|n| finding(&format!("f{n}"))).collect();
        let text = some_of(findings.iter(), MAX_NAMED);
        assert!(text.contains("f4") && !text.contains("f5") && text.ends_with("(and 2 more)"), "{text}");
        assert!(!some_of(findings[..5].iter(), MAX_NAMED).contains("more"));
    }

    #[test]
    fn a_stalled_trust_root_and_a_damaged_log_are_two_things() {
        let word = |verdicts: [Verdict; 4]| verdicts.map(|verdict| format!("{}={:?}", verdict.kind, verdict.status));
        let problem = finding("x");
        assert_eq!(word(of_root(None, None)), ["Ready=True", "LogIntact=True", "Reconciling=False", "Stalled=False"]);
        assert_eq!(
            word(of_root(None, Some(&problem))),
            ["Ready=True", "LogIntact=False", "Reconciling=False", "Stalled=False"]
        );
        assert_eq!(
            word(of_root(Some(&problem), None)),
            ["Ready=False", "LogIntact=True", "Reconciling=False", "Stalled=True"]
        );
    }

    #[test]
    fn the_same_refusal_stands_since_it_was_shown_first() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let since = |revision: &str, code: &str| {
            let mut held = Held { revision: "c".into(), findings: vec![finding("x")], signer: None, since: at(90) };
            let mut shown = held_revision(&Held { since: at(30), ..held.clone() });
            revision.clone_into(&mut shown.revision);
            code.clone_into(&mut shown.code);
            held.stands_since(Some(&shown));
            held.since
        };
        assert_eq!(since("c", "A140"), at(30));
        assert_eq!(since("c", "A143"), at(90));
        assert_eq!(since("d", "A140"), at(90));
    }

    #[test]
    fn what_is_held_is_cut_to_what_people_read() {
        let long = finding(&"é".repeat(5_000));
        let held =
            Held { revision: "c".into(), findings: vec![long], signer: Some("s".into()), since: Timestamp::UNIX_EPOCH };
        let shown = held_revision(&held);
        assert!(shown.message.len() <= MAX_TEXT && shown.message.ends_with('…'), "{}", shown.message.len());
        assert_eq!(
            (shown.fix.as_str(), shown.code.as_str(), shown.since.as_str()),
            ("make room", "A140", "1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn half_a_command_is_never_shown() {
        let shown = |code: &'static manifest::CodeEntry, bytes: usize| {
            let long = Finding { code, fix: "x".repeat(bytes).into(), ..finding("x") };
            held_revision(&Held {
                revision: "3f1c".into(),
                findings: vec![long],
                signer: None,
                since: Timestamp::UNIX_EPOCH,
            })
            .fix
        };
        let (trust, other) = (trust::TrustCode::W301.entry(), ControllerCode::A140.entry());
        assert_eq!(shown(trust, MAX_TEXT), "x".repeat(MAX_TEXT));
        assert!(shown(trust, MAX_TEXT + 1).starts_with("writ verify --trust-root FILE 3f1c # prints the fix"));
        assert!(shown(other, MAX_TEXT + 1).starts_with("too long to stand here: "));
    }
}
