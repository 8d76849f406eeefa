"""From a folder of pictures to a recipe: `det start`."""
