"""One step on one host each: it compares, and changes only what differs.

A step starts with `proceed`, so that nothing is changed on any host after a failure.
"""
