use super::*;
use proptest::prelude::*;

fn sample() -> Entry {
    let mut entry = Entry::new(EntryKind::Advance, "2026-11-23T21:00:00.5Z");
    entry.subject.insert("repoId".into(), "shop".into());
    entry.subject.insert("commit".into(), "a\"\u{1}é".into());
    entry.codes.push("W301".into());
    entry.counts.insert("policyVersion".into(), 3);
    entry.digests.insert("trust".into(), Hash::of(b"").to_string());
    entry
}

#[test]
fn the_leaf_has_exactly_this_form() {
    let bytes = sample().to_canonical_json().unwrap();
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        concat!(
            r#"{"codes":["W301"],"counts":{"policyVersion":3},"#,
            r#""digests":{"trust":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"#,
            r#""kind":"advance","schema":"writ.dev/audit/v1alpha1","#,
            r#""subject":{"commit":"a\"\u0001é","repoId":"shop"},"time":"2026-11-23T21:00:00.5Z"}"#
        )
    );
    assert_eq!(Entry::from_canonical_json(&bytes), Ok(sample()));
}

#[test]
fn kinds_are_spelt_as_they_print() {
    for kind in EntryKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        assert_eq!(EntryKind::ALL.iter().filter(|other| other.bit() == kind.bit()).count(), 1);
    }
}

#[test]
fn other_spellings_are_refused() {
    let text = String::from_utf8(sample().to_canonical_json().unwrap()).unwrap();
    let check = |from: &str, to: &str, expected: fn(&EntryError) -> bool| {
        assert!(text.contains(from), "{from}");
        let error = Entry::from_canonical_json(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(expected(&error), "{from} to {to}: {error}");
    };
    check("{", "{ ", |error| *error == EntryError::NotCanonical);
    check("\"counts\":{\"policyVersion\":3},", "", |error| matches!(error, EntryError::Json(_)));
    check("{\"codes\"", "{\"also\":1,\"codes\"", |error| matches!(error, EntryError::Json(_)));
    check("{\"codes\"", "{\"codes\":[],\"codes\"", |error| matches!(error, EntryError::Json(_)));
    check(":3}", ":3,\"policyVersion\":3}", |error| *error == EntryError::NotCanonical);
    check(":3}", ":3.0}", |error| matches!(error, EntryError::Json(_)));
    check(":3}", ":9007199254740992}", |error| matches!(error, EntryError::Count(_)));
    check("é", "\\u00e9", |error| *error == EntryError::NotCanonical);
    check("v1alpha1", "v1alpha2", |error| matches!(error, EntryError::Schema(_)));
    check("advance", "Advance", |error| matches!(error, EntryError::Json(_)));
    check("e3b0", "E3B0", |error| matches!(error, EntryError::Digest(_)));
    check("repoId", "repo id", |error| matches!(error, EntryError::Key(_)));
    check(".5Z", "+00:00", |error| matches!(error, EntryError::Time(_)));
}

#[test]
fn times_are_utc() {
    let check = |text, good| assert_eq!(is_utc_time(text), good, "{text}");
    check("2026-11-23T21:00:00Z", true);
    check("2016-12-31T23:59:60.123456789Z", true);
    for text in [
        "",
        "2026-11-23",
        "2026-13-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23 21:00:00Z",
        "2026-11-23T21:00:00",
        "2026-11-23T21:00:00.Z",
        "2026-11-23T21:00:00.1234567890Z",
        "2026-00-23T21:00:00Z",
    ] {
        check(text, false);
    }
}

#[test]
fn an_entry_is_bounded() {
    let mut entry = sample();
    let size = entry.to_canonical_json().unwrap().len();
    entry.subject.insert("repoId".into(), "x".repeat(ENTRY_LIMIT - size + 4));
    assert_eq!(entry.to_canonical_json().unwrap().len(), ENTRY_LIMIT);
    entry.subject.insert("repoId".into(), "x".repeat(ENTRY_LIMIT - size + 5));
    assert_eq!(entry.to_canonical_json(), Err(EntryError::TooLarge(ENTRY_LIMIT + 1)));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value: String, code: String, count in 0..=COUNT_LIMIT, kind in 0..EntryKind::ALL.len()) {
        let mut entry = sample();
        entry.kind = EntryKind::ALL[kind];
        entry.subject.insert("value".into(), value);
        entry.codes.push(code);
        entry.counts.insert("count".into(), count);
        prop_assert_eq!(Entry::from_canonical_json(&entry.to_canonical_json().unwrap()), Ok(entry));
    }

    #[test]
    fn any_bytes_are_read_in_one_spelling_or_refused(place: prop::sample::Index, byte: u8) {
        let mut bytes = sample().to_canonical_json().unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(entry) = Entry::from_canonical_json(&bytes) {
            prop_assert_eq!(entry.to_canonical_json().unwrap(), bytes);
        }
    }
}
