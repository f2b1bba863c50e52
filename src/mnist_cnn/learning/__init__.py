"""From images to a trained network: data, augmentation, models, training, arithmetic."""
