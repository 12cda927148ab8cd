"""How well a model does with Nightshift around it: small real bugs, solved through the whole product, checked by tests
that the agent never saw. `make eval` runs it."""
