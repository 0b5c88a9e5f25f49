"""Promotion: one decision a week, on evidence alone, and the pointer to what serves."""
