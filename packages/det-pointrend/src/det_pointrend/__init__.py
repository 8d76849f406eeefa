"""det-pointrend: masks predicted point by point, with most points in uncertain regions."""
