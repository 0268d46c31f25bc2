"""Login, logout and who am I. The users are Django's own (django.contrib.auth)."""
