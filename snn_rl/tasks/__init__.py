"""What is played: recipes, environments, hidden observations, and play itself."""
