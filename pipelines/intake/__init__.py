"""The HTTP door of the ledger."""
