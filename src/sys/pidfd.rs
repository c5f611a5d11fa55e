//! pidfds: opening, signalling, waiting.
