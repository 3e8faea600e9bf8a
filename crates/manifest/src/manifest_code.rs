//! The codes of this crate: what YAML and rendered sets are refused for.

crate::codes! {
    /// Codes of manifests and of rendering them.
    pub enum ManifestCode {
        /// The text is not YAML.
        M101 = "InvalidYaml" {
            meaning: "The file is not valid UTF-8 YAML, or two readers of YAML would split it differently.",
            action: "Mend the text at the line and column given; `kubectl apply --dry-run=server -f FILE` judges the same text.",
            example: "M101 InvalidYaml: apps/web.yaml:7:8: mapping values are not allowed in this context; needed: valid YAML",
        },
        /// A bound on files, documents, depth or sizes is exceeded.
        M102 = "LimitExceeded" {
            meaning: "A file or a set of files is larger, deeper or has more parts than is ever read.",
            action: "Split the file or the set; the message names the limit.",
            example: "M102 LimitExceeded: apps/all.yaml: the file has 9000000 bytes; needed: at most 8388608 bytes",
        },
        /// A number that readers disagree on.
        M103 = "AmbiguousNumber" {
            meaning: "An unquoted scalar is a number to some readers and text or another number to others: underscores, a leading zero without octal digits, or more than 64 bits.",
            action: "Quote it if it is text; write the number in plain decimal digits if it is a number.",
            example: "M103 AmbiguousNumber: apps/web.yaml:9:12: a number with underscores; needed: a spelling that every reader takes for the same value",
        },
        /// `.inf` or `.nan`.
        M104 = "NonFiniteNumber" {
            meaning: "Infinity and not-a-number have no form in JSON, so no Kubernetes field can hold them.",
            action: "Quote it if it is text, else write a finite number.",
            example: "M104 NonFiniteNumber: apps/web.yaml:9:12: a number that is not finite; needed: a finite number or a quoted text",
        },
        /// A mapping key that is not text.
        M105 = "NonStringKey" {
            meaning: "A mapping key is read as a number, boolean, null or collection; kubectl would turn it into other text or fail.",
            action: "Quote the key.",
            example: "M105 NonStringKey: apps/web.yaml:4:3: a mapping key that is read as a boolean; needed: a text key",
        },
        /// The same key twice in one mapping.
        M106 = "DuplicateKey" {
            meaning: "A mapping has the same key twice; readers disagree on which one counts.",
            action: "Remove one of the two places named.",
            example: "M106 DuplicateKey: apps/web.yaml:12:3: key \"replicas\" was already given on line 8; needed: each key once",
        },
        /// An anchor or an alias.
        M107 = "AnchorOrAlias" {
            meaning: "Anchors and aliases are not expanded: a small file could become an enormous one, and a reviewer would not see the value in place.",
            action: "Write the value out where it is used, and remove the anchor.",
            example: "M107 AnchorOrAlias: apps/web.yaml:5:9: an alias; needed: the value itself",
        },
        /// A `<<` key.
        M108 = "MergeKey" {
            meaning: "The merge key `<<` is read as a merge by some readers and as a literal key by others.",
            action: "Write the merged fields out; quote the key if a literal \"<<\" is meant.",
            example: "M108 MergeKey: apps/web.yaml:6:5: a merge key; needed: the fields themselves",
        },
        /// An explicit tag.
        M109 = "ExplicitTag" {
            meaning: "A tag such as `!!str` or `!custom` changes how a value is read.",
            action: "Remove the tag; quote the value if it is text.",
            example: "M109 ExplicitTag: apps/web.yaml:6:5: an explicit tag; needed: an untagged value",
        },
        /// Where a document starts or ends is read differently by different readers.
        M110 = "DocumentBoundary" {
            meaning: "Text on a `---` line, a directive, or content after `...`: kubectl refuses it or silently drops what follows.",
            action: "Put nothing but a comment after `---`, start every document with `---`, and remove directives and `...`.",
            example: "M110 DocumentBoundary: apps/all.yaml:14:4: text on a `---` line; needed: nothing but a comment after `---`",
        },
        /// JSON that YAML reads as something else.
        M111 = "JsonReadDifferently" {
            meaning: "The document is valid JSON, but has another value when it is read as YAML.",
            action: "Escape unusual characters as \\uXXXX, or write the document as YAML.",
            example: "M111 JsonReadDifferently: apps/web.json:1:1: a JSON document that YAML reads as another value; needed: one reading",
        },
        /// A file of ours has an unknown field or a wrong type.
        M112 = "FieldRefused" {
            meaning: "A field of a file that writ itself reads is unknown, missing, or has a value of the wrong type.",
            action: "Mend the field at the place given; the message says what is expected.",
            example: "M112 FieldRefused: trust-root.yaml:6:3: spec.colour: unknown field `colour`, expected `ref`; needed: a file of the documented form",
        },
        /// A document that is not one complete Kubernetes object.
        M113 = "NotAnObject" {
            meaning: "A document under a Sync's path is not an object with apiVersion, kind, metadata and metadata.name.",
            action: "Complete the object, or move the file out of the Sync's path.",
            example: "M113 NotAnObject: apps/values.yaml:1:1: a document without apiVersion as text; needed: an object with apiVersion, kind and metadata.name",
        },
        /// A name or namespace that the API server would refuse.
        M114 = "InvalidName" {
            meaning: "metadata.name or metadata.namespace is not a name Kubernetes allows for this kind.",
            action: "Use lower-case letters, digits, `-` and, in names, `.`; at most 253 characters (namespaces 63).",
            example: "M114 InvalidName: apps/web.yaml:4:9: \"Web\" is no name for kind Deployment.apps; needed: at most 253 lower-case letters, digits, `-` and `.`, as in a domain name",
        },
        /// The same object declared twice.
        M115 = "DuplicateObject" {
            meaning: "Two places declare the same object (group, kind, namespace, name).",
            action: "Remove one of the two places named.",
            example: "M115 DuplicateObject: Deployment.apps shop/web: declared at apps/a.yaml:1 and apps/b.yaml:1; needed: one declaration",
        },
        /// The namespace does not fit the kind or the Sync.
        M116 = "WrongNamespace" {
            meaning: "An object names a namespace other than the Sync's targetNamespace, or a cluster-scoped object names one at all.",
            action: "Remove metadata.namespace or set it to the one named.",
            example: "M116 WrongNamespace: apps/web.yaml:5:14: namespace \"other\" on Deployment.apps web; needed: \"shop\", the Sync's targetNamespace, or none",
        },
        /// A kind whose scope is unknown.
        M117 = "UnknownKind" {
            meaning: "The kind is neither built in nor served by the cluster nor defined by a CustomResourceDefinition of the same set, so it is unknown whether it lives in a namespace.",
            action: "Check the spelling of apiVersion and kind, install the CRD, or commit it in the same path.",
            example: "M117 UnknownKind: apps/web.yaml:1:1: kind Deploymnet.apps is not known; needed: a built-in kind, one the cluster serves, or one with a CustomResourceDefinition in the same path",
        },
        /// A field that only the API server writes.
        M118 = "ServerField" {
            meaning: "The manifest sets a field that the API server owns (uid, resourceVersion, managedFields, status, …), usually because it was copied from a live object.",
            action: "Delete the field from the manifest.",
            example: "M118 ServerField: apps/web.yaml:6:3: metadata.uid is set; needed: a field left to the API server",
        },
        /// A label or annotation that writ itself writes.
        M119 = "ReservedMetadata" {
            meaning: "A label or annotation under applyset.kubernetes.io/ or writ.dev/instance is set in a manifest; they say who owns an object and are written by writ only.",
            action: "Remove the label or annotation.",
            example: "M119 ReservedMetadata: apps/web.yaml:7:5: metadata.labels[\"applyset.kubernetes.io/part-of\"] is set; needed: what says who owns an object left to writ",
        },
        /// Labels, annotations or a metadata field of the wrong type.
        M120 = "InvalidMetadata" {
            meaning: "metadata, labels or annotations do not have the form the API requires: labels and annotations map text to text.",
            action: "Quote the value (`\"true\"`, `\"1\"`), or remove the entry.",
            example: "M120 InvalidMetadata: apps/web.yaml:7:5: metadata.labels.tier is a boolean; needed: text",
        },
        /// Data of a Secret or ConfigMap that the API server would refuse.
        M121 = "InvalidData" {
            meaning: "stringData holds something other than text, or data (binaryData) holds something other than base64.",
            action: "Quote the value, or encode it with `base64 -w0`.",
            example: "M121 InvalidData: apps/db.yaml:6:3: data.password is not base64; needed: base64 of the value",
        },
        /// A file that asks for a renderer that is not supported yet.
        M122 = "RendererNotSupported" {
            meaning: "The path holds a Kustomize or Helm file; only plain YAML is rendered so far.",
            action: "Commit the rendered manifests (`kustomize build`, `helm template`) under the Sync's path.",
            example: "M122 RendererNotSupported: apps/kustomization.yaml: a Kustomize file; needed: plain YAML",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::ManifestCode;

    #[test]
    fn every_example_is_a_message_of_its_code() {
        for code in ManifestCode::ALL {
            let entry = code.entry();
            assert!(entry.example.starts_with(&format!("{} {}: ", entry.code, entry.reason)), "{}", entry.example);
        }
    }
}
