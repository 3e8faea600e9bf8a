//! A signature is worth the same, in the same words, whatever it is over.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, at, person, policy};
use trust::{
    NAMESPACE_APPROVAL, NAMESPACE_HEARTBEAT, NAMESPACE_TRUST, Start, TrustFile, Verifiers, envelope, envelope_message,
    judge,
};

const TWO: (&str, &str) = ("{role: security, threshold: 1}", "{role: security, threshold: 2}");
const MORE: (&str, &str) = ("security: [alice, frank]", "security: [alice, frank, erin]");

/// Why frank's signature over a commit counts for nothing.
fn commit(text: &str, who: &str) -> String {
    let mut world = World::with(text);
    let step = world.put(world.introduction, who, "policies/limits.txt", "1");
    world.judge(&Start::Introduction, step).refusal().unwrap().found.to_string()
}

/// The same over a tag.
fn tag(text: &str, who: &str) -> String {
    let mut world = World::with(&text.replace("ref: refs/heads/main", "ref: refs/tags/v1"));
    world.root.r#ref = "refs/tags/v1".to_owned();
    let head = world.memory.tag("v1", world.introduction, who, world.now);
    judge(&world.memory, &world.root, &Start::Introduction, head, at(world.now)).refusal().unwrap().found.to_string()
}

/// The same over an approval of alice's change, as the last of the reasons.
fn approval(text: &str, who: &str) -> String {
    let mut world = World::with(text);
    let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
    let approval = world.approval(step);
    let payload = approval.payload();
    let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(step, vec![envelope(&payload, &[(who, &signature)]).into_bytes()]);
    let found = world.judge(&Start::Introduction, step).refusal().unwrap().found.clone();
    found.split_once("; ").unwrap().1.to_owned()
}

/// The same over the trust file and over any other message.
fn detached(text: &str, who: &str) -> [String; 2] {
    let file = TrustFile::parse(text.as_bytes()).unwrap();
    let (name, now, with) = (format!("{who}.sig"), at(memory::BASE + 60), Verifiers::default());
    let signature = person(who).sign(NAMESPACE_TRUST, b"file").into_bytes();
    let over_file = file.signatures(b"file", &[(name.clone(), signature)], now, with).remove(0).unwrap_err();
    let signature = person(who).sign(NAMESPACE_HEARTBEAT, b"message");
    let over_message = file.signer_of_message(signature.as_bytes(), b"message", NAMESPACE_HEARTBEAT, now, with);
    [over_file.strip_prefix(&format!("{name}: ")).unwrap().to_owned(), over_message.unwrap_err()]
}

#[test]
fn what_counts_for_nothing_does_so_in_the_same_words() {
    let (frank, mallory) = (person("frank"), person("mallory"));
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", frank.fingerprint());
    let begins = format!("ssh: \"{}\", notBefore: 2027-01-01", frank.public());
    let listed = format!("ssh: \"{}\"", frank.public());
    let key = |who: &memory::Person| who.fingerprint().to_string();
    let cases = [
        ("mallory", ("", ""), format!("signed with key {}, which belongs to no principal", key(&mallory))),
        (
            "frank",
            ("revoked: []", revoked.as_str()),
            format!("signed with key {}, which is revoked (stolen)", key(&frank)),
        ),
        (
            "frank",
            (listed.as_str(), begins.as_str()),
            format!("key {} of frank begins 2027-01-01T00:00:00Z", key(&frank)),
        ),
    ];
    for (who, edit, expected) in &cases {
        let edits: Vec<(&str, &str)> = [TWO, MORE, *edit].into_iter().filter(|(from, _to)| !from.is_empty()).collect();
        let text = policy(1, &edits);
        let [over_file, over_message] = detached(&text, who);
        for found in [commit(&text, who), tag(&text, who), approval(&text, who), over_file, over_message] {
            assert!(found.starts_with(expected), "{found:?} does not begin with {expected:?}");
        }
    }
}
