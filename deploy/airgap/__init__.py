"""What stands in for upstream images where no image registry can be reached. Start with README.md."""
