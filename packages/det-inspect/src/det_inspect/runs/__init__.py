"""Reading, listing and comparing the folders of trainings."""
