//! Hooks: planned from config.json, run with their own environment, time limit and captured output.
