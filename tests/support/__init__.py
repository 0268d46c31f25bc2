"""What several test folders use: stacks, hosts, ports, sinks, samples."""
