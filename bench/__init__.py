"""Figures, each as a ratio against something in the same run. `make bench` prints them; nothing here asserts."""
