"""The vision side of the paper: classifiers of images, trained, converted and pruned as agents are."""
