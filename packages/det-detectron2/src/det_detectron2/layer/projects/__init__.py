"""Settings of Detectron2's projects, as `detectron2.projects`; their parts are det's plugins."""
