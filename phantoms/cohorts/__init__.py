"""Cohorts: who is in them, the laws of their volumes and tissues, and the bodies that follow."""
