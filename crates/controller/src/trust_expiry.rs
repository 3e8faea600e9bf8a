//! Whether the trust file in force has expired. It judges on for a while (a week), and then nothing but a new one is let in
//! (W508): so that nobody learns of it by a change that is refused, it is told from the first second.

use jiff::Timestamp;
use manifest::{Finding, Subject};
use trust::{EXPIRY_GRACE, TrustCode, TrustFile};

use crate::{
    conditions::Verdict,
    state::{Dirty, Key, State},
};

/// The condition of a GitSource that says so.
pub(crate) const EXPIRED: &str = "TrustFileExpired";

/// W508 if a trust file that judges `name` has expired.
fn expired(file: &TrustFile, name: &str, now: Timestamp) -> Option<Finding> {
    let expires = file.expires;
    if now <= expires {
        return None;
    }
    let end = expires.checked_add(EXPIRY_GRACE).unwrap_or(Timestamp::MAX);
    let only = if now <= end { format!("after {end}") } else { format!("since {end}") };
    Some(Finding {
        code: TrustCode::W508.entry(),
        subject: Subject::Named(format!("GitSource {name}")),
        rule: None,
        found: format!("the trust file in force, version {}, expired {expires}", file.version).into(),
        needed: format!("one that has not expired; {only} only .writ/ may change").into(),
        fix: "renew expires in .writ/trust.yaml, raise version, have it signed, and commit it alone".into(),
    })
}

/// What the condition says, if it says something; `is_shown`: it did before.
pub(crate) fn condition(expired: Option<&Finding>, is_shown: bool) -> Option<Verdict> {
    match expired {
        Some(finding) => Some(Verdict::yes(EXPIRED, finding.code.reason, finding.to_string())),
        None => is_shown.then(|| Verdict::no(EXPIRED, "InForce", "")),
    }
}

impl State {
    /// Looks which trust files have expired by now: time passes without a push.
    pub(crate) fn watch_trust_files(&mut self, now: Timestamp) {
        let keys: Vec<Key> = self.sources.keys().cloned().collect();
        for key in keys {
            let Some(source) = self.sources.get_mut(&key) else { continue };
            let file = source.verified.as_ref().map(|verified| &verified.trust_file);
            self.metrics.sources.expires(&key, file.map(|file| file.expires));
            let found = file.and_then(|file| expired(file, &key.to_string(), now));
            // The words change when the week is over; that it has expired is told once.
            let is_news = found.is_some() && source.expired.is_none();
            if found == source.expired {
                continue;
            }
            source.expired.clone_from(&found);
            if let Some(finding) = found.filter(|_| is_news) {
                tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
                self.announce_source(&key, &[finding]);
            }
            self.dirty.insert(Dirty::Source(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_tests::World;

    #[test]
    fn an_expired_trust_file_is_told_before_anything_is_refused_for_it() {
        let world = World::new();
        let file = TrustFile::parse(world.repo.read(".writ/trust.yaml").unwrap().as_bytes()).unwrap();
        let told = |seconds: i64| {
            let now = Timestamp::from_second(file.expires.as_second() + seconds).unwrap();
            expired(&file, "shop/config", now).map(|finding| (finding.code.code, finding.needed.to_string()))
        };
        assert_eq!(told(0), None);
        let end = file.expires + EXPIRY_GRACE;
        let needed = |word: &str| format!("one that has not expired; {word} {end} only .writ/ may change");
        assert_eq!(told(1), Some(("W508", needed("after"))));
        assert_eq!(told(8 * 86_400), Some(("W508", needed("since"))));
    }

    #[test]
    fn the_condition_is_there_once_there_was_something_to_say() {
        assert_eq!(condition(None, false), None);
        assert_eq!(condition(None, true), Some(Verdict::no(EXPIRED, "InForce", "")));
    }
}
