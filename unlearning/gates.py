"""Report x thresholds -> verdict."""
