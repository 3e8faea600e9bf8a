//! What Git tells a hook about a push: which refs it moves, and where its objects are.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::Read as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail, ensure};
use trust::CommitId;

/// Most bytes of the lines about one push: 100,000 refs with names of 80 bytes.
const MAX_LINES_BYTES: u64 = 16 << 20;
/// Most folders of objects: the quarantine, the repository's own, and pools that it shares.
const MAX_FOLDERS: usize = 64;
/// What a namespace hides: the refs that are written have other names.
const NAMESPACE: &str = "GIT_NAMESPACE";

/// A ref that a push moves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// Its name on the server.
    pub(crate) name: String,
    /// Where it is; `None` if it is new.
    pub(crate) old: Option<CommitId>,
    /// Where it would be; `None` if it is removed.
    pub(crate) new: Option<CommitId>,
}

impl Update {
    /// From the words that Git uses.
    ///
    /// # Errors
    /// When an id is none.
    pub(crate) fn new(old: &str, new: &str, name: &str) -> anyhow::Result<Self> {
        Ok(Self { name: name.to_owned(), old: id(old)?, new: id(new)? })
    }
}

/// An id, or nothing: Git writes zeros for it.
fn id(text: &str) -> anyhow::Result<Option<CommitId>> {
    if matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte == b'0') {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("{text:?} is no object id"))
}

/// The lines of `pre-receive`.
pub(crate) fn received() -> anyhow::Result<Vec<Update>> {
    lines()?.lines().map(received_line).collect()
}

fn received_line(line: &str) -> anyhow::Result<Update> {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(old), Some(new), Some(name)) => Update::new(old, new, name),
        _ => bail!("{line:?} is no line `OLD NEW REF`"),
    }
}

/// The lines of `pre-push`.
pub(crate) fn to_be_sent() -> anyhow::Result<Vec<Update>> {
    lines()?.lines().map(line_to_be_sent).collect()
}

fn line_to_be_sent(line: &str) -> anyhow::Result<Update> {
    // The local ref is whatever was typed, with spaces in it; the others have none.
    let mut words = line.rsplitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(old), Some(name), Some(new), Some(_local)) => Update::new(old, new, name),
        _ => bail!("{line:?} is no line `LOCAL_REF LOCAL REMOTE_REF REMOTE`"),
    }
}

fn lines() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_LINES_BYTES + 1).read_to_end(&mut bytes).context("cannot read what is pushed")?;
    ensure!(bytes.len() as u64 <= MAX_LINES_BYTES, "more than {MAX_LINES_BYTES} bytes of refs in one push");
    String::from_utf8(bytes).context("the name of a ref is no UTF-8")
}

/// The folders of objects that Git names for a hook. Nothing else of its environment is looked at.
///
/// # Errors
/// When a folder cannot be told, or the push is into a namespace.
pub(crate) fn object_folders() -> anyhow::Result<Vec<PathBuf>> {
    if env::var_os(NAMESPACE).is_some_and(|value| !value.is_empty()) {
        bail!("pushes into a namespace ({NAMESPACE}) are not supported yet");
    }
    let here = env::current_dir().context("cannot tell the current folder")?;
    let own = env::var_os("GIT_OBJECT_DIRECTORY").filter(|value| !value.is_empty());
    let more = env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES").unwrap_or_default();
    let mut folders: Vec<PathBuf> = own.into_iter().map(|folder| here.join(folder)).collect();
    for folder in split(more.as_bytes())? {
        folders.push(here.join(folder));
    }
    ensure!(folders.len() <= MAX_FOLDERS, "{} folders of objects; at most {MAX_FOLDERS}", folders.len());
    Ok(folders)
}

/// Paths between colons; one that holds a colon is quoted as in C.
fn split(list: &[u8]) -> anyhow::Result<Vec<OsString>> {
    let mut paths = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (path, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
                let (path, after) = rest.split_at(end);
                (OsStr::from_bytes(path).to_owned(), after)
            }
        };
        rest = match after.split_first() {
            None => after,
            Some((b':', next)) => next,
            Some(_) => bail!("text after a quoted path in GIT_ALTERNATE_OBJECT_DIRECTORIES"),
        };
        if !path.is_empty() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// A path after its opening quote, and what follows the closing one.
fn unquote(text: &[u8]) -> anyhow::Result<(OsString, &[u8])> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let open = "a quoted path in GIT_ALTERNATE_OBJECT_DIRECTORIES has no end";
        let (byte, after) = rest.split_first().context(open)?;
        rest = after;
        match byte {
            b'"' => return Ok((OsString::from_vec(path), rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first().context(open)?;
                rest = after;
                path.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'\\' | b'"' => *escaped,
                    b'0'..=b'3' => {
                        let (more, after) = rest.split_at_checked(2).context(open)?;
                        rest = after;
                        octal(*escaped, more)?
                    }
                    _ => bail!("an unknown escape in GIT_ALTERNATE_OBJECT_DIRECTORIES"),
                });
            }
            plain => path.push(*plain),
        }
    }
}

fn octal(first: u8, more: &[u8]) -> anyhow::Result<u8> {
    let digits = [&[first], more].concat();
    let text = std::str::from_utf8(&digits).context("an octal escape is no text")?;
    u8::from_str_radix(text, 8).with_context(|| format!("{text:?} is no octal escape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c2a9d0b7e3f1c2a9d0b7e3f1c2a9d0b7e3f1c";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn lines_are_read_as_git_writes_them() {
        let name = "refs/heads/main".to_owned();
        let some = Some(ID.parse().unwrap());
        let made = Update { name: name.clone(), old: None, new: some };
        assert_eq!(received_line(&format!("{ZERO} {ID} {name}")).unwrap(), made);
        assert_eq!(line_to_be_sent(&format!("main^{{/a nasty bug}} {ID} {name} {ZERO}")).unwrap(), made);
        let removed = Update { name: name.clone(), old: some, new: None };
        assert_eq!(line_to_be_sent(&format!("(delete) {ZERO} {name} {ID}")).unwrap(), removed);
        for line in ["", "a b", &format!("{ID} {ID}"), &format!("{ZERO}0 {ID} {name}"), &format!("0 {ID} {name}")] {
            assert!(received_line(line).is_err(), "{line:?}");
            assert!(line_to_be_sent(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn folders_are_split_as_git_joins_them() {
        let check = |list: &str, expected: &[&str]| {
            assert_eq!(split(list.as_bytes()).unwrap(), expected, "{list}");
        };
        check("", &[]);
        check("/srv/r.git/objects", &["/srv/r.git/objects"]);
        check("/a:/b::/c:", &["/a", "/b", "/c"]);
        check(r#""/a:b":/c"#, &["/a:b", "/c"]);
        check(r#""/a\"\\\n\303\244""#, &["/a\"\\\nä"]);
        for wrong in ["\"", "\"/a", r#""/a\"#, r#""/a\q""#, r#""/a\39""#, r#""/a"b"#, r#""\39"#] {
            assert!(split(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
