"""The archive's object store: objects, the bucket's policies, the chain of manifests, parts."""
