"""The Docker runtime: Compose, the engine's state, checks, images."""
