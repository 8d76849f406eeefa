"""Suffixes of image files, and untrusted JSON files. Regular files and budgets are those of det_safeload."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".jp2", ".avif")
"""Suffixes of image files in a folder, in any case; earlier ones are preferred where a name has several."""
