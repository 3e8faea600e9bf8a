//! Events (events.k8s.io/v1), aggregated: the same note about the same object is one Event with a
//! count.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use jiff::Timestamp;
use manifest::Finding;
use serde_json::json;

use crate::{
    Cluster,
    request::{Call, RequestError, encode},
    text::{micros, shorten},
};

/// The longest note the API server takes, in bytes.
const MAX_NOTE: usize = 1_024;
/// What is left at least of a part that is cut, in bytes: its first words.
const MIN_PART: usize = 80;
/// The most Events that are still counted up. An attacker who causes more different ones gets new
/// Events, which the API server forgets after an hour.
const MAX_SERIES: usize = 1_024;
/// A repetition after longer than this is a new Event.
const SERIES_WINDOW: Duration = Duration::from_secs(600);
/// A series is written at most this often: an Event costs the API server as much as a revert.
const SERIES_PAUSE: Duration = Duration::from_secs(60);
/// Who reports.
const REPORTING_CONTROLLER: &str = "writ.dev/controller";

/// Whether a person should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Normal,
    /// Somebody should look.
    Warning,
}

/// The object an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regarding {
    /// `apiVersion`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; an Event about a cluster-scoped object goes to `default`.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID, if known.
    pub uid: Option<String>,
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should look.
    pub severity: Severity,
    /// CamelCase reason: that of the code.
    pub reason: &'static str,
    /// What was done or tried, CamelCase: `Apply`, `Revert`, `Verify`.
    pub action: &'static str,
    /// For people. Never holds a secret value.
    pub text: String,
    /// The other object that it is about: of one reason about one of these there is one series, whatever the words.
    pub related: Option<Box<Regarding>>,
}

impl Note {
    /// A warning that tells a finding, after the words of what it is about or what was done. Of one that is too long for an Event
    /// what was found is cut, and what was needed: the fix stands at the end and is whole.
    #[must_use]
    pub fn of(finding: &Finding, action: &'static str, words: Option<&str>) -> Self {
        let tell = |finding: &Finding| words.map_or_else(|| finding.to_string(), |words| format!("{words}: {finding}"));
        let mut text = tell(finding);
        if text.len() > MAX_NOTE {
            let mut short = finding.clone();
            short.found = cut(&short.found, text.len() - MAX_NOTE).into();
            text = tell(&short);
            short.needed = cut(&short.needed, text.len().saturating_sub(MAX_NOTE)).into();
            text = tell(&short);
        }
        Self { severity: Severity::Warning, reason: finding.code.reason, action, text, related: None }
    }
}

/// `text` without this many bytes, as far as something of it is left.
fn cut(text: &str, excess: usize) -> String {
    shorten(text, text.len().saturating_sub(excess).max(MIN_PART))
}

/// What tells one series about an object from the next, for the same reason.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Words(String),
    Of(Regarding),
}

#[derive(Debug)]
struct Series {
    name: String,
    namespace: String,
    count: u32,
    last: Timestamp,
    written: Timestamp,
}

/// Writes Events.
#[derive(Debug)]
pub struct EventWriter {
    instance: String,
    series: BTreeMap<(Regarding, &'static str, Told), Series>,
    sequence: u64,
}

impl EventWriter {
    /// A writer that reports as `instance` (a pod or host name).
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self { instance: shorten(instance, 128), series: BTreeMap::new(), sequence: 0 }
    }

    /// Writes a note, or counts it up if it was written within the last ten minutes.
    ///
    /// # Errors
    /// When the request fails; the note is lost then, the log has it.
    pub async fn write(
        &mut self,
        cluster: &Cluster,
        regarding: &Regarding,
        note: &Note,
        now: Timestamp,
    ) -> Result<(), RequestError> {
        let text = shorten(&note.text, MAX_NOTE);
        let told = note.related.clone().map_or_else(|| Told::Words(text.clone()), |related| Told::Of(*related));
        let key = (regarding.clone(), note.reason, told);
        self.series.retain(|_, series| elapsed(series.last, now) < SERIES_WINDOW);
        if let Some(series) = self.series.get_mut(&key) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            if elapsed(series.written, now) < SERIES_PAUSE {
                return Ok(());
            }
            series.written = now;
            let body = json!({"series": {"count": series.count, "lastObservedTime": micros(now)}});
            let path = format!("{}/{}", collection(&series.namespace), encode(&series.name));
            let call = Call::new(Method::PATCH, path)
                .body("application/merge-patch+json", body.to_string().into_bytes().into());
            match cluster.send(&call).await {
                Ok(_) => return Ok(()),
                // The API server forgot it: a new one is written.
                Err(error) if error.status() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        let series = self.create(cluster, regarding, note, &text, now).await?;
        if self.series.len() >= MAX_SERIES {
            self.series.clear();
        }
        self.series.insert(key, series);
        Ok(())
    }

    async fn create(
        &mut self,
        cluster: &Cluster,
        regarding: &Regarding,
        note: &Note,
        text: &str,
        now: Timestamp,
    ) -> Result<Series, RequestError> {
        self.sequence += 1;
        let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        // Unique over restarts: time and a running number.
        let name = format!("{}.{:x}.{:x}", shorten(&regarding.name, 200), now.as_microsecond(), self.sequence);
        let mut body = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micros(now),
            "reportingController": REPORTING_CONTROLLER,
            "reportingInstance": self.instance,
            "type": match note.severity { Severity::Normal => "Normal", Severity::Warning => "Warning" },
            "reason": note.reason,
            "action": note.action,
            "note": text,
            "regarding": reference(regarding),
        });
        if let (Some(related), Some(fields)) = (&note.related, body.as_object_mut()) {
            fields.insert("related".to_owned(), reference(related));
        }
        let call = Call::new(Method::POST, collection(&namespace))
            .body("application/json", body.to_string().into_bytes().into());
        cluster.send(&call).await?;
        Ok(Series { name, namespace, count: 1, last: now, written: now })
    }
}

fn reference(object: &Regarding) -> serde_json::Value {
    json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "namespace": object.namespace,
        "name": object.name,
        "uid": object.uid,
    })
}

fn collection(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{}/events", encode(namespace))
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use manifest::Subject;

    use super::*;
    use crate::ClusterCode;

    fn finding(found: usize, needed: usize, fix: usize) -> Finding {
        Finding {
            code: ClusterCode::A101.entry(),
            subject: Subject::Named("ConfigMap shop/a".into()),
            rule: Some("shop".into()),
            found: "é".repeat(found).into(),
            needed: "n".repeat(needed).into(),
            fix: format!("{}!", "f".repeat(fix)).into(),
        }
    }

    #[test]
    fn a_long_finding_is_told_with_its_fix() {
        const WORDS: &str = "commit 3f1c2a9d0b7e is held";
        let note = |finding: &Finding| Note::of(finding, "Verify", Some(WORDS)).text;
        let short = finding(10, 10, 10);
        assert_eq!(note(&short), format!("{WORDS}: {short}"));
        for (found, needed, fix) in [(2_000, 100, 400), (100, 2_000, 400), (2_000, 2_000, 400), (2_000, 10, 700)] {
            let long = finding(found, needed, fix);
            let text = note(&long);
            assert!(text.len() <= MAX_NOTE && text.len() > MAX_NOTE - 10, "{} bytes", text.len());
            assert!(
                text.starts_with(&format!("{WORDS}: A101 ")) && text.ends_with(&format!("Fix: {}", long.fix)),
                "{text}"
            );
        }
        // A fix that fits nowhere is cut where it is written.
        assert!(note(&finding(2_000, 10, 2_000)).ends_with('!'));
    }
}
