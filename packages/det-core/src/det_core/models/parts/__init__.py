"""Parts shared by several heads."""
