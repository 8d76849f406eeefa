"""Dataset checks, reports and conversions."""
