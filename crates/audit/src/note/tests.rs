use super::*;
use crate::Checkpoint;
use crate::merkle::Hash;

/// From the documentation of Go's sumdb/note.
const PRIVATE_TEXT: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PUBLIC_TEXT: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn keys_and_notes_are_those_of_go() {
    let key = LogKey::parse(PRIVATE_TEXT).unwrap();
    assert_eq!(key.public().to_string(), PUBLIC_TEXT);
    assert_eq!(key.expose(), PRIVATE_TEXT);
    assert_eq!(LogPublicKey::parse(PUBLIC_TEXT).unwrap(), *key.public());
    let text = key.public().open(GO_NOTE).unwrap();
    assert!(text.ends_with("problem is.\n"));
    assert_eq!(key.sign(text), GO_NOTE);
    // Another public implementation's example.
    let other = LogPublicKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").unwrap();
    let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    assert_eq!(other.open(note), Ok("This is an example message.\n"));
}

#[test]
fn the_private_key_is_not_shown() {
    let key = LogKey::generate("log.example/a").unwrap();
    let text = key.expose();
    let secret = text.rsplit('+').next().unwrap();
    assert!(!format!("{key:?}").contains(secret));
    assert_eq!(LogKey::parse(&format!("{text}\n")).unwrap().public(), key.public());
}

#[test]
fn what_is_not_a_note_by_this_key_is_refused() {
    let key = LogKey::parse(PRIVATE_TEXT).unwrap();
    let check = |note: &str, expected| assert_eq!(key.public().open(note), Err(expected), "{note:?}");
    let note = key.sign("a\n1\n");
    check(&note.replace("a\n", "b\n"), NoteError::Signature);
    check(note.trim_end(), NoteError::Format);
    check("a\n", NoteError::Format);
    check(&note.replace("— ", "- "), NoteError::Format);
    check(&note.replace("a\n", "a\r\n"), NoteError::Format);
    check(&"a".repeat(NOTE_LIMIT + 1), NoteError::TooLarge);
    let stranger = LogKey::generate("PeterNeumann").unwrap();
    check(&stranger.sign("a\n1\n"), NoteError::Unsigned);
    // A stranger's signature beside ours is ignored.
    let both = format!("{note}{}", stranger.sign("a\n1\n").rsplit_once("\n\n").unwrap().1);
    assert_eq!(key.public().open(&both), Ok("a\n1\n"));
    for text in
        ["", "a+b", "a b+c74f20a3+AA==", &PUBLIC_TEXT.replace("c74f", "c74e"), &PUBLIC_TEXT.replace("ARpc", "AhpC")]
    {
        assert!(LogPublicKey::parse(text).is_err(), "{text}");
    }
    assert_eq!(LogKey::generate("a b").map(drop).unwrap_err(), NoteError::Name);
}

#[test]
fn a_checkpoint_has_one_spelling() {
    let key = LogKey::parse(PRIVATE_TEXT).unwrap();
    let made = Checkpoint::sign(&key, 7, Hash::of(b""));
    assert_eq!(Checkpoint::parse(made.note(), key.public()), Ok(made.clone()));
    let root = STANDARD.encode(Hash::of(b"").0);
    let check =
        |text: &str, expected| assert_eq!(Checkpoint::parse(&key.sign(text), key.public()), Err(expected), "{text}");
    check(&format!("PeterNeumann\n07\n{root}\n"), NoteError::Checkpoint);
    check(&format!("PeterNeumann\n+7\n{root}\n"), NoteError::Checkpoint);
    check(&format!("PeterNeumann\n7\n{root}\nextension\n"), NoteError::Checkpoint);
    check("PeterNeumann\n7\nAAAA\n", NoteError::Checkpoint);
    check("PeterNeumann\n7\n", NoteError::Checkpoint);
    check(&format!("Other\n7\n{root}\n"), NoteError::Origin);
}
