//! Calls that change the calling process: ids, capabilities, limits, prctl, execve.
