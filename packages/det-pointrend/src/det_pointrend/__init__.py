"""det-pointrend: masks that are computed point by point, with the points where they matter."""
