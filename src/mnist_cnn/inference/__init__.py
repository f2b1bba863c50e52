"""Using a model on images from anywhere: files, drawings, photographs."""
