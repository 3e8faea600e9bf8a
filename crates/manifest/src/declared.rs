//! What files declare: the objects in them, before rendering.

use crate::{Finding, GroupKind, Node, NodeValue, Origin, RepoPath, parse_yaml};

/// An object that a file declares, as far as its identity is written there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Declared {
    /// `apiVersion` as written.
    pub api_version: String,
    /// Group and kind.
    pub group_kind: GroupKind,
    /// Namespace as written; `None` if none is.
    pub namespace: Option<String>,
    /// Name as written; empty if none is (a Kustomize file, `generateName`).
    pub name: String,
    /// Where it stands.
    pub origin: Origin,
}

/// True if files of this name declare objects: `.yaml`, `.yml` or `.json` as `kubectl apply -f DIR` reads them, and not
/// below `.writ/`.
#[must_use]
pub fn declares_objects(file: &RepoPath) -> bool {
    let extension = file.file_name().and_then(|name| name.rsplit_once('.')).map(|(_stem, extension)| extension);
    matches!(extension, Some("yaml" | "yml" | "json")) && file.segments().next() != Some(".writ")
}

/// The objects that a file declares, in their order, Lists expanded. Documents without `apiVersion` and `kind`
/// (values files, CI configuration) declare nothing; files for which [`declares_objects`] is false are not read.
///
/// # Errors
/// M101–M111 when the file cannot be read as kubectl reads it.
pub fn declared(file: &RepoPath, bytes: &[u8]) -> Result<Vec<Declared>, Finding> {
    let mut found = Vec::new();
    if !declares_objects(file) {
        return Ok(found);
    }
    for document in parse_yaml(file, bytes)? {
        for node in expand(&document.root) {
            let text = |node: Option<&Node>| node.and_then(Node::as_str).map(str::to_owned);
            let (Some(api_version), Some(kind)) = (text(node.get("apiVersion")), text(node.get("kind"))) else {
                continue;
            };
            let metadata = node.get("metadata");
            found.push(Declared {
                group_kind: GroupKind::new(group_of(&api_version), &kind),
                namespace: text(metadata.and_then(|metadata| metadata.get("namespace")))
                    .filter(|name| !name.is_empty()),
                name: text(metadata.and_then(|metadata| metadata.get("name"))).unwrap_or_default(),
                origin: Origin { file: file.clone(), document: document.index, line: node.position.line },
                api_version,
            });
        }
    }
    Ok(found)
}

/// The group of an `apiVersion`: what stands before the slash; nothing for the core group.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _version)| group)
}

/// The objects of a document: the items of a List (and of Lists in it), else the document itself.
#[must_use]
pub fn expand(node: &Node) -> Vec<&Node> {
    if !is_list(node) {
        return vec![node];
    }
    node.get("items").map(Node::items).unwrap_or_default().iter().flat_map(expand).collect()
}

/// True for a List: kind `List`, or a kind that ends so and has `items`.
fn is_list(node: &Node) -> bool {
    let kind = node.get("kind").and_then(Node::as_str).unwrap_or_default();
    let items = node.get("items").map(|items| &items.value);
    kind.ends_with("List") && matches!(items, Some(NodeValue::Sequence(_) | NodeValue::Null))
        || kind == "List" && items.is_none()
}
