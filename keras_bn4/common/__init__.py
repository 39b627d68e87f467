"""What several folders share: one module for each subject, below everything else."""
