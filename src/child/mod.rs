//! Everything after the clone; nothing here returns.
