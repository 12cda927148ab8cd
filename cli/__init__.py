"""The `nightshift` command: serve it on one machine, and drive it from a terminal."""
