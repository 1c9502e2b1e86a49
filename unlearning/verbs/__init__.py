"""The only rooms that open every noun: each verb reads its inputs, makes one asset, and leaves a lineage record."""
