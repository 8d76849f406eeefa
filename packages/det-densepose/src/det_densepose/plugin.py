"""What det-densepose adds to det, as names; nothing here is imported before it is used."""
