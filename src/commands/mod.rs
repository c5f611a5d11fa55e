//! One file per command, as typed.
