//! Spec and Host to Plan: every default filled in, every conflict refused, no file touched.
