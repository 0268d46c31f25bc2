"""What the stack renders for every runtime, engine and agent, compared after each change."""
