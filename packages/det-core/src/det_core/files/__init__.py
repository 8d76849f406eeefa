"""Untrusted JSON files. Regular files and budgets are those of det_safeload."""
