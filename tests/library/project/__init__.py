"""A small Django project that uses the library the way an application does."""
