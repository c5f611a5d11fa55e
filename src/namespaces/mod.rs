//! Namespaces to create and to join, in which order, and with which mappings.
