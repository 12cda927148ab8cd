"""What `make demo` and the tests run instead of the outside world: a forge and a sample repository."""
