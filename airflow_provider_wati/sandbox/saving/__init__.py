"""The data of a sandbox in a file, so that they outlive the process."""
