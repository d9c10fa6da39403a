"""What shells and man(1) are told of the commands."""
