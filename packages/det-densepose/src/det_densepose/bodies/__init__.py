"""Bodies: the synthetic figure, published meshes and your own."""
