"""Runs on a host as root, with only its Python (3.7 or newer): reads its state and changes it.

A run uploads this package once, as a zip file, and removes it at its end (provisioning/session.py).
Each request is JSON on standard input, so that no secret is in an argument or a temporary file.
"""
