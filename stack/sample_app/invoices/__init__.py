"""Invoices: created as drafts, issued by the nightly job, exported, summed up and converted."""
