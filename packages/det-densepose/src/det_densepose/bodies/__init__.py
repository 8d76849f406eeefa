"""Bodies: the synthetic figure, published meshes and user-defined meshes."""
