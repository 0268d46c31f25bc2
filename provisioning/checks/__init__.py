"""What is checked on hosts: before a deploy, after it, and to diagnose them."""
