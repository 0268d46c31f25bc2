"""How the archive reads an engine, restores into it and deletes days from it."""
