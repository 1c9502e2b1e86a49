"""Hashes, lineage, certificates and their verification. No torch: this runs on an auditor's laptop."""
