"""The archive's bytes: object names, lines, manifests, order, the filter of ids."""
