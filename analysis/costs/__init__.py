"""What looking costs: operations, time, memory."""
