"""A small ERP in Django that logs through logstack_django.

`make up` runs it under gunicorn, `logstack traffic` drives it, `logstack smoke` writes through it;
a reader of the documentation finds in it one example of every way to log.
"""
