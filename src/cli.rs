//! The command line, defined once.
