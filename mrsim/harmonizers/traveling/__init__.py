"""Harmonizers that learn from people who were scanned at several sites."""
