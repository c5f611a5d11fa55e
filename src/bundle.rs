//! Finds, reads and checks a bundle's config.json.
