//! What the container's process is: identity, capabilities, limits, environment, labels, keyring, terminal.
