"""What a deployment's limits mean for its runs: how many are under way at once, and how many minutes a month brings."""
