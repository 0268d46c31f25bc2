"""Checks of a running stack: smoke, doctor."""
