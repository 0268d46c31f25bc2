"""What other programs put into log records: one file per framework, each with a `SOURCE`.

The configuration takes its loggers from here, the formatter what its records become. Nothing here
imports the framework itself.
"""
