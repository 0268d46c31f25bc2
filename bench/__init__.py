"""Measurements: `make bench` runs the quick ones, `make bench BENCH=name` one of them."""
