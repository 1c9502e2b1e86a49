"""What the assets are given: the workbench, the compute launcher, MLflow and DVC."""
