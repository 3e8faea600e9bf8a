//! Whether a source still shows what is new. Whoever stands between the server and us can show an old head for ever, and no
//! signature tells: that is W405, which is told, refuses no head and never keeps anything from being healed.
//!
//! Three things are asked, if the TrustRoot sets them: that the server answers (`maxAnswerAge`), that the newest verified head
//! was made not long ago, as its committer says under a signature (`maxHeadAge`), and that a heartbeat, which only principals
//! can make, is new and names a head that is shown (`maxHeartbeatAge`).

use std::time::Duration;

use git::{Heartbeats, Mirror, Objects, Polled, Remote};
use jiff::Timestamp;
use manifest::{Digest, Finding, Subject};
use trust::{CommitId, Freshness, Heard, TrustCode, TrustFile, Verifiers, hear};

use crate::{
    floor::descends,
    source_gate::{SourceJob, SourceOutcome, keyless},
    state::{Dirty, Key, State},
};

/// Polls in a row that must miss the head of a heartbeat before it is told: a server lists its refs one after the other, and
/// a push may come in between.
const UNSHOWN_POLLS: u32 = 2;

/// A heartbeat that counts, and by which trust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    /// What it says, and who.
    pub heard: Heard,
    /// Digest of the trust file that names them.
    pub under: Digest,
}

/// Whether the server shows the head that a heartbeat names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It is the head of the branch, or before it.
    Yes,
    /// It is not.
    No,
    /// Branch and heartbeat were not seen at the same time.
    Unknown,
}

/// What one poll said of heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listened {
    /// Nobody asks, or there was no poll.
    Not,
    /// None counts, and why; empty if there is none.
    Nothing(String),
    /// The newest.
    Beat(Box<Beat>, Shown),
}

/// What was fetched beside a branch.
pub(crate) struct Beside {
    heartbeats: Heartbeats,
    /// Whether it is what the server listed together with the head.
    is_listed: bool,
    polled: Polled,
}

impl Beside {
    /// Fetches heartbeats if they are asked for. Without the newest it is told that it is missing, and nothing else comes of it.
    pub(crate) fn fetch(job: &SourceJob, remote: &Remote, polled: Polled) -> Option<Self> {
        job.root.freshness.as_ref()?.max_heartbeat_age.as_ref()?;
        let format = job.root.introduction.commit.format();
        let fetched = Heartbeats::open_for(&job.mirror, format).map_err(git::GitError::from).map(|heartbeats| {
            let is_listed = heartbeats.fetch(remote, &job.child, &polled).unwrap_or_else(|error| {
                tracing::warn!("heartbeats are not fetched: {}", error.finding());
                false
            });
            Self { heartbeats, is_listed, polled }
        });
        fetched.inspect_err(|error| tracing::warn!("heartbeats are not read: {}", error.finding())).ok()
    }

    /// What they say, after a run of the gate with this outcome.
    pub(crate) fn listen(&self, job: &SourceJob, outcome: &SourceOutcome, now: Timestamp) -> Listened {
        let accepted = match outcome {
            SourceOutcome::Accepted { verified, .. } => Some(verified),
            SourceOutcome::Refused { prefix, .. } => prefix.as_ref(),
            SourceOutcome::Unchanged | SourceOutcome::Overtaken | SourceOutcome::Unreachable(_) => None,
        };
        // By what is in force from now on.
        let file = accepted.map(|verified| &verified.trust_file).or(job.trust_file.as_ref());
        match (file, Mirror::open(&job.mirror)) {
            (Some(file), Ok(mirror)) => listen(job, self, mirror.objects(), file, now),
            _ => Listened::Not,
        }
    }
}

/// The newest heartbeat that counts by this trust file: among those that are there, and what was heard before.
fn listen(job: &SourceJob, beside: &Beside, objects: &Objects, file: &TrustFile, now: Timestamp) -> Listened {
    let keyless = file.has_identities().then(|| keyless(&job.root)).flatten();
    let with = Verifiers { known: Some(&job.signatures), keyless: keyless.as_ref().map(|one| one as _) };
    let found = beside.heartbeats.envelopes().map_err(|error| error.to_string());
    let found = found.and_then(|envelopes| hear(&envelopes, &job.root, file, now, with));
    let before = job.heard.as_ref().filter(|before| before.under == file.digest());
    let (heard, is_listed) = match (found, before) {
        (Ok(found), Some(before)) if before.heard.heartbeat.time > found.heartbeat.time => {
            // An older one was put in its place: what was said stays said.
            (before.heard.clone(), true)
        }
        (Ok(found), _) => (found, beside.is_listed),
        (Err(_), Some(before)) => (before.heard.clone(), true),
        (Err(reason), None) => return Listened::Nothing(reason),
    };
    let shown = match beside.polled.head {
        Some(head) if is_listed => match descends(objects, &head, &heard.heartbeat.head) {
            Ok(true) => Shown::Yes,
            Ok(false) => Shown::No,
            Err(_) => Shown::Unknown,
        },
        _ => Shown::Unknown,
    };
    Listened::Beat(Box::new(Beat { heard, under: file.digest() }), shown)
}

/// What is known of a source's freshness.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    /// Since when it is known that there is a source.
    since: Timestamp,
    /// When its server answered last.
    answered: Option<Timestamp>,
    /// The newest heartbeat.
    beat: Option<Beat>,
    /// Why there is none, once there was a poll.
    nothing: Option<String>,
    /// Polls in a row that did not show its head.
    unshown: u32,
    /// Whether anything is asked.
    pub(crate) is_asked: bool,
    /// Why it is stale.
    pub(crate) stale: Option<Finding>,
}

impl Pulse {
    /// Of a source that is seen for the first time.
    pub(crate) const fn new(since: Timestamp) -> Self {
        Self { since, answered: None, beat: None, nothing: None, unshown: 0, is_asked: false, stale: None }
    }

    /// The newest heartbeat.
    pub(crate) const fn beat(&self) -> Option<&Beat> {
        self.beat.as_ref()
    }

    /// Whether there was a poll since the start.
    pub(crate) const fn is_known(&self) -> bool {
        self.answered.is_some()
    }

    /// The server answered.
    pub(crate) const fn answered(&mut self, now: Timestamp) {
        self.answered = Some(now);
    }

    /// What a poll said of heartbeats.
    pub(crate) fn listened(&mut self, listened: Listened) {
        match listened {
            Listened::Not => {}
            Listened::Nothing(reason) => {
                (self.beat, self.nothing, self.unshown) = (None, Some(reason), 0);
            }
            Listened::Beat(beat, shown) => {
                self.unshown = match shown {
                    Shown::Yes => 0,
                    Shown::No => self.unshown.saturating_add(1),
                    Shown::Unknown => self.unshown,
                };
                (self.beat, self.nothing) = (Some(*beat), None);
            }
        }
    }

    /// Why it is stale by now, if it is. `head` is the newest that was verified, and when it was made.
    ///
    /// One reason is told, and only another one is news: so a head that is hidden comes first, and the age of the head, which
    /// any quiet weekend exceeds, last.
    fn judge(
        &self,
        asked: &Freshness,
        name: &str,
        head: Option<(CommitId, Timestamp)>,
        trust: Option<&TrustFile>,
        now: Timestamp,
    ) -> Option<Finding> {
        let answer = || self.judge_answer(asked, name, now);
        let heartbeat = || self.judge_heartbeat(asked, name, trust, now);
        let hidden = self.judge_hidden(asked, name, trust);
        hidden.or_else(answer).or_else(heartbeat).or_else(|| self.judge_head(asked, name, head, now))
    }

    fn judge_answer(&self, asked: &Freshness, name: &str, now: Timestamp) -> Option<Finding> {
        let (text, age) = asked.max_answer_age.as_ref().zip(asked.answer_age())?;
        let found = match self.answered {
            Some(last) if is_older(last, age, now) => format!("its server last answered {last}"),
            None if is_older(self.since, age, now) => {
                format!("its server has not answered since writ knows of it, {}", self.since)
            }
            _ => return None,
        };
        let fix = "check the Git server and the way to it, and kubectl describe gitsource".to_owned();
        Some(stale(name, found, format!("an answer within {text}"), fix))
    }

    /// What was verified before a restart may be old without the server being so: it is asked first.
    fn judge_head(
        &self,
        asked: &Freshness,
        name: &str,
        head: Option<(CommitId, Timestamp)>,
        now: Timestamp,
    ) -> Option<Finding> {
        let (text, age) = asked.max_head_age.as_ref().zip(asked.head_age())?;
        let is_due = self.answered.is_some() || is_older(self.since, age, now);
        let found = match head {
            Some((commit, made)) if is_due && is_older(made, age, now) => {
                format!("the newest verified head, {commit}, was made {made}")
            }
            None if is_older(self.since, age, now) => {
                format!("no head was verified since writ knows of it, {}", self.since)
            }
            _ => return None,
        };
        let fix = "compare the head that the server shows with that of whoever pushed last; or, if nothing was pushed, push a \
                   signed commit, or set freshness.maxHeadAge of the TrustRoot to how seldom that happens"
            .to_owned();
        Some(stale(name, found, format!("a verified head that was made within {text}"), fix))
    }

    fn judge_hidden(&self, asked: &Freshness, name: &str, trust: Option<&TrustFile>) -> Option<Finding> {
        let text = asked.max_heartbeat_age.as_ref()?;
        let Beat { heard, .. } = self.beat.as_ref().filter(|_| self.unshown >= UNSHOWN_POLLS)?;
        let found = format!(
            "the heartbeat of {} by {} names head {}, which the server does not show",
            heard.heartbeat.time, heard.principal, heard.heartbeat.head
        );
        Some(stale_heartbeat(name, found, text, trust))
    }

    fn judge_heartbeat(
        &self,
        asked: &Freshness,
        name: &str,
        trust: Option<&TrustFile>,
        now: Timestamp,
    ) -> Option<Finding> {
        let (text, age) = asked.max_heartbeat_age.as_ref().zip(asked.heartbeat_age())?;
        let found = match (&self.beat, &self.nothing) {
            (Some(Beat { heard, .. }), _) if is_older(heard.heartbeat.time, age, now) => {
                Some(format!("the newest heartbeat is of {}, by {}", heard.heartbeat.time, heard.principal))
            }
            (Some(_), _) => None,
            (None, Some(reason)) if reason.is_empty() => Some("there is no heartbeat".to_owned()),
            (None, Some(reason)) => Some(format!("there is no heartbeat that counts: {reason}")),
            (None, None) => {
                is_older(self.since, age, now).then(|| format!("no heartbeat was read since {}", self.since))
            }
        }?;
        Some(stale_heartbeat(name, found, text, trust))
    }
}

fn is_older(than: Timestamp, age: Duration, now: Timestamp) -> bool {
    now.duration_since(than) > age.try_into().unwrap_or_default()
}

fn stale_heartbeat(name: &str, found: String, age: &str, trust: Option<&TrustFile>) -> Finding {
    let formats = trust.map(|file| file.formats(None)).unwrap_or_default();
    let send = "check what the server shows; or, if nobody sends heartbeats: writ trust heartbeat REV";
    let fix = formats.writ(send, &format!(" && git push --force origin {}", git::HEARTBEAT_REF));
    stale(name, found, format!("a heartbeat within {age}, of a head that is shown"), fix)
}

fn stale(name: &str, found: String, needed: String, fix: String) -> Finding {
    let subject = Subject::Named(format!("GitSource {name}"));
    Finding {
        code: TrustCode::W405.entry(),
        subject,
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

impl State {
    /// Looks which sources are stale by now: time passes without a push.
    pub(crate) fn watch_freshness(&mut self, now: Timestamp) {
        let keys: Vec<Key> = self.sources.keys().cloned().collect();
        for key in keys {
            let asked = self.root_of(&key).and_then(|root| root.freshness.clone());
            let Some(source) = self.sources.get_mut(&key) else { continue };
            // Who suspends a source knows that nothing new comes.
            let is_suspended = source.obeyed.as_ref().is_some_and(|spec| spec.suspend);
            let asked = asked.filter(|_| !is_suspended);
            let head = source.verified.as_ref().map(|verified| (verified.commit.id(), verified.made));
            let trust = source.verified.as_ref().map(|verified| &*verified.trust_file);
            let stale = asked.as_ref().and_then(|asked| source.pulse.judge(asked, &key.to_string(), head, trust, now));
            let is_news = stale != source.pulse.stale;
            let is_changed = is_news || source.pulse.is_asked != asked.is_some();
            source.pulse.is_asked = asked.is_some();
            source.pulse.stale.clone_from(&stale);
            let beat = source.pulse.beat().map(|beat| beat.heard.heartbeat.time);
            let made = head.map(|(_, made)| made);
            self.metrics.sources.fresh(&key, asked.is_some().then_some(stale.is_some()), made, beat);
            if !is_changed {
                continue;
            }
            match stale.filter(|_| is_news) {
                Some(finding) => {
                    tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
                    self.announce_source(&key, &[finding]);
                }
                None if is_news => tracing::info!(source = %key, "the source is fresh again"),
                None => {}
            }
            self.dirty.insert(Dirty::Source(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use trust::{Heartbeat, NAMESPACE_HEARTBEAT, envelope, envelope_message};

    use super::*;
    use crate::{floor::Floors, source_tests::World};

    const HEAD: &str = "b2715f40d960c4d911fdbf70009dc76c7d5313cd";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn beat(second: i64, shown: Shown) -> Listened {
        let head: CommitId = HEAD.parse().unwrap();
        let heartbeat =
            Heartbeat { repo_id: "urn:shop".into(), git_ref: "refs/heads/main".into(), head, time: at(second) };
        let heard = Heard { heartbeat, principal: "clock".into() };
        Listened::Beat(Box::new(Beat { heard, under: Digest::of(b"a trust file") }), shown)
    }

    fn heartbeats(age: &str) -> Freshness {
        Freshness { max_heartbeat_age: Some(age.into()), ..Freshness::default() }
    }

    fn found(pulse: &Pulse, asked: &Freshness, now: i64) -> Option<String> {
        pulse.judge(asked, "shop/config", None, None, at(now)).map(|finding| finding.found.to_string())
    }

    #[test]
    fn a_server_that_does_not_answer_is_told_when_its_time_is_over() {
        let (mut pulse, asked) =
            (Pulse::new(at(0)), Freshness { max_answer_age: Some("1m".into()), ..Freshness::default() });
        assert_eq!(found(&pulse, &asked, 60), None);
        let never = "its server has not answered since writ knows of it, 2027-01-15T08:00:00Z";
        assert_eq!(found(&pulse, &asked, 61).as_deref(), Some(never));
        pulse.answered(at(70));
        assert_eq!(found(&pulse, &asked, 130), None);
        assert_eq!(found(&pulse, &asked, 131).as_deref(), Some("its server last answered 2027-01-15T08:01:10Z"));
        pulse.answered(at(140));
        assert_eq!(found(&pulse, &asked, 150), None);
    }

    /// Attack 3 without heartbeats: a server that answers, and shows the same for ever.
    #[test]
    fn a_head_that_stays_the_newest_is_told_when_it_is_old() {
        let asked = Freshness { max_head_age: Some("1h".into()), ..Freshness::default() };
        let found = |pulse: &Pulse, made: Option<i64>, now: i64| {
            let head = made.map(|second| (HEAD.parse().unwrap(), at(second)));
            pulse.judge(&asked, "shop/config", head, None, at(now)).map(|finding| finding.found.to_string())
        };
        let mut pulse = Pulse::new(at(10_000));
        // It was verified before a restart, and the server has not been asked yet.
        assert_eq!(found(&pulse, Some(0), 10_001), None);
        pulse.answered(at(10_002));
        let old = format!("the newest verified head, {HEAD}, was made 2027-01-15T08:00:00Z");
        assert_eq!(found(&pulse, Some(0), 10_003), Some(old.clone()));
        assert_eq!(found(&pulse, Some(10_000), 10_003), None, "a new one is verified");
        // That the server answers all the time changes nothing.
        pulse.answered(at(13_601));
        assert_eq!(found(&pulse, Some(10_000), 13_600), None);
        assert!(found(&pulse, Some(10_000), 13_601).is_some());
        // A server that is silent is no better.
        assert_eq!(found(&Pulse::new(at(0)), Some(0), 3_601), Some(old));
        assert_eq!(found(&pulse, None, 13_600), None);
        let none = "no head was verified since writ knows of it, 2027-01-15T10:46:40Z".to_owned();
        assert_eq!(found(&pulse, None, 13_601), Some(none));
    }

    #[test]
    fn a_heartbeat_that_does_not_come_or_is_old_is_told_until_there_is_a_new_one() {
        let (mut pulse, asked) = (Pulse::new(at(0)), heartbeats("15m"));
        assert_eq!(found(&pulse, &asked, 900), None);
        assert!(found(&pulse, &asked, 901).is_some(), "the server does not answer either");
        pulse.listened(Listened::Nothing(String::new()));
        assert_eq!(found(&pulse, &asked, 1).as_deref(), Some("there is no heartbeat"));
        pulse.listened(Listened::Nothing("key SHA256:x belongs to no principal".into()));
        let none = "there is no heartbeat that counts: key SHA256:x belongs to no principal";
        assert_eq!(found(&pulse, &asked, 1).as_deref(), Some(none));
        pulse.listened(beat(0, Shown::Yes));
        // No poll, no push: only the time passes.
        assert_eq!(found(&pulse, &asked, 900), None);
        let old = "the newest heartbeat is of 2027-01-15T08:00:00Z, by clock";
        assert_eq!(found(&pulse, &asked, 901).as_deref(), Some(old));
        pulse.listened(beat(890, Shown::Yes));
        assert_eq!(found(&pulse, &asked, 901), None);
        assert_eq!(found(&pulse, &Freshness::default(), 1_000_000), None, "nobody asks");
    }

    #[test]
    fn a_head_that_is_not_shown_is_told_when_two_polls_miss_it() {
        let (mut pulse, asked) = (Pulse::new(at(0)), heartbeats("15m"));
        pulse.listened(beat(0, Shown::No));
        assert_eq!(found(&pulse, &asked, 1), None);
        pulse.listened(beat(0, Shown::Unknown));
        assert_eq!(found(&pulse, &asked, 2), None);
        pulse.listened(beat(0, Shown::No));
        let hidden =
            format!("the heartbeat of 2027-01-15T08:00:00Z by clock names head {HEAD}, which the server does not show");
        assert_eq!(found(&pulse, &asked, 3), Some(hidden));
        pulse.listened(beat(0, Shown::Yes));
        assert_eq!(found(&pulse, &asked, 4), None);
    }

    /// A weekend without a push, and then the attack.
    #[test]
    fn a_head_that_is_old_already_hides_no_other_reason() {
        let (mut pulse, day) = (Pulse::new(at(0)), || Some("1d".to_owned()));
        let asked = Freshness { max_head_age: Some("1h".into()), max_answer_age: day(), ..heartbeats("15m") };
        let found = |pulse: &Pulse, now: i64| {
            let head = Some((HEAD.parse().unwrap(), at(0)));
            pulse.judge(&asked, "shop/config", head, None, at(now)).unwrap().found
        };
        pulse.answered(at(5_000));
        pulse.listened(beat(5_000, Shown::Yes));
        assert!(found(&pulse, 5_001).starts_with("the newest verified head, "));
        assert!(found(&pulse, 5_901).starts_with("the newest heartbeat is of "));
        pulse.listened(beat(6_000, Shown::No));
        pulse.listened(beat(6_000, Shown::No));
        assert!(found(&pulse, 6_001).starts_with("the heartbeat of "));
        assert!(found(&pulse, 600_000).ends_with("which the server does not show"), "although it no longer answers");
    }

    /// Puts a heartbeat of sam where a fetch would, and listens to it with this head of the branch.
    fn listened(world: &World, before: Option<Beat>, names: CommitId, time: Timestamp, head: CommitId) -> Listened {
        let heartbeat = Heartbeat { repo_id: "urn:shop".into(), git_ref: "refs/heads/main".into(), head: names, time };
        let payload = heartbeat.payload();
        let signature = world.sre.sign(NAMESPACE_HEARTBEAT, &envelope_message(&payload)).unwrap();
        let git = |arguments: &[&str]| world.repo.git(arguments).unwrap().trim().to_owned();
        let file = world.repo.path().join(".git/heartbeat");
        std::fs::write(&file, envelope(&payload, &[("sam", &signature)])).unwrap();
        let blob = git(&["hash-object", "-w", file.to_str().unwrap()]);
        let index = format!("100644,{blob},{}", git::HEARTBEAT_FILE);
        git(&["update-index", "--add", "--cacheinfo", &index]);
        let tree = git(&["write-tree"]);
        git(&["update-index", "--force-remove", git::HEARTBEAT_FILE]);
        git(&["update-ref", git::HEARTBEAT_REF, &git(&["commit-tree", "-m", "heartbeat", &tree])]);
        world.fetch("a", "HEAD");
        world.fetch("a@heartbeat", git::HEARTBEAT_REF);
        let job = SourceJob { heard: before, ..world.job("a", Floors::default()) };
        let mirror = Mirror::open(&job.mirror).unwrap();
        let file = TrustFile::of_commit(mirror.objects(), &head).unwrap();
        let polled = Polled { head: Some(head), ..Polled::default() };
        let beside = Beside { heartbeats: Heartbeats::open(&job.mirror).unwrap(), is_listed: true, polled };
        listen(&job, &beside, mirror.objects(), &file, Timestamp::now())
    }

    /// Attack 3: a mirror that stands still, with everything on it signed.
    #[test]
    fn a_heartbeat_tells_of_heads_that_are_not_shown_and_an_old_one_takes_nothing_back() {
        let world = World::new();
        let (one, two) = (world.config("one"), world.config("two"));
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let shown = |listened: &Listened| match listened {
            Listened::Beat(beat, shown) => (*shown, beat.heard.heartbeat.time),
            other => panic!("{other:?}"),
        };
        let earlier = now - Duration::from_secs(60);
        assert_eq!(shown(&listened(&world, None, two, now, two)), (Shown::Yes, now));
        assert_eq!(shown(&listened(&world, None, one, now, two)), (Shown::Yes, now), "more was pushed since");
        // The head is older than what was said, or what was said was never seen.
        let newest = listened(&world, None, two, now, one);
        assert_eq!(shown(&newest), (Shown::No, now));
        let hidden: CommitId = "b2715f40d960c4d911fdbf70009dc76c7d5313cd".parse().unwrap();
        assert_eq!(shown(&listened(&world, None, hidden, now, two)), (Shown::No, now));
        // The old heartbeat is shown again, with the head of its time.
        let Listened::Beat(known, _) = newest else { panic!("nothing was heard") };
        assert_eq!(shown(&listened(&world, Some(*known.clone()), one, earlier, one)), (Shown::No, now));
        // What another trust file named counts no more.
        let other = Beat { under: Digest::of(b"another trust file"), ..*known };
        assert_eq!(shown(&listened(&world, Some(other), one, earlier, one)), (Shown::Yes, earlier));
    }
}
