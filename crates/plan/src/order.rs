//! In which order a change set is applied.

use manifest::GroupKind;

/// A stage of a roll-out. Everything of one wave is in flight together; the next begins when it is
/// done and, after [`Definitions`](Self::Definitions), when the definitions are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wave {
    /// CustomResourceDefinitions and Namespaces.
    Definitions,
    /// RBAC, configuration, storage, network: what workloads need to start.
    Configuration,
    /// Workloads and custom resources.
    Workloads,
    /// Admission webhooks, admission policies and APIServices, which may judge everything before.
    Admission,
    /// Deletions of [`Admission`](Self::Admission) kinds; deletions come last, in reverse.
    DeleteAdmission,
    /// Deletions of workloads and custom resources.
    DeleteWorkloads,
    /// Deletions of configuration.
    DeleteConfiguration,
    /// Deletions of CustomResourceDefinitions and Namespaces.
    DeleteDefinitions,
}

impl Wave {
    /// The wave an object of this kind is applied in.
    #[must_use]
    pub fn of_apply(kind: &GroupKind) -> Self {
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition") | ("", "Namespace") => Self::Definitions,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Admission,
            (
                "rbac.authorization.k8s.io"
                | "storage.k8s.io"
                | "scheduling.k8s.io"
                | "networking.k8s.io"
                | "node.k8s.io",
                _,
            )
            | (
                "",
                "ConfigMap"
                | "Secret"
                | "ServiceAccount"
                | "Service"
                | "LimitRange"
                | "ResourceQuota"
                | "PersistentVolume"
                | "PersistentVolumeClaim",
            )
            | ("policy", "PodDisruptionBudget") => Self::Configuration,
            _ => Self::Workloads,
        }
    }

    /// The wave an object of this kind is deleted in.
    #[must_use]
    pub fn of_delete(kind: &GroupKind) -> Self {
        match Self::of_apply(kind) {
            Self::Definitions => Self::DeleteDefinitions,
            Self::Configuration => Self::DeleteConfiguration,
            Self::Admission => Self::DeleteAdmission,
            _ => Self::DeleteWorkloads,
        }
    }

    /// True for the waves that delete.
    #[must_use]
    pub const fn is_delete(self) -> bool {
        matches!(
            self,
            Self::DeleteAdmission | Self::DeleteWorkloads | Self::DeleteConfiguration | Self::DeleteDefinitions
        )
    }

    /// The wave's name in logs and plans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Definitions => "definitions",
            Self::Configuration => "configuration",
            Self::Workloads => "workloads",
            Self::Admission => "admission",
            Self::DeleteAdmission => "delete-admission",
            Self::DeleteWorkloads => "delete-workloads",
            Self::DeleteConfiguration => "delete-configuration",
            Self::DeleteDefinitions => "delete-definitions",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_mirror_the_order_of_applies() {
        let kinds = [
            GroupKind::new("", "Namespace"),
            GroupKind::new("", "ConfigMap"),
            GroupKind::new("apps", "Deployment"),
            GroupKind::new("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let applies: Vec<Wave> = kinds.iter().map(Wave::of_apply).collect();
        let deletes: Vec<Wave> = kinds.iter().map(Wave::of_delete).collect();
        assert!(applies.is_sorted());
        assert!(deletes.iter().rev().is_sorted());
        assert!(applies.iter().max() < deletes.iter().min());
    }
}
