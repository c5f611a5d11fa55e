//! Signal masks, handlers and signalfd.
