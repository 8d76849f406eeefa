"""What trainings have left: their files read, listed and compared."""
