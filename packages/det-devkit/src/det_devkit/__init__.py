"""For authors of plugins: the conformance kit (`det_devkit.conformance`) and the templates of `det new-plugin`."""
