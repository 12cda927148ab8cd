"""What orchestrations may do to the world. Every one may run twice."""
