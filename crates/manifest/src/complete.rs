//! Checking and completing one object of a file, where its scope does not matter yet.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use crate::{
    FieldPath, Finding, GroupKind, ManifestCode, Node, NodeValue, Origin, Position, RepoPath, Subject,
    declared::group_of, render::Findings,
};

/// An object that is complete except for its namespace.
pub(crate) struct Candidate {
    pub(crate) value: Value,
    pub(crate) api_version: String,
    pub(crate) group_kind: GroupKind,
    pub(crate) name: String,
    /// The namespace as written, and where.
    pub(crate) namespace: Option<(String, Position)>,
    pub(crate) origin: Origin,
    pub(crate) position: Position,
}

impl Candidate {
    pub(crate) fn finding(&self, code: ManifestCode, at: Position, found: String, needed: &str, fix: &str) -> Finding {
        finding(&self.origin.file, code, at, found, needed, fix)
    }

    /// `Deployment.apps web`, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.group_kind, self.name)
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.group_kind.group.is_empty() && self.group_kind.kind == "Secret"
    }
}

fn finding(file: &RepoPath, code: ManifestCode, at: Position, found: String, needed: &str, fix: &str) -> Finding {
    Finding {
        code: code.entry(),
        subject: Subject::Path { path: file.clone(), line: Some(at.line), column: Some(at.column) },
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

/// One object under examination.
struct Checker<'a> {
    file: &'a RepoPath,
    node: &'a Node,
    findings: &'a mut Findings,
    good: bool,
}

/// The object as a candidate; `None`, with findings, if it is refused.
pub(crate) fn complete(file: &RepoPath, document: u32, node: &Node, findings: &mut Findings) -> Option<Candidate> {
    let mut checker = Checker { file, node, findings, good: true };
    let (api_version, kind, name) = checker.identity()?;
    let group_kind = GroupKind::new(group_of(&api_version), &kind);
    checker.name(&group_kind, &name);
    let namespace = checker.namespace();
    checker.server_fields();
    for field in ["labels", "annotations"] {
        checker.text_map(field);
    }
    let mut value = node.to_json();
    remove_leftovers(&mut value);
    if group_kind.group.is_empty() && matches!(kind.as_str(), "Secret" | "ConfigMap") {
        checker.data(&kind, &mut value);
    }
    let origin = Origin { file: file.clone(), document, line: node.position.line };
    checker.good.then_some(Candidate {
        value,
        api_version,
        group_kind,
        name,
        namespace,
        origin,
        position: node.position,
    })
}

impl Checker<'_> {
    /// Reports something about the field at `path`, or about the object where that field is missing.
    fn refuse(&mut self, code: ManifestCode, path: &[&str], found: String, needed: &str, fix: &str) {
        let path = FieldPath::of_fields(path.iter().copied());
        let at = self.node.locate(&path).unwrap_or(self.node.position);
        self.findings.push(finding(self.file, code, at, found, needed, fix));
        self.good = false;
    }

    /// `apiVersion`, `kind` and `metadata.name`.
    fn identity(&mut self) -> Option<(String, String, String)> {
        const NEEDED: &str = "an object with apiVersion, kind and metadata.name";
        const FIX: &str = "complete the object, or move the file out of the Sync's path";
        let code = ManifestCode::M113;
        if !self.node.is_mapping() {
            self.refuse(code, &[], format!("a document that is {}", self.node.kind()), NEEDED, FIX);
            return None;
        }
        let required = |checker: &mut Self, path: &[&str]| {
            let text = path.iter().try_fold(checker.node, |node, name| node.get(name)).and_then(Node::as_str);
            let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
            if text.is_none() {
                let found = format!("a document without {} as text", path.join("."));
                checker.refuse(code, path, found, NEEDED, FIX);
            }
            text
        };
        let api_version = required(self, &["apiVersion"]);
        let kind = required(self, &["kind"]);
        if self.node.get("metadata").is_some_and(|metadata| metadata.get("generateName").is_some()) {
            let found = "metadata.generateName, which makes a new object with each apply".to_owned();
            self.refuse(code, &["metadata", "generateName"], found, "metadata.name", "give the object a name");
            return None;
        }
        let name = required(self, &["metadata", "name"]);
        let (api_version, kind, name) = (api_version?, kind?, name?);
        if self.node.get("items").is_some() {
            let found = format!("a top-level field items in kind {kind:?}, which kubectl takes for a list of objects");
            self.refuse(code, &["items"], found, "items in Lists only", "rename the field, or set kind: List");
        }
        let well_formed =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let parts: Vec<_> = api_version.split('/').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || !well_formed(part)) {
            self.refuse(
                code,
                &["apiVersion"],
                "an apiVersion of another form".to_owned(),
                "VERSION or GROUP/VERSION",
                FIX,
            );
        }
        if !kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !kind.starts_with(|c: char| c.is_ascii_uppercase())
        {
            self.refuse(code, &["kind"], "a kind of another form".to_owned(), "a kind in CamelCase", FIX);
        }
        Some((api_version, kind, name))
    }

    fn name(&mut self, kind: &GroupKind, name: &str) {
        let (valid, needed) = if has_path_name(kind) {
            (is_path_segment(name), "a name without `/`, `%` and control characters, at most 253 bytes")
        } else if kind.group.is_empty() && matches!(kind.kind.as_str(), "Namespace" | "Service") {
            (
                is_dns_label(name),
                "at most 63 lower-case letters, digits and `-`, starting and ending with a letter or digit",
            )
        } else {
            (is_dns_subdomain(name), "at most 253 lower-case letters, digits, `-` and `.`, as in a domain name")
        };
        if !valid {
            let found = format!("{:?} is no name for kind {kind}", shorten(name));
            self.refuse(ManifestCode::M114, &["metadata", "name"], found, needed, "rename the object");
        }
    }

    fn namespace(&mut self) -> Option<(String, Position)> {
        let node = self.node.get("metadata")?.get("namespace")?;
        match &node.value {
            NodeValue::Null => None,
            NodeValue::String(text) if text.is_empty() => None,
            NodeValue::String(text) if is_dns_label(text) => Some((text.clone(), node.position)),
            _ => {
                let needed = "at most 63 lower-case letters, digits and `-`";
                let found = "metadata.namespace is no name of a namespace".to_owned();
                self.refuse(ManifestCode::M114, &["metadata", "namespace"], found, needed, "correct the namespace");
                None
            }
        }
    }

    /// Refuses what only the API server writes.
    fn server_fields(&mut self) {
        const FIELDS: [&str; 8] = [
            "uid",
            "resourceVersion",
            "managedFields",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ];
        let set = |node: Option<&Node>| node.is_some_and(|node| !is_hollow(&node.to_json()));
        let fix = "delete the field from the manifest";
        for field in FIELDS {
            if set(self.node.get("metadata").and_then(|metadata| metadata.get(field))) {
                let found = format!("metadata.{field} is set");
                self.refuse(ManifestCode::M118, &["metadata", field], found, "a field left to the API server", fix);
            }
        }
        if set(self.node.get("status")) {
            let found = "status is set".to_owned();
            self.refuse(ManifestCode::M118, &["status"], found, "a field left to the API server", fix);
        }
    }

    /// Labels and annotations: text to text, and none that writ writes itself.
    fn text_map(&mut self, field: &'static str) {
        let Some(map) = self.node.get("metadata").and_then(|metadata| metadata.get(field)) else { return };
        if map.is_null() {
            return;
        }
        if !map.is_mapping() {
            let found = format!("metadata.{field} is {}", map.kind());
            let needed = "a mapping of text to text";
            self.refuse(ManifestCode::M120, &["metadata", field], found, needed, "write it as a mapping");
        }
        for (key, value) in map.entries() {
            let path = FieldPath::of_fields(["metadata", field, &key.name]);
            if key.name.starts_with("applyset.kubernetes.io/") || key.name == "writ.dev/instance" {
                let found = format!("{path} is set");
                let needed = "what says who owns an object left to writ";
                self.refuse(ManifestCode::M119, &["metadata", field, &key.name], found, needed, "remove it");
            }
            if value.as_str().is_none() {
                let found = format!("{path} is {}", value.kind());
                self.refuse(ManifestCode::M120, &["metadata", field, &key.name], found, "text", "quote the value");
            }
        }
    }

    /// Folds `stringData` into `data`, and writes base64 as the API server stores it. Messages name keys only.
    fn data(&mut self, kind: &str, value: &mut Value) {
        let Some(object) = value.as_object_mut() else { return };
        let binary = if kind == "Secret" { "data" } else { "binaryData" };
        let mut encoded = Map::new();
        for (field, is_text) in [(binary, false), ("stringData", true)] {
            if is_text && kind != "Secret" {
                continue;
            }
            let entries = match object.get(field) {
                None | Some(Value::Null) => continue,
                Some(Value::Object(entries)) => entries,
                Some(_) => {
                    let found = format!("{field} is no mapping");
                    self.refuse(
                        ManifestCode::M121,
                        &[field],
                        found,
                        "a mapping of keys to text",
                        "write it as a mapping",
                    );
                    continue;
                }
            };
            for (key, entry) in entries {
                let text = match entry {
                    Value::String(text) if is_text => Some(STANDARD.encode(text)),
                    Value::String(text) => canonical_base64(text),
                    _ => None,
                };
                if let Some(text) = text {
                    encoded.insert(key.clone(), Value::String(text));
                } else {
                    let path = FieldPath::of_fields([field, key]);
                    let (needed, fix) = if is_text {
                        ("text", "quote the value")
                    } else {
                        ("base64 of the value", "encode it with `base64 -w0`, or use stringData")
                    };
                    let found = format!("{path} is not {}", if is_text { "text" } else { "base64" });
                    self.refuse(ManifestCode::M121, &[field, key], found, needed, fix);
                }
            }
        }
        if kind == "Secret" {
            object.remove("stringData");
        }
        if !encoded.is_empty() {
            object.insert(binary.to_owned(), Value::Object(encoded));
        }
    }
}

/// Base64 as the API server stores it: it reads over line breaks and writes none.
fn canonical_base64(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    STANDARD.decode(&text).ok().map(|bytes| STANDARD.encode(bytes))
}

/// True for `null`, empty text, and lists and mappings of nothing else.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_hollow),
        Value::Object(fields) => fields.values().all(is_hollow),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Removes what generators leave behind: a `status` that says nothing, empty server fields, and
/// `creationTimestamp: null` in any `metadata`, also that of templates.
fn remove_leftovers(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            // Whatever is left of these after the check is hollow.
            for field in [
                "uid",
                "resourceVersion",
                "managedFields",
                "generation",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "selfLink",
            ] {
                metadata.remove(field);
            }
        }
    }
    remove_null_timestamps(value);
}

fn remove_null_timestamps(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(remove_null_timestamps),
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut)
                && metadata.get("creationTimestamp").is_some_and(is_hollow)
            {
                metadata.remove("creationTimestamp");
            }
            fields.values_mut().for_each(remove_null_timestamps);
        }
        _ => {}
    }
}

/// Kinds whose names are any segment of a URL path: RBAC, and those named after signers or addresses.
fn has_path_name(kind: &GroupKind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("rbac.authorization.k8s.io", _)
            | ("certificates.k8s.io", "ClusterTrustBundle")
            | ("networking.k8s.io", "IPAddress")
    )
}

fn is_path_segment(name: &str) -> bool {
    name.len() <= 253 && !matches!(name, "." | "..") && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '%'))
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-') && name.bytes().all(inner)
}

/// A DNS subdomain as Kubernetes checks it: 253 characters, labels not limited to 63.
fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
        })
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
