"""The password hasher of the demo users; settings.py names it."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class DemoPasswordHasher(PBKDF2PasswordHasher):
    """Django's default hasher with few iterations.

    A real application keeps Django's number. Here generated traffic logs in several times a second
    and should load the log pipeline, not the processor with hashing (0.3 s each otherwise).
    """

    algorithm = "pbkdf2_sha256_demo"
    iterations = 10_000
