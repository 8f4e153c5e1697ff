"""Trains networks: many at once, member by member the same as alone."""
