//! Codes of policies: loading them and breaking them.

manifest::codes! {
    /// Codes W8xx.
    pub enum PolicyCode {
        /// A policy denies an object.
        W801 = "PolicyViolation" {
            meaning: "An object of the commit violates a policy. Nothing of the commit was applied to this Sync; what was accepted before stays in force.",
            action: "Change the object so that the expression holds, or ask the owners of the policy to change it in a step of its own.",
            example: "W801 PolicyViolation: Deployment.apps shop/web: replicas must be at most 5; needed: object.spec.replicas <= 5 (rule \"replica-limit\"). Fix: change apps/web.yaml:1",
        },
        /// A policy cannot be loaded.
        W802 = "PolicyInvalid" {
            meaning: "A file under `policies/` cannot be read as the policies it should hold, or an expression does not compile. The step that brings it is refused and the previous policy set stays active.",
            action: "Mend the file at the line named.",
            example: "W802 PolicyInvalid: policies/replicas.yaml:14:19: the expression does not compile: ...; needed: a CEL expression. Fix: mend spec.validations[0].expression",
        },
        /// A policy uses something that is not supported yet.
        W803 = "PolicyUnsupported" {
            meaning: "The policy uses a field, variable or function that writ does not support yet. It is refused rather than ignored.",
            action: "Write the rule without it.",
            example: "W803 PolicyUnsupported: policies/replicas.yaml:9:3: spec.paramKind is not supported yet; needed: a policy without it. Fix: remove spec.paramKind",
        },
        /// An expression costs too much.
        W804 = "PolicyTooCostly" {
            meaning: "The expression, or its evaluation on this object, is over the deterministic cost bound, so there is no verdict: the object is refused.",
            action: "Make the expression shorter or nest fewer loops; or make the lists of the object smaller.",
            example: "W804 PolicyTooCostly: Deployment.apps shop/web: evaluating costs up to 9000000 steps; needed: at most 1000000 (rule \"unique-ports\"). Fix: nest fewer loops in policies/ports.yaml",
        },
        /// An expression failed.
        W805 = "PolicyError" {
            meaning: "Evaluating the expression failed, for instance because a field it reads is absent. An error is a denial.",
            action: "Guard optional fields with `has(...)` or `?.`, or declare the field.",
            example: "W805 PolicyError: Deployment.apps shop/web: no such key: replicas; needed: true or false (rule \"replica-limit\"). Fix: guard the field with has(...) in policies/replicas.yaml",
        },
    }
}
