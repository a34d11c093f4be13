//! Kubernetes versions and skew rules.
