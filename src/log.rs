//! Messages for people and engines: `--log`, `--log-format`, `--debug`.
