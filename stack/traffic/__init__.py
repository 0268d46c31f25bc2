"""A load generator for the sample app."""
