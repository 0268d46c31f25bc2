"""Text from templates: every Jinja template of the project and the filters that quote values."""
