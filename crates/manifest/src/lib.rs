//! Kubernetes objects as data: identity, YAML in and out with positions, normalising, masking.
//!
//! A *decide* crate: no I/O, no clock, no environment. All YAML of the project passes through it.

mod canonical;
mod code;
mod complete;
mod counted;
mod declared;
mod digest;
mod digest_key;
mod duration;
mod field_path;
mod finding;
mod kinds;
mod layout;
mod manifest_code;
mod mask;
mod merge_keys;
mod new_value;
mod node;
mod object;
mod quantity;
mod render;
mod repo_path;
mod scalar;
mod sensitive;
mod shell;
mod text_form;
mod words;
mod yaml;
mod yaml_edit;

pub use canonical::canonical_json;
pub use code::CodeEntry;
pub use counted::counted;
pub use declared::{Declared, declared, declares_objects, expand};
pub use digest::{Digest, ParseDigestError};
pub use digest_key::DigestKey;
pub use duration::parse_duration;
pub use field_path::{FieldPath, MAX_FIELD_PATH_SEGMENTS, ParseFieldPathError, Segment};
pub use finding::{Finding, Subject};
pub use kinds::{BuiltinScopes, CrdScopes, ScopeLookup};
pub use manifest_code::ManifestCode;
pub use mask::{MASK, mask_values, masked};
pub use merge_keys::{in_pod_spec, merge_key_default, merge_keys};
pub use new_value::NewValue;
pub use node::{Document, Key, Node, NodeValue, locate};
pub use object::{ClusterId, GroupKind, Object, ObjectRef, Origin, Position, Rendered, Scope};
pub use quantity::{MAX_QUANTITY_BYTES, ParseQuantityError, Quantity, same_quantity};
pub use render::{
    MAX_FINDINGS, MAX_SET_BYTES, MAX_SET_FILES, MAX_SET_OBJECTS, RenderOptions, RenderedSet, render_plain,
};
pub use repo_path::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, RepoPath, RepoPathError};
pub use sensitive::Sensitive;
pub use shell::shell_quote;
pub use text_form::{WriteYamlError, from_document, to_yaml};
pub use words::{Words, is_unprintable, printable};
pub use yaml::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, MAX_SCALAR_BYTES, parse_yaml};
pub use yaml_edit::{YamlEdit, YamlEditError, edit_yaml};
