"""Exam cards: what one scan is, in SI units with one meaning per field."""
