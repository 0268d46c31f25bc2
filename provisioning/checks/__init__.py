"""What is checked on hosts after a deploy, and to diagnose them."""
