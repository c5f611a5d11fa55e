//! The side that stays outside: prepares, clones, serves the child, runs hooks, waits.
