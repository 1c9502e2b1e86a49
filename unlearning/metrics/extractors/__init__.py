"""Where features come from: published networks whose weights are on this machine, and one trained in domain."""
