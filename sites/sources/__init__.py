"""Where an institution's fully sampled k-space comes from."""
